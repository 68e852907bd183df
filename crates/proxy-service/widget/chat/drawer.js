/* The list of conversations: beside the messages where there is room, else in front of them. */

import { element, icon } from './dom.js';

/* As in the style sheet. */
const BESIDE = '(min-width: 760px)';

const UNITS = [['year', 31_536_000], ['month', 2_592_000], ['week', 604_800], ['day', 86_400], ['hour', 3_600], ['minute', 60]];

export class Drawer {
  #confirming = null;

  constructor(page, texts, language, actions) {
    this.page = page;
    this.texts = texts;
    this.actions = actions;
    this.relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
    page.drawerButton.addEventListener('click', () => this.toggle(!this.isOpen));
    page.drawer.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || !this.isOpen) return;
      event.stopPropagation();
      if (this.#confirming) this.#confirm(null);
      else this.toggle(false);
    });
  }

  get isOpen() {
    return this.page.drawerButton.getAttribute('aria-expanded') === 'true';
  }

  toggle(isOpen) {
    if (isOpen === this.isOpen) return;
    this.page.drawerButton.setAttribute('aria-expanded', String(isOpen));
    this.page.root.classList.toggle('drawer-open', isOpen);
    /* In front of the messages, what is behind is out of reach. */
    this.page.main.inert = isOpen && this.#isInFront();
    if (isOpen) {
      this.draw();
      (this.page.list.querySelector('[aria-current], .open') ?? this.page.drawerNew).focus();
    } else {
      this.page.drawerButton.focus();
    }
  }

  #isInFront() {
    return !matchMedia(BESIDE).matches;
  }

  draw() {
    const { chats } = this.actions;
    this.page.emptyList.hidden = chats.list.length > 0;
    this.page.notKept.hidden = chats.store.isKept;
    const focused = this.page.list.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    this.page.list.replaceChildren(...chats.list.map((conversation) => this.#row(conversation)));
    if (focused) this.page.list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  #row(conversation) {
    const { chats } = this.actions;
    const name = conversation.title || this.texts['conversations.untitled'];
    const unread = conversation.unread > 0 && element('span', { class: 'count' },
      element('span', { class: 'unseen' }, this.texts['launcher.unread'].replace('{count}', conversation.unread)),
      element('span', { 'aria-hidden': 'true' }, String(conversation.unread)));
    const busy = chats.isWriting(conversation.id) && element('span', { class: 'dots small', role: 'img', 'aria-label': this.texts['messages.writing'] },
      element('i'), element('i'), element('i'));
    const open = element('button', {
      type: 'button', class: 'open', 'data-key': `open-${conversation.id}`,
      'aria-current': chats.current?.id === conversation.id && 'true',
      onclick: () => this.#choose(conversation.id),
    },
    element('span', { class: 'name', dir: 'auto' }, name),
    element('span', { class: 'preview', dir: 'auto' }, plain(conversation.preview ?? '')),
    element('span', { class: 'when' }, this.#ago(conversation.updatedAt)), busy || null, unread || null);
    const remove = element('button', {
      type: 'button', class: 'quiet', 'data-key': `remove-${conversation.id}`, title: this.texts['conversations.delete'],
      'aria-label': `${this.texts['conversations.delete']}: ${name}`, onclick: () => this.#confirm(conversation.id),
    }, icon('trash'));
    if (this.#confirming !== conversation.id) return element('li', {}, open, remove);
    return element('li', { class: 'confirming' },
      element('p', {}, this.texts['conversations.confirm']),
      element('div', { class: 'choices' },
        element('button', { type: 'button', class: 'danger', 'data-key': 'yes', onclick: () => this.#remove(conversation.id) }, this.texts['conversations.delete']),
        element('button', { type: 'button', 'data-key': 'no', onclick: () => this.#confirm(null) }, this.texts['conversations.cancel'])));
  }

  async #choose(id) {
    await this.actions.chats.open(id);
    if (this.#isInFront()) this.toggle(false);
    this.page.input.focus();
  }

  #confirm(id) {
    const before = this.#confirming;
    this.#confirming = id;
    this.draw();
    this.page.list.querySelector(id ? '[data-key="no"]' : `[data-key="remove-${before}"]`)?.focus();
  }

  async #remove(id) {
    this.#confirming = null;
    await this.actions.chats.remove(id);
    this.draw();
    (this.page.list.querySelector('.open') ?? this.page.drawerNew).focus();
  }

  #ago(time) {
    const seconds = (time - Date.now()) / 1000;
    for (const [unit, size] of UNITS) {
      if (Math.abs(seconds) >= size) return this.relative.format(Math.round(seconds / size), unit);
    }
    return this.relative.format(0, 'second');
  }
}

/* A line of an answer without the commonest marks. */
function plain(text) {
  return text.replace(/[*_`#>|]+/g, '').replace(/\s+/g, ' ').trim();
}
