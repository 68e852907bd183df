/* The visitor's conversations, and the answers that are being written in them. Knows nothing of how they look. */

import { ChatError } from './api.js';
import { newId } from './store.js';

/* How often a growing answer is written down, so that a reload loses little of it. */
const SAVE_EVERY_MS = 700;
const PREVIEW_CHARS = 80;

/* States of an answer: `writing`, `complete`, `stopped`, `interrupted` (there may be more of it), `failed`. */

export class Chats extends EventTarget {
  #running = new Map();
  #sessions = new Map();
  #stopping = new Map();

  constructor(api, store) {
    super();
    this.api = api;
    this.store = store;
    this.list = [];
    this.current = null;
    this.messages = [];
    this.isSeen = true;
    /* Other tabs of the same site show the same conversations. */
    if (store.isKept && 'BroadcastChannel' in globalThis) {
      this.others = new BroadcastChannel(`flowgate-chat-${api.embed}`);
      this.others.onmessage = () => this.#reload();
    }
  }

  async start() {
    this.list = await this.store.conversations();
    await this.#show(this.list[0] ?? null);
  }

  /** Tells whoever draws: `list`, `messages` or `answer` changed. */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async #show(conversation) {
    this.current = conversation;
    this.messages = conversation ? await this.store.messages(conversation.id) : [];
    if (conversation) {
      const running = this.#running.get(conversation.id);
      /* The one that is growing is newer than what was written down of it. */
      if (running) this.messages = this.messages.map((message) => (message.id === running.answer.id ? running.answer : message));
      await this.#see(conversation);
    }
    this.#tell('messages');
    this.#tell('list');
    await this.#settleInterrupted();
  }

  async open(id) {
    const conversation = this.list.find((known) => known.id === id);
    if (conversation) await this.#show(conversation);
  }

  /** An empty conversation; it begins to exist with its first message. */
  async begin() {
    await this.#show(null);
  }

  async remove(id) {
    const conversation = this.list.find((known) => known.id === id);
    if (!conversation) return;
    this.stop(id);
    const ended = this.#stopping.get(id);
    await this.store.remove(id);
    this.list = this.list.filter((known) => known.id !== id);
    if (conversation.session) Promise.resolve(ended).then(() => this.api.closeSession(conversation.session)).catch(() => {});
    if (this.current?.id === id) await this.#show(this.list[0] ?? null);
    else this.#tell('list');
    this.others?.postMessage('changed');
  }

  /** Whether the visitor looks at the current conversation; what comes meanwhile is unread. */
  async look(isSeen) {
    this.isSeen = isSeen;
    if (isSeen && this.current) await this.#see(this.current);
    this.#tell('list');
  }

  async #see(conversation) {
    if (!this.isSeen || !conversation.unread) return;
    conversation.unread = 0;
    await this.#save(conversation);
    this.others?.postMessage('changed');
  }

  get unread() {
    return this.list.reduce((sum, conversation) => sum + (conversation.unread ?? 0), 0);
  }

  isWriting(id = this.current?.id) {
    return this.#running.has(id);
  }

  /** Ends the answer that is being written. The next message waits until the server has ended it, too. */
  stop(id = this.current?.id) {
    const running = this.#running.get(id);
    if (!running) return;
    running.controller.abort();
    const { session } = this.list.find((known) => known.id === id) ?? {};
    if (!running.turn || !session) return;
    const ended = this.api.stop(session, running.turn).catch(() => {});
    this.#stopping.set(id, ended.then(() => this.#stopping.delete(id)));
  }

  /** Sends what the visitor wrote; ends when its answer has. */
  async send(text) {
    let conversation = this.current;
    const now = Date.now();
    if (!conversation) {
      conversation = { id: newId(), createdAt: now, updatedAt: now, title: text.slice(0, PREVIEW_CHARS), unread: 0 };
      this.current = conversation;
      this.messages = [];
      this.list = [conversation, ...this.list];
    }
    const question = { id: newId(), conversation: conversation.id, role: 'user', text, at: now, order: 0 };
    this.messages.push(question);
    await this.store.putMessage(question);
    await this.#answer(conversation, question);
  }

  /** Asks once more what had no answer, or half of one. */
  async retry(answer) {
    const conversation = this.list.find((known) => known.id === answer.conversation);
    if (!conversation || this.isWriting(conversation.id)) return;
    const at = this.messages.indexOf(answer);
    const question = this.messages.slice(0, at).findLast((message) => message.role === 'user');
    if (question) await this.#answer(conversation, question, answer);
  }

  async #answer(conversation, question, before) {
    if (this.isWriting(conversation.id)) return;
    const answer = before ?? { id: newId(), conversation: conversation.id, role: 'assistant', order: 1 };
    /* A request that never arrived is the same request when it is sent again; one that was answered is a new one. */
    const key = answer.state === 'failed' && answer.key ? answer.key : newId();
    Object.assign(answer, { text: '', at: Date.now(), state: 'writing', error: undefined, waitUntil: undefined, key });
    if (!before) this.messages.push(answer);
    const controller = new AbortController();
    this.#running.set(conversation.id, { controller, answer });
    conversation.preview = question.text.slice(0, PREVIEW_CHARS);
    conversation.updatedAt = Date.now();
    await this.store.putMessage(answer);
    await this.#save(conversation);
    this.#tell('messages');
    this.#tell('list');
    try {
      await this.#read(conversation, question, answer, controller.signal);
      answer.state = 'complete';
    } catch (error) {
      this.#fail(answer, error, controller.signal.aborted);
    }
    this.#running.delete(conversation.id);
    await this.#finish(conversation, answer);
  }

  async #read(conversation, question, answer, signal) {
    let savedAt = performance.now();
    for (let tries = 1; ; tries += 1) {
      await this.#stopping.get(conversation.id);
      const session = await this.#session(conversation);
      signal.throwIfAborted();
      try {
        for await (const piece of this.api.ask(session, question.text, answer.key, signal)) {
          if (piece.complete) return;
          if (piece.turn) this.#running.get(conversation.id).turn = piece.turn;
          if (piece.text) answer.text += piece.text;
          this.#tell('answer', answer);
          if (performance.now() - savedAt > SAVE_EVERY_MS) {
            savedAt = performance.now();
            this.store.putMessage({ ...answer }).catch(() => {});
          }
        }
      } catch (error) {
        /* The server has forgotten the session: the conversation goes on in a new one, which starts without memory. */
        const isOver = error instanceof ChatError && error.kind === 'session' && answer.text === '';
        if (!isOver || tries === 2) throw error;
        conversation.session = undefined;
      }
    }
  }

  /* One session a conversation, also when it is asked for twice at once. */
  async #session(conversation) {
    if (conversation.session) return conversation.session;
    if (!this.#sessions.has(conversation.id)) {
      const opening = this.api.openSession().finally(() => this.#sessions.delete(conversation.id));
      this.#sessions.set(conversation.id, opening);
    }
    conversation.session = await this.#sessions.get(conversation.id);
    await this.#save(conversation);
    return conversation.session;
  }

  #fail(answer, error, isStopped) {
    if (isStopped) {
      answer.state = 'stopped';
      return;
    }
    answer.state = answer.text === '' ? 'failed' : 'interrupted';
    answer.error = error instanceof ChatError ? error.kind : 'errorMessage';
    if (error.waitSecs) answer.waitUntil = Date.now() + error.waitSecs * 1000;
    if (!(error instanceof ChatError)) console.error(error);
  }

  async #finish(conversation, answer) {
    /* It may have been deleted meanwhile. */
    if (!this.list.includes(conversation)) return;
    if (!(this.isSeen && this.current === conversation) && answer.state === 'complete') conversation.unread = (conversation.unread ?? 0) + 1;
    if (answer.text !== '') conversation.preview = answer.text.slice(0, PREVIEW_CHARS);
    conversation.updatedAt = Date.now();
    await this.store.putMessage({ ...answer });
    await this.#save(conversation);
    await this.store.trim(conversation.id);
    this.#tell('finished', { conversation, answer });
    this.#tell('messages');
    this.#tell('list');
    this.others?.postMessage('changed');
  }

  /* What was being written when the page was left: the server may have all of it. */
  async #settleInterrupted() {
    const { current } = this;
    const answer = this.messages.at(-1);
    if (!current || answer?.state !== 'writing' || this.isWriting(current.id)) return;
    let known;
    if (current.session) known = await this.api.history(current.session).catch(() => undefined);
    const last = known?.at(-1);
    const isWhole = last?.role === 'assistant' && typeof last.content === 'string' && last.content.startsWith(answer.text.trimEnd());
    if (this.isWriting(current.id)) return;
    if (isWhole) Object.assign(answer, { text: last.content, state: 'complete' });
    else Object.assign(answer, { state: answer.text === '' ? 'failed' : 'interrupted', error: 'connectionError' });
    await this.store.putMessage({ ...answer });
    if (this.current === current) this.#tell('messages');
  }

  /* `updatedAt` is the time of the last message, by which the list is sorted. */
  async #save(conversation) {
    this.list.sort((a, b) => b.updatedAt - a.updatedAt);
    await this.store.putConversation({ ...conversation });
  }

  async #reload() {
    if (this.#running.size > 0) return;
    this.list = await this.store.conversations();
    await this.#show(this.list.find((known) => known.id === this.current?.id) ?? (this.current ? this.list[0] ?? null : null));
  }
}
