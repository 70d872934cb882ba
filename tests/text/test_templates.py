"""Chat templates of real models against jinja2: the same prompt, byte for byte."""
import functools
import json

import jinja2
import pytest
from reference_jinja import environment
from support import Tool, gguf_strings, llama_cpp_models, models_folder

# Families that must be there when the download is.
REQUIRED = ["Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B", "meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-3B-Instruct",
            "mistralai-Mistral-Nemo-Instruct-2407", "google-gemma-2-2b-it"]

TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather of a place \"now\"",
          "parameters": {"type": "object", "properties": {"place": {"type": "string", "description": "Größe, 東京"}, "days": {"type": "integer", "enum": [1, 2]}}, "required": ["place"]}}},
         {"type": "function", "function": {"name": "add", "description": "Adds", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": {"place": "Köln", "days": 1}}}
USER = {"role": "user", "content": "Hi there!"}
SYSTEM = {"role": "system", "content": "You are  terse.\n"}
ANSWER = {"role": "assistant", "content": "Hello."}

CONVERSATIONS = {
    "user": {"messages": [USER]},
    "system": {"messages": [SYSTEM, USER]},
    "turns": {"messages": [SYSTEM, USER, ANSWER, {"role": "user", "content": "  And now?\n\n"}]},
    "closed": {"messages": [USER, ANSWER], "add_generation_prompt": False},
    "unicode": {"messages": [{"role": "user", "content": "你好 🙂 'quotes' \"and\" <b>&amp;</b> {{ x }} {% y %}"}]},
    "empty content": {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}, {"role": "assistant", "content": ""}, USER]},
    "tools": {"messages": [SYSTEM, USER], "tools": TOOLS},
    "tools without system": {"messages": [USER], "tools": TOOLS},
    "tool call": {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "{\"sun\": true}"}], "tools": TOOLS},
    "tool call answered": {"messages": [SYSTEM, USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "rain"}, ANSWER, USER], "tools": TOOLS},
    "two results": {"messages": [USER, {"role": "assistant", "content": "wait", "tool_calls": [CALL, CALL]}, {"role": "tool", "tool_call_id": "abcdefghi", "content": "1"}, {"role": "tool", "tool_call_id": "abcdefghi", "content": "2"}, USER]},
    "thinking on": {"messages": [USER], "variables": {"enable_thinking": True}},
    "thinking off": {"messages": [USER], "variables": {"enable_thinking": False}},
    "thought": {"messages": [USER, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello."}, USER]},
    "reasoning": {"messages": [USER, {"role": "assistant", "content": "Yes.", "reasoning_content": "hm\n"}, {"role": "tool", "content": "x"}], "add_generation_prompt": True},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]},
    "wrong order": {"messages": [ANSWER, USER, USER]},
    "date": {"messages": [USER], "variables": {"date_string": "01 Feb 2030"}},
    "nothing": {"messages": []},
}


def templates():
    found = {}
    folder = llama_cpp_models()
    for path in sorted((folder / "templates").glob("*.jinja")):
        found[path.stem] = path.read_text(encoding="utf-8")
    found.update(vocabulary_templates([folder / f"ggml-vocab-{name}.gguf" for name in ("phi-3", "qwen2")]))
    if models_folder():
        found.update(vocabulary_templates(sorted(models_folder().glob("*.gguf"))))
    return found


def vocabulary_templates(paths):
    return {f"{path.stem}:{key}": value for path in paths for key, value in gguf_strings(path).items()
            if key.startswith("tokenizer.chat_template") and key != "tokenizer.chat_templates"}


ALL = templates()


@functools.cache
def compiled(source):
    return environment().from_string(source)


def expected_text(source, conversation, bos, eos):
    messages = json.loads(json.dumps(conversation["messages"]))
    values = {"messages": messages, "add_generation_prompt": conversation.get("add_generation_prompt", True),
              "tools": conversation.get("tools"), "documents": None, "bos_token": bos, "eos_token": eos, **conversation.get("variables", {})}
    try:
        return compiled(source).render(**values)
    except (jinja2.TemplateError, TypeError, ValueError, AttributeError, KeyError, IndexError):
        return None


def test_the_families_are_there():
    assert not [name for name in REQUIRED if name not in ALL]


@pytest.fixture(scope="module")
def tool():
    return Tool()


@pytest.mark.parametrize("name", sorted(ALL))
def test_template(tool, name):
    rendered = 0
    for label, conversation in CONVERSATIONS.items():
        expected = expected_text(ALL[name], conversation, "<s>", "</s>")
        answer = tool("render", template=ALL[name], bos="<s>", eos="</s>", **conversation)
        if expected is None:
            assert "error" in answer, f"{label}: jinja2 refuses, got {answer}"
        else:
            assert answer.get("text") == expected, f"{label}: {answer.get('error')}"
            rendered += 1
    assert rendered > 0 or name not in REQUIRED


def test_a_model_without_a_template_says_so(tool):
    tool("load", metadata={"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.merges": []})
    answer = tool("render", messages=[USER])
    assert "tokenizer.chat_template" in answer["error"] and "--raw" in answer["hint"]


# Written here from the papers' and model cards' descriptions of the formats.
HANDWRITTEN = {
    "llama-2": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
               "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
               "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}"
               "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "mistral-1": "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
    "gemma": "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
}


@pytest.mark.parametrize("name", sorted(HANDWRITTEN))
def test_older_formats(tool, name):
    for label, conversation in CONVERSATIONS.items():
        expected = expected_text(HANDWRITTEN[name], conversation, "<s>", "</s>")
        answer = tool("render", template=HANDWRITTEN[name], bos="<s>", eos="</s>", **conversation)
        assert answer.get("text") == expected, label
