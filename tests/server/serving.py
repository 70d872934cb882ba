"""A server of the real program for tests, and small models with chat templates of families that call tools."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests/reference"), str(ROOT / "tests/formats")]

import gguf

import make_model
from edit_gguf import edit

OUTBOARD = os.environ["OUTBOARD"]
MODELS = pathlib.Path(os.environ["OUTBOARD_MODELS"])
TEXT = gguf.GGUFValueType.STRING

# As Qwen 3's in the parts that matter: tools in the system message, calls and results in tags, thinking that
# enable_thinking turns off.
HERMES = """{%- if tools %}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content }}

{% endif %}You may call functions:
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools>
For each call, return a json object within <tool_call></tool_call> tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% elif messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif %}{% for message in messages %}{% if message.role == 'user' or (message.role == 'system' and not loop.first) -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% elif message.role == 'assistant' -%}
<|im_start|>assistant
{% if message.reasoning_content %}<think>
{{ message.reasoning_content }}
</think>

{% endif %}{{ message.content }}{% for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% elif message.role == 'tool' -%}
<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif %}"""


def small_model(path, template=HERMES, seed=0):
    """A random model; what it says is noise, unless a grammar holds it."""
    plain = path.with_suffix(".plain.gguf")
    make_model.make("llama-small", plain)
    edit(plain, path, {"tokenizer.chat_template": (template, TEXT)})
    plain.unlink()
    return path


class Server:
    def __init__(self, process, address):
        self.process, self.address = process, address
        self.port = int(address.rsplit(":", 1)[1])

    def call(self, path, body=None, method=None, headers=None, timeout=120):
        """(status, headers, text)"""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json", **(headers or {})},
                                         method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return reply.status, reply.headers, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    def json(self, path, body=None, status=200, **more):
        found, _, text = self.call(path, body, **more)
        assert found == status, (found, text)
        return json.loads(text)

    def events(self, path, body, **more):
        """Server-sent events: [(event or None, data)]; comments are left out."""
        status, headers, text = self.call(path, {**body, "stream": True}, **more)
        assert status == 200, f"{status}: {text}"
        assert headers["Content-Type"].startswith("text/event-stream")
        found = []
        for block in text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "data" in lines:
                data = lines["data"]
                found.append((lines.get("event"), data if data == "[DONE]" else json.loads(data)))
        return found

    def log(self):
        return "".join(self.lines)


@contextlib.contextmanager
def serve(*arguments, env=None, end=signal.SIGINT, wait=180, status=0):
    process = subprocess.Popen([OUTBOARD, "serve", *map(str, arguments), "--port", "0"], stderr=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True, env={**os.environ, **(env or {})})
    lines = []
    found = threading.Event()

    def read():
        for line in process.stderr:
            lines.append(line)
            if "serving on" in line:
                found.set()
        found.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert found.wait(wait), lines
    address = next((re.search(r"serving on (\S+)", line)[1] for line in lines if "serving on" in line), None)
    assert address, "".join(lines)
    server = Server(process, address)
    server.lines = lines
    try:
        yield server
    except BaseException:
        print(f"the server ended: {process.poll()}\n" if process.poll() is not None else "", "".join(lines), sep="")
        raise
    finally:
        if process.poll() is None:
            process.send_signal(end)
        try:
            code = process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        reader.join(5)
        process.stderr.close()
    assert code == status, (code, "".join(lines))


def wait_until(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)
