/* The chat page: asks who is here and what they may use, and puts the parts together. */

import './icons.js';
import { Api, Refused, SignedOut, Unreachable } from './api.js';
import { Attachments } from './attachments.js';
import { Composer } from './composer.js';
import { confirmed } from './dialogs.js';
import { icon } from './dom.js';
import { Drafts, lastChatflow } from './drafts.js';
import { drawGreeting, priceOf } from './greeting.js';
import { toggleMenu } from './menu.js';
import { endSession } from './session.js';
import { Sidebar } from './sidebar.js';
import { Talks } from './talks.js';
import { Texts } from './texts.js';
import { Thread } from './thread.js';

/* Said when not even the texts could be loaded. */
const LOAD_FAILED = { en: ['The page could not be loaded.', 'Try again'], de: ['Die Seite konnte nicht geladen werden.', 'Erneut versuchen'] };

const root = document.documentElement;
const page = Object.fromEntries([...document.querySelectorAll('[id]')].map((node) => [node.id, node]));
const api = new Api();

start().catch((error) => {
  /* The log-in page is on its way. */
  if (error instanceof SignedOut) return;
  if (!(error instanceof Refused || error instanceof Unreachable)) console.error(error);
  if (error.code === 'password_change_required') location.assign('/account');
  else showFailure(error);
});

let texts;

async function start() {
  texts = await Texts.load(root);
  dress();
  const talks = new Talks(api);
  const [person, chatflows] = await Promise.all([api.me(), api.chatflows(), talks.lookForRunning(), talks.search('')]);
  new Chat(person, chatflows, talks);
}

function showFailure(error) {
  const [text, button] = LOAD_FAILED[root.lang] ?? LOAD_FAILED.en;
  page.failureText.textContent = texts ? `${text} ${texts.problem(error)}` : text;
  page.failureRetry.textContent = button;
  page.failureRetry.onclick = () => location.reload();
  page.failure.hidden = false;
}

function dress() {
  for (const node of document.querySelectorAll('[data-text]')) node.textContent = texts.of(node.dataset.text);
  for (const node of document.querySelectorAll('[data-label]')) {
    node.setAttribute('aria-label', texts.of(node.dataset.label));
    if (node.localName === 'button') node.title = texts.of(node.dataset.label);
  }
  for (const node of document.querySelectorAll('[data-icon]')) node.prepend(icon(node.dataset.icon));
  page.input.placeholder = texts.of('input.placeholder');
}

class Chat {
  #credits = null;
  #site = 'Flowgate';

  constructor(person, chatflows, talks) {
    Object.assign(this, { person, chatflows, talks });
    this.drafts = new Drafts(person.id);
    this.thread = new Thread(page, texts, {
      retry: (answer) => this.#run(talks.current.retry(answer)),
      decide: (label, input) => this.#send(label, input),
      ask: (text) => this.#send(text),
    });
    this.sidebar = new Sidebar(page, texts, talks, {
      run: (promise) => this.#run(promise),
      begin: () => this.#begin(),
      open: (id, message) => this.#open(id, message),
      choices: (conversation) => this.#choices(conversation),
      chatflowName: (id) => this.#chatflow(id)?.name ?? '',
    });
    this.attachments = new Attachments(page, texts, api, () => this.composer?.refresh());
    this.composer = new Composer(page, texts, Number(root.dataset.promptCharsMax), {
      attachments: this.attachments,
      changed: (text) => this.drafts.write(talks.current, text),
      send: (text) => this.#send(text),
      stop: () => talks.current.stop(),
    });
    this.#listen();
    this.#begins();
  }

