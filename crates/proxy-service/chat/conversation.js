/* One conversation: what was said in it, and the answer that is being written. Knows nothing of how it looks. */

import { Refused } from './api.js';
import { ask, follow, pause } from './turn.js';

/* What an answer may say at most; the server keeps less. */
const ANSWER_CHARS_MAX = 4 << 20;

/* How often a turn is looked at whose events are not kept. */
const LOOK_AGAIN_MS = 3_000;

/* Problems after which the same question is a new one: it was begun, or looked at and refused. Otherwise it is the same
   request, which costs nothing a second time. */
const isSameRequest = (problem) => !(problem instanceof Refused) && problem?.code !== undefined && problem.isOfTurn !== true;

let count = 0;

/** A name on this page. */
export const localId = () => `local-${(count += 1)}`;

/** A key that nobody else uses. `crypto.randomUUID` is not there without HTTPS. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/* States of an answer: `writing`, `lost` (the connection; more will come), `stopping`, `complete`, `stopped`,
   `interrupted` (there may be more of it), `failed` (there is none), `none` (there never was one). */

export class Conversation {
  constructor(api, tell, { id = null, chatflowId, title = '', at = new Date() }) {
    Object.assign(this, { api, tell, id, chatflowId, title, at });
    this.messages = [];
    this.isLoaded = id === null;
    this.run = null;
  }

  get isWriting() {
    return this.run !== null;
  }

  /** Reads what was said before; an answer that is being written is followed. */
  async load(runningTurn) {
    if (!this.isLoaded) {
      const history = await this.api.history(this.id);
      if (!this.isLoaded) this.messages = messagesOf(history);
      this.isLoaded = true;
    }
    /* It may have ended since somebody looked: then its answer is among what was read. */
    if (runningTurn && this.#isUnanswered) this.#goOn(runningTurn);
    else this.#markUnanswered();
    this.tell('messages', this);
  }

  /** What was said on this page does not know its ids at the server: who looks for one has all read again. */
  forgetUnless(message) {
    if (!this.isWriting && !this.messages.some(({ id }) => id === message)) this.isLoaded = false;
  }

  /** Reads again what was said: another tab may have gone on. */
  async reload(runningTurn) {
    this.isLoaded = false;
    await this.load(runningTurn);
  }

  get #isUnanswered() {
    const last = this.messages.at(-1);
    return last?.role === 'user' || last?.state === 'none';
  }

