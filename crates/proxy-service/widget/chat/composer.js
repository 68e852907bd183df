/* Where the visitor writes: grows with the text, sends with Enter, and stops an answer while it is being written. */

import { icon } from './dom.js';

/* From this share of the limit on, what is left is shown. */
const NEAR_LIMIT = 0.9;
const HEIGHT_MAX = 160;

export class Composer {
  constructor(page, texts, limit, actions) {
    this.page = page;
    this.texts = texts;
    this.limit = limit;
    this.actions = actions;
    this.isWriting = false;
    page.input.addEventListener('input', () => this.refresh());
    page.input.addEventListener('keydown', (event) => {
      /* Enter that ends a word of an input method is not meant for us. */
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      if (!this.isWriting) this.#send();
    });
    page.form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.isWriting) this.actions.stop();
      else this.#send();
    });
    this.refresh();
  }

  /** Whether an answer is being written in the conversation that is shown. */
  setWriting(isWriting) {
    const was = this.isWriting;
    this.isWriting = isWriting;
    if (was !== isWriting) this.page.send.replaceChildren();
    this.refresh();
  }

  #send() {
    const text = this.page.input.value.trim();
    if (text === '' || this.#over(text) > 0) return;
    this.page.input.value = '';
    this.refresh();
    this.actions.send(text);
  }

  /* Characters as the server counts them, not halves of them. */
  #over(text) {
    return text.length <= this.limit ? 0 : [...text].length - this.limit;
  }

  refresh() {
    const { input, send, count } = this.page;
    input.style.height = 'auto';
    input.style.height = `${Math.min(input.scrollHeight, HEIGHT_MAX)}px`;
    const text = input.value.trim();
    const over = this.#over(text);
    /* Empty, the field goes the page's way: its placeholder is the page's text. */
    input.dir = text === '' ? '' : 'auto';
    count.hidden = text.length < this.limit * NEAR_LIMIT;
    if (!count.hidden) count.textContent = over > 0 ? this.texts['input.tooLong'].replace('{count}', over) : `${[...text].length} / ${this.limit}`;
    input.setAttribute('aria-invalid', String(over > 0));
    const label = this.texts[this.isWriting ? 'input.stop' : 'input.send'];
    send.setAttribute('aria-label', label);
    send.title = label;
    send.classList.toggle('stop', this.isWriting);
    if (send.childElementCount === 0) send.append(icon(this.isWriting ? 'stop' : 'send'));
    send.setAttribute('aria-disabled', String(!this.isWriting && (text === '' || over > 0)));
  }
}
