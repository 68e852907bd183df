/* The list of conversations: beside the messages where there is room, else a drawer in front of them. */

import { written } from './dialogs.js';
import { element, icon } from './dom.js';
import { toggleMenu } from './menu.js';

/* As in the style sheet. */
const BESIDE = matchMedia('(min-width: 800px)');
const SEARCH_AFTER_MS = 250;
const TITLE_CHARS_MAX = 200;

export class Sidebar {
  #renaming = null;
  #rows = new WeakMap();
  #timer = 0;

  constructor(page, texts, talks, actions) {
    Object.assign(this, { page, texts, talks, actions });
    page.search.placeholder = texts.of('sidebar.search');
    page.drawerButton.addEventListener('click', () => this.toggle(!this.isOpen));
    page.newChat.addEventListener('click', () => {
      this.toggle(false);
      actions.begin();
    });
    page.search.addEventListener('input', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => actions.run(talks.search(page.search.value.trim())), SEARCH_AFTER_MS);
    });
    page.more.addEventListener('click', () => actions.run(talks.more()));
    page.drawer.addEventListener('keydown', (event) => this.#onKey(event));
    BESIDE.addEventListener('change', () => this.#setBehind());
  }

  get isOpen() {
    return this.page.drawerButton.getAttribute('aria-expanded') === 'true';
  }

  toggle(isOpen) {
    if (isOpen === this.isOpen) return;
    this.page.drawerButton.setAttribute('aria-expanded', String(isOpen));
    this.page.root.classList.toggle('drawer-open', isOpen);
    this.#setBehind();
    if (isOpen) this.page.newChat.focus();
    else if (!BESIDE.matches) this.page.drawerButton.focus();
  }

  /* In front of the messages, what is behind is out of reach. */
  #setBehind() {
    this.page.main.inert = this.isOpen && !BESIDE.matches;
  }

  #onKey(event) {
    if (event.key !== 'Escape') return;
    if (event.target === this.page.search && this.page.search.value !== '') {
      this.page.search.value = '';
      this.page.search.dispatchEvent(new Event('input'));
    } else if (this.isOpen) {
      this.toggle(false);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  draw() {
    const { talks, page, texts } = this;
    const { list, found, query } = talks;
    const focused = page.drawer.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    /* Who is typing a name goes on. */
    if (!this.#renaming) this.#show(list.map((conversation) => this.#kept(conversation)));
    page.more.hidden = !talks.hasMore;
    page.more.disabled = talks.isListing;
    const isEmpty = list.length === 0 && !talks.isListing;
    page.listNote.hidden = !isEmpty;
    page.listNote.textContent = isEmpty ? texts.of(query ? 'sidebar.nothing' : 'sidebar.empty') : '';
    page.foundPart.hidden = found.length === 0;
    page.found.replaceChildren(...found.map((message) => this.#foundRow(message)));
    if (focused) page.drawer.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  /* A row that is being pressed stays where it is unless there is something new: a click on a row that was exchanged is lost. */
  #show(rows) {
    const { list } = this.page;
    if (rows.length !== list.children.length || rows.some((row, at) => row !== list.children[at])) list.replaceChildren(...rows);
  }

  #kept(conversation) {
    const row = this.#row(conversation);
    const shown = this.#rows.get(conversation);
    if (shown?.isEqualNode(row)) return shown;
    this.#rows.set(conversation, row);
    return row;
  }

  #row(conversation) {
    const { texts, talks } = this;
    const title = conversation.title || texts.of('talk.untitled');
    const isWriting = talks.isWriting(conversation);
    const dots = isWriting && element('span', { class: 'dots small', role: 'img', 'aria-label': texts.of('messages.writing') }, element('i'), element('i'), element('i'));
    const key = conversation.id ?? 'new';
    const open = element('button', {
      type: 'button', class: 'open', 'data-key': `open-${key}`, 'aria-current': talks.current === conversation && 'true',
      onclick: () => this.#choose(conversation),
    },
    element('span', { class: 'name', dir: 'auto' }, title),
    element('span', { class: 'preview', dir: 'auto' }, this.actions.chatflowName(conversation.chatflowId)),
    element('span', { class: 'when' }, texts.ago(conversation.at)), dots || null);
    const label = texts.of('talk.menuOf', { name: title });
    const menu = conversation.id && element('button', {
      type: 'button', class: 'quiet', 'data-key': `menu-${key}`, 'aria-haspopup': 'menu', 'aria-expanded': 'false', 'aria-label': label, title: label,
      onclick: ({ currentTarget }) => toggleMenu(currentTarget, this.actions.choices(conversation)),
    }, icon('dots'));
    return element('li', { 'data-id': conversation.id }, open, menu || null);
  }

  #foundRow(message) {
    const { texts } = this;
    const open = element('button', {
      type: 'button', class: 'open', 'data-key': `found-${message.message_id}`,
      onclick: () => {
        this.toggle(false);
        this.actions.open(message.session_id, message.message_id);
      },
    },
    element('span', { class: 'name' }, texts.of(message.role === 'user' ? 'messages.you' : 'messages.assistant')),
    element('span', { class: 'when' }, texts.ago(new Date(message.created_at))),
    element('span', { class: 'snippet', dir: 'auto' }, ...marked(message.snippet, this.talks.query)));
    return element('li', {}, open);
  }

  #choose(conversation) {
    this.toggle(false);
    if (conversation.id) this.actions.open(conversation.id);
  }

  /** Another name for a conversation, written where the old one stands. */
  rename(conversation) {
    const row = this.page.list.querySelector(`[data-id="${CSS.escape(conversation.id)}"]`);
    if (!row) {
      this.actions.run(this.#renameInWindow(conversation));
      return;
    }
    if (!BESIDE.matches) this.toggle(true);
    this.#renaming = conversation;
    const input = element('input', { type: 'text', maxlength: String(TITLE_CHARS_MAX), dir: 'auto', 'aria-label': this.texts.of('talk.newName'), autocomplete: 'off' });
    input.value = conversation.title.slice(0, TITLE_CHARS_MAX);
    const form = element('form', { class: 'rename', onsubmit: (event) => {
      event.preventDefault();
      this.#endRenaming(conversation, input.value.trim());
    } }, input, element('button', { type: 'submit', class: 'outline' }, this.texts.of('talk.save')));
    form.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      event.stopPropagation();
      this.#endRenaming(conversation, '');
    });
    form.addEventListener('focusout', (event) => {
      if (!form.contains(event.relatedTarget) && this.#renaming === conversation) this.#endRenaming(conversation, input.value.trim(), false);
    });
    row.replaceChildren(form);
    input.focus();
    input.select();
  }

  /* It may be further down than the list has come, or not be what is searched for. */
  async #renameInWindow(conversation) {
    const { texts } = this;
    const title = await written(texts, { title: texts.of('talk.newName'), value: conversation.title, limit: TITLE_CHARS_MAX, agree: texts.of('talk.save') });
    if (title !== '' && title !== conversation.title) await this.talks.rename(conversation, title);
  }

  #endRenaming(conversation, title, keepsFocus = true) {
    if (this.#renaming !== conversation) return;
    this.#renaming = null;
    const isNew = title !== '' && title !== conversation.title;
    if (isNew) this.actions.run(this.talks.rename(conversation, title));
    this.draw();
    if (keepsFocus) this.page.list.querySelector(`[data-id="${CSS.escape(conversation.id)}"] .open`)?.focus();
  }
}

/* A quotation with what was searched for marked in it. */
function marked(snippet, query) {
  const at = snippet.toLocaleLowerCase().indexOf(query.toLocaleLowerCase());
  if (query === '' || at === -1) return [snippet];
  const end = at + query.length;
  return [snippet.slice(0, at), element('mark', {}, snippet.slice(at, end)), snippet.slice(end)];
}
