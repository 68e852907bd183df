/* What stands within a paragraph: emphasis, code, links. Text becomes nodes, never markup: what looks like HTML is
   shown as it was written. */

import { element } from './dom.js';

const PUNCTUATION = /[!-/:-@[-`{-~\p{P}\p{S}]/u;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const BARE_LINK = /https?:\/\/[^\s<>"'`\u0000-\u001f]+/iy;
const MARKS = { 1: 'em', 2: 'strong' };

/* Marks that wait for a partner. More of them in one paragraph are no emphasis, but would cost time. */
const OPENERS_MAX = 100;

/** An address that a link may lead to, or null: absolute, and of a kind that runs nothing. */
export function safeAddress(text) {
  const address = text.trim();
  if (!/^(https?:\/\/|mailto:)[^\s\u0000-\u001f\u007f]+$/i.test(address)) return null;
  try {
    const url = new URL(address);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** The nodes of a line or paragraph. */
export function inline(text) {
  const fragment = document.createDocumentFragment();
  fragment.append(...new Scanner(text).nodes());
  return fragment;
}

/* Tokens are nodes, brackets, or runs of `*`, `_` and `~` that may turn out to be emphasis. */
class Scanner {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.tokens = [];
    this.brackets = [];
    this.plain = '';
    /* Lengths of backtick runs that are known to have no partner further on. */
    this.unmatched = new Set();
  }

  nodes() {
    while (this.at < this.text.length) this.step();
    this.flush();
    return toNodes(this.tokens);
  }

  step() {
    const character = this.text[this.at];
    switch (character) {
      case '\\': return this.escape();
      case '`': return this.code();
      case '[': return this.bracket(1);
      case '!': return this.text[this.at + 1] === '[' ? this.bracket(2) : this.take(1);
      case ']': return this.closeBracket();
      case '*': case '_': case '~': return this.run(character);
      case '<': return this.autolink();
      case 'h': case 'H': return this.bareLink();
      case '\n': return this.lineBreak();
      default: return this.take(1);
    }
  }

  take(length) {
    this.plain += this.text.slice(this.at, this.at + length);
    this.at += length;
  }

  flush() {
    if (this.plain !== '') this.tokens.push({ node: document.createTextNode(this.plain) });
    this.plain = '';
  }

  add(node, length) {
    this.flush();
    this.tokens.push({ node });
    this.at += length;
  }

  escape() {
    const next = this.text[this.at + 1];
    if (next !== undefined && ESCAPABLE.test(next)) {
      this.at += 1;
      this.take(1);
    } else if (next === '\n') {
      this.at += 1;
    } else {
      this.take(1);
    }
  }

  /* In a chat a new line is meant as one. */
  lineBreak() {
    this.plain = this.plain.replace(/ +$/, '');
    this.add(element('br'), 1);
    while (this.text[this.at] === ' ') this.at += 1;
  }

  code() {
    const length = runLength(this.text, this.at, '`');
    const from = this.at + length;
    for (let end = from; !this.unmatched.has(length); ) {
      end = this.text.indexOf('`', end);
      if (end === -1) {
        this.unmatched.add(length);
        break;
      }
      const closing = runLength(this.text, end, '`');
      if (closing === length) {
        const inside = this.text.slice(from, end).replaceAll('\n', ' ');
        const padded = /^ .*[^ ].* $|^ [^ ] $/.test(inside);
        this.add(element('code', {}, padded ? inside.slice(1, -1) : inside), end + length - this.at);
        return;
      }
      end += closing;
    }
    this.take(length);
  }

  bracket(length) {
    this.flush();
    const token = { text: this.text.slice(this.at, this.at + length), bracket: true };
    this.brackets.push(this.tokens.push(token) - 1);
    this.at += length;
  }

  closeBracket() {
    const opened = this.brackets.pop();
    const target = opened === undefined ? null : this.destination(this.at + 1);
    const address = target && safeAddress(target.address);
    if (!address) {
      this.take(1);
      return;
    }
    this.flush();
    const isImage = this.tokens[opened].text === '![';
    const label = toNodes(this.tokens.splice(opened).slice(1));
    /* Pictures are shown as links: to load one would tell its server who reads this. */
    this.tokens.push({ node: link(address, label.length > 0 ? label : [address]) });
    this.at = target.end;
    if (!isImage) this.brackets = [];
  }

  /* `(address "title")`, with balanced parentheses in the address. */
  destination(start) {
    if (this.text[start] !== '(') return null;
    let depth = 0;
    let end = start;
    for (; end < this.text.length && end - start < 4096; end += 1) {
      const character = this.text[end];
      if (character === '\n') return null;
      if (character === '\\') end += 1;
      else if (character === '(') depth += 1;
      else if (character === ')' && (depth -= 1) === 0) break;
    }
    if (depth !== 0) return null;
    const inside = this.text.slice(start + 1, end).trim();
    const [, angled, bare] = /^(?:<([^<>]*)>|(\S*))(?:\s+(?:"[^"]*"|'[^']*'))?$/.exec(inside) ?? [];
    const address = (angled ?? bare ?? '').replace(/\\([!-/:-@[-`{-~])/g, '$1');
    return { address, end: end + 1 };
  }

  autolink() {
    const match = /^<((?:https?:\/\/|mailto:)[^\s<>]{1,2048}|[\w.+-]{1,64}@[\w.-]{1,255})>/i.exec(this.text.slice(this.at, this.at + 2100));
    const written = match?.[1];
    const address = written && safeAddress(/^(https?|mailto):/i.test(written) ? written : `mailto:${written}`);
    if (address) this.add(link(address, [written]), match[0].length);
    else this.take(1);
  }

  bareLink() {
    const before = this.text[this.at - 1];
    BARE_LINK.lastIndex = this.at;
    const match = before !== undefined && /[\p{L}\p{N}]/u.test(before) ? null : BARE_LINK.exec(this.text);
    if (!match) {
      this.take(1);
      return;
    }
    const written = trimmed(match[0]);
    const address = safeAddress(written);
    if (address) this.add(link(address, [written]), written.length);
    else this.take(1);
  }

  /* Which runs open and which close emphasis is CommonMark's rule of flanking. */
  run(character) {
    const length = runLength(this.text, this.at, character);
    const before = this.text[this.at - 1] ?? ' ';
    const after = this.text[this.at + length] ?? ' ';
    const opens = !/\s/.test(after) && (!PUNCTUATION.test(after) || /\s/.test(before) || PUNCTUATION.test(before));
    const closes = !/\s/.test(before) && (!PUNCTUATION.test(before) || /\s/.test(after) || PUNCTUATION.test(after));
    const isWord = character === '_';
    this.flush();
    this.tokens.push({
      mark: character,
      count: length,
      opens: opens && (!isWord || !closes || PUNCTUATION.test(before)),
      closes: closes && (!isWord || !opens || PUNCTUATION.test(after)),
    });
    this.at += length;
  }
}

function runLength(text, at, character) {
  let end = at;
  while (text[end] === character) end += 1;
  return end - at;
}

/* What follows an address in a sentence is not part of it. */
function trimmed(address) {
  let end = address.length;
  for (;;) {
    const last = address[end - 1];
    const unbalanced = last === ')' && count(address, ')', end) > count(address, '(', end);
    if (!/[.,:;!?*_~\]]/.test(last) && !unbalanced) return address.slice(0, end);
    end -= 1;
  }
}

function count(text, character, end) {
  let found = 0;
  for (let at = 0; at < end; at += 1) if (text[at] === character) found += 1;
  return found;
}

function link(address, children) {
  return element('a', { href: address, target: '_blank', rel: 'noopener noreferrer nofollow ugc' }, ...children);
}

/* Joins openers with closers; every run that finds no partner is text. */
function toNodes(tokens) {
  const openers = [];
  const output = [];
  for (const token of tokens) {
    if (token.node) output.push(token.node);
    else if (token.bracket) output.push(document.createTextNode(token.text));
    else if (!close(token, openers, output) && token.count > 0) {
      if (token.opens) openers.push({ ...token, place: output.length });
      if (openers.length > OPENERS_MAX) openers.shift();
      output.push(document.createTextNode(token.mark.repeat(token.count)));
    }
  }
  return output;
}

/* Whether the run was used up by what stands open before it. */
function close(token, openers, output) {
  while (token.closes && token.count > 0) {
    const found = openers.findLastIndex((opener) => opener.mark === token.mark && fits(opener, token));
    if (found === -1) return false;
    openers.length = found + 1;
    const opener = openers[found];
    const used = token.mark === '~' ? 2 : Math.min(2, opener.count, token.count);
    const inside = output.splice(opener.place + 1);
    output.push(element(token.mark === '~' ? 'del' : MARKS[used], {}, ...inside));
    opener.count -= used;
    token.count -= used;
    output[opener.place].data = opener.mark.repeat(opener.count);
    if (opener.count === 0) openers.pop();
  }
  return token.count === 0;
}

/* `~~` comes in twos; a run that both opens and closes obeys CommonMark's rule of three. */
function fits(opener, token) {
  if (token.mark === '~') return opener.count === 2 && token.count === 2;
  const either = (opener.opens && opener.closes) || (token.opens && token.closes);
  return !either || (opener.count + token.count) % 3 !== 0 || (opener.count % 3 === 0 && token.count % 3 === 0);
}
