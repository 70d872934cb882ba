"""What each protocol promises, and each item of it that was a bug somewhere (docs/verification.md)."""
import json
import socket
import time

import pytest

from serving import HERMES, MODELS, TEXT, edit, serve, small_model, wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    hermes = small_model(folder / "hermes.gguf")
    with serve(MODELS / "smollm2.gguf", hermes, "--device", "cpu", "--models-max", 2, "--ctx", 2048) as server:
        yield server


CHAT = "/v1/chat/completions"
HELLO = {"model": "smollm2", "messages": [{"role": "user", "content": "Name three rivers."}], "temperature": 0, "max_tokens": 12}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather somewhere", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1,
                                                                                       "maximum": 9}},
    "required": ["city"], "additionalProperties": False}}}


def test_whole_and_streamed_are_the_same(server):
    whole = server.json(CHAT, HELLO)
    choice = whole["choices"][0]
    assert whole["object"] == "chat.completion" and choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "length"  # only where the length is the reason
    assert whole["usage"]["completion_tokens"] == 12
    assert whole["usage"]["total_tokens"] == whole["usage"]["prompt_tokens"] + 12
    events = server.events(CHAT, {**HELLO, "stream_options": {"include_usage": True}})
    assert events[-1] == (None, "[DONE]")
    chunks = [data for _, data in events[:-1]]
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in chunks}) == 1
    assert chunks[0]["object"] == "chat.completion.chunk"
    deltas = [c["choices"][0] for c in chunks if c["choices"]]
    assert "".join(d["delta"].get("content", "") for d in deltas) == choice["message"]["content"]
    assert ["role" in d["delta"] for d in deltas] == [True] + [False] * (len(deltas) - 1)  # in the first alone
    assert [d["finish_reason"] for d in deltas] == [None] * (len(deltas) - 1) + ["length"]  # null in every other
    # The usage comes in a chunk of its own, without choices, before the end; in the others it is null.
    assert chunks[-1]["choices"] == [] and all(c["usage"] is None for c in chunks[:-1])
    usage = chunks[-1]["usage"]
    assert usage["completion_tokens"] == 12
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1  # asked for the second time
    assert chunks[-1]["timings"]["predicted_n"] == 12
    without = server.events(CHAT, HELLO)
    assert all("usage" not in data for _, data in without[:-1])


def test_ids_are_unique(server):
    ids = {server.json(CHAT, {**HELLO, "max_tokens": 1})["id"] for _ in range(5)}
    assert len(ids) == 5


def test_stops_and_seeds(server):
    whole = server.json(CHAT, {**HELLO, "max_tokens": 40})["choices"][0]["message"]["content"]
    word = whole.split()[3]
    stopped = server.json(CHAT, {**HELLO, "max_tokens": 40, "stop": [word]})["choices"][0]
    assert stopped["finish_reason"] == "stop" and stopped["message"]["content"] == whole[:whole.index(word)]
    drawn = [server.json(CHAT, {**HELLO, "temperature": 1.2, "seed": seed})["choices"][0]["message"]["content"]
             for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_several_choices(server):
    body = {**HELLO, "temperature": 1.3, "seed": 5, "n": 3}
    choices = server.json(CHAT, body)["choices"]
    texts = [c["message"]["content"] for c in choices]
    assert [c["index"] for c in choices] == [0, 1, 2] and len(set(texts)) == 3
    streamed = [""] * 3
    for _, data in server.events(CHAT, body)[:-1]:
        for choice in data["choices"]:
            streamed[choice["index"]] += choice["delta"].get("content") or ""
    assert streamed == texts


def test_log_probabilities(server):
    body = {**HELLO, "logprobs": True, "top_logprobs": 4, "max_tokens": 6}
    choice = server.json(CHAT, body)["choices"][0]
    content = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in content) == choice["message"]["content"]
    for entry in content:
        assert bytes(entry["bytes"]).decode() == entry["token"]
        tops = [t["logprob"] for t in entry["top_logprobs"]]
        assert len(tops) == 4 and tops == sorted(tops, reverse=True)
        assert entry["top_logprobs"][0]["token"] == entry["token"] and entry["logprob"] <= 0  # greedy
    streamed = [entry for _, data in server.events(CHAT, body)[:-1] for c in data["choices"]
                for entry in (c["logprobs"] or {"content": []})["content"]]
    assert [e["token"] for e in streamed] == [e["token"] for e in content]
    old = server.json("/v1/completions", {"model": "smollm2", "prompt": "The river", "max_tokens": 5, "temperature": 0,
                                          "logprobs": 2})["choices"][0]
    assert "".join(old["logprobs"]["tokens"]) == old["text"] and len(old["logprobs"]["top_logprobs"][0]) == 2


