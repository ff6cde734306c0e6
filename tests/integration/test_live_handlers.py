"""Handlers that are coroutines or generators, in the real runtime process.

The Runtime API is a fake that hands out one event after the other and keeps what is posted, piece
by piece with the time of its arrival left to the test: a gate (a named pipe) holds the handler
until the test has seen what it waits for.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from lambdascope.transport.listener import Listener
from lambdascope.wire import names
from lambdascope.wire.runtime_api import status_response

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.transport.exchange import Exchange

LIMIT_S = 20.0
MIB = 1024 * 1024


class Post:
    """One posted answer: head, pieces as they came, trailers."""

    def __init__(self, exchange: Exchange) -> None:
        self.target = exchange.target
        self.headers = dict(exchange.headers)
        self.pieces: queue.Queue[bytes | None] = queue.Queue()
        self.size = 0
        self.trailers: dict[str, str] = {}

    def body(self) -> bytes:
        """What is left of the body, to its end."""
        found = b""
        while (piece := self.pieces.get(timeout=LIMIT_S)) is not None:
            found += piece
        return found


class Platform:
    """The fake. `refuse_after` bytes of a stream it answers 413; `keep` False only counts bytes."""

    def __init__(self, folder: Path, code: str, *, events: int = 1, in_ms: int = 10_000) -> None:
        (folder / "app.py").write_text(code)
        self.gate = folder / "gate"
        os.mkfifo(self.gate)
        self.refuse_after = sys.maxsize
        self.keep = True
        self.posts: queue.Queue[Post] = queue.Queue()
        self._left = events
        self._in_ms = in_ms
        self._over = threading.Event()
        self._listener = Listener(self._handle)
        self._listener.start()
        environ = {
            "PATH": os.environ["PATH"],
            "GATE": str(self.gate),
            names.ENV_RUNTIME_API: self._listener.address,
            names.ENV_HANDOFF_FILE: str(folder / "none"),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lambdascope", "app.handler"],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.process.kill()
        self.process.communicate(timeout=LIMIT_S)
        self._listener.close()

    def post(self) -> Post:
        """The next posted answer."""
        return self.posts.get(timeout=LIMIT_S)

    def open_gate(self) -> None:
        """Let the handler go on; it waits by reading the gate to its end."""
        self.gate.write_text("go")

    def wait_idle(self) -> None:
        """Until the runtime has asked for an event that there is not."""
        assert self._over.wait(LIMIT_S)

    def end(self) -> tuple[str, str]:
        """End the process with SIGTERM; its standard output and error."""
        self.wait_idle()
        self.process.terminate()
        return self.process.communicate(timeout=LIMIT_S)

    def _handle(self, exchange: Exchange) -> None:
        if exchange.method == "GET":
            self._next(exchange)
            return
        post = Post(exchange)
        self.posts.put(post)
        for piece in exchange.iter_body():
            post.size += len(piece)
            if self.keep:
                post.pieces.put(piece)
            if post.size > self.refuse_after:
                exchange.keep_alive = False
                exchange.respond(413, (), b"too large")
                post.pieces.put(None)
                return
        post.trailers = exchange.trailers or {}
        post.pieces.put(None)
        exchange.respond_raw(status_response(202))

    def _next(self, exchange: Exchange) -> None:
        if self._left == 0:
            self._over.set()
            # Nothing more to do until the process is ended.
            self.process.wait(LIMIT_S)
            exchange.abort()
            return
        self._left -= 1
        deadline_ms = int(time.time() * 1000) + self._in_ms
        headers = ((names.REQUEST_ID, f"r{self._left}"), (names.DEADLINE_MS, str(deadline_ms)))
        exchange.respond(200, (*headers, ("Content-Type", "application/json")), b"{}")


GATED = """
import os
def wait():
    with open(os.environ["GATE"]) as gate: gate.read()
"""


def test_coroutine_is_awaited_on_one_loop(tmp_path: Path) -> None:
    """An async handler is run to its value, always on the same event loop."""
    code = """
import asyncio
async def handler(event, context):
    await asyncio.sleep(0)
    return id(asyncio.get_running_loop())
