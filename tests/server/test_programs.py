"""Requests of the shape in which programs send them, rebuilt in our own words from their public sources and threads about them
(docs/verification.md names what is known): fields of theirs that mean nothing here, blocks and headers, in their order."""
import json

import pytest

from serving import MODELS, serve, small_model


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    hermes = small_model(tmp_path_factory.mktemp("models") / "hermes.gguf")
    with serve(hermes, MODELS / "smollm2.gguf", "--device", "cpu", "--models-max", 2, "--ctx", 2048) as server:
        yield server


def function(name, **properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
            "$schema": "http://json-schema.org/draft-07/schema#"}


TEXT = {"type": "string", "description": "a text"}


def test_claude_code(server):
    """A turn with tools, cache marks and a changing first block; the next with the call's result; counts before each."""
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
               "x-app": "cli", "User-Agent": "claude-cli/2.1 (external, cli)", "Authorization": "Bearer none", "X-Stainless-Lang": "js"}
    tools = [{"name": name, "description": "It does " + name, "input_schema": function(name, path=TEXT)} for name in ("Read", "Bash", "Task")]

    def turn(number, messages, **more):
        return {"model": "claude-sonnet-4-6", "max_tokens": 24, "temperature": 1, "stream": True, "messages": messages, "tools": tools,
                "metadata": {"user_id": "user_x_account__session_y"}, "context_management": {"edits": []}, "thinking": {"type": "adaptive"},
                "output_config": {"effort": "medium"}, "system": [
                    {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1.{number}; cch={number:05};"},
                    {"type": "text", "text": "You are a coding agent.", "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": "Work in /src. " * 8, "cache_control": {"type": "ephemeral"}}], **more}
    first = [{"role": "user", "content": [{"type": "text", "text": "<system-reminder>Today is Sunday.</system-reminder>"},
                                          {"type": "text", "text": "What is in a.txt?", "cache_control": {"type": "ephemeral"}}]}]
    counted = server.json("/v1/messages/count_tokens?beta=true", {k: v for k, v in turn(1, first).items() if k != "stream"}, headers=headers)
    events = server.events("/v1/messages?beta=true", turn(1, first), headers=headers)
    assert events[0][0] == "message_start" and events[-1][0] == "message_stop"
    assert events[0][1]["message"]["usage"]["input_tokens"] == counted["input_tokens"]
    again = first + [
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "I look.", "signature": "s"}, {"type": "text", "text": "Let me see."},
                                          {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a.txt"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "hello", "cache_control": {"type": "ephemeral"}},
                                     {"type": "text", "text": "<system-reminder>Be brief.</system-reminder>"}]}]
    delta = next(data for name, data in server.events("/v1/messages?beta=true", turn(2, again), headers=headers) if name == "message_delta")
    assert delta["usage"]["cache_read_input_tokens"] > counted["input_tokens"] - 64  # the changing block broke nothing
    # The title of the conversation, by a small model and without tools.
    title = turn(3, [{"role": "user", "content": "quota"}], max_tokens=1, model="claude-haiku-4-5", tools=[])
    assert server.events("/v1/messages?beta=true", title, headers=headers)[-1][0] == "message_stop"


def test_codex(server):
    body = {"model": "gpt-5-codex", "instructions": "You are a coding agent. " * 5, "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>read-only</permissions>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context>cwd</environment_context>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files."}]}],
        "tools": [{"type": "function", "name": "shell_command", "description": "Runs", "strict": False, "parameters": function("x", command=TEXT)},
                  {"type": "custom", "name": "apply_patch", "description": "Edits", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}},
                  {"type": "web_search", "external_web_access": True}, {"type": "namespace", "name": "mcp", "tools": []}],
        "tool_choice": "auto", "parallel_tool_calls": True, "reasoning": {"effort": "medium", "summary": "auto"}, "store": False, "stream": True,
        "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k", "text": {"verbosity": "low"}, "client_metadata": {"a": "b"},
        "max_output_tokens": 16}
    events = server.events("/v1/responses", body, headers={"originator": "codex_cli_rs", "session_id": "s"})
    names = [name for name, _ in events]
    assert names[:2] == ["response.created", "response.in_progress"] and names[-1] in ("response.completed", "response.incomplete")
    items = [data["item"] for name, data in events if name == "response.output_item.done"]
    assert items == events[-1][1]["response"]["output"] and events[-1][1]["response"]["usage"]["input_tokens"] > 50
    # What it said goes back with the next request.
    more = {**body, "input": body["input"] + items + [
        {"type": "function_call", "name": "shell_command", "arguments": "{\"command\": \"ls\"}", "call_id": "call_1"},
        {"type": "function_call_output", "call_id": "call_1", "output": "a.txt"}]}
    assert server.events("/v1/responses", more)[-1][0] in ("response.completed", "response.incomplete")


