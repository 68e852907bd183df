/* Files for the next question: chosen, dropped or pasted. Each is sent by itself at once, so that what is refused is known
   before the question is asked. */

import { element, icon } from './dom.js';

/* The server's own limits, to say no before anything is sent. */
const FILES_MAX = 10;
const FILE_BYTES_MAX = 10 << 20;
const BYTES_MAX = 22 << 20;

const PICTURES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

export class Attachments {
  #list = [];

  constructor(page, texts, api, changed) {
    Object.assign(this, { page, texts, api, changed });
    page.attach.addEventListener('click', () => page.files.click());
    page.files.addEventListener('change', () => {
      this.add([...page.files.files]);
      page.files.value = '';
      page.input.focus();
    });
    page.input.addEventListener('paste', (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length === 0) return;
      event.preventDefault();
      this.add(files);
    });
    this.#listenForDrops();
  }

  /* Moving over what is inside leaves and enters again: so the doors are counted. */
  #listenForDrops() {
    let inside = 0;
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
    const show = (count) => {
      inside = Math.max(0, count);
      this.page.drop.hidden = inside === 0;
    };
    addEventListener('dragenter', (event) => {
      if (hasFiles(event)) show(inside + 1);
    });
    addEventListener('dragleave', (event) => {
      if (hasFiles(event)) show(inside - 1);
    });
    addEventListener('dragover', (event) => {
      if (hasFiles(event)) event.preventDefault();
    });
    addEventListener('drop', (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      show(0);
      this.add([...event.dataTransfer.files]);
      this.page.input.focus();
    });
  }

  get isEmpty() {
    return this.#list.length === 0;
  }

  /** Whether a question would have to wait for a file. */
  get isUploading() {
    return this.#list.some((one) => one.state === 'uploading');
  }

  /** The files that are at the server, which belong to the next question from now on. */
  take() {
    const ready = this.#list.filter((one) => one.state === 'ready');
    for (const one of this.#list) this.#forget(one);
    this.#list = [];
    this.#draw();
    return ready.map(({ id, file, isImage }) => ({ id, name: file.name, size: file.size, isImage }));
  }

  add(files) {
    const troubles = [];
    for (const file of files) {
      const trouble = this.#trouble(file);
      if (trouble) troubles.push(trouble);
      else this.#begin(file);
    }
    this.#say([...new Set(troubles)].join(' '));
    this.#draw();
  }

  #trouble(file) {
    const name = file.name || this.texts.of('files.unnamed');
    const size = this.#list.reduce((sum, one) => sum + one.file.size, file.size);
    if (this.#list.length >= FILES_MAX) return this.texts.of('files.tooMany', { count: FILES_MAX });
    if (file.size > FILE_BYTES_MAX) return this.texts.of('files.tooLarge', { name, size: this.texts.size(file.size), limit: this.texts.size(FILE_BYTES_MAX) });
    if (size > BYTES_MAX) return this.texts.of('files.tooLargeTogether', { limit: this.texts.size(BYTES_MAX) });
    return file.size === 0 ? this.texts.of('files.empty', { name }) : null;
  }

  async #begin(file) {
    const isImage = PICTURES.includes(file.type);
    const one = { file, isImage, state: 'uploading', share: 0, controller: new AbortController(), preview: isImage ? URL.createObjectURL(file) : null };
    this.#list.push(one);
    try {
      const kept = await this.api.upload(file, (share) => this.#progress(one, share), one.controller.signal);
      Object.assign(one, { id: kept.file_id, state: 'ready' });
      /* The person may have taken it back meanwhile. */
      if (!this.#list.includes(one)) this.#removeAtServer(one);
    } catch (error) {
      if (error.name === 'AbortError' || !this.#list.includes(one)) return;
      this.#list = this.#list.filter((other) => other !== one);
      this.#forget(one);
      this.#say(this.texts.of('files.refused', { name: file.name || this.texts.of('files.unnamed'), reason: this.texts.problem(error) }));
    }
    this.#draw();
  }

  #progress(one, share) {
    one.share = share;
    if (one.bar) one.bar.value = share;
  }

  #remove(one) {
    const place = this.#list.indexOf(one);
    this.#list = this.#list.filter((other) => other !== one);
    one.controller.abort();
    this.#forget(one);
    if (one.id) this.#removeAtServer(one);
    this.#draw();
    (this.page.attachments.querySelectorAll('button')[Math.min(place, this.#list.length - 1)] ?? this.page.input).focus();
  }

  /* What nobody uses is removed there after a day in any case. */
  #removeAtServer(one) {
    this.api.removeFile(one.id).catch(() => {});
  }

  #forget(one) {
    if (one.preview) URL.revokeObjectURL(one.preview);
  }

  #say(text) {
    this.page.fileTrouble.textContent = text;
    this.page.fileTrouble.hidden = text === '';
  }

  /** What was wrong with files is old news. */
  clearTrouble() {
    this.#say('');
  }

  #draw() {
    this.page.attachments.replaceChildren(...this.#list.map((one) => this.#row(one)));
    this.page.attachments.hidden = this.isEmpty;
    this.changed();
  }

  #row(one) {
    const name = one.file.name || this.texts.of('files.unnamed');
    const label = this.texts.of('files.remove', { name });
    one.bar = one.state === 'uploading' ? element('progress', { max: 1, value: one.share, 'aria-label': this.texts.of('files.uploading', { name }) }) : null;
    return element('li', { 'data-state': one.state },
      one.preview ? element('img', { src: one.preview, alt: '' }) : icon('file'),
      element('span', { class: 'about' },
        element('span', { class: 'name', dir: 'auto' }, name),
        one.bar ?? element('span', { class: 'size' }, this.texts.size(one.file.size))),
      element('button', { type: 'button', class: 'quiet', 'aria-label': label, title: label, onclick: () => this.#remove(one) }, icon('close')));
  }
}
