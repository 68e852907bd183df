/* Where conversations are kept: IndexedDB of this browser, or memory where the browser allows nothing to be kept. */

/* Beyond these the oldest go. */
const CONVERSATIONS_MAX = 50;
const MESSAGES_MAX = 400;

/** A name that nothing else has. `crypto.randomUUID` is not there on pages without HTTPS. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Opens what is kept for an embed; never fails. */
export async function openStore(embed) {
  try {
    return new Kept(await openDatabase(`flowgate-chat-${embed}`));
  } catch {
    return new Memory();
  }
}

function openDatabase(name) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore('conversations', { keyPath: 'id' });
      opening.result.createObjectStore('messages', { keyPath: 'id' }).createIndex('conversation', 'conversation');
    };
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
    opening.onblocked = () => reject(new Error('blocked'));
  });
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

const newestFirst = (a, b) => b.updatedAt - a.updatedAt;
const oldestFirst = (a, b) => a.at - b.at || a.order - b.order;

class Kept {
  isKept = true;

  constructor(database) {
    this.database = database;
    /* Another version of this page wants to change it: it is newer than this one. */
    database.onversionchange = () => database.close();
  }

  #open(mode = 'readonly') {
    const transaction = this.database.transaction(['conversations', 'messages'], mode);
    return [transaction.objectStore('conversations'), transaction.objectStore('messages')];
  }

  async conversations() {
    const [conversations] = this.#open();
    return (await done(conversations.getAll())).sort(newestFirst);
  }

  async messages(id) {
    const [, messages] = this.#open();
    return (await done(messages.index('conversation').getAll(id))).sort(oldestFirst);
  }

  async putConversation(conversation) {
    const [conversations] = this.#open('readwrite');
    await done(conversations.put(conversation));
    const all = await this.conversations();
    for (const old of all.slice(CONVERSATIONS_MAX)) await this.remove(old.id);
  }

  async putMessage(message) {
    const [, messages] = this.#open('readwrite');
    await done(messages.put(message));
  }

  /** Keeps a conversation from growing for ever. */
  async trim(id) {
    const old = (await this.messages(id)).slice(0, -MESSAGES_MAX);
    const [, messages] = this.#open('readwrite');
    await Promise.all(old.map((message) => done(messages.delete(message.id))));
  }

  async remove(id) {
    const [conversations, messages] = this.#open('readwrite');
    const keys = await done(messages.index('conversation').getAllKeys(id));
    await Promise.all([done(conversations.delete(id)), ...keys.map((key) => done(messages.delete(key)))]);
  }
}

class Memory {
  isKept = false;
  #conversations = new Map();
  #messages = new Map();

  async conversations() {
    return [...this.#conversations.values()].sort(newestFirst);
  }

  async messages(id) {
    return [...this.#messages.values()].filter((message) => message.conversation === id).sort(oldestFirst);
  }

  async putConversation(conversation) {
    this.#conversations.set(conversation.id, { ...conversation });
    for (const old of (await this.conversations()).slice(CONVERSATIONS_MAX)) await this.remove(old.id);
  }

  async putMessage(message) {
    this.#messages.set(message.id, { ...message });
  }

  async trim(id) {
    for (const old of (await this.messages(id)).slice(0, -MESSAGES_MAX)) this.#messages.delete(old.id);
  }

  async remove(id) {
    this.#conversations.delete(id);
    for (const message of await this.messages(id)) this.#messages.delete(message.id);
  }
}
