"""A collector in a process of its own: answers as a seeded plan says and keeps every request.

The runs start it with `CollectorProcess` and speak to it in lines of JSON; it has a port for each
site, which is one side of a comparison, or a fleet. What it has got is written to a file when it is
asked for, so that nothing is decoded beside the measurement. Monotonic times are the machine's.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lambdascope.otlp.protobuf import length_field, text_field, varint
from lambdascope.otlp.walk import count_spans
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Sequence

_SOON = (0.02, 0.3)
_LONGEST_ANSWER_S = 1.5
# A client that was told to come later than an environment of the run lives never comes.
_RETRY_AFTER_S = (0, 1, 2)


class Request(NamedTuple):
    """One request of a batch: `status` 0 where it got no answer, `taken` whether the collector has
    it now, `rejected` how many of its last spans it has not, `halted_s` how long the whole
    environment was stopped from `at` on."""

    at: float
    path: str
    batch_id: str
    fault: str
    status: int
    taken: bool
    rejected: int
    body: bytes
    halted_s: float = 0.0


class Site:
    """One port. `faults` are drawn from with probability `rate` for each request."""

    def __init__(self, seed: str) -> None:
        self.requests: list[Request] = []
        self.faults: Sequence[str] = ()
        self.rate = 0.0
        # Requests a second for all clients together; 0 is no limit.
        self.limit = 0.0
        # Seconds that everybody is told to wait; None: drawn.
        self.retry_after: int | None = None
        self.pids: dict[str, int] = {}
        self.port = 0
        self._tokens = 0.0
        self._filled_at = 0.0
        self._draw = random.Random(seed)
        self._taken: Counter[str] = Counter()
        self._refusals_left = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def up(self) -> None:
        """Listen, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, backlog=1024
            )
            self.port = self._server.sockets[0].getsockname()[1]

    def down(self) -> None:
        """Be gone: connections are reset, new ones refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def reset(self) -> None:
        """Reset every connection, as whatever is on the way does with those that idle."""
        for writer in list(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                path = lines[0].split()[1]
                batch_id = fields.get(names.BATCH_ID.lower(), "")
                await self._answer(path, batch_id, body, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or was sent away, or all is over
        finally:
            self._writers.discard(writer)
            writer.close()

    def _next_fault(self, path: str, batch_id: str) -> str:
        if self.limit and not self._has_token():
            return "429"
        if self._refusals_left:
            self._refusals_left -= 1
            return "key"
        if not self.faults or self._draw.random() >= self.rate:
            return ""
        fault = self._draw.choice(self.faults)
        # What is known by its id was taken whole; and a wrong key is wrong for a while.
        if fault == "partial" and (path != names.TRACES_PATH or self._taken[batch_id]):
            return ""
        if fault == "key":
            self._refusals_left = self._draw.randrange(3)
        return fault

    def _has_token(self) -> bool:
        now = time.monotonic()
        self._tokens = min(self.limit, self._tokens + (now - self._filled_at) * self.limit)
        self._filled_at = now
        has_token = self._tokens >= 1
        self._tokens -= has_token
        return has_token

    async def _answer(
        self, path: str, batch_id: str, body: bytes, writer: asyncio.StreamWriter
    ) -> None:
        draw, at = self._draw, time.monotonic()
        fault = self._next_fault(path, batch_id)
        status, headers, answer, rejected = 200, "", b"", 0
        taken = True
        if fault == "429":
            status, taken = 429, False
            wait_s = draw.choice(_RETRY_AFTER_S) if self.retry_after is None else self.retry_after
            headers = f"Retry-After: {wait_s}\r\n"
        elif fault == "503":
            status, taken = draw.choice((502, 503, 504)), False
        elif fault == "key":
            status, taken = draw.choice((401, 403)), False
        elif fault == "reset":
            status, taken = 0, False
        elif fault == "lost":
            status = 0
        elif fault == "partial":
            rejected = draw.randrange(1, min(4, count_spans(body) + 1))
            answer = length_field(
                b"\x0a", b"\x08" + varint(rejected) + text_field(b"\x12", "too many")
            )
        elif fault in ("freeze", "halt"):
            taken = draw.random() < 0.5
            status = 200 if fault == "freeze" and taken and draw.random() < 0.5 else 0
        self._taken[batch_id] += taken
        stopped_s = draw.uniform(*_SOON)
        halted_s = stopped_s if fault == "halt" and self.pids else 0.0
        self.requests.append(
            Request(at, path, batch_id, fault, status, taken, rejected, body, halted_s)
        )
        if fault == "slow":
            await asyncio.sleep(_LONGEST_ANSWER_S * draw.random() ** 3)
        elif fault in ("freeze", "halt"):
            await self._stop(stopped_s, is_all=fault == "halt")
        if not status:
            _reset(writer)
            return
        head = f"HTTP/1.1 {status} Chaos\r\n{headers}Content-Length: {len(answer)}\r\n\r\n"
        writer.write(head.encode() + answer)
        await writer.drain()

    async def _stop(self, seconds: float, *, is_all: bool) -> None:
        """Stop the client's process while it waits for this answer; `is_all`: everything in its
        environment, and connections are reset meanwhile."""
        pids = [pid for name, pid in self.pids.items() if is_all or name != "runtime"]
        _signal(pids, signal.SIGSTOP)
        await asyncio.sleep(seconds / 2)
        if is_all:
            self.reset()
        await asyncio.sleep(seconds / 2)
        _signal(pids, signal.SIGCONT)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it has been killed meanwhile


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _main() -> None:
    sites: dict[str, Site] = {}
    commands = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        said = json.loads(line)
        site = sites.setdefault(said["site"], Site(said["site"] + str(said.get("seed", 0))))
        for name in ("faults", "rate", "limit", "retry_after", "pids"):
            if name in said:
                setattr(site, name, said[name])
        if said.get("up"):
            await site.up()
        if said.get("up") is False:
            site.down()
        if said.get("reset"):
            site.reset()
            await asyncio.sleep(0)
        if "dump" in said:
            Path(said["dump"]).write_bytes(pickle.dumps([tuple(one) for one in site.requests]))
            site.requests = []
        print(site.port, flush=True)


class CollectorProcess:
    """The process, for a `with` statement. `tell` returns when what was said is done."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "requests"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.collector"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )

    def __enter__(self) -> CollectorProcess:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def tell(self, site: str, **what: Any) -> str:
        """Change a site, and make it first if need be; its endpoint."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"site": site, **what}) + "\n")
        self._process.stdin.flush()
        return f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def requests(self, site: str) -> list[Request]:
        """What a site has got since it was asked last."""
        self.tell(site, dump=str(self._file))
        return [Request(*one) for one in pickle.loads(self._file.read_bytes())]


if __name__ == "__main__":
    asyncio.run(_main())