@pytest.mark.parametrize("change", [{"logit_bias": {" River": -100}}, {"frequency_penalty": 1.5}, {"presence_penalty": 1.5},
                                    {"repeat_penalty": 1.6}, {"dry_multiplier": 5.0, "dry_base": 4.0}])
def test_biases_and_penalties_change_the_answer(server, change):
    body = {**HELLO, "max_tokens": 60}
    plain, changed = (server.json(CHAT, {**body, **more})["choices"][0]["message"]["content"] for more in ({}, change))
    assert plain != changed


@pytest.mark.parametrize("change", [{"typical_p": 0.1}, {"xtc_probability": 1.0, "xtc_threshold": 0.05}, {"mirostat": 2, "mirostat_tau": 1.0},
                                    {"mirostat": 1}, {"min_p": 0.9}, {"top_k": 1}, {"top_p": 0.01}])
def test_filters_change_the_draw(server, change):
    body = {**HELLO, "max_tokens": 40, "temperature": 1.5, "seed": 3}
    plain, changed = (server.json(CHAT, {**body, **more})["choices"][0]["message"]["content"] for more in ({}, change))
    assert plain != changed


WRONG = [
    ({"messages": []}, "messages"), ({"messages": "hi"}, "messages"), ({"messages": [{"role": "wizard", "content": "x"}]}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}, "messages"),
    ({"temperature": -1}, "temperature"), ({"temperature": "hot"}, "temperature"), ({"top_p": 3}, "top_p"), ({"n": 0}, "n"),
    ({"top_logprobs": 3}, "top_logprobs"), ({"logprobs": True, "top_logprobs": 99}, "top_logprobs"), ({"stop": 3}, "stop"),
    ({"stream": "yes"}, "stream"), ({"max_tokens": "many"}, "max_tokens"), ({"tools": {}}, "tools"), ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": 5}, "tool_choice"), ({"response_format": {"type": "xml"}}, ""), ({"logit_bias": {"99999999": 1}}, "logit_bias"),
    ({"logit_bias": 4}, "logit_bias"), ({"seed": "abc"}, "seed"), ({"chat_template_kwargs": 3}, "chat_template_kwargs"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": {
        "a": {"type": "array", "uniqueItems": True}}}}}}, "uniqueItems"),
    ({"grammar": "root ::= ["}, "grammar"),
]


@pytest.mark.parametrize("change, word", WRONG)
def test_wrong_requests_are_400_and_say_what(server, change, word):
    """A real status and OpenAI's error body, never 200 with an error inside; also when a stream was asked for."""
    for stream in ([] if "stream" in change else [{}, {"stream": True}]) or [{}]:
        status, _, text = server.call(CHAT, {**HELLO, **stream, **change})
        assert status == 400, text
        error = json.loads(text)["error"]
        assert error["type"] == "invalid_request_error" and word in error["message"] + str(error["param"]), text


def test_unknown_fields_and_any_key(server):
    """Fields that nobody knows are harmless, and any key does where none was set."""
    body = {**HELLO, "max_tokens": 1, "user": "me", "store": False, "metadata": {"a": "b"}, "safety_identifier": "x"}
    assert server.json(CHAT, body, headers={"Authorization": "Bearer sk-anything"})["choices"]


def test_an_unknown_model_is_404(server):
    status, _, text = server.call(CHAT, {**HELLO, "model": "no-such"})
    error = json.loads(text)["error"]
    assert status == 404 and error["code"] == "model_not_found" and "smollm2" in error["message"]
    assert json.loads(server.call("/api/chat", {"model": "no-such", "messages": []})[2])["error"].startswith("model \"no-such\" not found")
    status, _, text = server.call("/v1/messages", {"model": "no-such", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]})
    assert status == 404 and json.loads(text)["error"]["type"] == "not_found_error"


