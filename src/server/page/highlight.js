// Colours for code: comments, strings, numbers and keywords, which languages of a kind write alike. No
// grammar: where a language is not known, the code stays plain.

const STRINGS = String.raw`"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'`;
const NUMBER = String.raw`\b(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)[a-zA-Z]*\b`;

const KINDS = [
  {
    names: 'c h cpp c++ cc hpp cuda hip java kotlin kt swift go rust rs javascript js jsx typescript ts tsx csharp cs c# ' +
      'dart scala php zig glsl proto',
    comment: String.raw`\/\/[^\n]*|\/\*[^]*?(?:\*\/|$)`,
    string: STRINGS + String.raw`|${'`'}(?:[^${'`'}\\]|\\[^])*${'`'}`,
    words: 'abstract any as async auto await bool boolean break byte case catch char class concept const consteval constexpr ' +
      'continue crate debugger default defer delete do double dyn else enum explicit export extends extern false final finally ' +
      'float fn for friend from func function go goto if impl implements import in include inline instanceof int interface is let ' +
      'long loop match mod module mut namespace new nil noexcept null nullptr of operator override package private protected ' +
      'protocol pub public return self short signed sizeof static string struct super switch template this throw throws trait true ' +
      'try type typedef typename typeof undefined union unsafe unsigned use using val var virtual void volatile where while yield',
  },
  {
    names: 'python py ruby rb bash sh shell zsh console perl pl r julia jl yaml yml toml ini dockerfile makefile cmake elixir nim',
    comment: String.raw`(?<![^\s;({\[])#[^\n]*`,
    string: String.raw`"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|` + STRINGS,
    words: 'False None True and as assert async await begin break case class continue def del do done echo elif else elsif end ' +
      'ensure esac except export false fi finally for from function global if import in is lambda let local match module next nil ' +
      'nonlocal not null or pass raise require rescue return self set super then true try unless until while with yield',
  },
  {
    names: 'sql sqlite postgresql mysql lua haskell hs ada',
    comment: String.raw`--[^\n]*|\/\*[^]*?(?:\*\/|$)`,
    string: STRINGS,
    ignoreCase: true,
    words: 'add all alter and as asc begin between by case commit create cross data default delete desc distinct do drop else ' +
      'elseif end exists false for foreign from full function group having if in index inner insert instance into is join key left ' +
      'like limit local module nil not null of offset on or order outer primary references repeat return right rollback select set ' +
      'table then true type union unique until update values view when where while with',
  },
  {names: 'json jsonc json5', comment: String.raw`\/\/[^\n]*`, string: STRINGS, words: 'true false null'},
  {names: 'html xml svg vue', comment: '<!--[^]*?(?:-->|$)', string: STRINGS, words: '', tags: true},
  {names: 'css scss less', comment: String.raw`\/\*[^]*?(?:\*\/|$)`, string: STRINGS, words: 'important media supports import'},
  {names: 'diff patch', lines: true},
];

const BY_NAME = new Map(KINDS.flatMap((kind) => kind.names.split(' ').map((name) => [name, kind])));

// A fragment with the code's text, whole, in spans of the classes comment, string, number, word.
export function highlight(text, language) {
  const fragment = document.createDocumentFragment();
  const kind = BY_NAME.get(language.toLowerCase());
  if (!kind) {
    fragment.append(text);
    return fragment;
  }
  let from = 0;
  for (const match of text.matchAll(patternOf(kind))) {
    const [name, value] = Object.entries(match.groups).find(([, group]) => group !== undefined);
    fragment.append(text.slice(from, match.index));
    const span = document.createElement('span');
    span.className = name;
    span.textContent = value;
    fragment.append(span);
    from = match.index + value.length;
  }
  fragment.append(text.slice(from));
  return fragment;
}

function patternOf(kind) {
  if (kind.pattern) return kind.pattern;
  if (kind.lines) {
    kind.pattern = /(?<added>^\+[^\n]*)|(?<removed>^-[^\n]*)|(?<comment>^@@[^\n]*)/gm;
  } else {
    const words = kind.tags ? String.raw`(?<=<\/?)[A-Za-z][\w:-]*` : String.raw`\b(?:${kind.words.split(' ').join('|')})\b`;
    kind.pattern = new RegExp(`(?<comment>${kind.comment})|(?<string>${kind.string})|(?<number>${NUMBER})|(?<word>${words})`,
      kind.ignoreCase ? 'gi' : 'g');
  }
  return kind.pattern;
}
