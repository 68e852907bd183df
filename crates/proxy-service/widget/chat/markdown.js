/* Markdown as answers use it, drawn as DOM nodes. While an answer streams, only what changed is drawn again. */

import { element, icon, copyText } from './dom.js';
import { inline } from './inline.js';

/* Deeper nesting is drawn flat. */
const DEPTH_MAX = 8;
const COLUMNS_MAX = 40;

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}>/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(\s+|$)/;
const DELIMITER = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

/** Draws one answer into an element, again and again as it grows. */
export class MarkdownView {
  #drawn = [];

  constructor(container, texts) {
    this.container = container;
    this.texts = texts;
  }

  update(text) {
    const blocks = blocksOf(text);
    let same = 0;
    while (same < blocks.length && same < this.#drawn.length && blocks[same].source === this.#drawn[same].source) same += 1;
    for (const old of this.#drawn.splice(same)) old.node.remove();
    for (const block of blocks.slice(same)) {
      const node = draw(block, this.texts, 0);
      this.#drawn.push({ source: block.source, node });
      this.container.append(node);
    }
  }
}

/** The answer without its marks, for what is read aloud. */
export function plainText(container) {
  const block = (node) => (node.classList.contains('code') ? node.querySelector('pre') : node).innerText;
  return [...container.children].map(block).join('\n').trim();
}

function blocksOf(text) {
  return new Blocks(text.replace(/\r\n?/g, '\n').replace(/\t/g, '    ').split('\n')).all();
}

class Blocks {
  constructor(lines) {
    this.lines = lines;
    this.at = 0;
  }

  all() {
    const blocks = [];
    while (this.at < this.lines.length) {
      if (this.lines[this.at].trim() === '') {
        this.at += 1;
        continue;
      }
      const from = this.at;
      const block = this.next();
      /* The kind belongs to it: a paragraph becomes a table when its second line comes. */
      block.source = `${block.kind}\n${this.lines.slice(from, this.at).join('\n')}`;
      blocks.push(block);
    }
    return blocks;
  }

  next() {
    const line = this.lines[this.at];
    if (FENCE.test(line)) return this.fence();
    const heading = HEADING.exec(line);
    if (heading) {
      this.at += 1;
      return { kind: 'heading', level: heading[1].length, text: heading[2] ?? '' };
    }
    if (RULE.test(line)) {
      this.at += 1;
      return { kind: 'rule' };
    }
    if (QUOTE.test(line)) return this.quote();
    if (ITEM.test(line)) return this.list();
    if (this.isTable()) return this.table();
    return this.paragraph();
  }

  /* An open fence, while the answer streams, goes on to the end. */
  fence() {
    const [, mark, language] = FENCE.exec(this.lines[this.at]);
    const closing = new RegExp(`^ {0,3}${mark[0]}{${mark.length},}\\s*$`);
    const inside = [];
    for (this.at += 1; this.at < this.lines.length; this.at += 1) {
      if (closing.test(this.lines[this.at])) {
        this.at += 1;
        break;
      }
      inside.push(this.lines[this.at]);
    }
    return { kind: 'code', language: language.trim().split(/\s+/)[0].slice(0, 30), text: inside.join('\n') };
  }

  quote() {
    const inside = [];
    for (; this.at < this.lines.length; this.at += 1) {
      const line = this.lines[this.at];
      if (QUOTE.test(line)) inside.push(line.replace(/^ {0,3}> ?/, ''));
      else if (line.trim() !== '' && !startsBlock(line)) inside.push(line);
      else break;
    }
    return { kind: 'quote', lines: inside };
  }

  list() {
    const first = ITEM.exec(this.lines[this.at]);
    const ordered = /\d/.test(first[2]);
    const kindOf = (mark) => (ordered ? mark.at(-1) : mark);
    const items = [];
    let loose = false;
    let blank = false;
    let width = 0;
    for (; this.at < this.lines.length; this.at += 1) {
      const line = this.lines[this.at];
      const item = ITEM.exec(line);
      const indent = line.search(/\S/);
      if (indent === -1) {
        blank = true;
        if (items.length > 0) items.at(-1).push('');
      } else if (items.length > 0 && indent >= width) {
        /* A gap within what lies deeper is not one of this list. */
        loose ||= blank && indent < width + 2 && items.at(-1).some((known) => known !== '');
        blank = false;
        items.at(-1).push(line.slice(width));
      } else if (item && /\d/.test(item[2]) === ordered && kindOf(item[2]) === kindOf(first[2]) && !RULE.test(line)) {
        loose ||= blank && items.length > 0;
        blank = false;
        width = item[0].length > item[1].length + item[2].length + 4 ? item[1].length + item[2].length + 1 : item[0].length;
        if (item[3] === '') width += 1;
        items.push([line.slice(width)]);
      } else if (!blank && !startsBlock(line)) {
        items.at(-1).push(line.trimStart());
      } else {
        break;
      }
    }
    return { kind: ordered ? 'ordered' : 'unordered', start: Number.parseInt(first[2], 10), items, loose };
  }

  isTable() {
    const [head, delimiter] = [this.lines[this.at], this.lines[this.at + 1]];
    return delimiter !== undefined && head.includes('|') && DELIMITER.test(delimiter) &&
      cellsOf(head).length === cellsOf(delimiter).length;
  }

  table() {
    const head = cellsOf(this.lines[this.at]).slice(0, COLUMNS_MAX);
    const sides = cellsOf(this.lines[this.at + 1]).map((cell) => {
      if (/^:-*:$/.test(cell)) return 'center';
      return cell.endsWith(':') ? 'end' : 'start';
    });
    const rows = [];
    for (this.at += 2; this.at < this.lines.length; this.at += 1) {
      const line = this.lines[this.at];
      if (line.trim() === '' || startsBlock(line)) break;
      const cells = cellsOf(line);
      rows.push(head.map((_, column) => cells[column] ?? ''));
    }
    return { kind: 'table', head, sides, rows };
  }

  paragraph() {
    const inside = [this.lines[this.at].trim()];
    for (this.at += 1; this.at < this.lines.length; this.at += 1) {
      const line = this.lines[this.at];
      if (line.trim() === '' || startsBlock(line) || this.isTable()) break;
      /* Two spaces at an end mean a new line, as every new line does here. */
      inside.push(line.trim());
    }
    return { kind: 'paragraph', text: inside.join('\n') };
  }
}

/* What ends a paragraph without a blank line. A number other than 1 is probably part of the sentence. */
function startsBlock(line) {
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)) return true;
  const item = ITEM.exec(line);
  return item !== null && item[3] !== '' && (!/\d/.test(item[2]) || Number.parseInt(item[2], 10) === 1);
}

