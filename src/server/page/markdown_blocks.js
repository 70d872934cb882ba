// Markdown's blocks: from text to a tree of plain objects. The rules are CommonMark 0.31's
// (https://spec.commonmark.org) with GitHub's tables, and without two things: HTML is text like any
// other, and link reference definitions are not looked for.
//
// A node is {kind, children, first, last}: the lines it begins and ends on, counted from 0. Kinds:
//   document, quote                        children: blocks
//   list       ordered, start, loose       children: items
//   item       checked (true, false; undefined: not a task)
//   paragraph  text
//   heading    level (1 to 6), text
//   code       language, text, closed (false: its end has not come yet)
//   table      columns ("left", "right", "center" or ""), children: rows
//   row        cells: texts; the first row is the table's head
//   rule

// Model text may nest as deep as it likes; stacks and browsers can't.
const DEEPEST = 30;

export function parseBlocks(text) {
  const parser = new BlockParser();
  const lines = text.split(/\r\n|\n|\r/);
  // What ends in a newline has no further line.
  if (lines.at(-1) === '') lines.pop();
  for (const line of lines) parser.take(line);
  return parser.end();
}

// One line, read from left to right. Tabs reach to the next multiple of four columns, and part of a
// tab may be taken.
class Cursor {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.column = 0;
    this.rest = 0;  // columns of the tab before `at` that nobody took yet
    this.look();
  }

  // Finds what comes after the blanks: `next` its place, `indent` the columns before it.
  look() {
    let column = this.column + this.rest, next = this.at;
    for (; this.text[next] === ' ' || this.text[next] === '\t'; ++next)
      column += this.text[next] === '\t' ? 4 - column % 4 : 1;
    this.next = next;
    this.indent = column - this.column;
    this.blank = next === this.text.length;
  }

  // Takes up to `count` columns of blanks.
  takeBlanks(count) {
    while (count > 0 && (this.rest > 0 || this.at < this.next)) {
      if (this.rest === 0) {
        this.rest = this.text[this.at] === '\t' ? 4 - this.column % 4 : 1;
        this.at += 1;
      }
      const taken = Math.min(count, this.rest);
      this.rest -= taken;
      this.column += taken;
      count -= taken;
    }
    this.look();
  }

  // Takes the blanks and `count` characters after them.
  take(count) {
    this.takeBlanks(this.indent);
    this.at += count;
    this.column += count;
    this.look();
  }

  match(pattern) { return this.text.slice(this.next).match(pattern); }
  remaining() { return ' '.repeat(this.rest) + this.text.slice(this.at); }
}

class BlockParser {
  constructor() {
    this.line = -1;
    this.root = {kind: 'document', children: [], first: 0, last: 0};
    this.open = [this.root];  // from the document to the innermost block that may go on
  }

  get tip() { return this.open.at(-1); }

  take(text) {
    this.line += 1;
    const cursor = new Cursor(text);
    let matched = 1;
    while (matched < this.open.length) {
      const answer = this.goesOn(this.open[matched], cursor);
      if (answer === 'closed') {
        this.touch(matched);
        this.open.length = matched;
        return;
      }
      if (!answer) break;
      matched += 1;
    }
    const last = this.open[matched - 1];
    if (last.kind === 'code') return this.addCode(last, cursor);

    const whole = matched === this.open.length;
    const paragraph = this.tip.kind === 'paragraph' ? this.tip : undefined;
    const opened = this.openBlocks(cursor, matched, whole ? paragraph : undefined);
    if (opened === 'done') return;
    if (!opened && !whole && paragraph && !cursor.blank) {
      // Lazy: a paragraph goes on though its containers' marks are missing.
      paragraph.text += '\n' + cursor.text.slice(cursor.next);
      this.touch(this.open.length - 1);
      return;
    }
    if (!opened) this.open.length = matched;
    if (cursor.blank) {
      // A quote's mark alone is a line of the quote.
      this.touch(this.open.findLastIndex(({kind}) => kind === 'quote'));
      return;
    }
    const tip = this.tip;
    if (tip.kind === 'paragraph') {
      tip.text += '\n' + cursor.text.slice(cursor.next);
    } else if (tip.kind === 'table') {
      this.addRow(tip, cursor.text.slice(cursor.next));
    } else {
      this.add({kind: 'paragraph', text: cursor.text.slice(cursor.next)});
    }
    this.touch(this.open.length - 1);
  }

