/* The messages of the conversation that is shown. */

import { copyText, element, icon } from './dom.js';
import { drawFiles } from './files.js';
import { MarkdownView, plainText } from './markdown.js';

/* Nearer to the end than this, the view stays at the end while an answer grows. */
const NEAR_END_PX = 80;
/* So many messages are drawn at once; who wants to see earlier ones asks for them. */
const SHOWN = 60;

export class Thread {
  #views = new Map();
  #messages = [];
  #shown = SHOWN;
  #frame = 0;
  #timer = 0;

  constructor(page, texts, actions) {
    Object.assign(this, { page, texts, actions });
    page.scroller.addEventListener('scroll', () => this.#showJump(), { passive: true });
    page.jump.addEventListener('click', () => {
      this.toEnd();
      page.input.focus();
    });
    page.earlier.addEventListener('click', () => this.#showEarlier());
  }

  /** Another conversation. */
  clear() {
    for (const { node } of this.#views.values()) node.remove();
    this.#views.clear();
    this.#messages = [];
    this.#shown = SHOWN;
    this.page.earlier.hidden = true;
  }

  /** Draws all messages; what is drawn already stays. */
  show(messages) {
    const wasNear = this.#isNearEnd();
    const isOther = this.#views.size === 0;
    this.#messages = messages;
    this.#draw();
    if (wasNear || isOther || messages.at(-1)?.state === 'writing') this.toEnd();
    this.#tick();
  }

  #draw() {
    const shown = this.#messages.slice(-this.#shown);
    const known = new Set(shown.map((message) => message.id));
    for (const [id, view] of this.#views) {
      if (known.has(id)) continue;
      view.node.remove();
      this.#views.delete(id);
    }
    let before = null;
    for (const message of shown.toReversed()) {
      if (!this.#views.has(message.id)) {
        const view = this.#build(message);
        this.#views.set(message.id, view);
        this.page.messages.insertBefore(view.node, before);
      }
      this.#refresh(message);
      before = this.#views.get(message.id).node;
    }
    this.page.earlier.hidden = this.#messages.length <= this.#shown;
  }

  #showEarlier() {
    const { scroller } = this.page;
    const fromEnd = scroller.scrollHeight - scroller.scrollTop;
    const first = this.#messages.at(-this.#shown);
    this.#shown += SHOWN;
    this.#draw();
    scroller.scrollTop = scroller.scrollHeight - fromEnd;
    if (this.page.earlier.hidden) this.#views.get(first?.id)?.node.focus({ preventScroll: true });
  }

  /** Draws a growing answer, once a frame however fast it grows. */
  grow(message) {
    if (!this.#views.has(message.id) || this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (!this.#views.has(message.id)) return;
      const wasNear = this.#isNearEnd();
      this.#refresh(message);
      if (wasNear) this.toEnd();
      else this.#showJump();
    });
  }

  /** Brings a message into view that was searched for. */
  reveal(id) {
    const place = this.#messages.findIndex((message) => message.id === id);
    if (place === -1) return;
    this.#shown = Math.max(this.#shown, this.#messages.length - place);
    this.#draw();
    const { node } = this.#views.get(id);
    node.scrollIntoView({ block: 'center' });
    node.focus({ preventScroll: true });
  }

  toEnd() {
    this.page.scroller.scrollTop = this.page.scroller.scrollHeight;
    this.#showJump();
  }

