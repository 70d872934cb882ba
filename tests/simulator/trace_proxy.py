"""A proxy between a client and `outboard sim serve --tcp` that writes down what passes.

    with Proxy("127.0.0.1:6667") as proxy:
        ...a client connects to proxy.address...
    proxy.sessions[0]      # the first client's requests, in order

It speaks the wire of src/link/protocol.h as far as it must to know where a message ends.
"""

import socket
import struct
import threading
from enum import IntEnum
from typing import NamedTuple

REQUEST = struct.Struct("<BIIQQQ")
RESPONSE = struct.Struct("<BQQ")


class Command(IntEnum):
    PROBE = 0
    MAP_BAR = 1
    MAP_SYSMEM_FD = 2
    CONFIG_READ = 3
    CONFIG_WRITE = 4
    RESET = 5
    MMIO_READ = 6
    MMIO_WRITE = 7
    MAP_SYSMEM = 8
    SYSMEM_READ = 9
    SYSMEM_WRITE = 10
    RESIZE_BAR = 11
    PING = 12


WRITES = {Command.MMIO_WRITE, Command.SYSMEM_WRITE}  # carry arg1 bytes and are not answered
READS = {Command.MMIO_READ, Command.SYSMEM_READ}  # are answered with arg1 bytes
LISTS = {Command.PROBE, Command.MAP_SYSMEM}  # are answered with as many bytes as the answer says first


class Request(NamedTuple):
    command: Command
    bar: int  # or the handle of a region of system memory
    arg0: int
    arg1: int
    arg2: int
    payload: bytes  # what the client sent, or the card's bytes when it asked for some
    answer: tuple[int, int] = (0, 0)


class Proxy:
    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.sessions = []
        self.threads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        for thread in self.threads:
            thread.join(timeout=10)

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:  # closed
                return
            session = []
            self.sessions.append(session)
            self.threads.append(threading.Thread(target=self.serve, args=(client, session), daemon=True))
            self.threads[-1].start()

    def serve(self, client, session):
        with client, socket.create_connection(self.target) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked, answered = client.makefile("rb"), server.makefile("rb")
            while len(head := asked.read(REQUEST.size)) == REQUEST.size:
                command, _, bar, arg0, arg1, arg2 = REQUEST.unpack(head)
                payload = asked.read(arg1) if command in WRITES or command == Command.PROBE else b""
                server.sendall(head + payload)
                answer = (0, 0)
                if command not in WRITES:
                    raw = answered.read(RESPONSE.size)
                    if len(raw) < RESPONSE.size:
                        return
                    status, *answer = RESPONSE.unpack(raw)
                    more = answer[0] if status != 0 or command in LISTS else arg1 if command in READS else 0
                    given = answered.read(more)
                    client.sendall(raw + given)
                    payload = given or payload
                session.append(Request(Command(command), bar, arg0, arg1, arg2, payload, tuple(answer)))