  end() {
    finish(this.root);
    return this.root;
  }

  // Whether an open block goes on in this line; takes its mark.
  goesOn(block, cursor) {
    switch (block.kind) {
      case 'list': return true;
      case 'quote':
        if (cursor.indent > 3 || cursor.text[cursor.next] !== '>') return false;
        cursor.take(1);
        cursor.takeBlanks(1);
        return true;
      case 'item':
        if (cursor.blank) return block.children.length > 0;
        if (cursor.indent < block.width) return false;
        cursor.takeBlanks(block.width);
        return true;
      case 'code':
        if (!block.fence) {
          if (cursor.indent >= 4) cursor.takeBlanks(4);
          else if (cursor.blank) cursor.takeBlanks(cursor.indent);
          else return false;
          return true;
        }
        if (cursor.indent <= 3) {
          const fence = cursor.match(/^(`{3,}|~{3,})[ \t]*$/);
          if (fence && fence[1][0] === block.fence[0] && fence[1].length >= block.fence.length) {
            block.closed = true;
            return 'closed';
          }
        }
        cursor.takeBlanks(block.fenceIndent);
        return true;
      case 'paragraph': return !cursor.blank;
      case 'table': return !cursor.blank;
      default: return false;  // headings and rules have one line
    }
  }

  // Opens what begins in this line within the first `matched` open blocks. `paragraph`: the one that
  // would go on. Answers 'done' when the line is used up, else whether anything was opened.
  openBlocks(cursor, matched, paragraph) {
    let opened = false;
    const close = () => {
      if (!opened) {
        this.open.length = matched;
        opened = true;
      }
      // A new block ends the leaf that stood here.
      while (['paragraph', 'table'].includes(this.tip.kind)) this.open.pop();
    };
    const leaf = (node) => {
      close();
      this.add(node);
      this.touch(this.open.length - 1);
      return 'done';
    };
    for (;;) {
      if (cursor.blank) return opened;
      if (cursor.indent >= 4) {
        const inParagraph = opened ? false : this.tip.kind === 'paragraph';
        if (inParagraph) return opened;
        cursor.takeBlanks(4);
        return leaf({kind: 'code', language: '', text: cursor.remaining() + '\n', closed: false});
      }
      let match;
      const deep = (opened ? this.open.length : matched) > DEEPEST;
      if (!deep && cursor.text[cursor.next] === '>') {
        close();
        cursor.take(1);
        cursor.takeBlanks(1);
        this.add({kind: 'quote', children: []});
      } else if ((match = cursor.match(/^(#{1,6})(?:[ \t]+|$)/))) {
        const text = cursor.text.slice(cursor.next + match[0].length);
        return leaf({kind: 'heading', level: match[1].length,
          text: text.replace(/^[ \t]*#+[ \t]*$/, '').replace(/[ \t]+#+[ \t]*$/, '').trim()});
      } else if ((match = cursor.match(/^(`{3,})([^`]*)$|^(~{3,})(.*)$/))) {
        return leaf({kind: 'code', language: (match[2] ?? match[4]).trim().split(/\s/)[0], text: '', closed: false,
          fence: match[1] ?? match[3], fenceIndent: cursor.indent});
      } else if (!opened && paragraph && (match = cursor.match(/^(=+|-+)[ \t]*$/))) {
        paragraph.kind = 'heading';
        paragraph.level = match[1][0] === '=' ? 1 : 2;
        this.touch(this.open.length - 1);
        this.open.pop();
        return 'done';
      } else if (!opened && paragraph && this.makeTable(paragraph, cursor)) {
        return 'done';
      } else if (cursor.match(/^(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$/)) {
        return leaf({kind: 'rule'});
      } else if (!deep && (match = this.itemMark(cursor, opened ? undefined : paragraph))) {
        close();
        this.addItem(match, cursor);
      } else {
        return opened;
      }
    }
  }

  // A bullet or number at the cursor. Within a paragraph fewer lines are items: one with nothing in it,
  // or a sum that happens to be broken before "14. ", is text.
  itemMark(cursor, paragraph) {
    const match = cursor.match(/^(?:([-+*])|(\d{1,9})([.)]))(?=[ \t]|$)/);
    if (!match) return undefined;
    if (paragraph) {
      if (!/\S/.test(cursor.text.slice(cursor.next + match[0].length))) return undefined;
      if (match[2] !== undefined && Number(match[2]) !== 1) return undefined;
    }
    return {mark: match[0], type: match[1] ?? match[3], start: match[2] === undefined ? undefined : Number(match[2])};
  }

  addItem({mark, type, start}, cursor) {
    const indent = cursor.indent;
    cursor.take(mark.length);
    // The item's text begins after one to four blanks; more are those of code in it.
    const blanks = cursor.blank || cursor.indent > 4 ? 1 : cursor.indent;
    cursor.takeBlanks(blanks);
    if (!(this.tip.kind === 'list' && this.tip.type === type)) {
      if (this.tip.kind === 'list') this.open.pop();
      this.add({kind: 'list', ordered: start !== undefined, start, type, loose: false, children: []});
    }
    this.add({kind: 'item', width: indent + mark.length + blanks, children: []});
    this.touch(this.open.length - 1);
  }

  // The paragraph's last line and this one as the head of a table, if they are one.
  makeTable(paragraph, cursor) {
    const marks = cursor.text.slice(cursor.next).trim();
    if (!/^\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?$/.test(marks) || !/[|:]/.test(marks)) return false;
    const end = paragraph.text.lastIndexOf('\n');
    const head = cellsOf(paragraph.text.slice(end + 1));
    const columns = cellsOf(marks).map((mark) => (mark.startsWith(':') ? (mark.endsWith(':') ? 'center' : 'left') :
      mark.endsWith(':') ? 'right' : ''));
    if (head.length !== columns.length) return false;
    this.open.pop();
    if (end >= 0) {
      paragraph.text = paragraph.text.slice(0, end);
      paragraph.last = this.line - 2;
    } else {
      this.tip.children.pop();
    }
    this.add({kind: 'table', columns, children: [{kind: 'row', cells: head}]});
    this.tip.first = this.line - 1;
    this.touch(this.open.length - 1);
    return true;
  }

  addRow(table, text) {
    table.children.push({kind: 'row', cells: cellsOf(text).slice(0, table.columns.length)});
  }

  addCode(code, cursor) {
    code.text += cursor.remaining() + '\n';
    if (code.fence || !cursor.blank) this.touch(this.open.length - 1);
  }

  add(node) {
    if (this.tip.kind === 'list' && node.kind !== 'item') this.open.pop();
    node.first = node.last = this.line;
    this.tip.children.push(node);
    this.open.push(node);
  }

  // This line belongs to the open blocks up to `index`.
  touch(index) {
    for (let i = 0; i <= index; ++i) this.open[i].last = this.line;
  }
}

function cellsOf(row) {
  let text = row.trim();
  if (text.startsWith('|')) text = text.slice(1);
  const cells = text.split(/(?<!\\)\|/);
  if (cells.length > 1 && cells.at(-1).trim() === '') cells.pop();
  return cells.map((cell) => cell.replace(/\\\|/g, '|').trim());
}

// What is known only at the end: blank lines within lists, task marks, code without its last blanks.
function finish(node) {
  if (node.kind === 'paragraph' || node.kind === 'heading') node.text = node.text.trim();
  if (node.kind === 'code' && !node.fence) node.text = node.text.replace(/\n(?:[ \t]*\n)+$/, '\n');
  if (node.kind === 'list')
    node.loose = apart(node.children) || node.children.some((item) => apart(item.children));
  if (node.kind === 'item' && node.children[0]?.kind === 'paragraph') {
    const task = node.children[0].text.match(/^\[([ xX])\][ \t]+(?=\S)/);
    if (task) {
      node.checked = task[1] !== ' ';
      node.children[0].text = node.children[0].text.slice(task[0].length);
    }
  }
  for (const child of node.children ?? []) finish(child);
}

function apart(nodes) {
  return nodes.some((node, i) => i > 0 && node.first > nodes[i - 1].last + 1);
}
