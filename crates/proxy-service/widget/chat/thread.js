/* The messages of the conversation that is shown. */

import { element } from './dom.js';
import { MarkdownView, plainText } from './markdown.js';

/* Nearer to the end than this, the view stays at the end while an answer grows. */
const NEAR_END_PX = 80;

export class Thread {
  #views = new Map();
  #frame = 0;
  #timer = 0;

  constructor(page, texts, language, actions) {
    this.page = page;
    this.texts = texts;
    this.actions = actions;
    this.time = new Intl.DateTimeFormat(language, { hour: 'numeric', minute: '2-digit' });
    this.day = new Intl.DateTimeFormat(language, { day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit' });
    page.scroller.addEventListener('scroll', () => this.#showJump(), { passive: true });
    page.jump.addEventListener('click', () => {
      this.toEnd();
      page.input.focus();
    });
  }

  /** Draws all messages; what is drawn already stays. */
  show(messages) {
    const wasNear = this.#isNearEnd();
    const isOther = messages.length === 0 || !this.#views.has(messages[0].id);
    const known = new Set(messages.map((message) => message.id));
    for (const [id, view] of this.#views) {
      if (known.has(id)) continue;
      view.node.remove();
      this.#views.delete(id);
    }
    for (const message of messages) {
      if (!this.#views.has(message.id)) {
        this.#views.set(message.id, this.#build(message));
        this.page.messages.append(this.#views.get(message.id).node);
      }
      this.#refresh(message);
    }
    this.page.greeting.hidden = messages.length > 0;
    if (wasNear || isOther || messages.at(-1)?.state === 'writing') this.toEnd();
    this.#tick(messages);
  }

  /** Draws a growing answer, once a frame however fast it grows. */
  grow(message) {
    if (!this.#views.has(message.id) || this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      const wasNear = this.#isNearEnd();
      this.#refresh(message);
      if (wasNear) this.toEnd();
      else this.#showJump();
    });
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
    return view ? plainText(view.text) : message.text;
  }

  #build(message) {
    const isVisitor = message.role === 'user';
    const name = isVisitor ? this.texts['messages.you'] : this.texts['messages.assistant'];
    const text = element('div', { class: 'text', dir: 'auto' });
    const foot = element('div', { class: 'foot' });
    const node = element('article', { class: isVisitor ? 'message mine' : 'message theirs', 'aria-label': name },
      element('div', { class: 'bubble' }, text), foot);
    const view = { node, text, foot };
    if (isVisitor) text.textContent = message.text;
    else view.markdown = new MarkdownView(text, { copy: this.texts['messages.copy'], copied: this.texts['messages.copied'] });
    return view;
  }

  #refresh(message) {
    const view = this.#views.get(message.id);
    view.node.dataset.state = message.state ?? 'complete';
    if (view.markdown) {
      view.markdown.update(message.text);
      view.node.classList.toggle('empty', message.text === '');
      this.#refreshDots(view, message);
    }
    view.foot.replaceChildren(...this.#foot(message));
  }

  #refreshDots(view, message) {
    const isWaiting = message.state === 'writing' && message.text === '';
    if (isWaiting && !view.dots) {
      view.dots = element('span', { class: 'dots', role: 'img', 'aria-label': this.texts['messages.writing'] }, element('i'), element('i'), element('i'));
      view.text.before(view.dots);
    } else if (!isWaiting && view.dots) {
      view.dots.remove();
      view.dots = undefined;
    }
  }

  #foot(message) {
    if (message.state === 'writing') return [];
    const at = new Date(message.at);
    const isToday = at.toDateString() === new Date().toDateString();
    const time = element('time', { datetime: at.toISOString() }, (isToday ? this.time : this.day).format(at));
    if (message.role === 'user') return [time];
    const note = this.#note(message);
    if (!note) return [time];
    const seconds = Math.ceil(((message.waitUntil ?? 0) - Date.now()) / 1000);
    const retry = element('button', { type: 'button', class: 'retry', onclick: () => this.actions.retry(message) }, this.texts['messages.retry']);
    retry.disabled = seconds > 0;
    return [element('span', { class: message.state === 'stopped' ? 'note' : 'note trouble' }, note), retry, time];
  }

  #note(message) {
    if (message.state === 'stopped') return this.texts['messages.stopped'];
    if (message.state === 'interrupted') return this.texts['messages.interrupted'];
    return message.state === 'failed' ? this.errorText(message) : null;
  }

  /** What went wrong, in a sentence; with the time that is left to wait. */
  errorText(message) {
    const seconds = Math.ceil(((message.waitUntil ?? 0) - Date.now()) / 1000);
    if (message.error === 'tooFast') {
      const text = seconds > 0 ? this.texts['messages.tooFastFor'] : this.texts['messages.tooFast'];
      return text.replace('{seconds}', seconds);
    }
    return this.texts[`messages.${message.error}`] ?? this.texts['messages.errorMessage'];
  }

  /* While somebody has to wait, the seconds are counted. */
  #tick(messages) {
    clearTimeout(this.#timer);
    if (!messages.some((message) => (message.waitUntil ?? 0) > Date.now())) return;
    this.#timer = setTimeout(() => {
      for (const message of messages) if (message.waitUntil) this.#refresh(message);
      this.#tick(messages);
    }, 1000);
  }
}

/** The chips that a conversation may begin with. */
export function drawSuggestions(container, suggestions, choose) {
  const chips = suggestions.map(({ text, value }) =>
    element('button', { type: 'button', class: 'chip', dir: 'auto', onclick: () => choose(value ?? text) }, text));
  container.replaceChildren(...chips);
  container.hidden = chips.length === 0;
}