def test_codex_looks_around(server):
    """It tries a WebSocket first, asks with nothing to see whether anyone is there, and wants a list of its own form."""
    status, headers, _ = server.call("/v1/responses", method="GET", headers={
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert status == 405 and headers["Allow"] == "POST"
    probe = server.json("/v1/responses", {"model": "gpt-5-codex", "input": [], "max_output_tokens": 1, "store": False})
    assert probe["status"] in ("completed", "incomplete") and probe["usage"]["output_tokens"] <= 1
    assert {m["slug"] for m in server.json("/v1/models")["models"]} >= {"hermes", "smollm2"}
    kept = server.json("/v1/responses", {"model": "hermes", "input": "hi", "previous_response_id": "resp_1"}, 400)["error"]
    assert kept["param"] == "previous_response_id"
    choice = server.json("/v1/responses", {"model": "hermes", "input": "hi", "tool_choice": {"type": "web_search"}}, 400)["error"]
    assert choice["param"] == "tool_choice"


@pytest.mark.parametrize("user_agent", ["opencode/1.2 ai-sdk/openai-compatible/1.0", "Cline/3.5", "litellm/1.80"])
def test_agents_over_chat_completions(server, user_agent):
    body = {"model": "hermes", "max_tokens": 16, "temperature": 0, "top_p": 1, "stream": True, "stream_options": {"include_usage": True},
            "tool_choice": "auto", "messages": [
                {"role": "system", "content": "You are an agent. " * 10},
                {"role": "user", "content": [{"type": "text", "text": "Read it."}]},
                {"role": "assistant", "content": "", "reasoning_content": "I will.", "tool_calls": [
                    {"id": "call_a", "type": "function", "function": {"name": "read", "arguments": "{\"path\": \"a\"}"}},
                    {"id": "call_b", "type": "function", "function": {"name": "read", "arguments": "{\"path\": \"b\"}"}}]},
                {"role": "tool", "tool_call_id": "call_a", "content": "hello"}, {"role": "tool", "tool_call_id": "call_b", "content": ""},
                {"role": "user", "content": "Go on."}],
            "tools": [{"type": "function", "function": {"name": "read", "description": "Reads", "parameters": function("x", path=TEXT)}}]}
    events = server.events("/v1/chat/completions", body, headers={"User-Agent": user_agent})
    assert events[-1][1] == "[DONE]" and events[-2][1]["usage"]["completion_tokens"] > 0


def test_zed(server):
    """Found by itself on ollama's port: the list, what each model can, then chats."""
    names = [m["name"] for m in server.json("/api/tags")["models"]]
    assert "tools" in server.json("/api/show", {"model": names[0]})["capabilities"]
    status, _, text = server.call("/api/chat", {"model": names[0], "stream": True, "keep_alive": -1, "think": False,
                                                "options": {"num_ctx": 16384, "num_predict": 8, "stop": [], "temperature": 1.0},
                                                "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
                                                "tools": [{"type": "function", "function": {"name": "now", "description": None,
                                                                                            "parameters": function("x")}}]})
    lines = [json.loads(line) for line in text.splitlines()]
    assert status == 200 and lines[-1]["done"] and all(isinstance(line["message"]["content"], str) for line in lines)
    assert lines[-1]["prompt_eval_count"] > 0 and lines[-1]["eval_count"] > 0


def test_zed_over_openai(server):
    """Its other connection, with tools that it means strictly, and edit predictions, which look for an id."""
    tool = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": function("x"), "strict": True}}
    body = {"model": "hermes", "stream": True, "max_completion_tokens": 200, "parallel_tool_calls": False, "tool_choice": "required",
            "tools": [tool], "stop": [], "temperature": 1, "chat_template_kwargs": {"enable_thinking": False}, "messages": [{"role": "user", "content": [{"type": "text", "text": "When?"}]}]}
    choices = [data["choices"][0] for _, data in server.events("/v1/chat/completions", body)[:-1] if data["choices"]]
    assert choices[-1]["finish_reason"] == "tool_calls"
    prediction = server.json("/v1/completions", {"model": "smollm2", "prompt": "<|fim_prefix|>x", "max_tokens": 4, "temperature": 0.2,
                                                 "stop": ["<|endoftext|>"]})
    assert prediction["id"] and isinstance(prediction["choices"][0]["text"], str)


@pytest.mark.parametrize("path, body, rows", [
    # Open WebUI's documents over either connection, Continue's index, AnythingLLM's workspaces.
    ("/v1/embeddings", {"input": ["one", "two"], "model": "smollm2", "dimensions": None, "user": "me"}, lambda a: [d["embedding"] for d in a["data"]]),
    ("/api/embed", {"input": ["one", "two"], "model": "smollm2", "truncate": True}, lambda a: a["embeddings"]),
    ("/api/embed", {"model": "smollm2", "input": ["one", "two"], "keep_alive": 1800, "options": {}}, lambda a: a["embeddings"]),
    ("/v1/embeddings", {"model": "smollm2", "input": ["one", "two"], "encoding_format": "float"}, lambda a: [d["embedding"] for d in a["data"]])])
def test_documents(server, path, body, rows):
    found = rows(server.json(path, body, headers={"Authorization": "Bearer sk-none"}))
    assert len(found) == 2 and len(found[0]) == len(found[1]) == 576 and found[0] != found[1]


def test_jetbrains_and_cline(server):
    """They look whether ollama is there, then for a model that can call tools."""
    assert server.call("/")[2] == "Ollama is running" and server.call("/", method="HEAD")[0] == 200
    names = [m["model"] for m in server.json("/api/tags")["models"]]
    shown = {name: server.json("/api/show", {"model": name, "verbose": False}) for name in names}
    assert any("tools" in one["capabilities"] for one in shown.values())
    assert all(any(key.endswith(".context_length") for key in one["model_info"]) for one in shown.values())


def test_open_webui(server):
    """Its connections: OpenAI's with a key that nobody asks for, and ollama's; titles and tags beside the answer."""
    key = {"Authorization": "Bearer sk-none", "X-OpenWebUI-User-Name": "me"}
    listed = server.json("/v1/models", headers=key)["data"]
    assert {m["id"] for m in listed} >= {"hermes", "smollm2"}
    body = {"model": "smollm2", "stream": True, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 6, "params": {}, "features": {},
            "variables": {}, "session_id": "s", "chat_id": "c", "id": "m", "background_tasks": {"title_generation": True},
            "stream_options": {"include_usage": True}}
    assert server.events("/v1/chat/completions", body, headers=key)[-1][1] == "[DONE]"
    title = {"model": "smollm2", "messages": [{"role": "user", "content": "A title for this chat."}], "stream": False,
             "max_completion_tokens": 8, "metadata": {"task": "title_generation"}}
    assert server.json("/v1/chat/completions", title, headers=key)["choices"][0]["message"]["content"]
    assert server.json("/api/version")["version"] and "models" in server.json("/api/ps")


def test_continue(server):
    """Its ollama and its llama.cpp provider."""
    assert server.json("/api/show", {"name": "smollm2"})["details"]["format"] == "gguf"
    status, _, text = server.call("/api/generate", {"model": "smollm2", "prompt": "def f(", "raw": True, "keep_alive": 1800,
                                                    "options": {"temperature": 0.01, "num_predict": 8, "stop": ["\n\n"], "num_ctx": 4096}})
    assert status == 200 and json.loads(text.splitlines()[-1])["done"]
    assert server.call("/api/generate", {"model": "smollm2", "prompt": "def f(", "suffix": "return", "stream": False})[0] == 400  # told, not guessed
    events = server.events("/completion", {"prompt": "The river", "n_predict": 5, "frequency_penalty": 0, "stop": [], "model": "smollm2"})
    assert all(isinstance(data["content"], str) for _, data in events) and events[-1][1]["stop"]