"""
    with Platform(tmp_path, code, events=3) as platform:
        answers = {platform.post().body() for _ in range(3)}
    assert len(answers) == 1
    assert answers.pop().isdigit()


def test_coroutine_that_raises(tmp_path: Path) -> None:
    """What an async handler raises is its error, with its own frames."""
    code = "async def handler(event, context): raise LookupError('gone')"
    with Platform(tmp_path, code) as platform:
        post = platform.post()
        body = json.loads(post.body())
    assert post.target.endswith("/error")
    assert ("LookupError", "gone", 1) == (
        body["errorType"],
        body["errorMessage"],
        len(body["stackTrace"]),
    )


def test_decorated_coroutine(tmp_path: Path) -> None:
    """What counts is what the handler returns, not how it is defined."""
    code = """
async def inner(event): return "inner"
def handler(event, context): return inner(event)
"""
    with Platform(tmp_path, code) as platform:
        assert platform.post().body() == b'"inner"'


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_first_piece_is_out_before_the_second_is_made(tmp_path: Path, kind: str) -> None:
    """A generator, plain or async, is sent piece by piece."""
    code = (
        GATED + f"{kind} handler(event, context):\n    yield 'one'\n    wait()\n    yield b'two'\n"
    )
    with Platform(tmp_path, code) as platform:
        post = platform.post()
        assert post.pieces.get(timeout=LIMIT_S) == b"one"
        platform.open_gate()
        assert post.body() == b"two"
    assert (names.RESPONSE_MODE_STREAMING, "chunked", {}) == (
        post.headers[names.RESPONSE_MODE.lower()],
        post.headers["transfer-encoding"],
        post.trailers,
    )


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_failure_midway_ends_with_trailers(tmp_path: Path, kind: str) -> None:
    """A failure after the first byte is told in the error trailers, and the runtime goes on."""
    code = f"{kind} handler(event, context):\n    yield 'part'\n    raise KeyError('lost')\n"
    with Platform(tmp_path, code, events=2) as platform:
        posts = [platform.post(), platform.post()]
        bodies = [post.body() for post in posts]
    assert [b"part", b"part"] == bodies
    error = json.loads(base64.b64decode(posts[0].trailers[names.FUNCTION_ERROR_BODY.lower()]))
    assert ("Function.KeyError", "KeyError") == (
        posts[0].trailers[names.FUNCTION_ERROR_TYPE.lower()],
        error["errorType"],
    )


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_failure_before_the_first_byte_is_an_ordinary_error(tmp_path: Path, kind: str) -> None:
    """Nothing has been sent, so that the error goes where errors go."""
    code = f"{kind} handler(event, context):\n    raise KeyError('lost')\n    yield 'never'\n"
    with Platform(tmp_path, code) as platform:
        post = platform.post()
        assert json.loads(post.body())["errorType"] == "KeyError"
    assert post.target.endswith("/error")


def test_piece_of_a_wrong_type_names_it(tmp_path: Path) -> None:
    """A piece that is neither bytes nor text is the function's error, and says what it was."""
    code = "def handler(event, context): yield {'a': 1}"
    with Platform(tmp_path, code) as platform:
        body = json.loads(platform.post().body())
    assert body["errorMessage"] == "a streamed piece must be bytes or str, not dict"


def test_prelude_comes_first(tmp_path: Path) -> None:
    """Status, headers and cookies of an HTTP answer stand in front, ended by eight NUL bytes."""
    code = """
from lambdascope import HttpPrelude
def handler(event, context):
    yield HttpPrelude(201, {"X-A": "b"}, ["c=d"])
    yield "body"
"""
    with Platform(tmp_path, code) as platform:
        post = platform.post()
        prelude, _, body = post.body().partition(b"\0" * 8)
    assert {"statusCode": 201, "headers": {"X-A": "b"}, "cookies": ["c=d"]} == json.loads(prelude)
    assert body == b"body"
    assert post.headers["content-type"] == "application/vnd.awslambda.http-integration-response"


def test_explicit_stream(tmp_path: Path) -> None:
    """`context.stream` gives an object to write to; what the handler returns is ignored."""
    code = """
def handler(event, context):
    with context.stream(content_type="text/plain") as out:
        out.write("a"); out.write(b"b")
    return "ignored"
"""
    with Platform(tmp_path, code) as platform:
        post = platform.post()
        assert post.body() == b"ab"
    assert post.headers["content-type"] == "text/plain"


def test_stream_that_was_never_used_is_a_buffered_answer(tmp_path: Path) -> None:
    """A handler that opened a stream and wrote nothing may still return a value."""
    code = "def handler(event, context):\n    context.stream()\n    return 5\n"
    with Platform(tmp_path, code) as platform:
        post = platform.post()
        assert post.body() == b"5"
    assert names.RESPONSE_MODE.lower() not in post.headers


