/* One turn, event by event, to its end: however often the connection is lost on the way. */

import { Refused, Unreachable } from './api.js';
import { numberedEvents } from './events.js';

/* How long is waited before each further try; then it is given up. */
const PAUSES_MS = [300, 700, 1_500, 3_000, 6_000, 10_000, 15_000, 20_000, 30_000];

/* What a moment's patience may cure when a turn is read again. */
const PASSING = [429, 502, 503, 504];

/** Asks a question. Beside the events of the stream there are `turn` (its id), `lost` and `back` (the connection), `again`
    (what was said is said once more from the beginning). */
export async function* ask(api, question, key, signal) {
  for (;;) {
    let response;
    try {
      response = yield* patiently(() => api.ask(question, key, signal), signal, []);
    } catch (error) {
      /* The request that seemed lost had arrived: its answer is being written. */
      const isOurs = error instanceof Refused && error.code === 'idempotency_in_progress' && error.problem.turn_id;
      if (!isOurs) throw error;
      return yield* follow(api, error.problem.turn_id, signal);
    }
    const turn = response.headers.get('x-turn-id');
    yield { event: 'turn', data: turn };
    if (response.headers.get('idempotency-replayed') !== 'true') return yield* read(api, turn, response, signal);
    /* The events of a stored answer have no numbers to go on after. */
    if (yield* events(response, signal, () => {})) return;
    yield { event: 'again' };
  }
}

/** The events of a turn that was begun elsewhere, or before this page was loaded. */
export async function* follow(api, turn, signal) {
  yield { event: 'again' };
  yield { event: 'turn', data: turn };
  yield* read(api, turn, null, signal);
}

async function* read(api, turn, begun, signal) {
  let response = begun;
  let last;
  let fruitless = 0;
  for (;;) {
    response ??= yield* patiently(() => api.follow(turn, last, signal), signal, PASSING);
    if (response.status === 204) return;
    let heard = 0;
    const isOver = yield* events(response, signal, (id) => {
      last = id || last;
      heard += 1;
    });
    if (isOver) return;
    yield { event: 'lost' };
    response = null;
    fruitless = heard > 0 ? 0 : fruitless + 1;
    if (fruitless > PAUSES_MS.length) throw new Unreachable('the stream ends again and again');
    if (fruitless > 0) await pause(PAUSES_MS[fruitless - 1], signal);
  }
}

/* Whether the last event was heard. */
async function* events(response, signal, note) {
  try {
    for await (const { id, data } of numberedEvents(response.body)) {
      const event = parsed(data);
      note(id);
      if (event) yield event;
      if (event?.event === 'end') return true;
    }
  } catch (error) {
    /* Too large an event would be too large again. */
    if (signal.aborted || error instanceof RangeError) throw error;
  }
  return false;
}

async function* patiently(action, signal, passing) {
  for (let tries = 0; ; tries += 1) {
    try {
      const response = await action();
      if (tries > 0) yield { event: 'back' };
      return response;
    } catch (error) {
      const isPassing = error instanceof Unreachable || (error instanceof Refused && passing.includes(error.status));
      if (!isPassing || tries >= PAUSES_MS.length) throw error;
      yield { event: 'lost' };
      await pause(Math.max(PAUSES_MS[tries], (error.waitSecs ?? 0) * 1000), signal);
    }
  }
}

/** Waits; without a network until there is one. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const isOffline = navigator.onLine === false;
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      signal?.removeEventListener('abort', done);
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = isOffline ? undefined : setTimeout(done, milliseconds);
    addEventListener('online', done);
    signal?.addEventListener('abort', done);
    if (signal?.aborted) done();
  });
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
