"""`outboard translate` as a person or a script would use it, with a small random model."""
import html
import html.parser
import json
import os
import pty
import signal
import subprocess
import time

import pytest

import marian_folders
import marian_random
from support import OUTBOARD, run

LINES = marian_folders.SOURCE_TEXT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("translate")


def convert(folder, name, languages):
    config = marian_folders.make_config(400, width=64, layers=2, heads=4, feed_forward=256)
    weights = marian_random.weights(config, 3, eos_bias=3)
    tokenizer = marian_folders.make_tokenizer(400, languages=languages)
    marian_folders.write_hf(folder / name, weights, config, tokenizer)
    run("convert", folder / name, folder / f"{name}.gguf", "--type", "f32")
    return folder / f"{name}.gguf"


@pytest.fixture(scope="module")
def model(folder):
    return convert(folder, "plain", ())


@pytest.fixture(scope="module")
def expected(model):
    """Every line by itself."""
    return [run("translate", model, line, "--device", "cpu").out for line in LINES]


def translate(model, text, *options):
    return run("translate", model, "--device", "cpu", *options, stdin=text.encode()).out


def test_texts_files_and_pipes_say_the_same(model, expected, folder):
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in expected)
    assert len(set(expected)) == len(LINES)
    whole = "".join(expected)
    assert run("translate", model, *LINES, "--device", "cpu").out == whole
    assert translate(model, "\n".join(LINES) + "\n") == whole
    # Ends of lines stay, but that the last one has one.
    assert translate(model, "\r\n".join(LINES), "-f", "-") == whole.replace("\n", "\r\n")[:-2] + "\n"
    (folder / "in.txt").write_text("\n".join(LINES) + "\n")
    run("translate", model, "-f", folder / "in.txt", "-o", folder / "out.txt", "--device", "cpu")
    assert (folder / "out.txt").read_text() == whole


def test_order_and_empty_lines_stay(model, expected):
    text = "\n".join([LINES[0], "", LINES[1], "   ", "", LINES[2]])
    want = [expected[0], "\n", expected[1], "   \n", "\n", expected[2]]
    for batch in (1, 2, 32):
        assert translate(model, text, "--batch", batch) == "".join(want)
    many = LINES * 12
    assert translate(model, "\n".join(many), "--batch", 7) == "".join(expected * 12)
    assert translate(model, "") == ""


def test_long_lines_are_split_and_joined(model):
    sentences = LINES * 3
    long = " ".join(sentences)
    joined = translate(model, long)
    apart = [run("translate", model, s, "--device", "cpu").out.strip() for s in LINES] * 3
    assert joined == " ".join(apart) + "\n"
    endless = "word," * 3000  # no sentence, no space
    assert translate(model, endless).count("\n") == 1


def test_json_has_scores_and_alternatives(model, expected):
    lines = [json.loads(line) for line in
             translate(model, "\n".join(LINES), "--json", "--nbest", 3, "--beam", 5).split("\n")[:-1]]
    assert [line["source"] for line in lines] == LINES
    for line in lines:
        assert set(line) == {"source", "text", "tokens", "score", "cut", "source_tokens", "alternatives"}
        scores = [line["score"]] + [a["score"] for a in line["alternatives"]]
        assert scores == sorted(scores, reverse=True) and len(scores) == 3
        assert len({tuple(c["tokens"]) for c in [line, *line["alternatives"]]}) == 3
    assert [line["text"] + "\n" for line in lines] != ["\n"] * len(lines)
    assert json.loads(translate(model, "", "--json") or "null") is None
    empty = json.loads(translate(model, "\n", "--json"))
    assert (empty["text"], empty["tokens"], empty["score"]) == ("", [], 0)


def test_options_matter(model):
    text = "\n".join(LINES)
    short = [json.loads(l) for l in translate(model, text, "--json", "--max-tokens", 3).split("\n")[:-1]]
    assert max(len(l["tokens"]) for l in short) == 3
    assert any(l["cut"] for l in short)
    lengths = {p: sum(len(json.loads(l)["tokens"])
                      for l in translate(model, text, "--json", "--length-penalty", p).split("\n")[:-1])
               for p in (-2, 3)}
    assert lengths[-2] < lengths[3]
    # One beam is greedy: what stops it is its end, whatever the rule.
    greedy = translate(model, text, "--beam", 1)
    assert greedy == translate(model, text, "--beam", 1, "--early-stopping", "never")


