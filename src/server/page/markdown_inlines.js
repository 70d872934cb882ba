// What stands within a paragraph, heading or cell, straight into DOM nodes. Only elements that are
// named here are ever made, and all text goes in as text: nothing in it can become markup.

const ENTITIES = {amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0', copy: '©', reg: '®', trade: '™',
  hellip: '…', mdash: '—', ndash: '–', lsquo: '‘', rsquo: '’', ldquo: '“', rdquo: '”', laquo: '«', raquo: '»', bull: '•',
  middot: '·', times: '×', divide: '÷', plusmn: '±', deg: '°', euro: '€', pound: '£', larr: '←', rarr: '→', uarr: '↑',
  darr: '↓', le: '≤', ge: '≥', ne: '≠', infin: '∞', check: '✓'};
const ENTITY = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,31}));/y;
const PUNCTUATION = /[!-/:-@[-`{-~\p{P}\p{S}]/u;
const SPACE = /\s/u;
// Emphasis within emphasis; deeper, the marks stay marks.
const DEEPEST = 20;

export function appendInlines(parent, text) {
  new InlineParser(parent, text).run();
}

// Where a link may lead; undefined: nowhere, it stays text. A model's text is nobody's word: no
// scripts, no files, no addresses relative to this page.
export function safeAddress(address) {
  const clean = address.trim();
  if (!/^(?:https?:\/\/|mailto:)/i.test(clean) || /[\u0000-\u0020]/.test(clean)) return undefined;
  try {
    return new URL(clean).href;
  } catch {
    return undefined;  // what is no address is no link
  }
}

function linkTo(href) {
  const link = document.createElement('a');
  link.href = href;
  link.target = '_blank';
  link.rel = 'noopener noreferrer';
  return link;
}

class InlineParser {
  constructor(parent, text) {
    this.parent = parent;
    this.text = text;
    this.at = 0;
    this.delimiters = [];  // runs of * _ ~ that may open or close
    this.brackets = [];    // [ and ![ that may begin a link
    this.depth = new Map();  // of emphasis, by its element
    // The last place of each length of backticks: where none follows, nobody need search.
    this.ticks = new Map();
    for (const run of text.matchAll(/`+/g)) this.ticks.set(run[0].length, run.index);
  }

  run() {
    while (this.at < this.text.length) this.step();
    this.emphasize(0);
    this.parent.normalize();
  }

  step() {
    const plain = this.match(/(?:(?!https?:\/\/)[^\\`*_~[\]!<&\n$])+/y);
    if (plain) {
      this.add(plain[0]);
      return;
    }
    switch (this.text[this.at]) {
      case '\\': return this.escape();
      case '`': return this.code();
      case '*': case '_': case '~': return this.delimiter();
      case '[': return this.openBracket('[');
      case '!': return this.text[this.at + 1] === '[' ? this.openBracket('![') : this.addChar();
      case ']': return this.closeBracket();
      case '<': return this.angle();
      case '&': return this.add(this.entity() ?? this.next());
      case '$': return this.math(/\$\$(?!\$)(?:\\.|[^$\\])+\$\$/ys) || this.add(this.next());
      case '\n': return this.lineEnd();
      default: return this.bareAddress();
    }
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (match) this.at = pattern.lastIndex;
    return match;
  }

  next() { return this.text[this.at++]; }
  addChar() { return this.add(this.next()); }

  add(text) {
    const node = document.createTextNode(text);
    this.parent.append(node);
    return node;
  }

  element(name, text) {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    this.parent.append(element);
    return element;
  }

  escape() {
    // TeX between its brackets is shown as it is: there is nothing here to set it with, and half of it
    // would be taken for Markdown.
    if (this.math(/\\\((?:(?!\\\)).){1,2000}\\\)/ys) || this.math(/\\\[(?:(?!\\\]).){1,2000}\\\]/ys)) return;
    this.at += 1;
    const next = this.text[this.at];
    if (next === '\n') {
      this.element('br');
      this.match(/\n[ \t]*/y);
    } else if (next !== undefined && /[!-/:-@[-`{-~]/.test(next)) {
      this.addChar();
    } else {
      this.add('\\');
    }
  }

  math(pattern) {
    const match = this.match(pattern);
    if (match) this.element('code', match[0]).className = 'math';
    return match !== null;
  }

  code() {
    const ticks = this.match(/`+/y)[0];
    let from = this.at;
    while (from <= (this.ticks.get(ticks.length) ?? -1)) {
      const end = this.text.indexOf(ticks, from);
      let after = end + ticks.length;
      if (this.text[after] !== '`') {
        let inside = this.text.slice(this.at, end).replace(/\n/g, ' ');
        if (/^ .* $/.test(inside) && /[^ ]/.test(inside)) inside = inside.slice(1, -1);
        this.element('code', inside);
        this.at = after;
        return;
      }
      while (this.text[after] === '`') after += 1;
      from = after;
    }
    this.add(ticks);
  }

  delimiter() {
    const before = [...this.text.slice(Math.max(0, this.at - 2), this.at)].at(-1) ?? ' ';
    const mark = this.text[this.at];
    const run = this.match(mark === '*' ? /\*+/y : mark === '_' ? /_+/y : /~+/y)[0];
    const after = String.fromCodePoint(this.text.codePointAt(this.at) ?? 32);
    const left = !SPACE.test(after) && (!PUNCTUATION.test(after) || SPACE.test(before) || PUNCTUATION.test(before));
    const right = !SPACE.test(before) && (!PUNCTUATION.test(before) || SPACE.test(after) || PUNCTUATION.test(after));
    const node = this.add(run);
    if (mark === '~' && run.length !== 2) return;  // one alone is "about", or between numbers "to"
    this.delimiters.push({node, mark, count: run.length, length: run.length,
      opens: mark === '_' ? left && (!right || PUNCTUATION.test(before)) : left,
      closes: mark === '_' ? right && (!left || PUNCTUATION.test(after)) : right});
  }

  // CommonMark's "process emphasis", over the delimiters from `bottom` on. The text nodes that hold
  // the marks shrink; what stands between two of them moves into an element.
  emphasize(bottom) {
    const list = this.delimiters;
    // Where a search for an opener ended in vain, by mark, length modulo 3 and kind, so that no later
    // one goes further down.
    const floor = new Map();
    let i = bottom;
    while (i < list.length) {
      const closer = list[i];
      if (!closer.closes) {
        i += 1;
        continue;
      }
      const key = `${closer.mark}${closer.length % 3}${closer.opens}`;
      const lowest = floor.get(key) ?? bottom;
      let j = i - 1;
      while (j >= lowest && !fits(list[j], closer)) j -= 1;
      if (j < lowest) {
        floor.set(key, i);
        if (closer.opens) i += 1;
        else list.splice(i, 1);
        continue;
      }
      const opener = list[j];
      const count = opener.count >= 2 && closer.count >= 2 ? 2 : 1;
      if (!this.wrap(opener.node, closer.node, closer.mark === '~' ? 'del' : count === 2 ? 'strong' : 'em')) {
        // Nobody writes that. All marks so far stay text, or each pair would count its way down again.
        list.splice(bottom, i + 1 - bottom);
        floor.clear();
        i = bottom;
        continue;
      }
      for (const side of [opener, closer]) {
        side.count -= count;
        side.node.data = side.mark.repeat(side.count);
      }
      // What stood between them can no longer match anything outside.
      list.splice(j + 1, i - j - 1);
      i = j + 1;
      if (opener.count === 0) {
        list.splice(j, 1);
        i -= 1;
      }
      if (closer.count === 0) list.splice(i, 1);
      for (const [name, value] of floor) floor.set(name, Math.min(value, i));
    }
    list.length = bottom;
  }

  wrap(from, to, name) {
    let deepest = 0;
    for (let node = from.nextSibling; node !== to; node = node.nextSibling)
      deepest = Math.max(deepest, this.depth.get(node) ?? 0);
    if (deepest >= DEEPEST) return false;
    const element = document.createElement(name);
    while (from.nextSibling !== to) element.append(from.nextSibling);
    from.after(element);
    this.depth.set(element, deepest + 1);
    return true;
  }

  openBracket(mark) {
    this.at += mark.length;
    this.brackets.push({node: this.add(mark), image: mark === '![', delimiters: this.delimiters.length, usable: true});
  }

  closeBracket() {
    this.at += 1;
    const bracket = this.brackets.pop();
    if (!bracket?.usable) {
      this.add(']');
      return;
    }
    const start = this.at;
    const target = this.match(
      /\([ \t\n]*(?:<((?:[^<>\n\\]|\\.)*)>|((?:[^\0- ()\\]|\\.|\((?:[^\0- ()\\]|\\.)*\))*))(?:[ \t\n]+(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\((?:[^()\\]|\\.)*\)))?[ \t\n]*\)/ys);
    const href = target && safeAddress(unescape(target[1] ?? target[2]));
    if (!target || !href) {
      // Not a link, or to where none may lead: all of it stays to be read as text.
      this.at = start;
      this.add(']');
      return;
    }
    this.emphasize(bracket.delimiters);
    const link = linkTo(href);
    while (bracket.node.nextSibling) link.append(bracket.node.nextSibling);
    for (const inner of link.querySelectorAll('a')) inner.replaceWith(...inner.childNodes);
    // Pictures are not fetched: that would tell a stranger's server who reads what. They are links.
    if (bracket.image && link.textContent === '') link.textContent = href;
    bracket.node.replaceWith(link);
    if (!bracket.image) for (const outer of this.brackets) if (!outer.image) outer.usable = false;
  }

  angle() {
    const address = this.match(/<((?:https?:\/\/|mailto:)[^\s<>]*)>/iy);
    const mail = address ? null : this.match(/<([\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)>/y);
    const href = address ? safeAddress(address[1]) : mail ? safeAddress('mailto:' + mail[1]) : undefined;
    if (href) {
      const link = linkTo(href);
      link.textContent = (address ?? mail)[1];
      this.parent.append(link);
    } else if (address || mail) {
      this.add((address ?? mail)[0]);
    } else if (this.match(/<br[ \t]*\/?>/iy)) {
      this.element('br');  // the one tag that models write into tables, where nothing else breaks a line
    } else {
      this.addChar();
    }
  }

  entity() {
    const match = this.match(ENTITY);
    return match ? decoded(match) : undefined;
  }

  lineEnd() {
    // Two blanks before the end of a line break it.
    const last = this.parent.lastChild;
    if (last?.nodeType === Node.TEXT_NODE) {
      const trimmed = last.data.replace(/[ ]+$/, '');
      const blanks = last.data.length - trimmed.length;
      last.data = trimmed;
      if (blanks >= 2) this.element('br');
    }
    this.match(/\n[ \t]*/y);
    this.add('\n');
  }

  // An address that stands in the text without any marks, as GitHub finds them.
  bareAddress() {
    const before = this.text[this.at - 1] ?? ' ';
    const match = /[A-Za-z0-9]/.test(before) ? null : this.match(/https?:\/\/[^\s<>\]"`\u3000-\u303f\uff00-\uffef]+/y);
    if (!match) {
      this.addChar();
      return;
    }
    let address = match[0];
    for (;;) {
      const shorter = address.replace(/(?:[?!.,:;*_~']|&[A-Za-z0-9]+;)+$/, '');
      const unbalanced = shorter.endsWith(')') && shorter.split(')').length > shorter.split('(').length;
      address = unbalanced ? shorter.slice(0, -1) : shorter;
      if (!unbalanced) break;
    }
    this.at -= match[0].length - address.length;
    const href = /^https?:\/\/[^/?#]/.test(address) ? safeAddress(address) : undefined;
    if (!href) {
      this.add(address);
      return;
    }
    const link = linkTo(href);
    link.textContent = address;
    this.parent.append(link);
  }
}

// Whether the marks of `opener` and `closer` belong together; their lengths' sum may not be a
// multiple of three where one of them could do both (CommonMark, rules 9 and 10 of emphasis).
function fits(opener, closer) {
  if (!opener.opens || opener.mark !== closer.mark) return false;
  if (closer.mark === '~') return true;
  return !((opener.closes || closer.opens) && (opener.length + closer.length) % 3 === 0 &&
           (opener.length % 3 !== 0 || closer.length % 3 !== 0));
}

function decoded([all, decimal, hex, name]) {
  if (name !== undefined) return Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : all;
  const point = decimal === undefined ? parseInt(hex, 16) : Number(decimal);
  const valid = point > 0 && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
  return String.fromCodePoint(valid ? point : 0xfffd);
}

function unescape(text) {
  return text.replace(/\\([!-/:-@[-`{-~])/g, '$1')
    .replace(/&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,31}));/g, (...match) => decoded(match));
}
