/* The person's conversations: the list, the one that is open, and what is searched for. Knows nothing of how they look. */

import { Refused } from './api.js';
import { Conversation } from './conversation.js';

const PAGE = 30;
const FOUND_MAX = 20;
/* As many as the server gives at once. */
const LISTED_MAX = 500;

export class Talks extends EventTarget {
  #known = new Map();
  #running = new Map();
  #cursor = null;
  #asked = 0;

  constructor(api) {
    super();
    this.api = api;
    this.list = [];
    this.found = [];
    this.query = '';
    this.current = null;
    this.isListing = false;
  }

  get hasMore() {
    return this.#cursor !== null;
  }

  /** Tells whoever draws. `detail` is the conversation, or has it with its answer. */
  #tell = (type, detail) => {
    if (type === 'settled') this.#enlist(detail);
    this.dispatchEvent(new CustomEvent(type, { detail }));
  };

  /** The list from its beginning, of those in which `query` is found. */
  async search(query = this.query) {
    this.query = query;
    await this.#read(null);
  }

  async more() {
    if (this.hasMore && !this.isListing) await this.#read(this.#cursor);
  }

  async #read(cursor) {
    const asked = (this.#asked += 1);
    this.isListing = true;
    this.#tell('list');
    try {
      const found = this.query && cursor === null ? this.api.search(this.query, FOUND_MAX) : null;
      const [page, messages] = await Promise.all([this.api.sessions(this.query, cursor, PAGE), found]);
      /* Who types on wants to see what belongs to the last letter. */
      if (asked !== this.#asked) return;
      const listed = page.sessions.map((session) => this.#take(session));
      this.list = cursor === null ? this.#withUnsettled(listed) : [...this.list, ...listed.filter((one) => !this.list.includes(one))];
      if (cursor === null) this.found = messages ?? [];
      this.#cursor = page.next_cursor;
    } finally {
      if (asked === this.#asked) {
        this.isListing = false;
        this.#tell('list');
      }
    }
  }

  /* The first question of a conversation may be on its way. */
  #withUnsettled(listed) {
    const unsettled = this.list.filter((one) => one.id === null && one.isWriting);
    return this.query ? listed : [...unsettled, ...listed];
  }

  #take(session) {
    const id = session.session_id;
    const title = session.topic ?? session.first_message ?? '';
    const known = this.#known.get(id);
    if (known) {
      known.title = title;
      return known;
    }
    const at = new Date(session.created_at);
    const conversation = new Conversation(this.api, this.#tell, { id, chatflowId: session.chatflow_id, title, at });
    this.#known.set(id, conversation);
    return conversation;
  }

  #enlist(conversation) {
    this.#known.set(conversation.id, conversation);
    if (!this.list.includes(conversation) && !this.query) this.list = [conversation, ...this.list];
  }

  /** Which conversations are being answered, also by other tabs and before this page was loaded. */
  async lookForRunning() {
    const turns = await this.api.runningTurns();
    this.#running = new Map(turns.filter((turn) => turn.delivery === 'stored').map((turn) => [turn.session_id, turn.turn_id]));
    this.#tell('list');
  }

  isWriting(conversation) {
    return conversation.isWriting || this.#running.has(conversation.id);
  }

  /** An empty conversation; it begins to exist with its first question. */
  begin(chatflowId) {
    this.current = new Conversation(this.api, this.#tell, { chatflowId });
    this.#tell('current', this.current);
  }

  /** Shows a conversation, with the message of this id if one is named. */
  async open(id, message) {
    const conversation = this.#known.get(id) ?? new Conversation(this.api, this.#tell, { id, chatflowId: null });
    this.current = conversation;
    this.#tell('current', conversation);
    try {
      if (message) conversation.forgetUnless(message);
      const isKnown = this.#known.has(id) || this.#identify(conversation);
      await Promise.all([isKnown, conversation.load(this.#running.get(id))]);
    } catch (error) {
      if (this.current === conversation) this.#tell('unopened', { conversation, error });
      return;
    }
    this.#known.set(id, conversation);
    if (this.current === conversation) this.#tell('current', conversation);
  }

  /* What the list says of a conversation is said nowhere else, so one that is not listed yet is looked for there. */
  async #identify(conversation) {
    for (let cursor = null; ; ) {
      const page = await this.api.sessions('', cursor, LISTED_MAX);
      const session = page.sessions.find((one) => one.session_id === conversation.id);
      if (session) {
        const title = session.topic ?? session.first_message ?? '';
        Object.assign(conversation, { chatflowId: session.chatflow_id, title, at: new Date(session.created_at) });
        return;
      }
      if (!page.next_cursor) throw new Refused(404, { code: 'session_not_found' });
      cursor = page.next_cursor;
    }
  }

  /** Asks in the open conversation. */
  async send(text, files, input) {
    const conversation = this.current;
    if (!this.list.includes(conversation) && !this.query) this.list = [conversation, ...this.list];
    await conversation.send(text, files, input);
    this.#running.delete(conversation.id);
    if (conversation.id === null) this.#dropUnsettled(conversation);
    this.#tell('list');
  }

  /* What was refused before it began is no conversation yet. */
  #dropUnsettled(conversation) {
    this.list = this.list.filter((one) => one !== conversation);
  }

  noteEnd(conversation) {
    this.#running.delete(conversation.id);
  }

  async rename(conversation, title) {
    const renamed = await this.api.rename(conversation.id, title);
    conversation.title = renamed.topic ?? title;
    this.#tell('list');
    if (conversation === this.current) this.#tell('current', conversation);
  }

  async remove(conversation) {
    await this.api.remove(conversation.id);
    this.#known.delete(conversation.id);
    this.list = this.list.filter((one) => one !== conversation);
    this.found = this.found.filter((one) => one.session_id !== conversation.id);
    this.#tell('list');
    return conversation === this.current;
  }

  /** Looks again when the person comes back to the page: another tab may have gone on. */
  async refresh() {
    if (!this.query && !this.isListing && this.list.length <= PAGE) await this.#read(null);
    await this.lookForRunning();
    const { current } = this;
    if (current?.id && this.#running.has(current.id) && !current.isWriting) await current.reload(this.#running.get(current.id));
  }
}