  #listen() {
    const { talks } = this;
    talks.addEventListener('current', () => this.#showCurrent());
    talks.addEventListener('list', () => this.sidebar.draw());
    talks.addEventListener('messages', ({ detail }) => detail === talks.current && this.#showMessages());
    talks.addEventListener('answer', ({ detail: { conversation, answer } }) => conversation === talks.current && this.thread.grow(answer));
    talks.addEventListener('settled', ({ detail }) => {
      if (detail === talks.current) this.#setAddress(detail.id, 'replace');
      this.sidebar.draw();
    });
    talks.addEventListener('ended', ({ detail }) => this.#onEnded(detail));
    talks.addEventListener('unopened', ({ detail: { error } }) => this.#onUnopened(error));
    page.talkButton.addEventListener('click', () => toggleMenu(page.talkButton, this.#choices(talks.current)));
    page.personButton.addEventListener('click', () => toggleMenu(page.personButton, this.#personChoices()));
    page.brand.addEventListener('click', (event) => {
      event.preventDefault();
      this.#begin();
    });
    page.skip.addEventListener('click', (event) => {
      event.preventDefault();
      page.input.focus();
    });
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !event.isComposing && this.sidebar.isOpen) this.sidebar.toggle(false);
    });
    addEventListener('popstate', () => this.#goToAddress());
    addEventListener('online', () => this.#refresh());
    addEventListener('offline', () => this.#showNotice());
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.#refresh());
  }

  #begins() {
    page.adminLink.hidden = this.person.role !== 'admin';
    this.sidebar.draw();
    this.#goToAddress();
    page.root.hidden = false;
    this.composer.refresh();
    page.input.focus();
    this.#refreshCredits();
    this.#showSite();
  }

  /* What is asked for in vain is said where one looks, never with a page that is gone. */
  #run(promise) {
    return promise.catch((error) => {
      if (error instanceof SignedOut) return;
      if (!error.code) console.error(error);
      this.#showNotice(texts.problem(error));
    });
  }

  #chatflow(id) {
    return this.chatflows.find((chatflow) => chatflow.id === id);
  }

  async #showSite() {
    try {
      this.#site = (await api.settings()).site_name || this.#site;
    } catch {
      /* A name of ours does, too. */
    }
    page.site.textContent = this.#site;
    this.#showTitle();
  }

  async #refreshCredits() {
    try {
      this.#credits = await api.credits();
    } catch {
      this.#credits = null;
    }
    page.credits.hidden = this.#credits === null;
    if (this.#credits !== null) page.credits.replaceChildren(icon('coins'), texts.of('credits.left', { count: this.#credits }));
    this.#showCost();
  }

  #refresh() {
    this.#showNotice();
    this.#refreshCredits();
    this.#run(this.talks.refresh());
  }

  /* The address after # names the conversation: it is sent to nobody, and lasts through a reload. */
  #goToAddress() {
    const id = location.hash.slice(1);
    if (id) this.#run(this.talks.open(id));
    else this.talks.begin(this.#usual());
  }

  #setAddress(id, how) {
    const address = location.pathname + location.search + (id ? `#${id}` : '');
    if (how === 'replace') history.replaceState(null, '', address);
    else if (location.hash.slice(1) !== (id ?? '')) history.pushState(null, '', address);
  }

  #usual() {
    const wanted = new URLSearchParams(location.search).get('chatflow');
    return (this.#chatflow(wanted) ?? this.#chatflow(lastChatflow.read()) ?? this.chatflows[0])?.id ?? null;
  }

  #begin() {
    this.#setAddress(null);
    this.talks.begin(this.talks.current?.chatflowId && this.#chatflow(this.talks.current.chatflowId) ? this.talks.current.chatflowId : this.#usual());
    page.input.focus();
  }

  async #open(id, message) {
    this.#setAddress(id);
    await this.#run(this.talks.open(id, message));
    if (message && this.talks.current?.id === id) this.thread.reveal(message);
    else if (matchMedia('(pointer: fine)').matches) page.input.focus();
  }

  #onUnopened(error) {
    this.#setAddress(null, 'replace');
    this.talks.begin(this.#usual());
    this.#showNotice(texts.problem(error));
  }

