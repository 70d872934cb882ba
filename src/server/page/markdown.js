// Shows Markdown that grows: a MarkdownView is told the text so far and changes only what is new. What
// comes before the last block of finished lines is never looked at again; in what is left, elements
// whose block stayed the same stay.
import {parseBlocks} from './markdown_blocks.js';
import {appendInlines} from './markdown_inlines.js';
import {highlight} from './highlight.js';

export class MarkdownView {
  constructor(element) {
    this.element = element;
    this.text = '';
    this.done = 0;     // characters whose blocks are final
    this.blocks = [];  // those after them, as they are shown
  }

  // `text` may be any text; it is quick if it begins with the text before.
  show(text) {
    if (text === this.text) return;
    if (!text.startsWith(this.text)) {
      this.element.replaceChildren();
      this.done = 0;
      this.blocks = [];
      this.text = '';
    }
    const lineEnd = text.lastIndexOf('\n') + 1;
    const hadLineEnd = this.text.lastIndexOf('\n') + 1;
    this.text = text;
    if (lineEnd > hadLineEnd) this.settle(text.slice(this.done, lineEnd));
    this.blocks = patch(this.element, this.blocks, parseBlocks(text.slice(this.done)).children);
  }

  // A block is final once finished lines began another one after it. `lines`: all that are not final.
  settle(lines) {
    const blocks = parseBlocks(lines).children;
    if (blocks.length < 2) return;
    patch(this.element, this.blocks, blocks);
    const last = blocks.at(-1);
    let at = 0;
    for (let line = 0; line < last.first; ++line) at = nextLine(lines, at);
    this.done += at;
    this.blocks = [last];
  }
}

function nextLine(text, from) {
  const end = /\r\n|\n|\r/g;
  end.lastIndex = from;
  end.exec(text);
  return end.lastIndex;
}

// Makes the elements of `before` (each node has its own in `element`) those of `after`. They are the last
// children of `parent`.
function patch(parent, before, after) {
  after.forEach((node, i) => {
    const old = before[i];
    if (old && keep(old, node)) return;
    node.element = build(node);
    if (old) old.element.replaceWith(node.element);
    else parent.append(node.element);
  });
  for (const old of before.slice(after.length)) old.element.remove();
  return after;
}

// Whether the element of `old` can show `node`; brings it up to date.
function keep(old, node) {
  if (old.kind !== node.kind) return false;
  switch (node.kind) {
    case 'paragraph': if (old.text !== node.text) return false; break;
    case 'heading': if (old.text !== node.text || old.level !== node.level) return false; break;
    case 'row': if (old.cells.join('\n') !== node.cells.join('\n')) return false; break;
    case 'code':
      if (old.language !== node.language || old.closed && !node.closed) return false;
      if (old.text !== node.text || old.closed !== node.closed) showCode(old.element.querySelector('code'), node);
      break;
    case 'list': if (old.ordered !== node.ordered || old.start !== node.start) return false; break;
    case 'item': if (old.checked !== node.checked) return false; break;
    case 'table': if (old.columns.join() !== node.columns.join()) return false; break;
    default: break;
  }
  node.element = old.element;
  if (node.children) patch(placeOfChildren(node), old.children, node.children);
  if (node.kind === 'list') node.element.toggleAttribute('data-tight', !node.loose);
  if (node.kind === 'table') alignCells(node);
  return true;
}

function placeOfChildren(node) {
  return node.kind === 'table' ? node.element.querySelector('table') : node.element;
}

function build(node) {
  const element = node.element = emptyElement(node);
  if (node.kind === 'paragraph' || node.kind === 'heading') appendInlines(element, node.text);
  if (node.kind === 'list') element.toggleAttribute('data-tight', !node.loose);
  if (node.children) patch(placeOfChildren(node), [], node.children);
  if (node.kind === 'table') alignCells(node);
  return element;
}

function emptyElement(node) {
  switch (node.kind) {
    case 'paragraph': return make('p');
    // Answers stand under a heading of the second level.
    case 'heading': return make(`h${Math.min(6, node.level + 2)}`);
    case 'quote': return make('blockquote');
    case 'rule': return make('hr');
    case 'list': {
      const list = make(node.ordered ? 'ol' : 'ul');
      if (node.ordered && node.start !== 1) list.start = node.start;
      return list;
    }
    case 'item': {
      const item = make('li');
      if (node.checked !== undefined) {
        item.className = 'task';
        item.append(make('span', 'visually-hidden', node.checked ? 'Done: ' : 'To do: '));
        item.dataset.checked = node.checked;
      }
      return item;
    }
    case 'code': return codeElement(node);
    case 'table': {
      // Wide tables scroll within their own frame, by keys too.
      const frame = make('div', 'table');
      frame.tabIndex = 0;
      frame.role = 'group';
      frame.ariaLabel = 'Table';
      frame.append(make('table'));
      return frame;
    }
    case 'row': {
      const row = make('tr');
      for (const text of node.cells) {
        const cell = make('td');
        appendInlines(cell, text);
        row.append(cell);
      }
      return row;
    }
    default: throw new Error(`no element for a block of kind ${node.kind}`);
  }
}

// The first row is the head; classes say how columns are aligned.
function alignCells(table) {
  table.children.forEach((row, i) => {
    if (row.aligned) return;
    row.aligned = true;
    [...row.element.children].forEach((cell, column) => {
      let aligned = cell;
      if (i === 0 && cell.tagName === 'TD') {
        aligned = make('th');
        aligned.scope = 'col';
        aligned.append(...cell.childNodes);
        cell.replaceWith(aligned);
      }
      if (table.columns[column]) aligned.className = table.columns[column];
    });
  });
}

function codeElement(node) {
  const frame = make('div', 'code');
  const head = make('div', 'code-head');
  const copy = make('button', 'quiet', 'Copy');
  copy.type = 'button';
  copy.dataset.action = 'copy-code';
  copy.ariaLabel = 'Copy code';
  head.append(make('span', 'code-language', node.language), copy);
  const pre = make('pre');
  pre.tabIndex = 0;
  pre.role = 'group';
  pre.ariaLabel = node.language ? `Code, ${node.language}` : 'Code';
  const code = make('code');
  showCode(code, node);
  pre.append(code);
  frame.append(head, pre);
  return frame;
}

// Colours come when the code has come to its end; until then its text only grows.
function showCode(code, node) {
  const text = node.text.replace(/\n$/, '');
  const shown = code.childNodes.length === 1 && code.firstChild.nodeType === Node.TEXT_NODE ? code.firstChild : null;
  if (node.closed) code.replaceChildren(highlight(text, node.language));
  else if (shown && text.startsWith(shown.data)) shown.appendData(text.slice(shown.data.length));
  else code.textContent = text;
}

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