def test_target_languages(folder):
    model = convert(folder, "several", (">>fra<<", ">>deu<<"))
    line = LINES[0]
    err = run("translate", model, line, "--device", "cpu", ok=False).err
    assert "several languages" in err and "--to" in err
    french = run("translate", model, line, "--to", "fra", "--device", "cpu").out
    assert run("translate", model, ">>fra<< " + line, "--device", "cpu").out == french
    assert run("translate", model, line, "--to", ">>deu<<", "--device", "cpu").out != french
    err = run("translate", model, line, "--to", "klingon", "--device", "cpu", ok=False).err
    assert "fra, deu" in err
    # A line's own language goes before --to, for all of its sentences.
    long = " ".join(LINES * 3)
    assert (run("translate", model, ">>fra<< " + long, "--to", "deu", "--device", "cpu").out
            == run("translate", model, long, "--to", "fra", "--device", "cpu").out)


# What holds nothing that the model could translate: blanks and controls of every kind, and what no piece covers.
NOTHING = [" ", "\t", "\u00a0", "\u3000", "\u2009", "\u200b", "\ufeff", "\u2028", "\u0085", "\f", "\v", "\u00ad", "\0", "\x07", "\u00a0 ", "\u202e", "\u2800",
           "\u3164", "😀", "👩‍👩‍👧", "❤️", "😀 😀", "𓀀"]


def test_lines_that_say_nothing_stay_empty(model, expected):
    lines = [LINES[0] if i % 2 else line for i, line in enumerate(l for n in NOTHING for l in (n, ""))]
    ends = " \t\f\v"  # such stay
    blank = {n: n[:len(n) - len(n.lstrip(ends))] + (n[len(n.rstrip(ends)):] if n.strip(ends) else "") for n in NOTHING}
    assert translate(model, "\n".join(lines) + "\n") == "".join(blank[n] + "\n" + expected[0] for n in NOTHING)
    for line in map(json.loads, translate(model, "\n".join(NOTHING) + "\n", "--json").split("\n")[:-1]):
        assert (line["text"], line["tokens"], line["source_tokens"]) == ("", [], 0)
    # Words that are missed are told, once.
    result = run("translate", model, "漢字", "𓀀𓀁", "😀", "--device", "cpu")
    assert result.out == "\n\n\n" and result.err.count("nothing that the model knows") == 1
    # What the model knows is translated, whatever stands beside it.
    assert translate(model, "😀 " + LINES[0] + "\u200b") != "\n"


def test_tokens_of_languages_and_what_looks_like_them(folder):
    model = convert(folder, "quoting", (">>fra<<", ">>deu<<", ">>cmn_Hans<<"))
    line = LINES[0]

    def ask(text, *options):
        result = run("translate", model, text, "--device", "cpu", *options)
        return result.out, [l for l in result.err.splitlines() if l.startswith("outboard: ")]

    german = ask(line, "--to", "deu")[0]
    for text in (">>fra<<" + line, ">>fra<<  " + line, "  >>fra<< " + line):
        out, told = ask(text, "--to", "deu")
        assert (out.lstrip(" "), told) == ask(line, "--to", "fra")
    assert ask(">>cmn_Hans<< " + line) == ask(line, "--to", "cmn_Hans")
    # A quotation is text: --to holds.
    for text in (">> " + line + " << x", ">>a b<< " + line, ">><< " + line, ">>fra << " + line, "x >>fra<< " + line):
        source = json.loads(ask(text, "--to", "deu", "--json")[0])
        whole = json.loads(ask(">>deu<< " + text, "--json")[0])
        assert (source["text"], source["source_tokens"], ask(text, "--to", "deu")[1]) == (whole["text"], whole["source_tokens"], [])
    # One that nobody knows is told: refused, or taken as text where --to says what to do.
    err = run("translate", model, ">>xxx<< " + line, "--device", "cpu", ok=False).err
    assert ">>xxx<<" in err and "fra, deu, cmn_Hans" in err
    result = run("translate", model, "--to", "deu", "--device", "cpu", stdin=f">>xxx<< {line}\n>>xxx<< {line}\n{line}\n".encode())
    assert result.err.count(">>xxx<<") == 1 and "fra, deu, cmn_Hans" in result.err and result.out.endswith(german)
    # Lines that say nothing need no language.
    assert translate(model, f"\n \n>>fra<< {line}\n>>fra<<\n") == "\n \n" + ask(line, "--to", "fra")[0] + "\n"


