/* The public API, as this page asks it: with the cookie of the session, which no script can read. */

import { goToLogin, renewSession } from './session.js';

const CHAT = '/api/v1/chat';
/* Longer than this nobody is kept waiting by a number. */
const WAIT_SECS_MAX = 86_400;

/** The server said no, and why: `code` is one of its list. */
export class Refused extends Error {
  constructor(status, problem, waitSecs) {
    super(`${status} ${problem.code ?? ''}`);
    this.status = status;
    this.problem = problem;
    this.code = problem.code;
    this.waitSecs = waitSecs;
  }
}

/** The server was not reached, or fell silent. */
export class Unreachable extends Error {
  code = 'unreachable';
}

/** Nobody is signed in any more; the log-in page is on its way. */
export class SignedOut extends Error {
  code = 'signed_out';
}

export class Api {
  me = () => this.#json(`${CHAT}/get_current_user`);
  settings = () => this.#json('/api/v1/auth/config');
  chatflows = () => this.#json('/api/v1/chatflows/my-chatflows');
  runningTurns = async () => (await this.#json(`${CHAT}/turns?status=running`)).turns;
  turn = (id) => this.#json(`${CHAT}/turns/${encodeURIComponent(id)}`);
  credits = async () => (await this.#json(`${CHAT}/credits`)).credits;
  history = async (id) => (await this.#json(`${CHAT}/sessions/${encodeURIComponent(id)}/history`)).history;

  sessions(query, cursor, limit) {
    const asked = new URLSearchParams({ limit });
    if (query) asked.set('q', query);
    if (cursor) asked.set('cursor', cursor);
    return this.#json(`${CHAT}/sessions?${asked}`);
  }

  async search(query, limit) {
    const asked = new URLSearchParams({ q: query, limit });
    return (await this.#json(`${CHAT}/history/search?${asked}`)).results;
  }

  rename = (id, topic) => this.#json(`${CHAT}/sessions/${encodeURIComponent(id)}`, json('PATCH', { topic }));
  remove = (id) => this.#json(`${CHAT}/sessions/${encodeURIComponent(id)}`, { method: 'DELETE' });
  removeFile = (id) => this.#json(`${CHAT}/files/${encodeURIComponent(id)}`, { method: 'DELETE' });
  stop = (turn) => this.#json(`${CHAT}/turns/${encodeURIComponent(turn)}/stop`, { method: 'POST' });

  /** A conversation as a file. */
  async exported(id, format) {
    const response = await this.#request(`${CHAT}/sessions/${encodeURIComponent(id)}/export?format=${format}`);
    return response.blob();
  }

  /** Asks; the answer is a stream of events. The same key with the same question costs nothing more. */
  ask(question, key, signal) {
    const options = json('POST', question);
    Object.assign(options.headers, { accept: 'text/event-stream', 'idempotency-key': key });
    return this.#request(`${CHAT}/predict/stream/store`, { ...options, signal });
  }

  /** The events of a turn after one of them, or from the first on. */
  follow(turn, lastEventId, signal) {
    const headers = { accept: 'text/event-stream', ...(lastEventId && { 'last-event-id': lastEventId }) };
    return this.#request(`${CHAT}/turns/${encodeURIComponent(turn)}/events`, { headers, signal });
  }

  /** Sends a file by itself; `tell` hears how much of it has gone, from 0 to 1. */
  async upload(file, tell, signal) {
    for (let tries = 1; ; tries += 1) {
      const { status, problem, waitSecs } = await send(file, tell, signal);
      if (status === 401 && tries === 1) await this.#renew();
      else if (status !== 200) throw new Refused(status, problem, waitSecs);
      else return problem;
    }
  }

  async #json(path, options) {
    const response = await this.#request(path, options);
    return read(() => response.json());
  }

  async #request(path, options = {}) {
    const headers = { accept: 'application/json', ...options.headers };
    for (let tries = 1; ; tries += 1) {
      const response = await read(() => fetch(path, { credentials: 'same-origin', cache: 'no-store', redirect: 'error', ...options, headers }));
      if (response.ok) return response;
      const error = await refusal(response);
      if (response.status !== 401) throw error;
      if (tries === 2) throw leave();
      await this.#renew();
    }
  }

  async #renew() {
    if (!(await read(renewSession))) throw leave();
  }
}

function leave() {
  goToLogin();
  return new SignedOut();
}

function json(method, body) {
  return { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

/* Whatever goes wrong on the way is one thing to us. */
async function read(action) {
  try {
    return await action();
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof SignedOut) throw error;
    throw new Unreachable(error.message);
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  return new Refused(response.status, problem ?? {}, waitOf(response.headers.get('retry-after')));
}

function waitOf(header) {
  const seconds = Number.parseInt(header ?? '', 10);
  return seconds > 0 ? Math.min(seconds, WAIT_SECS_MAX) : undefined;
}

/* `fetch` does not tell how much of a body has gone. */
function send(file, tell, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append('file', file, file.name || 'file');
    request.open('POST', `${CHAT}/upload`);
    request.setRequestHeader('accept', 'application/json');
    request.responseType = 'json';
    request.upload.onprogress = (event) => event.lengthComputable && tell(event.loaded / event.total);
    request.onload = () => resolve({ status: request.status, problem: request.response ?? {}, waitSecs: waitOf(request.getResponseHeader('retry-after')) });
    request.onerror = () => reject(new Unreachable('the upload broke off'));
    request.onabort = () => reject(new DOMException('the upload was given up', 'AbortError'));
    signal.addEventListener('abort', () => request.abort(), { once: true });
    request.send(form);
  });
}
