"""Chat templates of real models: what a template writes for a call in the history, the reader reads as that call."""
import copy
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from fetched import llama_cpp  # noqa: E402

TOOL = os.environ.get("OUTBOARD_CHAT_TOOL")
if not TOOL:
    pytest.exit("OUTBOARD_CHAT_TOOL must name the built chat_tool", returncode=2)

TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((llama_cpp("models") / "templates").glob("*.jinja"))}

# How a model with this template writes calls; "none": its layout is not known here, and calls stay text.
FAMILIES = {
    "Apertus-8B-Instruct": "apertus", "Apriel-1.6-15b-Thinker-fixed": "apriel", "Bielik-11B-v3.0-Instruct": "hermes", "ByteDance-Seed-OSS": "seed-oss",
    "Cohere2MoE": "command-r7b", "CohereForAI-c4ai-command-r-plus-tool_use": "command-r", "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "command-r7b",
    "GLM-4.6": "glm", "GLM-4.7-Flash": "glm", "GigaChat3-10B-A1.8B": "none", "GigaChat3.1-10B-A1.8B": "gigachat", "HuggingFaceTB-SmolLM3-3B": "none",
    "Kimi-K2-Instruct": "kimi-k2", "Kimi-K2-Thinking": "kimi-k2", "Kimi-K3": "none", "LFM2-8B-A1B": "lfm2", "LFM2.5-8B-A1B": "lfm2", "LFM2.5-Instruct": "none",
    "MiMo-VL": "hermes", "MiniMax-M1": "minimax-m1", "MiniMax-M2": "minimax-m2", "MiniMax-M3": "minimax-m3", "Mistral-Small-3.2-24B-Instruct-2506": "mistral",
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "qwen3-coder", "NVIDIA-Nemotron-Nano-v2": "nemotron-v2", "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "hermes",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "hermes", "Qwen-QwQ-32B": "hermes", "Qwen-Qwen2.5-7B-Instruct": "hermes", "Qwen-Qwen3-0.6B": "hermes",
    "Qwen3-Coder": "qwen3-coder", "Qwen3.5-4B": "qwen3-coder", "Reka-Edge": "hermes", "Spark2.5": "glm", "StepFun3.5-Flash": "qwen3-coder",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": "deepseek", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": "deepseek", "deepseek-ai-DeepSeek-V3.1": "deepseek",
    "deepseek-ai-DeepSeek-V3.2": "deepseek-dsml", "deepseek-ai-DeepSeek-V4": "deepseek-dsml", "deepseek-ai-DeepSeek-V4-Flash-0731": "deepseek-dsml",
    "fireworks-ai-llama-3-firefunction-v2": "functools", "google-gemma-2-2b-it": "none", "google-gemma-4-31B-it": "gemma4", "google-gemma-4-31B-it-interleaved": "gemma4",
    "ibm-granite-granite-3.3-2B-Instruct": "granite", "ibm-granite-granite-4.0": "hermes", "ibm-granite-granite-4.1": "hermes", "inclusionai-ling-3.0-flash": "glm",
    "llama-cpp-deepseek-r1": "deepseek", "llama-cpp-rwkv-world": "none", "meetkai-functionary-medium-v3.1": "functionary-3.1", "meetkai-functionary-medium-v3.2": "none",
    "meta-llama-Llama-3.1-8B-Instruct": "llama3", "meta-llama-Llama-3.2-3B-Instruct": "llama3", "meta-llama-Llama-3.3-70B-Instruct": "llama3",
    "microsoft-Phi-3.5-mini-instruct": "none", "mistralai-Ministral-3-14B-Reasoning-2512": "mistral", "mistralai-Mistral-Nemo-Instruct-2407": "mistral",
    "moonshotai-Kimi-K2": "kimi-k2", "muse-glimmer": "none", "openai-gpt-oss-120b": "harmony", "openbmb-MiniCPM5-1B": "minicpm5", "poolside-Laguna-S-2.1": "glm",
    "poolside-Laguna-XS-2.1": "glm", "poolside-Laguna-XS.2": "glm", "tencent-Hy3": "none", "unsloth-Apriel-1.5": "apriel", "unsloth-mistral-Devstral-Small-2507": "mistral",
    "upstage-Solar-Open-100B": "none",
}

TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather of a place", "parameters": {"type": "object", "properties": {
            "place": {"type": "string", "description": "where"}, "days": {"type": "integer", "description": "how many"}, "exact": {"type": "boolean", "description": "or not"},
            "zip": {"type": "string", "description": "a number as text"}, "options": {"type": "object", "description": "more", "additionalProperties": {"type": "array"}}},
            "required": ["place"], "additionalProperties": False}}},
         {"type": "function", "function": {"name": "add", "description": "Adds", "parameters": {"type": "object", "properties": {
             "numbers": {"type": "array", "description": "what", "items": {"type": "number"}}}, "required": ["numbers"]}}},
         {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}}]
WEATHER = ("get_weather", {"place": "Köln \"Süd\" & it's\n  here", "days": 2, "exact": True, "zip": "50667", "options": {"a": [1, "two", None, {"b": False}]}})
ADD = ("add", {"numbers": [1.5, -2, 3]})
NOW = ("now", {})