def test_a_model_of_one_language_tells_of_tokens(model, expected):
    result = run("translate", model, ">>fra<< " + LINES[0], "--device", "cpu")
    assert ">>fra<<" in result.err and "one language only" in result.err and result.out != "\n"
    assert "one language" not in run("translate", model, ">> x << " + LINES[0], "--device", "cpu").err


def test_a_closed_standard_error_changes_nothing(model, expected, folder):
    for stderr in ("2>&-", "2>/dev/full"):
        out = folder / "closed.txt"
        subprocess.run(["bash", "-c", f"{OUTBOARD} translate {model} --device cpu -o {out} --force '{LINES[0]}' {stderr}"], check=True)
        assert out.read_text() == expected[0]


def test_the_wrong_kind_of_model(model):
    assert "outboard translate" in run("run", model, "-p", "x", "--device", "cpu", ok=False).err
    assert "outboard run" in run("translate", "smollm2", "x", "--device", "cpu", ok=False).err
    assert "one language only" in run("translate", model, "x", "--to", "fra", "--device", "cpu", ok=False).err


def test_mistakes_are_told(model, folder):
    run("translate", model, "-f", folder / "nosuch.txt", "--device", "cpu", ok=False)
    run("translate", model, "x", "-o", folder / "no" / "folder.txt", "--device", "cpu", ok=False)
    run("translate", model, "x", "-f", "-", "--device", "cpu", ok=False)
    run("translate", model, "x", "--beam", 17, ok=False)
    assert "as many as there are beams" in run("translate", model, "x", "--beam", 2, "--nbest", 3, "--device", "cpu",
                                               ok=False).err


def start(model, *options, **pipes):
    return subprocess.Popen([OUTBOARD, "translate", str(model), "--device", "cpu", *options],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **pipes)


def test_answers_before_more_is_asked(model, expected):
    """A program at the other end of two pipes gets each line when it has asked for it."""
    child = start(model)
    for i in (0, 1, 2):
        child.stdin.write(LINES[i].encode() + b"\n")
        child.stdin.flush()
        assert child.stdout.readline().decode() == expected[i]
    child.stdin.close()
    assert child.wait(30) == 0


def test_interrupt_leaves_whole_lines(model, expected, folder):
    out = folder / "interrupted.txt"
    child = start(model, "-o", str(out), "--batch", "2")
    text = ("\n".join(LINES) + "\n").encode()
    times = 60000 // len(text)  # what a pipe holds, and more than is translated within a look
    child.stdin.write(text * times)
    child.stdin.flush()
    deadline = time.time() + 60
    # It is written beside its name until it is whole.
    while time.time() < deadline and not any(p.read_text().count("\n") >= 3 for p in folder.glob("interrupted.txt.part*")):
        time.sleep(0.01)
    assert not out.exists()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert b"stopped after" in err and b"whole" in err and b"--resume" in err
    written = out.read_text()
    assert written.endswith("\n") and "".join(expected * times).startswith(written)
    # It goes on there: what was done is not asked again, nor is it with other options.
    (folder / "again.txt").write_bytes(text * times)
    again = ["translate", model, "-f", folder / "again.txt", "-o", out, "--device", "cpu", "--batch", "2"]
    assert "--resume goes on" in run(*again, ok=False).err
    assert "other options" in run(*again, "--resume", "--beam", "2", ok=False).err
    journal = out.with_name(out.name + ".resume")
    known = journal.read_text().splitlines()
    journal.write_text("\n".join([known[0], *(line.replace('"text":"', '"text":"Kept: ', 1) for line in known[1:]), known[-1][:20]]))
    err = run(*again, "--resume").err
    texts = {json.loads(line)["source"] for line in known[1:]}
    assert f"goes on: {len(texts)} texts" in err
    want = [("Kept: " if LINES[i % len(LINES)] in texts else "") + line for i, line in enumerate(expected * times)]
    assert out.read_text() == "".join(want) and not journal.exists()
    # Waiting for input, it stops at once.
    child = start(model)
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == 130