def test_a_prompt_that_is_too_long(server):
    """400 with OpenAI's code; the prompt is not cut, whatever max_tokens says."""
    status, _, text = server.call(CHAT, {**HELLO, "messages": [{"role": "user", "content": "river " * 3000}], "stream": True})
    error = json.loads(text)["error"]
    assert status == 400 and error["code"] == "context_length_exceeded" and "2048" in error["message"]
    long = {**HELLO, "messages": [{"role": "user", "content": "river " * 1990}], "max_tokens": 500}
    choice = server.json(CHAT, long)
    assert choice["usage"]["prompt_tokens"] > 1990 and choice["choices"][0]["finish_reason"] in ("length", "stop")


def test_developer_and_lists_and_null(server):
    body = {"model": "smollm2", "temperature": 0, "max_tokens": 3, "messages": [
        {"role": "developer", "content": "Be short."}, {"role": "user", "content": [{"type": "text", "text": "Say"},
                                                                                   {"type": "text", "text": "hi."}]},
        {"role": "assistant", "content": "hi"}, {"role": "user", "content": "Again."}]}
    assert server.json(CHAT, body)["usage"]["completion_tokens"] <= 3


def ask_weather(**more):
    return {"model": "hermes", "messages": [{"role": "user", "content": "Weather in Rome?"}], "tools": [WEATHER], "temperature": 1.0,
            "max_tokens": 300, "chat_template_kwargs": {"enable_thinking": False}, **more}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_tools_that_have_to_be_called(server, choice):
    seen = set()
    for seed in range(4):
        body = ask_weather(tool_choice=choice, seed=seed, parallel_tool_calls=False)
        answer = server.json(CHAT, body)["choices"][0]
        assert answer["finish_reason"] == "tool_calls" and answer["message"]["content"] is None
        (call,) = answer["message"]["tool_calls"]
        arguments = json.loads(call["function"]["arguments"])  # a text in OpenAI's protocol
        assert call["type"] == "function" and call["function"]["name"] == "weather" and len(arguments["city"]) <= 8
        seen.add(call["id"])
        parts = [c["delta"]["tool_calls"][0] for _, data in server.events(CHAT, body)[:-1] for c in data["choices"]
                 if "tool_calls" in c["delta"]]
        assert parts[0]["index"] == 0 and parts[0]["function"]["name"] == "weather" and parts[0]["id"]
        assert all("id" not in p and p["index"] == 0 for p in parts[1:])
        assert json.loads("".join(p["function"]["arguments"] for p in parts)) == arguments
    assert len(seen) == 4


NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}
LETTER = {"type": "function", "function": {"name": "write", "parameters": {
    "type": "object", "properties": {"text": {"type": "string", "minLength": 60, "maxLength": 80}, "lines": {"type": "integer", "minimum": 1,
                                                                                                             "maximum": 9}},
    "required": ["text", "lines"], "additionalProperties": False}}}


