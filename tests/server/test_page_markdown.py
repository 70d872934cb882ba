"""The chat page's Markdown, in a browser: CommonMark's own examples, text that arrives piece by piece, hostile
text."""
import json
import re

import pytest

from fake_server import CODE, FakeServer
from fetched import package_files

# What the page does another way on purpose, by the section of the specification.
OTHERWISE = {
    "HTML blocks": "tags are text", "Raw HTML": "tags are text",
    "Link reference definitions": "not looked for", "Images": "are links",
}
# Examples in other sections that depend on one of those.
DIFFERENT = {
    "definitions": re.compile(r"^[> ]*\[[^\0]*\]:\s", re.M),
    "tags": re.compile(r"</?[a-z]+[^>]*/?>|<!--", re.I),
    "pictures": re.compile(r"!\["),
    "TeX's brackets": re.compile(r"\\[(\[]"),
    "names of characters": re.compile(r"&(?:ouml|AElig|auml);"),
    "escapes in the name of a language": re.compile(r"^``` *foo\\", re.M),
}

# Both trees as nested lists: [tag, attributes, children], with text as it would be read.
TREE = r"""
const tree = (node) => {
  if (node.nodeType === Node.TEXT_NODE) return [node.data];
  if (node.nodeType !== Node.ELEMENT_NODE) return [];
  let tag = node.tagName.toLowerCase(), attributes = {}, inside = [...node.childNodes];
  if (node.className === 'code') {
    const code = node.querySelector('code');
    return [['pre', {language: node.querySelector('.code-language').textContent}, [code.textContent]]];
  }
  if (tag === 'pre') {
    const code = node.querySelector('code');
    return [['pre', {language: /language-(\S+)/.exec(code.className)?.[1] ?? ''}, [code.textContent.replace(/\n$/, '')]]];
  }
  if (node.className === 'table' || tag === 'thead' || tag === 'tbody') return inside.flatMap(tree);
  if (/^h[1-6]$/.test(tag)) tag = 'h' + (ours ? tag[1] : Math.min(6, Number(tag[1]) + 2));
  // Addresses that stand in the text are links here, as on GitHub.
  if (tag === 'a' && node.textContent.startsWith('http')) return inside.flatMap(tree);
  if (tag === 'a') attributes.href = node.getAttribute('href').match(/^\w+:/) ? node.href : 'relative';
  if (tag === 'ol') attributes.start = node.start;
  if (tag === 'th' || tag === 'td') attributes.align = node.align || node.className;
  if (tag === 'p' && ours && node.parentNode.parentNode?.hasAttribute?.('data-tight')) return inside.flatMap(tree);
  const children = [];
  for (const child of inside.flatMap(tree)) {
    if (typeof child === 'string' && typeof children.at(-1) === 'string') children[children.length - 1] += child;
    else children.push(child);
  }
  // Line ends between blocks, and blanks beside them, are nothing.
  const tidy = children.map((child) => typeof child === 'string' ? child.replace(/\s*\n\s*/g, '\n') : child);
  const edge = (i) => i < 0 || i >= tidy.length || ['p', 'ul', 'ol', 'li', 'pre', 'blockquote', 'hr', 'table', 'tr', 'th', 'td', 'br',
    'h1', 'h2', 'h3', 'h4', 'h5', 'h6'].includes(tidy[i][0]);
  return [[tag, attributes, tidy.map((child, i) => typeof child !== 'string' ? child :
    child.replace(edge(i - 1) ? /^\n/ : /^$/, '').replace(edge(i + 1) ? /\n$/ : /$^/, '')).filter((child) => child !== '')]];
};
"""
SHOW = "async (text) => { const {MarkdownView} = await import('/markdown.js'); const root = document.createElement('div');" \
       " new MarkdownView(root).show(text); const ours = true;" + TREE + "return tree(root)[0][2]; }"
EXPECTED = "(html) => { const root = new DOMParser().parseFromString(html, 'text/html').body; const ours = false;" + TREE + \
           "return tree(root)[0][2]; }"


def examples():
    text = (package_files("commonmark==0.9.2", "commonmark-0.9.2") / "spec.txt").read_text()
    section = ""
    for match in re.finditer(r"^#{1,6} +([^\n]*)$|^`{32} example\n(.*?)^\.\n(.*?)^`{32}$", text, re.M | re.S):
        if match.group(1):
            section = match.group(1)
        else:
            # The page takes no relative addresses: those of the examples are made absolute on both sides.
            yield section, *(re.sub(r"(?<![\w:/.])/((?:my )?ur[il])", r"https://e.x/\1", part.replace("→", "\t"))
                             for part in match.groups()[1:])