def test_a_reader_that_goes_ends_it_quietly(model):
    child = start(model)
    child.stdout.close()
    try:
        child.stdin.write(("\n".join(LINES * 5) + "\n").encode())
        child.stdin.close()
    except BrokenPipeError:
        pass
    err = child.stderr.read().decode()
    assert child.wait(60) == -signal.SIGPIPE and err == ""


def test_progress_on_a_terminal_only(model, folder):
    (folder / "many.txt").write_text("\n".join(LINES * 30) + "\n")
    options = ["translate", str(model), "-f", str(folder / "many.txt"), "-o", str(folder / "many.out"), "--force", "--device", "cpu"]
    assert "\r" not in run(*options).err
    terminal, child_end = pty.openpty()
    child = subprocess.Popen([OUTBOARD, *options], stderr=child_end, stdin=subprocess.DEVNULL)
    os.close(child_end)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert child.wait(60) == 0
    assert b"lines/s" in shown and b"\r" in shown and b"100%" in shown


def translated(model, folder, name, content, *options):
    """A document's translation, as bytes, and what was told."""
    (folder / name).write_bytes(content)
    out = folder / (name + ".out")
    err = run("translate", model, "-f", folder / name, "-o", out, "--force", "--device", "cpu", *options).err
    return out.read_bytes(), err


@pytest.mark.parametrize("encoding, name", [("utf-8", ""), ("latin-1", "Latin-1"), ("cp1252", "Windows-1252"), ("utf-16", "UTF-16LE"),
                                            ("utf-16-be", "UTF-16BE"), ("utf-8-sig", "")])
def test_encodings_are_found_and_named(model, expected, folder, encoding, name):
    text = LINES[0] + " é" + (" “x”" if encoding == "cp1252" else "") + "\r\n" + LINES[1] + "\n"
    want = run("translate", model, text.splitlines()[0], "--device", "cpu").out[:-1] + "\r\n" + expected[1]
    found, told = translated(model, folder, "encoded.txt", text.encode(encoding))
    assert found == want.encode("utf-8-sig" if encoding == "utf-8-sig" else "utf-8")
    assert (f"encoded.txt is {name}" in told) if name else "encoded.txt" not in told
    if encoding != "utf-16-be":  # which has no mark that would say so
        assert translated(model, folder, "encoded.txt", text.encode(encoding), "--encoding", encoding.removesuffix("-sig"))[0] == found
    # Through a pipe line by line; UTF-16 only when it is said.
    piped = ["translate", model, "--device", "cpu"]
    if not encoding.startswith("utf-16"):
        assert run(*piped, stdin=text.encode(encoding)).stdout == found
    elif encoding == "utf-16":
        assert "--encoding UTF-16" in run(*piped, stdin=text.encode(encoding), ok=False).err
        assert run(*piped, "--encoding", "utf-16", stdin=text.encode(encoding)).stdout == found
    assert "iconv" in run(*piped, "--encoding", "koi8-r", stdin=b"x", ok=False).err


def test_cells_between_tabs_are_apart(model, expected):
    assert translate(model, f"\t{LINES[0]}\t{LINES[1]} \n") == f"\t{expected[0][:-1]}\t{expected[1][:-1]} \n"


class Tags(html.parser.HTMLParser):
    """A page's markup, and its texts."""

    def __init__(self, page):
        super().__init__()
        self.markup, self.texts = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.markup.append((tag, [(k, v) for k, v in attributes if k not in ("alt", "title")]))

    def handle_endtag(self, tag):
        self.markup.append("/" + tag)

    def handle_comment(self, data):
        self.markup.append(data)

    def handle_data(self, data):
        if data.strip():
            self.texts.append(" ".join(data.split()))