  /* A question that nothing follows has no answer, unless one is being written. */
  #markUnanswered() {
    const last = this.messages.at(-1);
    if (last?.role === 'user' && !this.isWriting) this.messages.push({ id: localId(), role: 'assistant', text: '', at: last.at, state: 'none' });
  }

  #goOn(turn) {
    if (this.isWriting) return;
    const question = this.messages.findLast((message) => message.role === 'user');
    if (this.messages.at(-1)?.state === 'none') this.messages.pop();
    const answer = this.#newAnswer();
    this.#write(question, answer, (signal) => follow(this.api, turn, signal));
  }

  #newAnswer() {
    const answer = { id: localId(), role: 'assistant', text: '', at: new Date() };
    this.messages.push(answer);
    return answer;
  }

  /** Asks; ends when the answer has. `files` are stored already. `input` is a decision that the chatflow waits for. */
  async send(text, files = [], input) {
    const question = { id: localId(), role: 'user', text, files, at: new Date(), input };
    this.messages.push(question);
    if (this.title === '') this.title = text;
    await this.#ask(question, this.#newAnswer());
  }

  /** Asks once more what has no answer, or half of one. */
  async retry(answer) {
    if (this.isWriting) return;
    const place = this.messages.indexOf(answer);
    const question = this.messages.slice(0, place).findLast((message) => message.role === 'user');
    if (!question) return;
    if (answer.turn && answer.state === 'interrupted' && answer.isResumable) {
      await this.#write(question, answer, (signal) => follow(this.api, answer.turn, signal));
      return;
    }
    if (!isSameRequest(answer.problem)) question.body = undefined;
    await this.#ask(question, answer);
  }

  async #ask(question, answer) {
    if (!question.body) {
      const { text, files, input } = question;
      question.key = newKey();
      question.body = {
        question: text,
        chatflow_id: this.chatflowId,
        sessionId: this.id ?? '',
        ...(files?.length > 0 && { uploads: files.map(({ id }) => ({ type: 'stored-file', data: id })) }),
        ...(input && { humanInput: input }),
      };
    }
    await this.#write(question, answer, (signal) => ask(this.api, question.body, question.key, signal));
  }

  async #write(question, answer, begin) {
    const controller = new AbortController();
    const run = { controller, answer, turn: answer.turn, wantsStop: false };
    this.run = run;
    Object.assign(answer, { state: 'writing', problem: undefined, waitUntil: undefined, isResumable: false });
    this.tell('messages', this);
    this.tell('list');
    try {
      for await (const event of begin(controller.signal)) this.#take(event, question, answer, run);
      if (answer.problem) answer.state = answer.text === '' ? 'failed' : 'interrupted';
      else if (answer.state !== 'stopped') answer.state = 'complete';
    } catch (error) {
      this.#fail(answer, error, run);
    }
    this.run = null;
    answer.at = new Date();
    if (answer.isGone) await this.#readFromHistory(answer);
    this.tell('ended', { conversation: this, question, answer });
  }

  #take(event, question, answer, run) {
    switch (event.event) {
      case 'turn':
        run.turn = event.data ?? run.turn;
        answer.turn = run.turn;
        if (run.wantsStop) this.#stopNow(run);
        break;
      case 'again':
        Object.assign(answer, { text: '', sources: undefined, action: undefined, refusedFiles: undefined, problem: undefined });
        break;
      case 'lost':
        if (answer.state === 'writing') answer.state = 'lost';
        this.tell('answer', { conversation: this, answer });
        return;
      case 'back':
        break;
      case 'session_id':
        this.#settle(event.data);
        break;
      case 'token':
        if (!answer.problem && typeof event.data === 'string') this.#append(answer, event.data);
        break;
      case 'sourceDocuments':
        answer.sources = sourcesOf(event.data);
        break;
      case 'file_upload_error':
        answer.refusedFiles = event.data?.files ?? [];
        break;
      case 'action':
        answer.action = actionOf(event.data);
        break;
      case 'metadata':
        answer.suggestions = suggestionsOf(event.data?.followUpPrompts);
        break;
      case 'error':
        if (event.code === 'turn_events_lost') answer.isGone = true;
        answer.problem = { code: event.code ?? 'failed', isOfTurn: true };
        break;
      case 'abort':
        answer.state = 'stopped';
        return;
      default:
        return;
    }
    if (answer.state === 'lost') answer.state = 'writing';
    this.tell('answer', { conversation: this, answer });
  }

  #append(answer, text) {
    if (answer.text.length + text.length > ANSWER_CHARS_MAX) throw new RangeError('the answer is too long to be shown');
    answer.text += text;
  }

  /* A new conversation has its name only now. */
  #settle(id) {
    if (this.id === id || typeof id !== 'string') return;
    this.id = id;
    this.tell('settled', this);
  }

  #fail(answer, error, run) {
    if (run.controller.signal.aborted) {
      answer.state = 'stopped';
      return;
    }
    if (!(error instanceof Refused) && !error.code) console.error(error);
    answer.isGone = error instanceof Refused && ['turn_events_gone', 'turn_not_found'].includes(error.code);
    answer.problem = error.code ? error : { code: 'unknown', isOfTurn: true };
    answer.isResumable = !(error instanceof Refused) && Boolean(run.turn);
    answer.state = answer.text === '' && !answer.isResumable ? 'failed' : 'interrupted';
    if (error.waitSecs) answer.waitUntil = Date.now() + error.waitSecs * 1000;
  }

  /* The events of a turn are kept for a while only, its answer is in the history once it is over. */
  async #readFromHistory(answer) {
    try {
      while (answer.turn && (await this.api.turn(answer.turn)).status === 'running') await pause(LOOK_AGAIN_MS);
      if (this.id) await this.reload();
    } catch (error) {
      if (error.code !== 'turn_not_found') return;
      await this.reload().catch(() => {});
    }
  }

  /** Ends the answer that is being written. What was said of it stays. */
  stop() {
    const { run } = this;
    if (!run || run.wantsStop) return;
    run.wantsStop = true;
    run.answer.isStopping = true;
    this.tell('answer', { conversation: this, answer: run.answer });
    if (run.turn) this.#stopNow(run);
    else if (run.answer.state === 'lost') run.controller.abort();
  }

  #stopNow(run) {
    this.api.stop(run.turn).catch((error) => {
      /* It may have ended by itself. Without the server, at least nobody waits here any more. */
      if (!(error instanceof Refused)) run.controller.abort();
    });
  }
}

function messagesOf(history) {
  return history.map((message) => ({
    id: message.id,
    role: message.role === 'user' ? 'user' : 'assistant',
    text: message.role === 'user' ? message.content : textOf(message.content),
    at: new Date(message.created_at),
    state: 'complete',
    files: (message.uploads ?? []).map((file) => ({ id: file.file_id, name: file.name, size: file.size, isImage: file.is_image })),
  }));
}

/* An answer is stored as its events. */
function textOf(content) {
  try {
    const events = JSON.parse(content);
    if (Array.isArray(events)) return events.filter((event) => event?.event === 'token' && typeof event.data === 'string').map((event) => event.data).join('');
  } catch {
    /* It is plain text. */
  }
  return content;
}

function sourcesOf(data) {
  const documents = Array.isArray(data) ? data.slice(0, 50) : [];
  const sources = documents.map((document) => ({
    name: String(document?.metadata?.source ?? document?.metadata?.title ?? ''),
    text: String(document?.pageContent ?? '').slice(0, 2_000),
  }));
  return sources.filter(({ name, text }) => name !== '' || text !== '');
}

/* What a chatflow wants a person to decide. */
function actionOf(data) {
  const node = data?.data?.nodeId;
  if (typeof node !== 'string') return undefined;
  const elements = (Array.isArray(data.elements) ? data.elements : []).slice(0, 4);
  const choices = elements.map((element) => ({
    label: String(element?.label ?? ''),
    decision: /reject|no/i.test(element?.type ?? '') ? 'reject' : 'proceed',
  }));
  return { node, choices: choices.filter(({ label }) => label !== '') };
}

/* A list in a text. */
function suggestionsOf(prompts) {
  try {
    const list = typeof prompts === 'string' ? JSON.parse(prompts) : prompts;
    return Array.isArray(list) ? list.filter((prompt) => typeof prompt === 'string' && prompt !== '').slice(0, 6) : [];
  } catch {
    return [];
  }
}
