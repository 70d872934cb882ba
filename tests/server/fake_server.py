"""A server that speaks what the chat page speaks, with answers from a list: for the page's tests, and for
work on the page without a model:

    python tests/server/fake_server.py [PORT]

The first word of the last message says what comes back ("code", "think", "slow", "cut" ...; ANSWERS);
any other message is repeated."""
import dataclasses
import http.server
import json
import mimetypes
import pathlib
import re
import sys
import threading
import time

PAGE = pathlib.Path(__file__).resolve().parents[2] / "src/server/page"
# What the real server sends along with the page.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
PROPERTIES = {"device": "CPU, 2 threads, avx512", "version": "0.0"}


@dataclasses.dataclass
class Answer:
    content: str = ""
    reasoning: str = ""
    delay: float = 0.0        # seconds before each piece
    first: float = 0.0        # seconds before the first, with a comment each half second
    size: int = 7             # characters a piece
    finish: str = "stop"
    status: int = 200         # other: an error body with `error` and no stream
    error: str = ""           # after the content, in the stream
    cut: bool = False         # the connection ends after the content


CODE = '''Here is a **function** in `C++`, and what it costs:

```cpp
// Greatest common divisor, by Euclid.
template <typename T> T gcd(T a, T b) {
\twhile (b != 0) {
\t\tconst T rest = a % b;  /* less than b */
\t\ta = b, b = rest;
\t}
\treturn a;  // "done" after at most 5 * 10 steps
}
```

| Input | Steps | Time |
| :--- | ---: | :---: |
| 12, 8 | 2 | 1 ns |
| 1071, 462 | 3 | 2 ns |
| `fib(40)`, `fib(41)` | 39 | 30 ns |

1. Read it
   - aloud
   - *slowly*
2. Try it

> A quote, with a [link](https://example.com/a?b=c) and https://example.com/bare.

## Further

- [x] written
- [ ] proved
'''

LONG = "".join(f"{'## Part' if n % 12 == 0 else 'Paragraph'} {n}\n\n" +
               " ".join(f"word{n}x{i}" for i in range(60)) + ".\n\n" for n in range(165))

ANSWERS = {
    "code": Answer(CODE),
    "wide": Answer("|" + " a column |" * 14 + "\n|" + "---|" * 14 + "\n|" + " unbreakable |" * 14 + "\n\n`" + "x" * 300 + "`"),
    "think": Answer("So it is **42**.", reasoning="Six times seven.\n\n- six\n- seven\n", delay=0.03),
    "slow": Answer("word " * 400, delay=0.05, size=5),
    "late": Answer("At last.", first=3),
    "long": Answer(LONG, size=24),
    "cut": Answer("Half of what I wanted to", cut=True),
    "length": Answer("As far as it goes", finish="length"),
    "refuse": Answer(status=400, error="messages[0]: this prompt has 9000 tokens, the context has 8192"),
    "break": Answer("It began well", error="the card does not answer any more"),
    "key": Answer(status=401, error="this server asks for an API key"),
}


class FakeServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.answers = dict(ANSWERS)
        self.models = ["fake", "other"]
        self.key = None        # asked for, where set
        self.requests = []     # bodies of chat completions
        self.hung_up = threading.Event()  # a client left before its answer's end
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/health":
            self.send(200, {"status": "ok"})
        elif self.path.startswith("/props"):
            if self.allowed():
                # A model's own only when it is named: one that is not loaded yet has none to tell.
                model = self.path.partition("?model=")[2]
                self.send(200, {**PROPERTIES, **({"model": model, "context": 8192} if model else {})})
        elif self.path == "/v1/models":
            if self.allowed():
                self.send(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.models]})
        else:
            file = PAGE / ("index.html" if self.path == "/" else self.path[1:])
            if file.parent != PAGE or not file.is_file():
                self.send(404, {"error": {"message": f"no {self.path} here"}})
                return
            kind = mimetypes.guess_type(file.name)[0]
            self.send_bytes(200, "text/javascript" if file.suffix == ".js" else kind, file.read_bytes())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        self.server.requests.append(body)
        asked = body["messages"][-1]["content"]
        answer = self.server.answers.get(re.match(r"\S*", asked).group()) or Answer(f"You said: {asked}")
        if answer.status != 200:
            self.send(answer.status, {"error": {"message": answer.error, "type": "invalid_request_error"}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            self.stream(answer, body)
        except ConnectionError:
            self.server.hung_up.set()

    def stream(self, answer, body):
        until = time.monotonic() + answer.first
        while time.monotonic() < until:
            self.write(": reading the prompt\n\n")
            time.sleep(0.5)
        began = time.monotonic()
        self.chunk(body, {"role": "assistant"})
        for field, text in (("reasoning_content", answer.reasoning), ("content", answer.content)):
            for at in range(0, len(text), answer.size):
                time.sleep(answer.delay)
                self.chunk(body, {field: text[at:at + answer.size]})
        if answer.cut:
            return
        if answer.error:
            self.event({"error": {"message": answer.error, "type": "server_error", "code": 500}})
            return
        self.chunk(body, {}, finish=answer.finish)
        tokens = len((answer.reasoning + answer.content).split())
        prompt = sum(len(message["content"].split()) for message in body["messages"])
        self.event({"choices": [], "model": body["model"],
                    "usage": {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens},
                    "timings": {"prompt_n": prompt, "prompt_per_second": 1000.0, "predicted_n": tokens,
                                "predicted_per_second": tokens / max(time.monotonic() - began, 1e-3)}})
        self.write("data: [DONE]\n\n")

    def chunk(self, body, delta, finish=None):
        self.event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": body["model"],
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def event(self, value):
        self.write(f"data: {json.dumps(value)}\n\n")

    def write(self, text):
        self.wfile.write(text.encode())
        self.wfile.flush()

    def allowed(self):
        if self.server.key in (None, (self.headers["Authorization"] or "").removeprefix("Bearer ")):
            return True
        self.send(401, {"error": {"message": "this server asks for an API key", "type": "authentication_error"}})
        return False

    def send(self, status, value):
        self.send_bytes(status, "application/json", json.dumps(value).encode())

    def send_bytes(self, status, kind, data):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    with FakeServer(int(sys.argv[1]) if len(sys.argv) > 1 else 8080) as fake:
        print(f"The page is at {fake.url}; Ctrl-C ends it.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
