/* Files as they are shown: pictures in small, others by name. All of them are the person's own, at our own addresses. */

import { element, icon } from './dom.js';
import { showPicture } from './dialogs.js';

const addressOf = (id) => `/api/v1/chat/files/${encodeURIComponent(id)}`;

/** The files of a message. */
export function drawFiles(texts, files) {
  return element('ul', { class: 'files' }, ...files.map((file) => element('li', {}, file.isImage ? picture(texts, file) : named(texts, file))));
}

function picture(texts, file) {
  const address = addressOf(file.id);
  const image = element('img', { src: `${address}/thumbnail?size=480`, alt: '', loading: 'lazy' });
  const button = element('button', {
    type: 'button', class: 'thumbnail', 'aria-label': texts.of('files.enlarge', { name: file.name }), title: file.name,
    onclick: () => showPicture(texts, { name: file.name, address, download: `${address}?download=true` }),
  }, image);
  /* A picture may be gone, or too odd to be made small. */
  image.addEventListener('error', () => button.replaceWith(named(texts, file)));
  return button;
}

function named(texts, file) {
  return element('a', { class: 'file', href: `${addressOf(file.id)}?download=true`, download: '' },
    icon('file'),
    element('span', { class: 'name', dir: 'auto' }, file.name),
    Number.isFinite(file.size) && file.size > 0 ? element('span', { class: 'size' }, texts.size(file.size)) : null);
}