def test_arguments_come_as_they_are_written(server):
    """In the protocols that stream them; what they come to is what a whole answer has."""
    text = LETTER["function"]["parameters"]
    named = {"model": "hermes", "seed": 3, "temperature": 1, "max_tokens": 400, **NO_THINKING}
    body = {**named, "messages": [{"role": "user", "content": "Write."}], "tools": [LETTER], "tool_choice": "required",
            "parallel_tool_calls": False}
    want = json.loads(server.json(CHAT, body)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])
    parts = [c["delta"]["tool_calls"][0]["function"]["arguments"] for _, data in server.events(CHAT, body)[:-1] for c in data["choices"]
             if "tool_calls" in c["delta"]]
    assert parts[0] == "" and len(parts) > 10 and json.loads("".join(parts)) == want
    tool = {"name": "write", "input_schema": text}
    claude = {"model": "hermes", "max_tokens": 400, "messages": body["messages"], "tools": [tool], "thinking": {"type": "disabled"},
              "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    deltas = [data["delta"]["partial_json"] for name, data in server.events("/v1/messages", claude) if name == "content_block_delta"]
    assert len(deltas) > 10 and len(json.loads("".join(deltas))["text"]) >= 60
    codex = {**named, "input": "Write.", "tools": [{"type": "function", "name": "write", "parameters": text}], "tool_choice": "required",
             "parallel_tool_calls": False}
    events = server.events("/v1/responses", codex)
    deltas = [data["delta"] for name, data in events if name == "response.function_call_arguments.delta"]
    done = next(data["arguments"] for name, data in events if name == "response.function_call_arguments.done")
    assert len(deltas) > 10 and "".join(deltas) == done and len(json.loads(done)["text"]) >= 60
    # Cut off: as far as it came, and said to be cut; where nothing was streamed it is text.
    cut = {**body, "max_tokens": 90}
    chunks = [c for _, data in server.events(CHAT, cut)[:-1] for c in data["choices"]]
    assert chunks[-1]["finish_reason"] == "length" and not any(c["delta"].get("content") for c in chunks)
    assert "".join(c["delta"]["tool_calls"][0]["function"]["arguments"] for c in chunks if "tool_calls" in c["delta"]).startswith("{")
    whole = server.json(CHAT, cut)["choices"][0]
    assert whole["finish_reason"] == "length" and "<tool_call>" in whole["message"]["content"]


def test_strict_tools_may_be_left_alone(server):
    """tool_choice auto: text is free, and what can't be kept of a strict tool's schema is refused, of another's not."""
    strict = {**LETTER, "function": {**LETTER["function"], "strict": True}}
    body = {"model": "hermes", "messages": [{"role": "user", "content": "Write."}], "max_tokens": 24, "temperature": 1, **NO_THINKING}
    for seed in range(3):
        answer = server.json(CHAT, {**body, "seed": seed, "tools": [strict]})["choices"][0]
        assert answer["finish_reason"] == "length" and answer["message"]["content"]
    bad = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    odd = {"type": "function", "function": {"name": "odd", "parameters": bad}}
    assert server.json(CHAT, {**body, "tools": [odd]})["choices"][0]
    error = server.json(CHAT, {**body, "tools": [{**odd, "function": {**odd["function"], "strict": True}}]}, 400)["error"]
    assert "tool odd" in error["message"] and "uniqueItems" in error["message"] and error["param"] == "tools"
    claude = {"model": "hermes", "max_tokens": 8, "messages": body["messages"], "tools": [{"name": "odd", "input_schema": bad, "strict": True}]}
    assert "tool odd" in server.json("/v1/messages", claude, 400)["error"]["message"]
    both = server.json(CHAT, {**body, "tools": [strict], "response_format": {"type": "json_object"}}, 400)["error"]
    assert "not both" in both["message"]


def test_a_strict_tool_of_a_model_that_calls(tmp_path):
    """SmolLM2, shown calls with a unit that the schema does not have: under `strict` it can't repeat it, and may still just talk."""
    path = tmp_path / "calls.gguf"
    edit(MODELS / "smollm2.gguf", path, {"tokenizer.chat_template": (HERMES, TEXT)})
    messages = []
    for number, city in enumerate(["Rome", "Paris", "Oslo", "Madrid", "Bern"]):
        arguments = json.dumps({"city": city, "unit": "celsius"})
        messages += [{"role": "user", "content": f"What is the weather in {city}?"},
                     {"role": "assistant", "content": "", "tool_calls": [{"id": f"c{number}", "type": "function", "function": {
                         "name": "weather", "arguments": arguments}}]},
                     {"role": "tool", "tool_call_id": f"c{number}", "content": "sunny"}]
    messages.append({"role": "user", "content": "What is the weather in Berlin?"})

    def ask(strict, more=messages):
        tool = {"type": "function", "function": {"name": "weather", "strict": strict, "parameters": {
            "type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["kelvin", "rankine"]}},
            "required": ["city", "unit"], "additionalProperties": False}}}
        return {"messages": more, "tools": [tool], "temperature": 0, "max_tokens": 100}
    with serve(path, "--device", "cpu", "--ctx", 2048) as server:
        for strict, unit in ((False, "celsius"), (True, "kelvin")):
            answer = server.json(CHAT, ask(strict))["choices"][0]
            assert answer["finish_reason"] == "tool_calls"
            assert json.loads(answer["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "Berlin", "unit": unit}
            parts = [c["delta"]["tool_calls"][0]["function"]["arguments"] for _, data in server.events(CHAT, ask(strict))[:-1]
                     for c in data["choices"] if "tool_calls" in c["delta"]]
            assert json.loads("".join(parts)) == {"city": "Berlin", "unit": unit}
            assert len(parts) > 5 if strict else len(parts) == 2
        talk = server.json(CHAT, ask(True, [{"role": "user", "content": "Why is the sky blue?"}]))["choices"][0]
        assert "light" in talk["message"]["content"] and "tool_calls" not in talk["message"]


def test_tools_in_other_protocols(server):
    messages = [{"role": "user", "content": "Weather in Rome?"}]
    tool = {"name": "weather", "description": "x", "input_schema": WEATHER["function"]["parameters"]}
    body = {"model": "hermes", "max_tokens": 300, "messages": messages, "tools": [tool, {"type": "web_search_20250305", "name": "web_search"}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True}, "thinking": {"type": "disabled"}}
    said = server.json("/v1/messages", body)
    assert said["stop_reason"] == "tool_use" and said["content"][0]["type"] == "tool_use"
    assert said["content"][0]["input"]["city"] is not None  # an object there
    types = [name for name, _ in server.events("/v1/messages", body)]
    assert types[0] == "message_start" and types[-2:] == ["message_delta", "message_stop"] and "content_block_start" in types
    # The same conversation goes on with the result.
    call = said["content"][0]
    more = {**body, "tool_choice": {"type": "auto"}, "max_tokens": 8, "messages": messages + [
        {"role": "assistant", "content": said["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "sunny"}]}]}]}
    assert server.json("/v1/messages", more)["role"] == "assistant"
    ollama = server.json("/api/chat", {"model": "hermes", "stream": False, "think": False, "tools": [WEATHER], "options": {"num_predict": 8},
                                       "messages": messages + [
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]},
        {"role": "tool", "tool_name": "weather", "content": "sunny"}]})
    assert ollama["done"] and ollama["message"]["role"] == "assistant"
    codex = {"model": "hermes", "input": [{"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}], "store": False,
             "tools": [{"type": "function", "name": "weather", "parameters": WEATHER["function"]["parameters"], "strict": False},
                       {"type": "web_search"}, {"type": "namespace", "name": "x", "tools": []}, {"type": "image_generation"}],
             "tool_choice": "required", "parallel_tool_calls": False, "include": [], "prompt_cache_key": "k", "client_metadata": {},
             "reasoning": {"effort": "none"}, "instructions": "You code."}
    said = server.json("/v1/responses", codex)
    (item,) = [i for i in said["output"] if i["type"] == "function_call"]
    assert json.loads(item["arguments"])["city"] is not None
    events = server.events("/v1/responses", codex)
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert events[0][0] == "response.created" and events[-1][0] == "response.completed"
    assert any(name == "response.function_call_arguments.done" for name, _ in events)
    more = {**codex, "tool_choice": "auto", "max_output_tokens": 5, "input": codex["input"] + [
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": None},
        {k: item[k] for k in ("type", "call_id", "name", "arguments")},
        {"type": "function_call_output", "call_id": item["call_id"], "output": "sunny"}]}
    assert server.json("/v1/responses", more)["status"] in ("completed", "incomplete")


def test_a_history_that_can_not_be_is_400(server):
    """Not 500, and the message's place is told."""
    broken = [
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{broken"}}]}],
        [{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "nobody", "content": "y"}],
    ]
    for messages in broken:
        status, _, text = server.call(CHAT, ask_weather(messages=messages))
        assert status == 400 and "messages[1]" in text, text
    status, _, text = server.call("/v1/responses", {"model": "hermes", "input": "x", "previous_response_id": "resp_1"})
    assert status == 400 and "previous_response_id" in text
    # Codex asks with nothing, to see who is there.
    assert server.json("/v1/responses", {"model": "hermes", "input": [], "max_output_tokens": 1})["object"] == "response"


SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 6}, "age": {"type": "integer", "minimum": 0,
          "maximum": 130}}, "required": ["name", "age"], "additionalProperties": False}


def test_structured_answers_are_valid_always(server):
    import jsonschema
    for seed in range(3):
        body = {"model": "hermes", "messages": [{"role": "user", "content": "Who?"}], "temperature": 1.4, "seed": seed, "max_tokens": 400,
                "chat_template_kwargs": {"enable_thinking": False}}
        text = server.json(CHAT, {**body, "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}})
        jsonschema.validate(json.loads(text["choices"][0]["message"]["content"]), SCHEMA)
        said = server.json("/api/chat", {"model": "hermes", "stream": False, "think": False, "format": SCHEMA,
                                         "messages": body["messages"], "options": {"seed": seed, "num_predict": 400}})
        jsonschema.validate(json.loads(said["message"]["content"]), SCHEMA)
        said = server.json("/v1/messages", {"model": "hermes", "max_tokens": 400, "messages": body["messages"],
                                            "thinking": {"type": "disabled"}, "output_config": {"format": {"type": "json_schema",
                                                                                                            "schema": SCHEMA}}})
        jsonschema.validate(json.loads(said["content"][0]["text"]), SCHEMA)
    assert server.json(CHAT, {**body, "grammar": 'root ::= "yes" | "no"'})["choices"][0]["message"]["content"] in ("yes", "no")


def test_a_grammar_begins_behind_the_thinking(server):
    import jsonschema
    body = {"model": "hermes", "messages": [{"role": "user", "content": "Who?"}], "temperature": 1.0, "seed": 1, "max_tokens": 500,
            "thinking_budget": 12, "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}}
    said = server.json(CHAT, body)
    message = said["choices"][0]["message"]
    assert message["reasoning_content"] and "</think>" not in message["reasoning_content"]
    assert said["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0
    jsonschema.validate(json.loads(message["content"]), SCHEMA)
    deltas = [c["delta"] for _, data in server.events(CHAT, body)[:-1] for c in data["choices"]]
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == message["reasoning_content"]
    assert "".join(d.get("content") or "" for d in deltas) == message["content"]
    blocks = server.json("/v1/messages", {"model": "hermes", "max_tokens": 60, "messages": body["messages"],
                                          "thinking": {"type": "enabled", "budget_tokens": 10}})["content"]
    assert blocks[0]["type"] == "thinking" and blocks[0]["thinking"]
    ollama = server.json("/api/chat", {"model": "hermes", "stream": False, "think": True, "messages": body["messages"],
                                       "format": SCHEMA, "options": {"num_predict": 600, "seed": 4, "temperature": 0.2}})
    assert "thinking" in ollama["message"] or ollama["done_reason"] == "length"


@pytest.mark.parametrize("choice", ["required", "auto"])
def test_thinking_before_calls_has_its_budget(server, choice):
    """Also where calls are held to their format; the call comes behind the thinking."""
    body = {"model": "hermes", "messages": [{"role": "user", "content": "Weather in Rome?"}], "temperature": 1.0, "seed": 2, "max_tokens": 400,
            "tools": [WEATHER] if choice == "required" else [{**WEATHER, "function": {**WEATHER["function"], "strict": True}}],
            "tool_choice": choice, "parallel_tool_calls": False, "thinking_budget": 9}
    said = server.json(CHAT, {**body, "max_tokens": 400 if choice == "required" else 40})
    message = said["choices"][0]["message"]
    assert message["reasoning_content"] and 0 < said["usage"]["completion_tokens_details"]["reasoning_tokens"] <= 36  # bytes of noise, counted as characters
    if choice == "required":
        (call,) = message["tool_calls"]
        assert "city" in json.loads(call["function"]["arguments"])
    else:
        assert message["content"] or message["tool_calls"]
    claude = {"model": "hermes", "max_tokens": 400, "messages": body["messages"], "thinking": {"type": "enabled", "budget_tokens": 9},
              "tools": [{"name": "weather", "input_schema": WEATHER["function"]["parameters"]}],
              "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    blocks = server.json("/v1/messages", claude)["content"]
    assert [block["type"] for block in blocks] == ["thinking", "tool_use"]


HARMONY = """{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}<|message|>{{ m.content }}<|end|>
{%- endfor %}{% if tools %}<|start|>developer<|message|>{{ tools | tojson }}<|end|>{% endif %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"""


def test_channels(tmp_path):
    """Harmony: the thinking has a budget, and a form begins behind it, in the channel that people read; with tools, the call does."""
    import jsonschema
    with serve(small_model(tmp_path / "harmony.gguf", HARMONY), "--device", "cpu", "--ctx", 2048) as server:
        body = {"model": "harmony", "messages": [{"role": "user", "content": "Who?"}], "temperature": 1.0, "seed": 1, "max_tokens": 500,
                "thinking_budget": 10}
        message = server.json(CHAT, {**body, "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}})[
            "choices"][0]["message"]
        assert message["reasoning_content"]
        jsonschema.validate(json.loads(message["content"]), SCHEMA)
        (call,) = server.json(CHAT, {**body, "tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False})[
            "choices"][0]["message"]["tool_calls"]
        assert "city" in json.loads(call["function"]["arguments"])
        plain = server.json(CHAT, {**body, "max_tokens": 60})["choices"][0]["message"]
        assert plain["reasoning_content"] and plain["content"] and "<|" not in plain["content"]
        off = {**body, "reasoning_effort": "none", "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}}
        off.pop("thinking_budget")
        message = server.json(CHAT, off)["choices"][0]["message"]
        jsonschema.validate(json.loads(message["content"]), SCHEMA)
        assert not message.get("reasoning_content")


def test_count_tokens_counts_all(server):
    messages = [{"role": "user", "content": "Say hi."}]
    plain = server.json("/v1/messages/count_tokens?beta=true", {"model": "hermes", "messages": messages})["input_tokens"]
    tool = {"name": "weather", "description": "x", "input_schema": WEATHER["function"]["parameters"]}
    more = server.json("/v1/messages/count_tokens", {"model": "hermes", "messages": messages, "system": "Be short.", "tools": [tool]})
    assert more["input_tokens"] > plain + 50
    asked = server.json("/v1/messages", {"model": "hermes", "max_tokens": 1, "messages": messages, "system": "Be short.", "tools": [tool]})
    usage = asked["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == more["input_tokens"]


def test_claude_codes_changing_header_is_taken_out(server):
    def ask(number):
        return server.json("/v1/messages", {"model": "claude-opus-9", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}], "system": [
            {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1; cch={number};"},
            {"type": "text", "text": "You are a coding agent. " * 20}]})["usage"]
    ask(1)
    usage = ask(2)
    assert usage["cache_read_input_tokens"] > 100 and usage["input_tokens"] == 1


def test_a_prefill_is_continued(server):
    body = {"model": "smollm2", "max_tokens": 5, "temperature": 0, "messages": [
        {"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "The river is the"}]}
    said = server.json("/v1/messages", body)["content"][0]["text"]
    raw = server.json("/completion", {"model": "smollm2", "temperature": 0, "n_predict": 5, "prompt": server.json(
        "/apply-template", {"model": "smollm2", "messages": body["messages"][:1]})["prompt"] + "The river is the"})["content"]
    assert said == raw


def test_ollamas_routes(server):
    assert server.call("/", method="HEAD")[0] == 200 and server.call("/")[2] == "Ollama is running"
    tags = {m["name"]: m for m in server.json("/api/tags")["models"]}
    model = tags["smollm2:latest"]
    assert model["details"]["format"] == "gguf" and model["details"]["quantization_level"] == "Q4_1" and model["size"] > 9e7
    assert model["digest"] and model["modified_at"].endswith("Z") and model["details"]["families"] == ["llama"]
    show = server.json("/api/show", {"model": "hermes"})
    assert {"completion", "tools", "thinking"} <= set(show["capabilities"]) and show["model_info"]["llama.context_length"] > 0
    assert "tools" not in server.json("/api/show", {"model": "smollm2:latest"})["capabilities"]
    server.json("/api/generate", {"model": "smollm2", "prompt": ""})
    wait_until(lambda: any(m["name"] == "smollm2:latest" for m in server.json("/api/ps")["models"]))
    assert server.json("/api/version")["version"]
    status, headers, text = server.call("/api/generate", {"model": "smollm2", "prompt": "The river", "raw": True,
                                                          "options": {"num_predict": 4, "temperature": 0}})
    lines = [json.loads(line) for line in text.splitlines()]
    assert headers["Content-Type"].startswith("application/x-ndjson") and [l["done"] for l in lines] == [False] * 4 + [True]
    whole = server.json("/api/generate", {"model": "smollm2", "prompt": "The river", "raw": True, "stream": False,
                                          "options": {"num_predict": 4, "temperature": 0}})
    assert whole["response"] == "".join(l["response"] for l in lines) and whole["eval_count"] == 4
    assert server.call("/api/chat", {"model": "smollm2", "messages": [{"role": "user", "content": "x", "images": ["aa"]}]})[0] == 400
    assert server.json("/api/chat", {"model": "smollm2", "messages": [], "keep_alive": 0})["done_reason"] == "unload"
    wait_until(lambda: not any(m["name"] == "smollm2:latest" for m in server.json("/api/ps")["models"]))
    assert server.call("/api/delete", {"model": "no-such"}, method="DELETE")[0] == 404
    assert server.call("/api/pull", {"model": "http://10.0.0.1/x.gguf"})[0] == 400
    assert server.call("/api/copy", {"source": "a", "destination": "b"})[0] == 501


def test_llama_cpps_routes(server):
    text = "The river is wide."
    ids = server.json("/tokenize", {"model": "smollm2", "content": text})["tokens"]
    assert server.json("/detokenize", {"model": "smollm2", "tokens": ids})["content"] == text
    pieces = server.json("/tokenize", {"model": "smollm2", "content": text, "with_pieces": True})["tokens"]
    assert "".join(p["piece"] for p in pieces) == text and [p["id"] for p in pieces] == ids
    assert server.call("/detokenize", {"model": "smollm2", "tokens": [-1]})[0] == 400
    props = server.json("/props")
    assert props["model"] == "smollm2" and props["context"] == 2048 and "CPU" in props["device"]
    body = {"model": "smollm2", "prompt": ids, "n_predict": 6, "temperature": 0}
    whole = server.json("/completion", body)
    assert whole["stop"] and whole["stop_type"] == "limit" and whole["tokens_predicted"] == 6
    assert "".join(d["content"] for _, d in server.events("/completion", body)) == whole["content"]
    metrics = server.call("/metrics")[2]
    assert "llamacpp:tokens_predicted_total" in metrics
    assert server.json("/health")["status"] == "ok"


def test_models(server):
    listed = server.json("/v1/models")
    assert {"smollm2", "hermes"} <= {m["id"] for m in listed["data"]} and listed["models"]
    assert server.json("/v1/models/smollm2")["context_length"] == 2048
    assert all("/" not in m["id"] for m in listed["data"])


def test_wrong_routes(server):
    assert server.call("/v1/nothing", {})[0] == 404
    status, headers, _ = server.call("/v1/chat/completions")
    assert status == 405 and headers["Allow"] == "POST"
    assert server.call("/../../etc/passwd")[0] == 404
    for body in (b"", b"{", b"[]", b"\xff\xfe", b'{"a":' * 5000 + b"1" + b"}" * 5000, b'"x"'):
        status, _, text = server.call(CHAT, body)
        assert status == 400 and "error" in json.loads(text), text


def test_work_ends_when_the_client_goes(server):
    """Also in the midst of a prompt, and without a stream."""
    for more in ({"stream": True}, {}, {"messages": [{"role": "user", "content": "river " * 1900}]}):
        body = json.dumps({**HELLO, "max_tokens": 1500, "ignore_eos": True, **more}).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: server.json("/slots"))
        wait_until(lambda: not server.json("/slots"), 10)


def test_requests_share_steps_and_keep_apart(server):
    from concurrent.futures import ThreadPoolExecutor
    bodies = [{**HELLO, "messages": [{"role": "user", "content": f"Count from {i}."}], "max_tokens": 20} for i in range(24)]
    alone = [server.json(CHAT, body)["choices"][0]["message"]["content"] for body in bodies]
    with ThreadPoolExecutor(24) as pool:
        together = list(pool.map(lambda body: server.json(CHAT, body)["choices"][0]["message"]["content"], bodies))
    assert together == alone
