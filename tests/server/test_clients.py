"""The official clients of the protocols, and tools on top of them."""
import json
import os
import subprocess
import sys

import pytest

from serving import MODELS, serve, small_model
from test_protocols import SCHEMA, WEATHER


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    hermes = small_model(tmp_path_factory.mktemp("models") / "hermes.gguf")
    with serve(MODELS / "smollm2.gguf", hermes, "--device", "cpu", "--models-max", 2, "--ctx", 2048) as server:
        yield server


ASK = [{"role": "user", "content": "Name three rivers."}]
NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}


def test_openai(server):
    import openai
    client = openai.OpenAI(base_url=server.address + "/v1", api_key="none", max_retries=0)
    assert "smollm2" in [m.id for m in client.models.list()]
    whole = client.chat.completions.create(model="smollm2", messages=ASK, temperature=0, max_tokens=10)
    stream = client.chat.completions.create(model="smollm2", messages=ASK, temperature=0, max_tokens=10, stream=True,
                                            stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == 10
    called = client.chat.completions.create(model="hermes", messages=ASK, tools=[WEATHER], tool_choice="required", max_tokens=300,
                                            parallel_tool_calls=False, extra_body=NO_THINKING)
    assert json.loads(called.choices[0].message.tool_calls[0].function.arguments)["city"] is not None
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such", messages=ASK)
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model="smollm2", messages=[{"role": "user", "content": "x " * 4000}])
    assert error.value.code == "context_length_exceeded"
    text = client.completions.create(model="smollm2", prompt="The river", max_tokens=4, temperature=0)
    assert text.choices[0].text and text.usage.completion_tokens == 4
    from pydantic import BaseModel, Field

    class Person(BaseModel):
        name: str = Field(max_length=6)
        age: int
    parsed = client.chat.completions.parse(model="hermes", messages=ASK, response_format=Person, max_tokens=600, temperature=0.3,
                                           extra_body=NO_THINKING)
    assert isinstance(parsed.choices[0].message.parsed, Person)
    said = client.responses.create(model="smollm2", input="Name a river.", max_output_tokens=6)
    assert said.output_text
    events = list(client.responses.create(model="smollm2", input="Name a river.", max_output_tokens=6, stream=True))
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == events[-1].response.output_text
    # A stream that its reader leaves.
    for _ in client.chat.completions.create(model="smollm2", messages=ASK, max_tokens=1000, stream=True):
        break


def test_anthropic(server):
    import anthropic
    client = anthropic.Anthropic(base_url=server.address, auth_token="none", max_retries=0)
    whole = client.messages.create(model="smollm2", messages=ASK, max_tokens=8, extra_body={"temperature": 0})
    assert whole.content[0].text and whole.stop_reason == "max_tokens" and whole.usage.output_tokens == 8
    with client.messages.stream(model="smollm2", messages=ASK, max_tokens=8, extra_body={"temperature": 0}) as stream:
        assert "".join(stream.text_stream) == whole.content[0].text
        assert stream.get_final_message().usage.output_tokens == 8
    tool = {"name": "weather", "description": "x", "input_schema": WEATHER["function"]["parameters"]}
    with client.messages.stream(model="hermes", messages=ASK, max_tokens=300, tools=[tool], thinking={"type": "disabled"},
                                tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True}) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use" and "city" in final.content[0].input
    assert client.messages.count_tokens(model="smollm2", messages=ASK).input_tokens > 10
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="no-such", messages=ASK, max_tokens=1)
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="smollm2", messages=[{"role": "user", "content": "x " * 4000}], max_tokens=1)


def test_ollama(server):
    import ollama
    client = ollama.Client(server.address)
    assert "smollm2:latest" in [m.model for m in client.list().models]
    assert client.show("hermes").capabilities
    whole = client.chat("smollm2", messages=ASK, options={"temperature": 0, "num_predict": 8})
    assert whole.eval_count == 8 and whole.done_reason == "length"
    parts = client.chat("smollm2", messages=ASK, options={"temperature": 0, "num_predict": 8}, stream=True)
    assert "".join(p.message.content for p in parts) == whole.message.content
    said = client.chat("hermes", messages=ASK, format=SCHEMA, think=False, options={"num_predict": 400})
    assert json.loads(said.message.content)["age"] >= 0
    assert client.generate("smollm2", "The river", raw=True, options={"num_predict": 3}).response
    assert client.ps().models
    with pytest.raises(ollama.ResponseError) as error:
        client.chat("no-such", messages=ASK)
    assert error.value.status_code == 404


def test_langchain(server):
    from langchain_ollama import ChatOllama
    from langchain_openai import ChatOpenAI
    from pydantic import BaseModel, Field
    chat = ChatOpenAI(model="smollm2", base_url=server.address + "/v1", api_key="none", temperature=0, max_tokens=8)
    said = chat.invoke("Name three rivers.")
    assert said.content and said.usage_metadata["output_tokens"] == 8
    assert "".join(part.content for part in chat.stream("Name three rivers.")) == said.content
    local = ChatOllama(model="smollm2", base_url=server.address, temperature=0, num_predict=8)
    assert local.invoke("Name three rivers.").content == said.content

    class Person(BaseModel):
        """A person."""
        name: str = Field(max_length=6)
        age: int
    hermes = ChatOpenAI(model="hermes", base_url=server.address + "/v1", api_key="none", max_tokens=600, extra_body=NO_THINKING)
    for method in ("json_schema", "function_calling"):
        assert isinstance(hermes.with_structured_output(Person, method=method).invoke("Who?"), Person)
    assert isinstance(ChatOllama(model="hermes", base_url=server.address, num_predict=600, reasoning=False).with_structured_output(
        Person, method="json_schema").invoke("Who?"), Person)


def test_instructor(server):
    import instructor
    import openai
    from pydantic import BaseModel, Field

    class Person(BaseModel):
        name: str = Field(max_length=6)
        age: int
    client = openai.OpenAI(base_url=server.address + "/v1", api_key="none", max_retries=0)
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        person = instructor.from_openai(client, mode=mode).chat.completions.create(
            model="hermes", messages=[{"role": "user", "content": "Who?"}], response_model=Person, max_tokens=600, max_retries=0,
            extra_body=NO_THINKING)
        assert isinstance(person, Person)


def test_litellm(server):
    import litellm
    for model, more in (("openai/smollm2", {"api_base": server.address + "/v1", "api_key": "none"}),
                        ("ollama_chat/smollm2", {"api_base": server.address}),
                        ("anthropic/smollm2", {"api_base": server.address, "api_key": "none"})):
        said = litellm.completion(model, messages=ASK, max_tokens=6, temperature=0, **more)
        assert said.choices[0].message.content, model


def test_llm(server, tmp_path):
    """Simon Willison's command line tool, set up by its own file."""
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: outboard\n  model_name: smollm2\n  api_base: {server.address}/v1\n  api_key_name: outboard\n")
    (tmp_path / "keys.json").write_text('{"outboard": "none"}')
    program = os.path.join(os.path.dirname(sys.executable), "llm")
    said = subprocess.run([program, "-m", "outboard", "Name three rivers.", "-o", "max_tokens", "6"], capture_output=True, text=True,
                          env={**os.environ, "LLM_USER_PATH": str(tmp_path)}, stdin=subprocess.DEVNULL, timeout=120)
    assert said.returncode == 0 and said.stdout.strip(), said.stderr