@pytest.fixture(scope="module")
def page(browser):
    """One page for all of these: they add elements of their own, if at all, and take them away."""
    with FakeServer() as fake:
        page = browser.new_page()
        page.goto(fake.url)
        yield page
        page.close()


def test_commonmark(page):
    counted, wrong = 0, []
    for section, text, html in examples():
        if section in OTHERWISE or any(pattern.search(text) for pattern in DIFFERENT.values()):
            continue
        theirs = page.evaluate(EXPECTED, html)
        if '"relative"' in json.dumps(theirs):
            continue  # to where no link may lead
        counted += 1
        ours = page.evaluate(SHOW, text)
        if ours != theirs:
            wrong.append(f"{section}\n{text}\n{json.dumps(ours)}\n{json.dumps(theirs)}\n")
    assert wrong == [], "\n".join(wrong)
    assert counted > 400, counted  # of 649


@pytest.mark.parametrize("text, tree", [
    ("| a | b |\n|:--|--:|\n| 1 \\| 2 | `x` |\n| 3 |",
     [["table", {}, [["tr", {}, [["th", {"align": "left"}, ["a"]], ["th", {"align": "right"}, ["b"]]]],
                     ["tr", {}, [["td", {"align": "left"}, ["1 | 2"]], ["td", {"align": "right"}, [["code", {}, ["x"]]]]]],
                     ["tr", {}, [["td", {"align": "left"}, ["3"]]]]]]]),
    ("before\na | b\n--|--\n\nafter",
     [["p", {}, ["before"]], ["table", {}, [["tr", {}, [["th", {"align": ""}, ["a"]], ["th", {"align": ""}, ["b"]]]]]],
      ["p", {}, ["after"]]]),
    ("a | b\n---|---|---", [["p", {}, ["a | b\n---|---|---"]]]),
    ("~~gone~~ but ~5 to 6~7", [["p", {}, [["del", {}, ["gone"]], " but ~5 to 6~7"]]]),
    ("a<br>b", [["p", {}, ["a", ["br", {}, []], "b"]]]),
    (r"\(a_1 * b_2 * c\) costs $$x^2$$", [["p", {}, [["code", {}, [r"\(a_1 * b_2 * c\)"]], " costs ", ["code", {}, ["$$x^2$$"]]]]]),
    ("- [x] done\n- [ ] not", [["ul", {}, [["li", {}, [["span", {}, ["Done: "]], "done"]], ["li", {}, [["span", {}, ["To do: "]], "not"]]]]]),
])
def test_beyond_commonmark(page, text, tree):
    assert page.evaluate(SHOW, text) == tree


@pytest.mark.parametrize("text, hrefs", [
    ("See https://a.b/c_d_e(f). And (http://x.y/).", ["https://a.b/c_d_e(f)", "http://x.y/"]),
    ("**https://a.b/**, `https://no.no`", ["https://a.b/"]),
    ("[https://a.b/](https://c.d/)", ["https://c.d/"]),
    ("![a picture](https://a.b/c.png)", ["https://a.b/c.png"]),
    ("<mailto:me@a.b> <me@c.d>", ["mailto:me@a.b", "mailto:me@c.d"]),
    ("https://a.b/c。ほか", ["https://a.b/c"]),
    ("https:// and http://", []),
])
def test_addresses(page, text, hrefs):
    links = page.evaluate("""async (text) => { const {MarkdownView} = await import('/markdown.js');
      const root = document.createElement('div'); new MarkdownView(root).show(text);
      return [...root.querySelectorAll('a')].map(({href, rel, target}) => [href, rel, target]); }""", text)
    assert links == [[href, "noopener noreferrer", "_blank"] for href in hrefs]


def test_text_that_grows(page):
    """Shown character by character, a text looks at every moment as if it had come whole."""
    texts = [text for _, text, _ in examples()] + [CODE, "- a\n---x\n\n1. b\n\n\n   c\n2. d\n> e\nf\n```x\n``\n```\ng | h\n-|-\ni|j\n\nk"]
    wrong = page.evaluate("""async (texts) => {
      const {MarkdownView} = await import('/markdown.js');
      const wrong = [];
      for (const text of texts) {
        const growing = document.createElement('div'), view = new MarkdownView(growing);
        for (let end = 1; end <= text.length; ++end) {
          view.show(text.slice(0, end));
          const whole = document.createElement('div');
          new MarkdownView(whole).show(text.slice(0, end));
          if (growing.isEqualNode(whole)) continue;
          wrong.push([text.slice(0, end), growing.outerHTML, whole.outerHTML]);
          break;
        }
      }
      return wrong;
    }""", texts)
    assert wrong == [], "\n".join("\n".join(each) for each in wrong[:5])