/* A row's cells; `\|` and bars in code are text. */
function cellsOf(line) {
  const cells = [''];
  let inCode = false;
  const text = line.trim().replace(/^\|/, '').replace(/(?<!\\)\|$/, '');
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '\\' && text[at + 1] === '|') {
      cells[cells.length - 1] += '|';
      at += 1;
    } else if (text[at] === '|' && !inCode) {
      cells.push('');
    } else {
      if (text[at] === '`') inCode = !inCode;
      cells[cells.length - 1] += text[at];
    }
  }
  return cells.map((cell) => cell.trim());
}

function draw(block, texts, depth) {
  switch (block.kind) {
    case 'heading':
      /* The page has headings of its own above these. */
      return element(`h${Math.min(block.level + 2, 6)}`, { dir: 'auto' }, inline(block.text));
    case 'rule':
      return element('hr');
    case 'code':
      return drawCode(block, texts);
    case 'quote':
      return element('blockquote', { dir: 'auto' }, ...drawAll(block.lines, texts, depth));
    case 'ordered':
    case 'unordered':
      return drawList(block, texts, depth);
    case 'table':
      return drawTable(block);
    default:
      return element('p', { dir: 'auto' }, inline(block.text));
  }
}

function drawAll(lines, texts, depth) {
  if (depth >= DEPTH_MAX) return [element('p', { dir: 'auto' }, lines.join('\n'))];
  return new Blocks(lines).all().map((block) => draw(block, texts, depth + 1));
}

function drawList(block, texts, depth) {
  const items = block.items.map((lines) => {
    const [, box, rest] = /^\[([ xX])\]\s+(.*)$/.exec(lines[0]) ?? [];
    const inside = box === undefined ? lines : [rest, ...lines.slice(1)];
    const children = drawAll(inside, texts, depth).flatMap((child) =>
      (block.loose || child.localName !== 'p' ? [child] : [...child.childNodes]));
    const mark = box === undefined ? [] : [box === ' ' ? '☐ ' : '☑ '];
    return element('li', { dir: 'auto', class: box !== undefined && 'task' }, ...mark, ...children);
  });
  const start = block.kind === 'ordered' && block.start !== 1 ? block.start : undefined;
  return element(block.kind === 'ordered' ? 'ol' : 'ul', { start }, ...items);
}

function drawTable(block) {
  const row = (name, cells) => element('tr', {}, ...cells.map((cell, column) =>
    element(name, { class: `to-${block.sides[column] ?? 'start'}`, dir: 'auto', scope: name === 'th' && 'col' }, inline(cell))));
  const table = element('table', {},
    element('thead', {}, row('th', block.head)),
    element('tbody', {}, ...block.rows.map((cells) => row('td', cells))));
  return element('div', { class: 'table', tabindex: '0' }, table);
}

function drawCode(block, texts) {
  const code = element('code', {}, block.text);
  const label = element('span', {}, texts.copy);
  const button = element('button', { type: 'button', class: 'copy' }, icon('copy'), label);
  let timer;
  button.addEventListener('click', async () => {
    if (!(await copyText(block.text))) return;
    label.textContent = texts.copied;
    clearTimeout(timer);
    timer = setTimeout(() => (label.textContent = texts.copy), 2000);
  });
  return element('div', { class: 'code', dir: 'ltr' },
    element('div', { class: 'code-head' }, element('span', {}, block.language), button),
    element('pre', { tabindex: '0' }, code));
}
