"""Who may ask, and clients that are slow, rude or many."""
import json
import pathlib
import socket
import ssl
import subprocess
import time
import urllib.request

import pytest

from serving import MODELS, OUTBOARD, serve, small_model, wait_until


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small.gguf")


@pytest.fixture(scope="module")
def server(model):
    with serve(model, "--device", "cpu", "--ctx", 512) as server:
        yield server


CHAT = "/v1/chat/completions"
HELLO = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}


def raw(server, data, wait=10):
    """What comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as client:
        client.sendall(data)
        answer = b""
        while True:
            try:
                more = client.recv(1 << 16)
            except ConnectionResetError:
                return answer
            if not more:
                return answer
            answer += more


def test_names_that_lead_here_are_refused(server):
    """DNS rebinding: a page's own name, resolved to this machine."""
    assert server.call("/v1/models", headers={"Host": "evil.example"})[0] == 403
    assert server.call("/v1/models", headers={"Host": "127.0.0.1.evil.example"})[0] == 403
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:4", "app.localhost"):
        assert server.call("/v1/models", headers={"Host": host})[0] == 200, host


def test_pages_of_this_machine_may_ask_and_others_not(server):
    asked = "authorization, content-type, x-stainless-lang, x-stainless-runtime-version"
    for path in (CHAT, "/v1/models", "/api/chat", "/v1/messages"):
        status, headers, _ = server.call(path, method="OPTIONS", headers={
            "Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked})
        assert status == 204 and headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        assert headers["Access-Control-Allow-Headers"] == asked and "POST" in headers["Access-Control-Allow-Methods"]
    status, headers, _ = server.call(CHAT, HELLO, headers={"Origin": "https://127.0.0.1"})
    assert status == 200 and headers["Access-Control-Allow-Origin"] == "https://127.0.0.1"
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "file://"):
        assert server.call(CHAT, HELLO, headers={"Origin": origin})[0] == 403, origin
        assert server.call(CHAT, method="OPTIONS", headers={"Origin": origin})[0] == 403, origin


def test_keys(model, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# ours\nsecond-key\n\nthird\n")
    with serve(model, "--device", "cpu", "--api-key", "first", "--api-key-file", keys) as server:
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer firs"}, {"Authorization": "Bearer firstt"},
                       {"x-api-key": ""}):
            status, headers, text = server.call("/v1/models", headers=header)
            assert status == 401 and json.loads(text)["error"]["code"] == "invalid_api_key" and headers["WWW-Authenticate"]
        assert json.loads(server.call("/v1/messages", {}, headers={})[2])["error"]["type"] == "authentication_error"
        for header in ({"Authorization": "Bearer first"}, {"x-api-key": "second-key"}, {"Authorization": "Bearer third"}):
            assert server.call("/v1/models", headers=header)[0] == 200
        assert server.call("/health")[0] == 200  # whether it lives is no secret
        assert "first" not in server.log()


@pytest.mark.parametrize("arguments, words", [
    (["--host", "0.0.0.0"], "--no-auth"), (["--host", "no-such-host.invalid", "--no-auth"], "can't be found"), (["--tls-cert", "x"], "needs its key"),
    (["--tls-cert", "/no/such", "--tls-key", "/no/such"], "/no/such"), (["--keep-alive", "soon"], "no duration"),
    (["--api-key", ""], "empty"), (["--parallel", "0"], "--parallel"), (["--ctx", "99999999"], "trained for"),
    (["--device", "tpu"], "tpu"), (["--cache-dir", "/dev/null"], "cache folder"), (["--cache-size", "much"], "--cache-size")])
def test_wrong_starts_are_told(model, arguments, words):
    result = subprocess.run([OUTBOARD, "serve", str(model), "--port", "0", *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and words in result.stderr, result.stderr


def test_an_address_in_use_is_told(server, model):
    result = subprocess.run([OUTBOARD, "serve", str(model), "--port", str(server.port)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and f"port {server.port}" in result.stderr and "--port" in result.stderr
    assert server.call("/health")[0] == 200


def test_others_may_come_where_that_is_said(model):
    with serve(model, "--device", "cpu", "--host", "0.0.0.0", "--no-auth") as server:
        request = urllib.request.Request(f"http://127.0.0.1:{server.port}/v1/models", headers={"Host": "my-box.lan"})
        assert urllib.request.urlopen(request).status == 200


def test_tls(model, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    with serve(model, "--device", "cpu", "--tls-cert", certificate, "--tls-key", key) as server:
        assert server.address.startswith("https://")
        trust = ssl.create_default_context(cafile=str(certificate))
        request = urllib.request.Request(f"https://localhost:{server.port}{CHAT}", json.dumps({**HELLO, "stream": True}).encode())
        with urllib.request.urlopen(request, context=trust) as reply:
            assert reply.read().decode().endswith("data: [DONE]\n\n")
        # Its client goes away.
        body = json.dumps({**HELLO, "max_tokens": 400, "ignore_eos": True}).encode()
        with trust.wrap_socket(socket.create_connection(("127.0.0.1", server.port)), server_hostname="localhost") as client:
            client.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body)
            time.sleep(0.05)
        assert raw(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith((b"", b"\x15"))  # no TLS: closed


def test_limits(server):
    assert raw(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40000 + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")
    assert raw(server, b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    answer = raw(server, b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and b"messages" in answer


@pytest.mark.parametrize("garbage", [b"\x00" * 100, b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"HELLO world\r\n\r\n",
                                     b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
                                     b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                     b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"])
def test_garbage(server, garbage):
    answer = raw(server, garbage + b"\r\n\r\n", wait=5) if not garbage.startswith(b"GET /\xff") else raw(
        server, garbage.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 4"), answer[:80]
    assert server.call("/health")[0] == 200


def test_several_requests_on_one_connection(server):
    """Also sent at once, before the first is answered."""
    body = json.dumps({**HELLO, "temperature": 0}).encode()
    one = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body
    answer = raw(server, one * 2 + one.replace(b"Host", b"Connection: close\r\nHost"))
    assert answer.count(b"HTTP/1.1 200 OK") == 3


def test_continue_and_old_clients(server):
    body = json.dumps(HELLO).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)))
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(body)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    body = json.dumps({**HELLO, "stream": True}).encode()
    old = raw(server, b"POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body)
    assert b"chunked" not in old and old.endswith(b"data: [DONE]\n\n")


def test_slow_clients_hold_nobody_up(server):
    """Those that trickle their request, and those that do not read their answer."""
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    for client in slow:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: local")
    deaf = socket.create_connection(("127.0.0.1", server.port))
    body = json.dumps({**HELLO, "stream": True, "max_tokens": 400, "ignore_eos": True}).encode()
    deaf.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body)
    assert server.json(CHAT, HELLO)["choices"]  # while they are all there
    for client in [*slow, deaf]:
        client.close()


def test_too_many_connections_are_told(model):
    with serve(model, "--device", "cpu", "--connections", 8) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
        one_more = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        wait_until(lambda: raw(server, one_more).startswith(b"HTTP/1.1 503 "))  # it has seen them all
        assert b"Retry-After" in raw(server, one_more)
        for client in idle:
            client.close()
        wait_until(lambda: raw(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200"))


def test_a_full_queue_is_503():
    """With a model that takes seconds for an answer."""
    with serve(MODELS / "smollm2.gguf", "--device", "cpu", "--parallel", 1, "--queue", 2, "--ctx", 2048) as server:
        hello = {**HELLO, "model": "smollm2"}
        long = json.dumps({**hello, "max_tokens": 1900, "ignore_eos": True}).encode()
        head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(long))
        clients = []
        for i in range(3):
            clients.append(socket.create_connection(("127.0.0.1", server.port)))
            clients[-1].sendall(head + long)
            # The first is answered, the others wait.
            wait_until(lambda: len(server.json("/slots")) == 1)
            wait_until(lambda: f"requests_deferred {i}\n" in server.call("/metrics")[2])
        status, headers, text = server.call(CHAT, hello)
        assert status == 503 and headers["Retry-After"] and "wait" in json.loads(text)["error"]["message"]
        for client in clients:
            client.close()
        wait_until(lambda: server.call(CHAT, hello)[0] == 200)


def test_an_end_in_order(model):
    """Ctrl-C in mid-answer: a stream gets its end, and the program ends with 0."""
    with serve(model, "--device", "cpu", "--ctx", 2048) as server:
        body = json.dumps({**HELLO, "stream": True, "max_tokens": 1900, "ignore_eos": True}).encode()
        client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        client.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body)
        assert b"200 OK" in client.recv(4096)
    answer = b""
    while more := client.recv(1 << 16):
        answer += more
    assert b'"finish_reason":"length"' in answer and answer.rstrip().endswith(b"0") and b"data: [DONE]" in answer


def test_nothing_of_a_prompt_in_the_log(model):
    secret = {**HELLO, "messages": [{"role": "user", "content": "my secret word"}]}
    with serve(model, "--device", "cpu") as server:
        server.json(CHAT, secret)
        assert "secret" not in server.log()
    with serve(model, "--device", "cpu", "--log-prompts") as server:
        server.json(CHAT, secret)
        wait_until(lambda: "my secret word" in server.log())


def test_a_long_prompt_is_heard_of():
    """While it is computed (by one thread: seconds) a stream says now and then that it lives."""
    with serve(MODELS / "smollm2.gguf", "--device", "cpu", "-t", 1, "--ctx", 8192) as server:
        body = json.dumps({**HELLO, "model": "smollm2", "stream": True, "messages": [{"role": "user", "content": "the rain in the inn " * 1500}]}).encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=300) as client:
            client.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body)
            heard = b""
            while b"\r\n:" not in heard:
                more = client.recv(1 << 16)
                assert more, heard
                heard += more
        assert b'"finish_reason":"' not in heard and b"[DONE]" not in heard  # before it was answered


def test_where_a_cache_broke_is_told(model):
    with serve(model, "--device", "cpu", "--log-cache", "--ctx", 1024) as server:
        head = "You are a careful assistant. " * 6
        for number in (1, 2):
            server.json(CHAT, {**HELLO, "messages": [{"role": "system", "content": head + f"Today is {number}. " + "Be kind. " * 9},
                                                     {"role": "user", "content": "hi"}]})
        wait_until(lambda: "goes on differently" in server.log())
        line = next(l for l in server.log().splitlines() if "goes on differently" in l)
        assert "1. Be kind" in line and "2. Be kind" in line


def test_prompts_survive_a_restart(model, tmp_path):
    """--cache-dir: a beginning that was computed once is read from disk by the next server; damage is found, and computed."""
    folder = tmp_path / "cache"
    long = {**HELLO, "messages": [{"role": "user", "content": "the rain in the inn " * 12}], "temperature": 0, "max_tokens": 6}

    def ask(server):
        whole = server.json(CHAT, long)
        return whole["choices"][0]["message"]["content"], whole["usage"]["prompt_tokens_details"]["cached_tokens"]
    arguments = [model, "--device", "cpu", "--ctx", 1024, "--cache-dir", folder]
    with serve(*arguments) as server:
        text, cached = ask(server)
        assert cached == 0
    files = sorted(folder.iterdir())
    assert len(files) > 5 and all(f.stat().st_mode & 0o077 == 0 for f in files) and folder.stat().st_mode & 0o077 == 0
    with serve(*arguments) as server:
        again, cached = ask(server)
        assert again == text and cached > 32 * 5
    for file in folder.iterdir():
        with file.open("r+b") as bytes:
            bytes.seek(500)
            bytes.write(b"damage")
    with serve(*arguments) as server:
        assert ask(server) == (text, 0)
    with serve(*arguments, "--cache-size", "1") as server:  # nothing fits
        assert ask(server)[0] == text


def test_models_are_loaded_and_unloaded(model, tmp_path):
    other = small_model(tmp_path / "other.gguf")
    with serve(model, other, "--device", "cpu", "--keep-alive", "1s") as server:
        for name in ("small", "other", "small"):
            assert server.json(CHAT, {**HELLO, "model": name})["model"] == name
            assert [m["name"] for m in server.json("/api/ps")["models"]] in ([name + ":latest"], [])
        wait_until(lambda: server.json("/api/ps")["models"] == [])
        assert "nobody asked" in server.log()
        assert server.json(CHAT, HELLO)["choices"]  # and again when it is asked for
