/* What stands where nothing was said yet: a choice of chatflows, or whom to ask for one. */

import { element } from './dom.js';

/** Draws it into `container`; `choose` hears which chatflow is wanted. */
export function drawGreeting(container, texts, { chatflows, chosen, name }, choose) {
  if (chatflows.length === 0) {
    container.replaceChildren(
      element('h2', {}, texts.of('greeting.none')),
      element('p', {}, texts.of('greeting.ask')));
    return;
  }
  const title = element('h2', {}, texts.of(name ? 'greeting.hello' : 'greeting.title', { name }));
  if (chatflows.length === 1) {
    const [only] = chatflows;
    container.replaceChildren(title, element('p', { class: 'only' },
      element('strong', { dir: 'auto' }, only.name), only.description && element('span', { dir: 'auto' }, only.description)));
    return;
  }
  const cards = chatflows.map((chatflow) => {
    const input = element('input', { type: 'radio', name: 'chatflow', value: chatflow.id, onchange: () => choose(chatflow.id) });
    input.checked = chatflow.id === chosen;
    return element('label', { class: 'card' }, input,
      element('span', { class: 'name', dir: 'auto' }, chatflow.name),
      element('span', { class: 'about', dir: 'auto' }, chatflow.description || null),
      element('span', { class: 'price' }, priceOf(texts, chatflow)));
  });
  container.replaceChildren(title, element('fieldset', { class: 'cards' }, element('legend', {}, texts.of('greeting.choose')), ...cards));
}

/** What a message to a chatflow costs, in a sentence. */
export function priceOf(texts, chatflow) {
  if (!chatflow || chatflow.price === undefined) return '';
  if (chatflow.price === null) return texts.of('cost.byUsage');
  return chatflow.price === 0 ? texts.of('cost.free') : texts.of('cost.flat', { count: chatflow.price });
}
