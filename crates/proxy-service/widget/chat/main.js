/* The chat page: reads its configuration, and puts the parts together. */

import { Api, ChatError } from './api.js';
import { Chats } from './chats.js';
import { Composer } from './composer.js';
import { icon } from './dom.js';
import { Drawer } from './drawer.js';
import { Host } from './host.js';
import { openStore } from './store.js';
import { applyTheme } from './theme.js';
import { Thread, drawSuggestions } from './thread.js';

const MESSAGE_CHARS_MAX = 10_000;
const RIGHT_TO_LEFT = ['ar', 'arc', 'dv', 'fa', 'he', 'ku', 'ps', 'sd', 'ug', 'ur', 'yi'];

/* What is said when not even the texts could be loaded. */
const LOAD_FAILED = {
  en: ['The chat could not be loaded.', 'Try again'],
  zh: ['无法加载聊天。', '重试'],
  es: ['No se pudo cargar el chat.', 'Reintentar'],
  de: ['Der Chat konnte nicht geladen werden.', 'Erneut versuchen'],
  fr: ['Le chat n’a pas pu être chargé.', 'Réessayer'],
  ru: ['Не удалось загрузить чат.', 'Повторить'],
};

const options = new URLSearchParams(location.search);
const byId = (id) => document.getElementById(id);
const page = Object.fromEntries([
  'root', 'main', 'title', 'subtitle', 'scroller', 'greeting', 'welcome', 'suggestions', 'messages', 'jump', 'form', 'input',
  'send', 'count', 'drawer', 'drawerButton', 'drawerNew', 'list', 'emptyList', 'notKept', 'newChat', 'closeChat', 'spoken',
  'failure', 'failureText', 'failureRetry',
].map((id) => [id, byId(id)]));

const host = new Host();
applyTheme(document.documentElement, options.get('theme'));
start();

async function start() {
  const api = new Api(location.search);
  /* The page around this one speaks at once, if it speaks at all; somebody else's frame code need not. */
  const around = await Promise.race([host.connected, new Promise((resolve) => setTimeout(resolve, 1500, null))]);
  if (around) Object.assign(api, { parent: around.origin, page: around.page });
  try {
    const config = await api.config();
    await run(api, config, around);
  } catch (error) {
    if (!(error instanceof ChatError)) console.error(error);
    showFailure();
  }
}

function showFailure() {
  const language = (options.get('language') ?? navigator.language).slice(0, 2).toLowerCase();
  const [text, button] = LOAD_FAILED[language] ?? LOAD_FAILED.en;
  page.failureText.textContent = text;
  page.failureRetry.textContent = button;
  page.failureRetry.onclick = () => location.reload();
  page.failure.hidden = false;
  page.root.hidden = true;
}

async function run(api, config, around) {
  const { strings: texts, language } = config;
  dress(config, texts, language);
  const chats = new Chats(api, await openStore(api.embed));
  const thread = new Thread(page, texts, language, { retry: (answer) => chats.retry(answer) });
  const drawer = new Drawer(page, texts, language, { chats });
  const composer = new Composer(page, texts, config.behavior?.maxMessageLength ?? MESSAGE_CHARS_MAX, {
    send: (text) => chats.send(text).catch(fail),
    stop: () => chats.stop(),
  });
  const begin = async () => {
    await chats.begin();
    drawer.toggle(false);
    page.input.focus();
  };
  drawSuggestions(page.suggestions, config.texts?.suggestions ?? [], (text) => {
    page.input.focus();
    chats.send(text).catch(fail);
  });

  chats.addEventListener('messages', () => {
    thread.show(chats.messages);
    composer.setWriting(chats.isWriting());
  });
  chats.addEventListener('list', () => {
    drawer.draw();
    host.tell({ type: 'unread', count: chats.unread });
  });
  chats.addEventListener('answer', ({ detail }) => thread.grow(detail));
  chats.addEventListener('finished', ({ detail: { conversation, answer } }) => {
    if (conversation === chats.current) speak(thread, texts, answer);
  });
  page.newChat.addEventListener('click', begin);
  page.drawerNew.addEventListener('click', begin);
  page.closeChat.addEventListener('click', () => host.tell({ type: 'close' }));
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.isComposing) return;
    if (drawer.isOpen) drawer.toggle(false);
    else host.tell({ type: 'close' });
  });

  let isShown = around ? around.open : true;
  const look = () => chats.look(isShown && document.visibilityState === 'visible').catch(fail);
  host.addEventListener('shown', () => {
    isShown = true;
    look();
    thread.toEnd();
    page.input.focus();
  });
  host.addEventListener('hidden', () => {
    isShown = false;
    look();
  });
  document.addEventListener('visibilitychange', look);
  chats.isSeen = isShown && document.visibilityState === 'visible';
  await chats.start();
  page.root.hidden = false;
  composer.refresh();
  thread.toEnd();
  host.tell({ type: 'ready', title: texts['header.title'], accent: config.appearance?.theme?.primaryColor });
  if (isShown) page.input.focus();
}

function fail(error) {
  console.error(error);
}

/* What is read aloud: an answer when it is complete, never the pieces it came in. */
function speak(thread, texts, answer) {
  const name = texts['messages.assistant'];
  const parts = answer.text === '' ? [] : [`${name}: ${thread.spoken(answer)}`];
  if (answer.state === 'failed') parts.push(thread.errorText(answer));
  if (answer.state === 'interrupted') parts.push(texts['messages.interrupted']);
  if (answer.state === 'stopped') parts.push(texts['messages.stopped']);
  page.spoken.textContent = parts.join(' ');
}

function dress(config, texts, language) {
  const root = document.documentElement;
  root.lang = language;
  const base = language.split('-')[0];
  root.dir = config.dir ?? (RIGHT_TO_LEFT.includes(base) ? 'rtl' : 'ltr');
  applyTheme(root, config.appearance?.scheme, config.appearance?.theme);
  document.title = texts['header.title'];
  for (const node of document.querySelectorAll('[data-text]')) node.textContent = texts[node.dataset.text];
  for (const node of document.querySelectorAll('[data-label]')) {
    node.setAttribute('aria-label', texts[node.dataset.label]);
    if (node.localName === 'button') node.title = texts[node.dataset.label];
  }
  for (const node of document.querySelectorAll('[data-icon]')) node.prepend(icon(node.dataset.icon));
  page.input.placeholder = texts['input.placeholder'];
  page.subtitle.hidden = texts['header.subtitle'] === '';
  page.closeChat.hidden = !host.isFramed;
}
