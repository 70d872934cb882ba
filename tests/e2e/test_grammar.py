"""Answers of a form that is asked for: a random model keeps to it, mistakes in it are told."""
import json

import jsonschema
import pytest

import make_model
from support import run, run_json

SCHEMA = {"type": "object", "required": ["name", "age"], "properties": {
    "name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
    "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    make_model.make("llama-small", path)
    return path


def write(path, text):
    path.write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
    return path


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_a_schema_is_kept(model, tmp_path, temperature):
    schema = write(tmp_path / "schema.json", SCHEMA)
    for seed in range(3):
        said = run_json("run", model, "--raw", "-p", "Alice", "--json-schema", schema, "--temp", temperature,
                        "--seed", seed, "-n", 200)
        assert said["finish"] == "stop"
        jsonschema.validate(json.loads(said["text"]), SCHEMA)


def test_a_grammar_is_kept(model, tmp_path):
    grammar = write(tmp_path / "g.gbnf", 'root ::= ("yes" | "no") "!"{2}')
    assert run("run", model, "--raw", "-p", "Alice", "--grammar", grammar).out in ("yes!!\n", "no!!\n")
    # From standard input, too.
    assert run("run", model, "--raw", "-p", "x", "--grammar", "-", stdin=b'root ::= "a"').out == "a\n"


def test_an_answer_that_is_cut_is_told(model, tmp_path):
    grammar = write(tmp_path / "g.gbnf", "root ::= [a-z]{50}")
    said = run("run", model, "--raw", "-p", "Alice", "--grammar", grammar, "-n", 2)
    assert "the answer is cut (length)" in said.err


@pytest.mark.parametrize("schema, message", [
    ({"properties": {"a": {"type": "array", "uniqueItems": True}}},
     "#/properties/a/uniqueItems: `uniqueItems` can't be honoured"),
    ({"type": "strin"}, '#/type: `type` "strin" is no type'),
    ("{", "no valid JSON: line 1, column 2: it ends before it is whole"),
])
def test_mistakes_are_told_with_their_place(tmp_path, schema, message):
    path = write(tmp_path / "bad.json", schema)
    # Before the model is looked for.
    failed = run("run", "no-such-model", "-p", "x", "--json-schema", path, ok=False)
    assert f"{path}: {message}" in failed.err


def test_a_bad_grammar_is_told(tmp_path):
    path = write(tmp_path / "bad.gbnf", 'root ::= item\nitem ::= item "x"')
    failed = run("run", "no-such-model", "-p", "x", "--grammar", path, ok=False)
    assert f"{path}: line 2, column 1: the rule item begins with itself" in failed.err


def test_what_is_only_a_note_is_told(model, tmp_path):
    path = write(tmp_path / "s.json", {"type": "boolean", "requird": ["x"]})
    said = run("run", model, "--raw", "-p", "x", "--json-schema", path)
    assert said.out in ("true\n", "false\n")
    assert f"{path}: #/requird: JSON schema has no such keyword" in said.err
