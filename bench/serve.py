"""Requests a second and the time to the first token of `outboard serve`, beside llama.cpp's server if that is given: the same
model, threads and clients, in turns.

    bench/serve.py build/release/src/cli/outboard model.gguf [--peer llama-server] [--clients 1 8 32]
"""
import argparse
import http.client
import json
import statistics
import subprocess
import threading
import time

PROMPT = "The river runs down from the hills, past the mill and the old bridge, and at the weir it grows slow and wide. " * 3


def wait_for(port, process):
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the server does not answer")


def client(port, numbers, length, first, done):
    for number in numbers:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        body = {"messages": [{"role": "user", "content": f"Number {number}. {PROMPT} What is number {number}?"}],
                "temperature": 0, "max_tokens": length, "stream": True, "ignore_eos": True}
        begin = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        seen = 0
        while line := reply.readline():
            if line.startswith(b"data: {"):
                delta = json.loads(line[6:])["choices"]
                if delta and delta[0]["delta"].get("content"):
                    if not seen:
                        first.append(time.perf_counter() - begin)
                    seen += 1
        assert seen, "nothing was said"
        done.append(time.perf_counter() - begin)


def measure(command, port, clients, requests, length, base):
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        client(port, [base], 4, [], [])  # warm
        first, done = [], []
        begin = time.perf_counter()
        threads = [threading.Thread(target=client, args=(port, range(base + 1 + c, base + 1 + requests, clients), length, first, done))
                   for c in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begin
        assert len(done) == requests
        return requests / seconds, statistics.median(first)
    finally:
        process.terminate()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outboard")
    parser.add_argument("model")
    parser.add_argument("--peer", help="llama.cpp's llama-server")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--length", type=int, default=32, help="tokens an answer")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for clients in options.clients:
        requests = max(6, 2 * clients)
        servers = {"outboard": [options.outboard, "serve", options.model, "--device", "cpu", "-t", str(options.threads), "--ctx", "1024",
                                "--parallel", str(clients), "--cache-tokens", str(1024 * clients)]}
        if options.peer:
            servers["peer"] = [options.peer, "-m", options.model, "-t", str(options.threads), "-np", str(clients),
                               "-c", str(1024 * clients)]
        results = {name: [] for name in servers}
        for turn in range(options.rounds):
            for name, command in servers.items():
                results[name].append(measure(command, 18500 + turn, clients, requests, options.length, 1000 * turn))
        middle = {name: [statistics.median(r[i] for r in found) for i in (0, 1)] for name, found in results.items()}
        line = f"{clients:3} clients: " + "; ".join(f"{name} {rate:.2f} requests/s, first token {first * 1e3:.0f} ms"
                                                   for name, (rate, first) in middle.items())
        if options.peer:
            line += (f"; ratio {middle['outboard'][0] / middle['peer'][0]:.2f} in requests/s, "
                     f"{middle['peer'][1] / middle['outboard'][1]:.2f} in the first token")
        print(line, flush=True)


if __name__ == "__main__":
    main()