  #showCurrent() {
    const { current } = this.talks;
    if (this.shown !== current) {
      this.shown = current;
      this.thread.clear();
      this.composer.setText(this.drafts.read(current));
    }
    this.#showNotice();
    this.#showMessages();
    this.sidebar.draw();
  }

  #showMessages() {
    const { current } = this.talks;
    const isEmpty = current.isLoaded && current.messages.length === 0;
    page.greeting.hidden = !isEmpty;
    if (isEmpty) {
      const shown = { chatflows: this.chatflows, chosen: current.chatflowId, name: this.person.username };
      drawGreeting(page.greeting, texts, shown, (id) => this.#choose(id));
    }
    this.thread.show(current.messages);
    page.scroller.setAttribute('aria-busy', String(!current.isLoaded));
    page.talkButton.hidden = current.id === null;
    this.#showTitle();
    this.#showState();
  }

  #choose(id) {
    this.talks.current.chatflowId = id;
    lastChatflow.write(id);
    this.#showTitle();
    this.#showState();
  }

  #showTitle() {
    const { current } = this.talks;
    const title = current.id || current.messages.length > 0 ? current.title || texts.of('talk.untitled') : texts.of('talk.new');
    const chatflow = this.#chatflow(current.chatflowId)?.name ?? '';
    page.title.textContent = title;
    page.subtitle.textContent = chatflow;
    page.subtitle.hidden = chatflow === '';
    document.title = `${title} – ${this.#site}`;
  }

  #showState() {
    const { current } = this.talks;
    /* Reading goes on where asking ends. */
    this.isTakenAway = current.chatflowId !== null && !this.#chatflow(current.chatflowId);
    this.composer.setState({ isWriting: current.isWriting, isOff: !this.#chatflow(current.chatflowId) && !current.isWriting });
    this.#showCost();
    if (this.isTakenAway) this.#showNotice();
  }

  #showCost() {
    const chatflow = this.#chatflow(this.talks.current?.chatflowId);
    const isShort = this.#credits !== null && this.#credits < (chatflow?.price ?? 1);
    const cost = chatflow ? priceOf(texts, chatflow) : '';
    page.cost.textContent = chatflow && isShort ? `${cost} ${texts.of('cost.short', { count: this.#credits })}` : cost;
    page.cost.classList.toggle('trouble', Boolean(chatflow && isShort));
  }

  #showNotice(text = '') {
    const standing = navigator.onLine === false ? texts.of('messages.offline') : this.isTakenAway ? texts.of('errors.chatflow_access_denied') : '';
    page.notice.textContent = text || standing;
    page.notice.hidden = page.notice.textContent === '';
  }

  async #send(text, input) {
    const { current } = this.talks;
    if (current.isWriting) return;
    const files = this.attachments.take();
    this.attachments.clearTrouble();
    this.#showNotice();
    lastChatflow.write(current.chatflowId);
    page.spoken.textContent = '';
    page.input.focus();
    await this.#run(this.talks.send(text, files, input));
  }

  #onEnded({ conversation, question, answer }) {
    this.talks.noteEnd(conversation);
    /* It waits in the field until somebody is signed in again. */
    if (answer.problem?.code === 'signed_out') this.drafts.write(conversation, question.text);
    if (conversation === this.talks.current) {
      this.#showMessages();
      this.#speak(answer);
    }
    this.#refreshCredits();
    this.sidebar.draw();
    if (answer.problem?.code === 'chatflow_access_denied') this.#run(this.#refreshChatflows());
  }

  async #refreshChatflows() {
    this.chatflows = await api.chatflows();
    this.#showMessages();
  }

  /* What is read aloud: an answer when it is complete, never the pieces it came in. */
  #speak(answer) {
    const parts = answer.text === '' ? [] : [`${texts.of('messages.assistant')}: ${this.thread.spoken(answer)}`];
    parts.push(this.thread.note(answer));
    page.spoken.textContent = parts.filter(Boolean).join(' ');
  }

  #choices(conversation) {
    return [
      { label: texts.of('talk.rename'), icon: 'pencil', run: () => this.sidebar.rename(conversation) },
      { label: texts.of('talk.exportText'), icon: 'save', run: () => this.#run(this.#export(conversation, 'markdown', 'md')) },
      { label: texts.of('talk.exportData'), icon: 'save', run: () => this.#run(this.#export(conversation, 'json', 'json')) },
      { label: texts.of('talk.delete'), icon: 'trash', isDanger: true, isApart: true, run: () => this.#run(this.#remove(conversation)) },
    ];
  }

  async #export(conversation, format, ending) {
    const blob = await api.exported(conversation.id, format);
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    const name = (conversation.title || texts.of('talk.untitled')).replace(/[\\/:*?"<>|\s\p{Cc}]+/gu, ' ').trim().slice(0, 80);
    link.download = `${name}.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  async #remove(conversation) {
    const title = conversation.title || texts.of('talk.untitled');
    if (!(await confirmed(texts, { title: texts.of('talk.deleteTitle'), text: texts.of('talk.deleteText', { name: title }), agree: texts.of('talk.delete') }))) return;
    const wasOpen = await this.talks.remove(conversation);
    if (wasOpen) this.#begin();
    page.spoken.textContent = texts.of('talk.deleted');
  }

  #personChoices() {
    return [
      { label: texts.of('page.credits'), icon: 'coins', href: '/credits' },
      { label: texts.of('page.account'), icon: 'person', href: '/account' },
      ...(this.person.role === 'admin' ? [{ label: texts.of('page.admin'), icon: 'gear', href: '/admin' }] : []),
      { label: texts.of('page.signOut', { name: this.person.username }), icon: 'leave', isApart: true, run: () => this.#run(endSession()) },
    ];
  }
}
