/* The chat server, as this page asks it. Every conversation is a session of its own there, shown by its own token, so
   that no answer ever knows of another conversation; cookies, which are one for all, are left out. */

import { events } from './events.js';

/* A ticket is good for a minute; one that is nearly over is not worth a try. */
const TICKET_FRESH_MS = 40_000;
/* What an answer may say at most; the server's own limit is lower. */
const ANSWER_CHARS_MAX = 1 << 20;

/** Why something did not work, in a word that has a text: `tooFast`, `unavailable`, `offline`... */
export class ChatError extends Error {
  constructor(kind, waitSecs) {
    super(kind);
    this.kind = kind;
    this.waitSecs = waitSecs;
  }
}

const KINDS = { 402: 'unavailable', 403: 'notAllowed', 409: 'busy', 413: 'tooLong', 429: 'tooFast', 502: 'busy', 503: 'busy', 504: 'busy' };

export class Api {
  #ticket;

  constructor(search) {
    this.search = search;
    this.page = undefined;
    this.parent = undefined;
  }

  /** What the embed's owner has set, in the visitor's language, with a ticket that begins a session. */
  async config() {
    const query = new URLSearchParams(this.search);
    if (this.parent) query.set('parent', this.parent);
    const response = await request(`/widget/widget-config.json?${query}`, { headers: { accept: 'application/json' } });
    if (!response.ok) throw await refusal(response);
    const config = await response.json();
    this.embed = config.embed;
    this.#ticket = config.ticket && { text: config.ticket, at: performance.now() };
    return config;
  }

  async #freshTicket() {
    if (!this.#ticket || performance.now() - this.#ticket.at > TICKET_FRESH_MS) await this.config();
    const ticket = this.#ticket?.text;
    /* It begins one session. */
    this.#ticket = undefined;
    return ticket;
  }

  /** A session at the server for a conversation. */
  async openSession() {
    for (let tries = 1; ; tries += 1) {
      const ticket = await this.#freshTicket();
      const body = {
        origin_domain: this.parent ? new URL(this.parent).hostname : location.hostname,
        page_url: this.page ?? location.href,
        embed: this.embed,
        ticket,
      };
      const response = await request('/api/v1/session/create', post(body));
      if (response.ok) {
        const session = await response.json();
        return { id: session.session_id, token: session.internal_token };
      }
      const error = await refusal(response);
      /* Another clock may find a ticket too old that seemed fresh here. */
      if (tries === 2 || ![400, 401, 403].includes(response.status)) throw error;
    }
  }

  /** Sends a message; gives the pieces of its answer as they come: `{turn}`, `{begin}`, `{text}`, at the end `{complete}`. */
  async *ask(session, message, key, signal) {
    const headers = { authorization: `Bearer ${session.token}`, accept: 'text/event-stream', 'idempotency-key': key };
    const options = post({ message, page_url: this.page ?? location.href }, headers);
    const response = await request('/api/v1/chat/stream', { ...options, signal });
    if (!response.ok) throw await refusal(response);
    yield { turn: response.headers.get('x-turn-id') };
    yield* answer(events(response.body));
  }

  /** Ends an answer at the server, too; it is over when this is. */
  async stop(session, turn) {
    const headers = { authorization: `Bearer ${session.token}` };
    await request(`/api/v1/chat/stream/${encodeURIComponent(turn)}/stop`, { method: 'POST', headers, keepalive: true });
  }

  /** What the server remembers of a conversation, oldest first. */
  async history(session) {
    const headers = { authorization: `Bearer ${session.token}`, accept: 'application/json' };
    const response = await request('/api/v1/chat/history?limit=100', { headers });
    if (!response.ok) throw await refusal(response);
    return (await response.json()).messages ?? [];
  }

  /** Forgets a conversation at the server; one that it has forgotten already is well, too. */
  async closeSession(session) {
    const headers = { authorization: `Bearer ${session.token}` };
    await request('/api/v1/session/destroy', { method: 'DELETE', headers, keepalive: true });
  }
}

async function* answer(stream) {
  let begun = false;
  let size = 0;
  try {
    for await (const data of stream) {
      if (data === '[DONE]') {
        yield { complete: true };
        return;
      }
      const chunk = parsed(data);
      if (chunk?.type === 'error' || (chunk?.error !== undefined && chunk.type === undefined)) throw new ChatError('errorMessage');
      if (chunk?.type === 'begin') {
        /* Each node of a workflow begins anew; what it says is a part of its own. */
        if (begun && size > 0) yield { text: '\n\n' };
        begun = true;
        yield { begin: true };
      } else if (chunk?.type === 'item' && typeof chunk.content === 'string') {
        size += chunk.content.length;
        if (size > ANSWER_CHARS_MAX) throw new ChatError('errorMessage');
        yield { text: chunk.content };
      }
    }
  } catch (error) {
    if (error instanceof ChatError || error.name === 'AbortError') throw error;
    throw unreachable();
  }
  /* The connection ended, and nobody said that this was all. */
  throw unreachable();
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

function post(body, headers = {}) {
  return { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
}

async function request(path, options) {
  try {
    return await fetch(path, { credentials: 'omit', cache: 'no-store', redirect: 'error', ...options });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw unreachable();
  }
}

function unreachable() {
  return new ChatError(navigator.onLine === false ? 'offline' : 'connectionError');
}

async function refusal(response) {
  await response.body?.cancel().catch(() => {});
  if (response.status === 401) return new ChatError('session');
  const wait = Number.parseInt(response.headers.get('retry-after') ?? '', 10);
  return new ChatError(KINDS[response.status] ?? 'errorMessage', wait > 0 ? Math.min(wait, 86_400) : undefined);
}