# What ends an assistant's turn: control tokens, which end a model's answer.
ENDS = ["<|im_end|>", "<|START_OF_TURN_TOKEN|>", "<|eot_id|>", "<|eom_id|>", "<eos>", "<turn|>", "<|END_OF_TURN_TOKEN|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "<|observation|>", "<end_of_sentence>",
        "[e~[", "<|message_sep|>", "<seed:eos>", "<|call|>", "<SPECIAL_12>", "<|assistant_end|>", "<|tool_response>", "<|role_end|>", "</assistant>", "<|end|>\n<|begin_tool", "<|end|>\n<eos>", "<|end|>\n<|begin", "<|end|>\n", "<sep>", "<tool_response>", "[RESULT", "RESULT", "<｜tool▁outputs▁begin｜>"]


class Tool:
    def __init__(self):
        self.process = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def __call__(self, op, **request):
        self.process.stdin.write(json.dumps({"op": op, **request}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the tool died on {op}"
        return json.loads(line)


@pytest.fixture(scope="module")
def tool():
    return Tool()


def assistant(calls, content="", reasoning=None):
    made = [{"id": f"abcdefgh{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}} for i, (name, arguments) in enumerate(calls)]
    message = {"role": "assistant", "content": content, "tool_calls": made}
    if reasoning:
        message["reasoning_content"] = reasoning
    return message


def results(calls):
    return [{"role": "tool", "tool_call_id": f"abcdefgh{i}", "content": "RESULT"} for i in range(len(calls))]


USER = {"role": "user", "content": "How is it?"}


def turn(tool, template, calls, content, reasoning):
    """What the template writes for the assistant's turn, and whether the prompt before it has begun the thinking."""
    request = {"template": template, "bos": "<bos>", "eos": "<eos>", "tools": TOOLS, "thinking": True,
               "variables": {"functions": "", "datetime": "today"}}  # firefunction's own
    before = tool("prompt", messages=[USER], **request)
    # Some write a turn differently when no result follows, and some end in the result's own header.
    after = tool("prompt", messages=[USER, assistant(calls, content, reasoning), *results(calls)], add_generation_prompt=False, **request)
    if "is not JSON serializable" in before.get("error", ""):
        pytest.skip("jinja2 refuses this template, too")
    assert "error" not in before and "error" not in after, (before, after)
    prompt, text = before["text"], after["text"]
    if text.startswith(prompt):
        opened = before["thinking_open"]
    else:
        # The thinking that the prompt begins is left out of the history, or begun otherwise.
        prompt, opened = os.path.commonprefix([prompt, text]), False
        if prompt.rfind("<") > prompt.rfind(">"):
            prompt = prompt[:prompt.rfind("<")]
    rest = text[len(prompt):].removeprefix("<|CHATBOT_TOKEN|>")
    ends = [at for at in (rest.find(end) for end in ENDS) if at > 0]
    return rest[:min(ends)] if ends else rest, opened, after["abilities"]


def test_every_template_has_the_family_that_is_expected(tool):
    found = {name: tool("detect", template=source)["family"] for name, source in TEMPLATES.items()}
    assert found == {name: FAMILIES.get(name) for name in TEMPLATES}


CASES = {"one": ([WEATHER], "", None), "two": ([WEATHER, ADD], "", None), "no arguments": ([NOW], "", None), "content": ([ADD], "Let me add.", None),
         "thought": ([ADD], "", "Hm, add."), "all": ([NOW, WEATHER], "So be it.", "Hm.")}


CALLING = [name for name in sorted(TEMPLATES) if FAMILIES.get(name, "none") not in ("none", "minimax-m3")]


@pytest.mark.parametrize("name", CALLING)
def test_calls_in_the_history_are_read_back(tool, name):
    template = TEMPLATES[name]
    read = 0
    for label, (calls, content, reasoning) in CASES.items():
        text, opened, abilities = turn(tool, template, calls, content, reasoning)
        if not abilities["tool_calls"]:
            pytest.skip("the template leaves calls out of the history")
        if len(calls) > 1 and not abilities["parallel_calls"] or content and abilities["content_apart"]:
            continue
        answer = tool("read", template=template, text=text, thinking_open=opened, tools=TOOLS)
        assert answer.get("wrong") == "", (label, text, answer)
        assert [(call["name"], call["arguments"]) for call in answer["calls"]] == [(n, a) for n, a in calls], (label, text, answer)
        if reasoning and reasoning in text:
            assert reasoning in answer["reasoning"], (label, text, answer)
            assert reasoning not in answer["content"], (label, text, answer)
        if content and content in text:
            assert answer["content"].strip() == content or answer["reasoning"].endswith(content), (label, text, answer)
        elif not content:
            assert answer["content"].strip() == "", (label, text, answer)
        read += 1
    assert read >= 3


@pytest.mark.parametrize("name", CALLING)
def test_the_grammar_lets_through_what_the_template_writes(tool, name):
    template = TEMPLATES[name]
    thinking = tool("detect", template=template)["thinking"]
    for calls in ([ADD], [NOW], [ADD, NOW]):
        text, _, abilities = turn(tool, template, calls, "", None)
        if not abilities["tool_calls"]:
            pytest.skip("the template leaves calls out of the history")
        if len(calls) > 1 and not abilities["parallel_calls"]:
            continue
        if thinking:
            text = text.split(thinking[1])[-1]
        text = text.strip("\n")
        if name == "deepseek-ai-DeepSeek-R1-Distill-Llama-8B" and not text.endswith("calls▁end｜>"):
            text += "<｜tool▁calls▁end｜>"  # this template leaves it out behind a single call, others of the family don't
        if FAMILIES[name] == "apriel":
            text = text.replace(', "id": "abcdefgh0"', "").replace(', "id": "abcdefgh1"', "")  # the client's; the model is told to write none
        allowed = tool("grammar", template=template, tools=TOOLS, text=text)
        assert allowed.get("can_end") and allowed["passed"] == text, (text, allowed)
