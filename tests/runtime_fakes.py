"""Fakes around the real runtime process: a scripted Runtime API and the extension's end of the
handoff.

Both are fakes: they answer what a test tells them to, also what the protocol forbids, and check
nothing. That the runtime gets on with a platform that follows the protocol is shown elsewhere, with
the emulator and with AWS's own. Nothing here sleeps; every wait has a limit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from lambdascope.transport.listener import Exchange, Listener
from lambdascope.wire import names, runtime_api
from lambdascope.wire.runtime_api import InitError, InvocationError, InvocationResponse, Next

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Answer = Callable[[Exchange], None]

LIMIT_S = 20.0
MAX_BYTES = 64 * 1024 * 1024
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:hello"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
TOKEN = "0123456789abcdef0123456789abcdef"


def event(
    body: bytes = b"{}",
    request_id: str = "r1",
    *,
    in_ms: int = 10_000,
    content_type: str = "application/json",
    **headers: str,
) -> Answer:
    """Hand out an event; `headers` are added, with "_" for "-"."""

    def answer(exchange: Exchange) -> None:
        known = {
            names.REQUEST_ID: request_id,
            names.DEADLINE_MS: str(int(time.time() * 1000) + in_ms),
            names.FUNCTION_ARN: ARN,
            "Content-Type": content_type,
        }
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        exchange.respond(200, list((known | given).items()), body)

    return answer


def status(code: int, text: str = '{"errorMessage": "told by the test"}') -> Answer:
    """Answer with a status and a body."""
    return lambda exchange: exchange.respond(code, (), text.encode())


def raw(data: bytes, *, then_close: bool = False) -> Answer:
    """Answer with bytes that need not be HTTP."""

    def answer(exchange: Exchange) -> None:
        exchange.send_raw(data)
        exchange.answered = True
        if then_close:
            exchange.abort()

    return answer


def close(exchange: Exchange) -> None:
    """Drop the connection without an answer."""
    exchange.abort()


class ScriptedApi:
    """A fake Runtime API: the first `next` gets the first of `nexts`, and so on.

    After the last of them `next` is not answered any more, and `idle` is set. Posts are answered
    from `posts` in turn, later ones with 202. `seen` are the messages, `heads` their headers.
    """

    def __init__(self, nexts: Sequence[Answer] = (), posts: Sequence[Answer] = ()) -> None:
        self._nexts = list(nexts)
        self._posts = list(posts)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.idle = threading.Event()
        self.seen: list[runtime_api.RuntimeRequest] = []
        self.heads: list[dict[str, str]] = []
        self._listener = Listener(self._handle, name="scripted-api", max_head_bytes=2_000_000)
        self.address = self._listener.address

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.close()

    def of(self, kind: type) -> list[object]:
        """The messages of one kind."""
        return [message for message in self.seen if isinstance(message, kind)]

    @property
    def responses(self) -> list[bytes]:
        """The bodies of the responses that were posted."""
        return [message.body for message in self.of(InvocationResponse)]

    @property
    def errors(self) -> list[InvocationError]:
        """The errors that were posted."""
        return self.of(InvocationError)

    @property
    def init_errors(self) -> list[InitError]:
        """The init errors that were posted."""
        return self.of(InitError)

    @property
    def next_count(self) -> int:
        """How often `next` was asked."""
        return len(self.of(Next))

    def _handle(self, exchange: Exchange) -> None:
        body = exchange.read_body(MAX_BYTES)
        message = runtime_api.parse_request(
            exchange.method, exchange.target, exchange.headers, body
        )
        assert message is not None, exchange.target
        is_next = isinstance(message, Next)
        with self._lock:
            self.seen.append(message)
            self.heads.append(exchange.headers)
            script = self._nexts if is_next else self._posts
            answer = script.pop(0) if script else None
        if answer is not None:
            answer(exchange)
        elif is_next:
            self.idle.set()
            self._over.wait(LIMIT_S)
            exchange.abort()
        else:
            exchange.respond_raw(runtime_api.status_response(names.ACCEPTED))


class HandoffStub:
    """A fake of the extension's end of the handoff, published in `file`.

    `answers` are for the posts in turn, hello included; later ones are answered with 200.
    `posts` are (headers, body) of what came to /v1/traces.
    """

    def __init__(self, folder: Path, answers: Sequence[Answer] = ()) -> None:
        self._answers = list(answers)
        self._changed = threading.Condition()
        self.over = threading.Event()
        self.hellos: list[dict[str, str]] = []
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self._listener = Listener(self._handle, name="handoff-stub")
        self.address = self._listener.address
        self.file = folder / "handoff"
        self.publish(f"{self.address} {TOKEN} {os.getpid()}\n")

    def publish(self, text: str, mode: int = 0o600) -> None:
        """Write the rendezvous file."""
        self.file.unlink(missing_ok=True)
        self.file.write_text(text)
        self.file.chmod(mode)

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The extension is gone."""
        self.over.set()
        self._listener.close()

    def wait_for_posts(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        """The posts, when there are at least `count`."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.posts) >= count, LIMIT_S), self.posts
        return self.posts

    def hang(self, exchange: Exchange) -> None:
        """Answer nothing until the test is over."""
        self.over.wait(LIMIT_S)
        exchange.abort()

    def _handle(self, exchange: Exchange) -> None:
        body = exchange.read_body(MAX_BYTES)
        with self._changed:
            if exchange.target == names.HELLO_PATH:
                self.hellos.append(exchange.headers)
            else:
                self.posts.append((exchange.headers, body))
            answer = self._answers.pop(0) if self._answers else status(200, "")
            self._changed.notify_all()
        answer(exchange)


class RuntimeProcess:
    """The real runtime in a process of its own. Ends with the `with` block at the latest."""

    def __init__(
        self, api: str, folder: Path, handler: str = "app.handler", **environ: str
    ) -> None:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "OTEL_", "LAMBDA", "_", "PYTHONUNBUFFERED"))
        }
        known = {
            "AWS_LAMBDA_RUNTIME_API": api,
            "AWS_LAMBDA_FUNCTION_NAME": "hello",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            # Never the one of an extension that happens to run on this machine.
            "LAMBDASCOPE_HANDOFF_FILE": str(folder / "handoff"),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lambdascope", *([handler] if handler else [])],
            cwd=folder,
            env=clean | known | environ,
            stdin=subprocess.DEVNULL,
            # A session of its own, so that processes which the function forked can be ended too.
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[int(environ["_LAMBDA_TELEMETRY_LOG_FD"])]
            if "_LAMBDA_TELEMETRY_LOG_FD" in environ
            else [],
        )
        self.out = ""
        self.err = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # the usual case: all of them have ended
        self.process.communicate()

    def wait(self) -> int:
        """The exit status; `out` and `err` have what it wrote."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        self.out, self.err = out.decode(), err.decode()
        return self.process.returncode


def write_app(folder: Path, code: str) -> None:
    """Write the function's module, app.py."""
    (folder / "app.py").write_text(code)


class Outcome:
    """How a process ended: `status`, `out`, `err`; and the API it spoke to."""

    def __init__(self, api: ScriptedApi, process: RuntimeProcess, ended_itself: bool) -> None:
        self.api = api
        self.status = process.wait()
        self.out = process.out
        self.err = process.err
        self.ended_itself = ended_itself


def run(
    folder: Path,
    code: str,
    nexts: Sequence[Answer] = (),
    posts: Sequence[Answer] = (),
    *,
    handler: str = "app.handler",
    **environ: str,
) -> Outcome:
    """Run a function until the process ends or waits for an event that will not come.

    In the latter case it gets SIGTERM, as Lambda sends it.
    """
    write_app(folder, code)
    with (
        ScriptedApi(nexts, posts) as api,
        RuntimeProcess(api.address, folder, handler, **environ) as process,
    ):
        return settle(api, process)


def settle(api: ScriptedApi, process: RuntimeProcess) -> Outcome:
    """Wait until the process ends or is idle, end it, and tell how it went."""
    gone = threading.Thread(target=lambda: (process.process.wait(), api.idle.set()))
    gone.start()
    assert api.idle.wait(LIMIT_S), "the runtime neither ended nor asked for the next event"
    ended_itself = process.process.poll() is not None
    if not ended_itself:
        process.process.terminate()
    outcome = Outcome(api, process, ended_itself)
    gone.join()
    return outcome


def own_lines(text: str) -> list[str]:
    """The lines on standard error, each of which must be one of the runtime's own."""
    lines = text.splitlines()
    assert all(line.startswith("lambdascope: ") for line in lines), text
    return [line.removeprefix("lambdascope: ") for line in lines]
