"""Many clients at once, for long: nobody is lost or given another's text, and memory stays what it was."""
import http.client
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving import serve, small_model

CHAT = "/v1/chat/completions"
CLIENTS = 200
REQUESTS = 2000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small.gguf")


def body(number, length=8):
    return {"model": "small", "messages": [{"role": "user", "content": f"client number {number} speaks"}], "temperature": 1, "seed": number,
            "max_tokens": length, "ignore_eos": True, "chat_template_kwargs": {"enable_thinking": False}}


def ask(connection, number, stream):
    connection.request("POST", CHAT, json.dumps({**body(number), "stream": stream}), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    text = reply.read().decode()
    assert reply.status == 200, text
    if not stream:
        return json.loads(text)["choices"][0]["message"]["content"]
    assert text.endswith("data: [DONE]\n\n")
    chunks = [json.loads(block[6:]) for block in text.split("\n\n") if block.startswith("data: {")]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks)


def test_200_clients_at_once(model):
    with serve(model, "--device", "cpu", "--ctx", 512, "--parallel", 16) as server:
        alone = {}
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        for number in range(CLIENTS):
            alone[number] = ask(connection, number, False)
        assert len(set(alone.values())) > CLIENTS / 2
        ready = threading.Barrier(CLIENTS)

        def client(number):
            own = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
            own.connect()
            ready.wait()
            return ask(own, number, number % 2 == 0)
        with ThreadPoolExecutor(CLIENTS) as pool:
            together = list(pool.map(client, range(CLIENTS)))
        assert together == [alone[number] for number in range(CLIENTS)]


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_memory_is_flat(model):
    def resident(server):
        with open(f"/proc/{server.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    with serve(model, "--device", "cpu", "--ctx", 256, "--cache-tokens", 2048) as server:
        def some(count, begin):
            def client(first):
                own = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
                for number in range(first, begin + count, 8):
                    ask(own, number % 97, number % 2 == 0)
                own.close()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(client, range(begin, begin + 8)))
        some(REQUESTS // 4, 0)  # all that is made once has been made
        before = resident(server)
        some(REQUESTS - REQUESTS // 4, REQUESTS // 4)
        after = resident(server)
        assert after < before + 4096, f"{before} kB, then {after} kB"
        assert f"requests_total {REQUESTS}\n" in server.call("/metrics")[2]
