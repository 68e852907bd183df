/* Windows in front of the page: a question before something is deleted, a picture in large. */

import { element, icon } from './dom.js';

/** Asks; resolves to whether the person agrees. */
export function confirmed(texts, { title, text, agree }) {
  return new Promise((resolve) => {
    const cancel = element('button', { type: 'button', autofocus: true, onclick: () => dialog.close('no') }, texts.of('dialog.cancel'));
    const yes = element('button', { type: 'button', class: 'danger', onclick: () => dialog.close('yes') }, agree);
    const dialog = element('dialog', { class: 'question', 'aria-labelledby': 'dialogTitle', 'aria-describedby': 'dialogText' },
      element('h2', { id: 'dialogTitle' }, title),
      element('p', { id: 'dialogText', dir: 'auto' }, text),
      element('div', { class: 'choices' }, cancel, yes));
    show(dialog, () => resolve(dialog.returnValue === 'yes'));
  });
}

/** Asks for a text of one line; resolves to it, or to nothing. */
export function written(texts, { title, value, limit, agree }) {
  return new Promise((resolve) => {
    const input = element('input', { type: 'text', maxlength: String(limit), dir: 'auto', autofocus: true, autocomplete: 'off', 'aria-labelledby': 'dialogTitle' });
    input.value = value.slice(0, limit);
    const form = element('form', { onsubmit: (event) => {
      event.preventDefault();
      dialog.close('yes');
    } }, input, element('div', { class: 'choices' },
      element('button', { type: 'button', onclick: () => dialog.close('no') }, texts.of('dialog.cancel')),
      element('button', { type: 'submit' }, agree)));
    const dialog = element('dialog', { class: 'question', 'aria-labelledby': 'dialogTitle' }, element('h2', { id: 'dialogTitle' }, title), form);
    show(dialog, () => resolve(dialog.returnValue === 'yes' ? input.value.trim() : ''));
    input.select();
  });
}

/** Shows a picture in large. */
export function showPicture(texts, { name, address, download }) {
  const close = element('button', { type: 'button', class: 'quiet', autofocus: true, 'aria-label': texts.of('dialog.close'), title: texts.of('dialog.close'), onclick: () => dialog.close() }, icon('close'));
  const save = download && element('a', { href: download, download: '', class: 'quiet', 'aria-label': texts.of('files.save'), title: texts.of('files.save') }, icon('save'));
  const dialog = element('dialog', { class: 'picture', 'aria-label': name },
    element('div', { class: 'picture-head' }, element('p', { dir: 'auto' }, name), save, close),
    element('img', { src: address, alt: name }));
  show(dialog, () => {});
}

function show(dialog, ended) {
  const focused = document.activeElement;
  dialog.addEventListener('close', () => {
    dialog.remove();
    if (focused?.isConnected) focused.focus();
    ended();
  });
  /* Beside the window is outside of it. */
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}
