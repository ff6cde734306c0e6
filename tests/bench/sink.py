"""A collector that takes everything and counts a mark in it, in a process of its own.

Run as a program by the measurements beside it: ``python sink.py MARK``. It prints its port, and for
each line on standard input how many marks have come so far.
"""

from __future__ import annotations

import contextlib
import gzip
import subprocess
import sys
import threading
from socket import create_server
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from socket import socket

MARK = "bench-span"
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


class Sink:
    """The other end of the program's pipes. `endpoint` is where it takes OTLP."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{process.stdout.readline().strip()}"

    @property
    def count(self) -> int:
        """How many marks have come."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextlib.contextmanager
def started() -> Iterator[Sink]:
    """The sink, running."""
    command = [sys.executable, __file__, MARK]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Sink(process)
        finally:
            process.kill()


class _Counter:
    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._lock = threading.Lock()
        self.count = 0

    def serve(self, client: socket) -> None:
        """Take requests with a Content-Length, one behind the other."""
        data = b""
        with client:
            while True:
                while b"\r\n\r\n" not in data:
                    more = client.recv(1 << 20)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                pieces, left = [data], length - len(data)
                while left > 0:
                    pieces.append(client.recv(min(left, 1 << 20)))
                    left -= len(pieces[-1])
                body = b"".join(pieces)
                body, data = body[:length], body[length:]
                if body.startswith(b"\x1f\x8b"):
                    body = gzip.decompress(body)
                with self._lock:
                    self.count += body.count(self._mark)
                client.sendall(_OK)


def main() -> None:
    """Serve until standard input ends."""
    counter = _Counter(sys.argv[1].encode())
    server = create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            client = server.accept()[0]
            threading.Thread(target=counter.serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    for _ in sys.stdin:
        print(counter.count, flush=True)


if __name__ == "__main__":
    main()