def test_platform_that_gives_up_closes_the_generator(tmp_path: Path) -> None:
    """When the platform refuses the rest, the generator's clean-up runs and the runtime goes on."""
    code = """
def handler(event, context):
    try:
        while True: yield b"x" * 65536
    finally:
        print("closed")
"""
    with Platform(tmp_path, code, events=2) as platform:
        platform.refuse_after = MIB
        platform.post()
        platform.post()
        out, err = platform.end()
    assert out.count("closed\n") == 2
    assert [True, True] == [
        line.startswith("lambdascope: the streamed response of r")
        for line in err.splitlines()
        if line.startswith("lambdascope: ")
    ]


def test_large_stream_in_constant_memory(tmp_path: Path) -> None:
    """200 MB leave without being kept: the process's peak stays near what it was."""
    code = """
import resource
def handler(event, context):
    piece = b"x" * 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(200): yield piece
    print("grown", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    with Platform(tmp_path, code, in_ms=60_000) as platform:
        platform.keep = False
        post = platform.post()
        post.body()
        out, _ = platform.end()
    assert post.size == 200_000_000
    assert int(out.split()[1]) < 20_000  # kB


def test_work_after_the_response(tmp_path: Path) -> None:
    """Plain and async work runs once the answer is out; its failure changes nothing."""
    code = (
        GATED
        + """
import asyncio
async def later(): await asyncio.sleep(0); print("later")
def fails(): raise OSError("no disk")
def handler(event, context):
    context.run_after_response(wait)
    context.run_after_response(fails)
    context.run_after_response(later)
    return "answer"
"""
    )
    with Platform(tmp_path, code) as platform:
        assert platform.post().body() == b'"answer"'
        platform.open_gate()
        out, err = platform.end()
    assert out == "later\n"
    assert err == "lambdascope: run_after_response: OSError: no disk\n"


def test_async_work_after_the_response_ends_with_the_deadline(tmp_path: Path) -> None:
    """Work that would go past the deadline is cancelled before it."""
    code = """
import asyncio
def handler(event, context):
    context.run_after_response(asyncio.sleep, 3600)
    return 1
"""
    with Platform(tmp_path, code, in_ms=700) as platform:
        assert platform.post().body() == b"1"
        _, err = platform.end()
    assert err.startswith("lambdascope: run_after_response: TimeoutError")


def test_tasks_that_are_left_over_are_cancelled(tmp_path: Path) -> None:
    """A task that nobody awaited ends with its invocation, and a line names it."""
    code = """
import asyncio
async def background():
    try: await asyncio.sleep(3600)
    finally: print("cancelled")
async def handler(event, context):
    asyncio.create_task(background(), name="mine")
    await asyncio.sleep(0)
    return 1
"""
    with Platform(tmp_path, code) as platform:
        assert platform.post().body() == b"1"
        out, err = platform.end()
    assert out == "cancelled\n"
    assert "1 tasks were not awaited when the handler returned (mine)" in err


def test_logs_of_concurrent_tasks_carry_the_request(tmp_path: Path) -> None:
    """Tasks and threads of asyncio inherit the invocation."""
    code = """
import asyncio, logging
async def one(): logging.getLogger().warning("task")
async def handler(event, context):
    await asyncio.gather(one(), asyncio.to_thread(logging.getLogger().warning, "thread"))
"""
    with Platform(tmp_path, code) as platform:
        platform.post()
        out, _ = platform.end()
    assert ["r0", "r0"] == [line.split("\t")[2] for line in out.splitlines()]


def test_context_can_be_copied_and_pickled(tmp_path: Path) -> None:
    """A copy of the context is of the same invocation; a pickled one is of none."""
    code = """
import copy, pickle
def handler(event, context):
    copied = copy.deepcopy(context)
    sent = pickle.loads(pickle.dumps(context))
    try: sent.stream()
    except RuntimeError as error: said = str(error)
    copied.run_after_response(print, "done")
    return [copied.aws_request_id, sent.aws_request_id, said]
"""
    with Platform(tmp_path, code) as platform:
        answer = json.loads(platform.post().body())
        out, _ = platform.end()
    assert ["r0", "r0", "a response stream needs a running invocation"] == answer
    assert out == "done\n"