def test_of_a_page_the_text_is_translated(model, expected, folder):
    page = f"""<!DOCTYPE html>
<html><head><meta charset="iso-8859-1"><title>{LINES[0]}</title><style>p {{ margin: 0 }}</style></head>
<body class='a b'><!-- {LINES[1]} --><h1 title="{LINES[1]}">{LINES[1]}</h1>
<p>{LINES[2].replace(" ", chr(10) + "   ", 1)}<br>\t42 &lt; 43 caf\u00e9 </p>
<script>if (a < b) say("{LINES[0]}");</script><pre>{LINES[0]}</pre>
<p translate="no">{LINES[0]}</p></body></html>
"""
    out, told = translated(model, folder, "page.html", page.encode("latin-1"), "--format", "html")
    found, before = Tags(out.decode("latin-1")), Tags(page)
    assert found.markup == before.markup
    assert found.texts[0] == expected[0].strip() and expected[1].strip() in found.texts and expected[2].strip() in found.texts
    assert f'title="{expected[1].strip()}"' in html.unescape(out.decode("latin-1")) or "&quot;" in out.decode("latin-1")
    for kept in (f"<!-- {LINES[1]} -->", f'<script>if (a < b) say("{LINES[0]}");</script><pre>{LINES[0]}</pre>', f'<p translate="no">{LINES[0]}</p>',
                 "<style>p { margin: 0 }</style>"):
        assert kept in out.decode("latin-1")
    # Between the text everything is as it was, byte for byte.
    start, rest = out.split(b"<title>")
    assert page.encode("latin-1").startswith(start) and "Windows-1252" in told
    unknown = page.replace("iso-8859-1", "shift_jis").encode("latin-1")
    (folder / "unknown.html").write_bytes(unknown)
    assert "shift_jis" in run("translate", model, "-f", folder / "unknown.html", "--format", "html", "--device", "cpu", ok=False).err


def test_subtitles_and_tables(model, expected, folder):
    times = "00:00:01,000 --> 00:00:02,500"
    srt = f"1\r\n{times}\r\n<i>{LINES[0]}</i>\r\n\r\n2\r\n{times}\r\n- {LINES[1]}\r\n- {LINES[2]}\r\n"
    out, _ = translated(model, folder, "film.srt", srt.encode(), "--format", "srt")
    assert out.decode() == (f"1\r\n{times}\r\n<i>{expected[0].strip()}</i>\r\n\r\n2\r\n{times}\r\n- {expected[1].strip()}\r\n"
                            f"- {expected[2].strip()}\r\n")
    table = f"id\ttext\n1\t{LINES[0]}\n2\thttps://a.b/c\n"
    out, _ = translated(model, folder, "table.tsv", table.encode(), "--format", "tsv", "--columns", "2")
    rows = out.decode().split("\n")
    assert rows[0].startswith("id\t") and rows[1:] == [f"1\t{expected[0].strip()}", "2\thttps://a.b/c", ""]
    for words in (["--columns", "2"], ["--format", "srt", "--json"], ["--resume"], ["--force"], ["--resume", "-o", "/dev/stdout"]):
        assert words[0] in run("translate", model, "x", *words, "--device", "cpu", ok=False).err


def test_tokens_of_a_model_that_translates(model, folder):
    line = json.loads(translate(model, LINES[0], "--json"))
    one = json.loads(run("tokenize", model, LINES[0], "--json").out)
    assert one["count"] == line["source_tokens"] and one["tokens"][-1]["token"] == "</s>"
    both = json.loads(run("tokenize", model, "--json", stdin=f"{LINES[0]}\r\n{LINES[1]}\n".encode()).out)
    assert both["ids"] == one["ids"] + json.loads(run("tokenize", model, LINES[1], "--json").out)["ids"]
    assert "--no-special" in run("tokenize", model, "x", "--no-special", ok=False).err
    assert run("tokenize", "smollm2", stdin=b"Hello").out == run("tokenize", "smollm2", "Hello").out


def test_bench_of_a_model_that_translates(model):
    bench = ("bench", model, "--device", "cpu", "-r", 1)
    rows = json.loads(run(*bench, "--json").out)
    assert [row["n_lines"] for row in rows] == [32, 1] and rows[0]["avg_ls"] > 0
    assert "| 32 lines, 4 beams |" in run(*bench).out
    for words in (["-p", "4"], ["-n", "4"], ["-d", "4"], ["--speculate", "off"]):
        assert words[0] in run(*bench, *words, ok=False).err