# Nothing in these may run, load, or become an element that the page doesn't make itself.
HOSTILE = r"""
<script>window.harmed = 1</script> <img src=x onerror="window.harmed = 1"> <svg onload=window.harmed=1>
<iframe srcdoc="<script>parent.harmed=1</script>"></iframe> <style>body{display:none}</style>
<a href="javascript:window.harmed=1">a</a> <details open ontoggle=window.harmed=1>

[a](javascript:window.harmed=1) [b](JaVaScRiPt:window.harmed=1) [c](&#106;avascript:window.harmed=1)
[d](java&#10;script:window.harmed=1) [e](data:text/html,<script>harmed=1</script>) [f](vbscript:x) [g](//evil.example/)
[h](<javascript:window.harmed=1>) [i](\javascript:window.harmed=1) <javascript:window.harmed=1> [j](file:///etc/passwd)
[k](blob:http://127.0.0.1/x) [l](https://user:pass@good.example" onmouseover="window.harmed=1)
![m](https://evil.example/track.png) ![n](javascript:window.harmed=1) ![o](data:image/svg+xml,<svg onload=alert(1)>)
[p](/v1/models) [q](#new) [r](page.js)

```"><script>window.harmed=1</script>
</code></pre><script>window.harmed=1</script>
```

| <img src=x onerror=window.harmed=1> | [s](javascript:window.harmed=1) |
|---|---|
| `<script>window.harmed=1</script>` | &lt;script&gt;window.harmed=1&lt;/script&gt; |

- [x] <input autofocus onfocus=window.harmed=1>

<div id="send" class="dialog" style="position:fixed;inset:0">
"""


def test_hostile(page):
    requested = []
    page.on("request", lambda request: requested.append(request.url))
    page.evaluate("""async (text) => { const {MarkdownView} = await import('/markdown.js');
      const root = document.createElement('section');
      document.body.append(root);
      new MarkdownView(root).show(text); }""", HOSTILE)
    shown = page.locator("section")
    names = set(shown.evaluate("(root) => [...root.querySelectorAll('*')].map(({tagName}) => tagName)"))
    assert names <= {"P", "A", "CODE", "PRE", "DIV", "SPAN", "BUTTON", "TABLE", "TR", "TH", "TD", "UL", "LI"}
    hrefs = shown.evaluate("(root) => [...root.querySelectorAll('a')].map(({href}) => href)")
    assert hrefs == ["http://127.0.0.1/x", "https://user:pass@good.example/", "https://evil.example/track.png"]
    attributes = set(shown.evaluate("(root) => [...root.querySelectorAll('*')].flatMap((e) => e.getAttributeNames())"))
    assert attributes <= {"href", "target", "rel", "class", "tabindex", "role", "aria-label", "type", "data-action", "data-checked", "data-tight", "scope"}
    for link in shown.locator("a").all():
        assert link.get_attribute("rel") == "noopener noreferrer"
    page.wait_for_timeout(200)
    assert page.evaluate("window.harmed") is None
    assert [url for url in requested if not url.startswith(page.url)] == []


@pytest.mark.parametrize("text", [
    ">" * 50_000, "- " * 30_000, "*" * 60_000 + "a", "*a " * 20_000 + "a* " * 20_000, "[" * 60_000, "[a](" * 20_000,
    "`" * 3 + "`a``b" * 15_000, "| a " * 15_000 + "|\n" + "|-" * 15_000 + "|\n" + "|b\n" * 5_000, "a\n-|\n" * 15_000,
    "\\(" * 30_000, "$$" * 30_000, "- a\n" * 20_000, "**a _b " * 10_000, "&#" * 30_000, "https://" * 10_000, "<a " * 20_000,
    "".join(" " * (2 * n) + "- x\n" for n in range(300)), "~~" * 30_001,
], ids=lambda text: text[:8].replace("\n", " "))
def test_no_text_takes_long(page, text):
    seconds = page.evaluate("""async (text) => { const {MarkdownView} = await import('/markdown.js');
      const root = document.createElement('div'), begin = performance.now();
      new MarkdownView(root).show(text);
      document.body.append(root);
      root.getBoundingClientRect();
      root.remove();
      return (performance.now() - begin) / 1000; }""", text)
    assert seconds < 5
