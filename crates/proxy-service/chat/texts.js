/* Texts in the page's language, with numbers and times as people write them there. */

export class Texts {
  #strings;

  constructor(language, strings) {
    this.language = language;
    this.#strings = strings;
    this.plural = new Intl.PluralRules(language);
    this.number = new Intl.NumberFormat(language);
    this.time = new Intl.DateTimeFormat(language, { hour: 'numeric', minute: '2-digit' });
    this.day = new Intl.DateTimeFormat(language, { day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit' });
    this.relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  }

  /** The texts of the language that the page is in. */
  static async load({ lang, dataset }) {
    const response = await fetch(`${dataset.assets}/${lang}.json`, { credentials: 'same-origin' });
    if (!response.ok) throw new Error(`no texts: ${response.status}`);
    return new Texts(lang, await response.json());
  }

  has(name) {
    return Object.hasOwn(this.#strings, name) || Object.hasOwn(this.#strings, `${name}.other`);
  }

  /** A text with its places filled. One that counts has a form for each of the language's plurals. */
  of(name, values = {}) {
    const forms = [`${name}.${this.plural.select(values.count ?? 0)}`, `${name}.other`];
    const text = this.#strings[[name, ...forms].find((key) => Object.hasOwn(this.#strings, key))] ?? name;
    return text.replace(/\{(\w+)\}/g, (place, key) => {
      const value = values[key];
      return typeof value === 'number' ? this.number.format(value) : value ?? place;
    });
  }

  /** When something was: the hour today, the day before. */
  at(time) {
    const isToday = time.toDateString() === new Date().toDateString();
    return (isToday ? this.time : this.day).format(time);
  }

  /** How long ago something was. */
  ago(time) {
    const units = [['year', 31_536_000], ['month', 2_592_000], ['week', 604_800], ['day', 86_400], ['hour', 3_600], ['minute', 60]];
    const seconds = (time - Date.now()) / 1000;
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', Infinity];
    return this.relative.format(Math.round(seconds / size), unit);
  }

  /** So many bytes, for people. */
  size(bytes) {
    const [unit, size, digits] = [['megabyte', 1 << 20, 1], ['kilobyte', 1 << 10, 0], ['byte', 1, 0]].find(([, size]) => bytes >= size) ?? ['byte', 1, 0];
    return new Intl.NumberFormat(this.language, { style: 'unit', unit, unitDisplay: unit === 'byte' ? 'long' : 'short', maximumFractionDigits: digits }).format(bytes / size);
  }

  /** What a problem means: what we have words for, else what the server says. */
  problem(error) {
    const { code, status, problem = {}, waitSecs } = error;
    const name = PROBLEMS[code] ?? code;
    const values = {
      ...problem,
      count: problem.available ?? problem.limit ?? 0,
      seconds: waitSecs ?? 0,
      time: problem.resets_at ? this.at(new Date(problem.resets_at)) : '',
    };
    if (code === 'daily_cap_reached') return this.of(problem.scope === 'chatflow' ? 'errors.cap_chatflow' : 'errors.cap_user', values);
    if (code && this.has(`errors.${name}`)) return this.of(`errors.${name}`, values);
    if (status === 503 || status === 502 || status === 504) return this.of('errors.busy', values);
    return problem.detail ? sentence(problem.detail) : this.of('errors.unknown');
  }
}

/* Codes that mean the same to the person who asks. */
const PROBLEMS = {
  upstream_busy: 'busy',
  overloaded: 'busy',
  busy: 'busy',
  stopping: 'busy',
  upstream_circuit_open: 'busy',
  upstream_rate_limited: 'busy',
  upstream_unavailable: 'away',
  upstream_unreachable: 'away',
  upstream_refused: 'failed',
  upstream_failed: 'failed',
  upstream_not_an_answer: 'failed',
  upstream_error: 'failed',
  upstream_empty: 'failed',
  upstream_too_large: 'failed',
  upstream_broken: 'broken',
  turn_events_lost: 'broken',
  upstream_header_timeout: 'slow',
  upstream_idle_timeout: 'slow',
  turn_too_long: 'slow',
  accounting_unavailable: 'credits_unavailable',
  temporarily_blocked: 'rate_limited',
  too_many_readers: 'rate_limited',
  body_too_large: 'file_too_large',
};

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
