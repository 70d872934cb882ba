"""llama.cpp's own grammars: all are read, and accept what they describe."""
import pytest

from support import Tool
from fetched import llama_cpp

TEXTS = {
    "arithmetic": (["1+2*(3-4)=x\n", "a = b\n"], ["1+\n", "1+2", "1+2=\n"]),
    "c": (["int main(){return 0;}", "int f(float b){a = b+1;while(a<3){g (a);}}"],
          ["int main(", "main(){}"]),
    "chess": (["1. e4 e5\n2. Nf3 Nc6\n"], ["1. e9 e5\n", "1 e4 e5\n"]),
    "english": (["Hello, it is 5 o'clock."], ["Größe", ""]),
    "japanese": (["日本語 です。"], ["nihongo"]),
    "json": (['{"a": [1, 2.5e3, null, "x\\n\\u00e9"], "b": {}}'], ['{"a": 01}', '{"a": 1', "[1]"]),
    "json_arr": (['[\n"a",\n{"b": true}]'], ['{"a": 1}', "[1"]),
    "list": (["- one\n- two\n"], ["one\n", "- one"]),
}


@pytest.fixture(scope="module")
def tool():
    return Tool()


@pytest.mark.parametrize("name", TEXTS)
def test_llama_cpp(tool, name):
    good, bad = TEXTS[name]
    tool.made("gbnf", text=(llama_cpp("grammars") / f"{name}.gbnf").read_text("utf-8"))
    assert tool.made("accepts", texts=good)["accepts"] == [True] * len(good)
    assert not any(a is True for a in tool.made("accepts", texts=bad)["accepts"])


def test_every_grammar_has_texts():
    assert {p.stem for p in llama_cpp("grammars").glob("*.gbnf")} == set(TEXTS)


@pytest.mark.parametrize("name", TEXTS)
def test_walks_stay_inside(tool, name):
    """A model without an idea never gets stuck, and where its text ends the grammar accepts it."""
    tool.made("gbnf", text=(llama_cpp("grammars") / f"{name}.gbnf").read_text("utf-8"))
    for seed in range(5):
        walk = tool.made("walk", seed=seed, patience=50, most=400)
        if walk["ended"] and "\ufffd" not in walk["text"]:
            assert tool.made("accepts", texts=[walk["text"]])["accepts"] == [True]
