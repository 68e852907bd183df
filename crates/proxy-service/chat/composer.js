/* Where the person writes: grows with the text, sends with Enter, and stops an answer while it is being written. */

import { icon } from './dom.js';

/* From this share of the limit on, what is left is shown. */
const NEAR_LIMIT = 0.9;
const HEIGHT_MAX = 200;

export class Composer {
  constructor(page, texts, limit, actions) {
    Object.assign(this, { page, texts, limit, actions });
    this.isWriting = false;
    this.isOff = false;
    page.input.addEventListener('input', () => {
      actions.changed(page.input.value);
      this.refresh();
    });
    page.input.addEventListener('keydown', (event) => {
      /* Enter that ends a word of an input method is not meant for us. */
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      if (!this.isWriting) this.#send();
    });
    page.form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.isWriting) actions.stop();
      else this.#send();
    });
  }

  /** What an earlier visit left, or nothing. */
  setText(text) {
    this.page.input.value = text;
    this.refresh();
  }

  /** Whether an answer is being written here, and whether nothing can be asked. */
  setState({ isWriting, isOff }) {
    if (this.isWriting !== isWriting) this.page.send.replaceChildren();
    Object.assign(this, { isWriting, isOff });
    this.refresh();
  }

  #send() {
    const text = this.page.input.value.trim();
    if (!this.#canSend(text)) return;
    this.page.input.value = '';
    this.actions.changed('');
    this.actions.send(text);
    this.refresh();
  }

  #canSend(text) {
    return text !== '' && this.#over(text) <= 0 && !this.isOff && !this.actions.attachments.isUploading;
  }

  /* Characters as the server counts them, not halves of them. */
  #over(text) {
    return text.length <= this.limit ? 0 : [...text].length - this.limit;
  }

  refresh() {
    const { input, send, count, attach } = this.page;
    input.style.height = 'auto';
    input.style.height = `${Math.min(input.scrollHeight, HEIGHT_MAX)}px`;
    const text = input.value.trim();
    const over = this.#over(text);
    /* Empty, the field goes the page's way: its placeholder is the page's text. */
    input.dir = text === '' ? '' : 'auto';
    count.hidden = text.length < this.limit * NEAR_LIMIT;
    if (!count.hidden) count.textContent = over > 0 ? this.texts.of('input.tooLong', { count: over }) : this.texts.of('input.length', { length: [...text].length, limit: this.limit });
    input.setAttribute('aria-invalid', String(over > 0));
    attach.disabled = this.isOff;
    input.disabled = this.isOff;
    const label = this.texts.of(this.isWriting ? 'input.stop' : 'input.send');
    send.setAttribute('aria-label', label);
    send.title = label;
    send.classList.toggle('stop', this.isWriting);
    if (send.childElementCount === 0) send.append(icon(this.isWriting ? 'stop' : 'send'));
    send.setAttribute('aria-disabled', String(!this.isWriting && !this.#canSend(text)));
  }
}
