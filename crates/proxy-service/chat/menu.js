/* A menu behind a button, as the ARIA practices have it: arrows, Home, End, Escape. */

import { element, icon } from './dom.js';

const MARGIN_PX = 8;

let open = null;

/** Opens or closes the menu of a button. Items have a `label`, an `icon`, and `run` or an address (`href`). */
export function toggleMenu(button, items) {
  const wasOpen = open?.button === button;
  closeMenu();
  if (wasOpen) return;
  const entries = items.map((item) => entry(item));
  const menu = element('div', { class: 'menu', role: 'menu', 'aria-label': button.getAttribute('aria-label') },
    ...entries.map((node, index) => (items[index].isApart ? [element('hr', { role: 'separator' }), node] : node)).flat());
  document.body.append(menu);
  button.setAttribute('aria-expanded', 'true');
  open = { button, menu, entries };
  place(menu, button);
  menu.addEventListener('keydown', onKey);
  menu.addEventListener('click', () => closeMenu());
  entries[0]?.focus();
}

export function closeMenu(focusesButton = false) {
  if (!open) return;
  const { button, menu } = open;
  open = null;
  button.setAttribute('aria-expanded', 'false');
  const hadFocus = menu.contains(document.activeElement);
  menu.remove();
  if (focusesButton || hadFocus) button.focus();
}

function entry({ label, icon: name, href, run, isDanger }) {
  const attributes = { role: 'menuitem', tabindex: '-1', class: isDanger && 'danger' };
  const inside = [icon(name), element('span', { dir: 'auto' }, label)];
  if (href) return element('a', { href, ...attributes }, ...inside);
  const choose = () => {
    /* It is closed first: what runs may put the focus elsewhere. */
    closeMenu();
    run();
  };
  return element('button', { type: 'button', ...attributes, onclick: choose }, ...inside);
}

function place(menu, button) {
  const at = button.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const isRtl = getComputedStyle(button).direction === 'rtl';
  const left = isRtl ? at.left : at.right - width;
  const below = at.bottom + 4;
  const top = below + height + MARGIN_PX > innerHeight ? Math.max(MARGIN_PX, at.top - height - 4) : below;
  menu.style.left = `${Math.min(Math.max(MARGIN_PX, left), innerWidth - width - MARGIN_PX)}px`;
  menu.style.top = `${top}px`;
}

function onKey(event) {
  const { entries } = open;
  const at = entries.indexOf(document.activeElement);
  const moves = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
  if (event.key in moves) entries.at(moves[event.key] % entries.length).focus();
  else if (event.key === 'Escape' || event.key === 'Tab') closeMenu(true);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

document.addEventListener('pointerdown', (event) => {
  if (open && !open.menu.contains(event.target) && !open.button.contains(event.target)) closeMenu();
});
addEventListener('resize', () => closeMenu());
