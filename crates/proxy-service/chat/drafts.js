/* What somebody wrote and has not sent, for as long as the tab lives: the log-in page may come between. */

const LENGTH_MAX = 100_000;

export class Drafts {
  constructor(personId) {
    this.prefix = `flowgate-draft-${personId}-`;
  }

  read(conversation) {
    return storage((kept) => kept.getItem(this.#key(conversation))) ?? '';
  }

  write(conversation, text) {
    storage((kept) => {
      if (text.trim() === '') kept.removeItem(this.#key(conversation));
      else if (text.length <= LENGTH_MAX) kept.setItem(this.#key(conversation), text);
    });
  }

  #key(conversation) {
    return this.prefix + (conversation?.id ?? 'new');
  }
}

/** The chatflow that was talked to last. */
export const lastChatflow = {
  read: () => storage(() => localStorage.getItem('flowgate-chatflow')),
  write: (id) => storage(() => localStorage.setItem('flowgate-chatflow', id)),
};

/* A browser may keep nothing. */
function storage(action) {
  try {
    return action(sessionStorage);
  } catch {
    return null;
  }
}
