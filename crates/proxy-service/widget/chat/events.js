/* Server-sent events as they come over the wire: cut anywhere, also inside a character. */

/* One event is one JSON object with a piece of text; what is larger is no answer of ours. */
const EVENT_CHARS_MAX = 1 << 20;

/** Turns text as it arrives into events, `{id, data}`: `push` gives those that are complete. */
export class EventParser {
  #rest = '';
  #data = [];
  #id = '';
  #size = 0;

  push(text) {
    const events = [];
    let buffer = this.#rest + text;
    let start = 0;
    for (;;) {
      const end = this.#lineEnd(buffer, start);
      if (end === -1) break;
      this.#line(buffer.slice(start, end), events);
      start = buffer.startsWith('\r\n', end) ? end + 2 : end + 1;
    }
    this.#rest = buffer.slice(start);
    if (this.#rest.length + this.#size > EVENT_CHARS_MAX) throw new RangeError('an event is too large');
    return events;
  }

  /* A carriage return at the very end may be the first half of a line end. */
  #lineEnd(buffer, start) {
    for (let at = start; at < buffer.length; at += 1) {
      const code = buffer.charCodeAt(at);
      if (code === 10) return at;
      if (code === 13) return at + 1 < buffer.length ? at : -1;
    }
    return -1;
  }

  #line(line, events) {
    if (line === '') {
      if (this.#data.length > 0) events.push({ id: this.#id, data: this.#data.join('\n') });
      this.#data = [];
      this.#size = 0;
    } else if (line.startsWith('data:')) {
      const value = line.slice(line.charAt(5) === ' ' ? 6 : 5);
      this.#data.push(value);
      this.#size += value.length;
    } else if (line.startsWith('id:')) {
      this.#id = line.slice(line.charAt(3) === ' ' ? 4 : 3);
    }
    /* Comments keep the connection alive; names of events stand in their data, too. */
  }
}

/** The data of each event of a response's body. */
export async function* events(body) {
  for await (const { data } of numberedEvents(body)) yield data;
}

/** The same with the id of each, after which a stream can go on; without one it is that of the event before. */
export async function* numberedEvents(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