  #isNearEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.page.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  #showJump() {
    this.page.jump.hidden = this.#isNearEnd();
  }

  /** An answer as it is read aloud. */
  spoken(message) {
    const view = this.#views.get(message.id);
    if (!view?.markdown) return message.text;
    view.markdown.update(message.text);
    return plainText(view.text);
  }

  #build(message) {
    const isOwn = message.role === 'user';
    const name = this.texts.of(isOwn ? 'messages.you' : 'messages.assistant');
    const text = element('div', { class: 'text', dir: 'auto' });
    const beside = element('div', { class: 'beside' });
    const foot = element('div', { class: 'foot' });
    const bubble = element('div', { class: 'bubble' }, text);
    const node = element('article', { class: isOwn ? 'message mine' : 'message theirs', 'aria-label': name, tabindex: '-1' });
    const view = { node, text, beside, foot, drawn: '' };
    if (isOwn) {
      text.textContent = message.text;
      if (message.files?.length > 0) node.append(drawFiles(this.texts, message.files));
      if (message.text !== '') node.append(bubble);
      node.append(foot);
    } else {
      view.markdown = new MarkdownView(text, { copy: this.texts.of('messages.copy'), copied: this.texts.of('messages.copied') });
      node.append(bubble, beside, foot);
    }
    return view;
  }

  #refresh(message) {
    const view = this.#views.get(message.id);
    view.node.dataset.state = message.state ?? 'complete';
    if (view.markdown) {
      view.markdown.update(message.text);
      view.node.classList.toggle('empty', message.text === '');
      this.#refreshDots(view, message);
      this.#refreshBeside(view, message);
    }
    const foot = this.#foot(message);
    /* What has not changed keeps the focus. */
    const drawn = foot.map((node) => [node.localName, node.className, node.textContent, node.disabled].join()).join(';');
    if (drawn !== view.drawn) view.foot.replaceChildren(...foot);
    view.drawn = drawn;
  }

  #refreshDots(view, message) {
    const isWaiting = ['writing', 'lost'].includes(message.state) && message.text === '';
    if (isWaiting && !view.dots) {
      view.dots = element('span', { class: 'dots', role: 'img', 'aria-label': this.texts.of('messages.writing') }, element('i'), element('i'), element('i'));
      view.text.before(view.dots);
    } else if (!isWaiting && view.dots) {
      view.dots.remove();
      view.dots = undefined;
    }
  }

  /* Sources, refused files, and what is to be decided or may be asked next. */
  #refreshBeside(view, message) {
    const isLast = this.#messages.at(-1) === message;
    const isOver = !['writing', 'lost'].includes(message.state);
    const key = JSON.stringify([message.sources?.length, message.refusedFiles?.length, isLast && isOver, message.action?.node, message.suggestions?.length]);
    if (key === view.besideKey) return;
    view.besideKey = key;
    const parts = [];
    for (const { name, code, error } of message.refusedFiles ?? []) {
      parts.push(element('p', { class: 'note trouble' }, this.texts.of('files.refused', { name, reason: this.texts.problem({ code, problem: { detail: error } }) })));
    }
    if (message.sources?.length > 0) parts.push(this.#sources(message.sources));
    if (isLast && isOver && message.action?.choices.length > 0) parts.push(this.#choices(message));
    else if (isLast && isOver && message.suggestions?.length > 0) parts.push(this.#suggestions(message.suggestions));
    view.beside.replaceChildren(...parts);
  }

  #sources(sources) {
    const rows = sources.map(({ name, text }) => element('li', {},
      element('strong', { dir: 'auto' }, name || this.texts.of('messages.source')),
      text && element('p', { dir: 'auto' }, text)));
    return element('details', { class: 'sources' }, element('summary', {}, this.texts.of('messages.sources', { count: sources.length })), element('ol', {}, ...rows));
  }

  #choices(message) {
    const { node, choices } = message.action;
    const buttons = choices.map(({ label, decision }) => element('button', {
      type: 'button', class: 'chip', dir: 'auto', onclick: () => this.actions.decide(label, { type: decision, startNodeId: node }),
    }, label));
    return element('div', { class: 'chips', role: 'group', 'aria-label': this.texts.of('messages.decide') }, ...buttons);
  }

  #suggestions(suggestions) {
    const buttons = suggestions.map((text) => element('button', { type: 'button', class: 'chip', dir: 'auto', onclick: () => this.actions.ask(text) }, text));
    return element('div', { class: 'chips', role: 'group', 'aria-label': this.texts.of('messages.suggestions') }, ...buttons);
  }

  #foot(message) {
    if (message.state === 'lost') return [element('span', { class: 'note trouble' }, this.texts.of(navigator.onLine === false ? 'messages.offline' : 'messages.lost'))];
    if (message.state === 'writing') return message.isStopping ? [element('span', { class: 'note' }, this.texts.of('messages.stopping'))] : [];
    const time = element('time', { datetime: message.at.toISOString() }, this.texts.at(message.at));
    if (message.role === 'user') return [time];
    const note = this.note(message);
    const copy = message.text === '' ? null : this.#copyButton(message);
    if (!note) return [copy, time].filter(Boolean);
    const seconds = Math.ceil(((message.waitUntil ?? 0) - Date.now()) / 1000);
    const retry = element('button', { type: 'button', class: 'retry', onclick: () => this.actions.retry(message) }, this.texts.of(message.isResumable ? 'messages.goOn' : 'messages.retry'));
    retry.disabled = seconds > 0;
    const isTrouble = message.state !== 'stopped' && message.state !== 'none';
    return [element('span', { class: isTrouble ? 'note trouble' : 'note' }, note), retry, copy, message.state === 'failed' ? null : time].filter(Boolean);
  }

  #copyButton(message) {
    const label = element('span', {}, this.texts.of('messages.copy'));
    const button = element('button', { type: 'button', class: 'copy', onclick: async () => {
      if (!(await copyText(message.text))) return;
      label.textContent = this.texts.of('messages.copied');
      setTimeout(() => (label.textContent = this.texts.of('messages.copy')), 2000);
    } }, icon('copy'), label);
    button.setAttribute('aria-label', this.texts.of('messages.copyAnswer'));
    return button;
  }

  /** What became of an answer that is not whole, in a sentence; with the time that is left to wait. */
  note(message) {
    if (message.state === 'none') return this.texts.of('messages.none');
    if (message.state === 'stopped') return this.texts.of('messages.stopped');
    if (!['failed', 'interrupted'].includes(message.state)) return null;
    const seconds = Math.ceil(((message.waitUntil ?? 0) - Date.now()) / 1000);
    const waits = seconds > 0 ? ` ${this.texts.of('messages.wait', { count: seconds })}` : '';
    const cut = message.state === 'interrupted' ? `${this.texts.of('messages.interrupted')} ` : '';
    return cut + this.texts.problem(message.problem) + waits;
  }

  /* While somebody has to wait, the seconds are counted. */
  #tick() {
    clearTimeout(this.#timer);
    const waiting = this.#messages.filter((message) => (message.waitUntil ?? 0) > Date.now() - 1000);
    if (waiting.length === 0) return;
    this.#timer = setTimeout(() => {
      for (const message of waiting) if (this.#views.has(message.id)) this.#refresh(message);
      this.#tick();
    }, 1000);
  }
}
