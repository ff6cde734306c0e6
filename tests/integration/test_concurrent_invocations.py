"""Several invocations at a time in the real runtime process, as on Lambda Managed Instances.

The Runtime API is a fake that hands events to as many requests for the next one as there are, and
checks that each answer is of its own event. AWS's own emulator runs the same mode in test_rie.py.
"""

from __future__ import annotations

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
from lambdascope.wire import names, runtime_api
from lambdascope.wire.runtime_api import InitError, InvocationError, InvocationResponse, Next

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.transport.exchange import Exchange

LIMIT_S = 50.0
MIB = 1024 * 1024


class ManyPlatform:
    """The fake. `total` events, each {"n": number}; answers by number."""

    def __init__(
        self, folder: Path, code: str, *, total: int, concurrency: int, **env: str
    ) -> None:
        (folder / "app.py").write_text(code)
        self.answers: dict[str, InvocationResponse | InvocationError] = {}
        self.init_errors: list[InitError] = []
        self.answered_twice = 0
        self.waiting = 0
        self.next_status: queue.Queue[int] = queue.Queue()
        self.post_status: queue.Queue[int] = queue.Queue()
        self.all_wait = threading.Event()
        self._concurrency = concurrency
        # Files, because nobody reads while the invocations run.
        self._out, self._err = folder / "out", folder / "err"
        self._lock = threading.Lock()
        self._events = iter(range(total))
        self._total = total
        self._done = threading.Event()
        self._end = threading.Event()
        self._listener = Listener(self._handle)
        self._listener.start()
        environ = {
            "PATH": os.environ["PATH"],
            names.ENV_RUNTIME_API: self._listener.address,
            names.ENV_HANDOFF_FILE: str(folder / "none"),
            names.ENV_MAX_CONCURRENCY: str(concurrency),
            names.ENV_LOG_FORMAT: "JSON",
            **env,
        }
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lambdascope", "app.handler"],
                cwd=folder,
                env=environ,
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.process.kill()
        self.process.wait(LIMIT_S)
        self._listener.close()

    def run(self) -> tuple[str, str]:
        """Until every event is answered; then SIGTERM. Standard output and error."""
        assert self._done.wait(LIMIT_S), f"{len(self.answers)} of {self._total} answered"
        return self.end()

    def end(self) -> tuple[str, str]:
        """SIGTERM; standard output and error."""
        self.process.terminate()
        self.process.wait(LIMIT_S)
        self._end.set()
        return self._out.read_text(), self._err.read_text()

    def values(self) -> dict[str, object]:
        """The answers as values, by request id."""
        return {key: json.loads(message.body) for key, message in self.answers.items()}

    def _handle(self, exchange: Exchange) -> None:
        message = runtime_api.parse_request(
            exchange.method, exchange.target, exchange.headers, exchange.read_body(8 * MIB)
        )
        if isinstance(message, Next):
            self._next(exchange)
            return
        if isinstance(message, InitError):
            self.init_errors.append(message)
            exchange.respond(202)
            return
        assert isinstance(message, (InvocationResponse, InvocationError))
        try:
            status = self.post_status.get_nowait()
        except queue.Empty:
            status = 202
        with self._lock:
            self.answered_twice += message.request_id in self.answers
            self.answers[message.request_id] = message
            is_last = len(self.answers) == self._total
        exchange.respond(status)
        if is_last:
            self._done.set()

    def _next(self, exchange: Exchange) -> None:
        try:
            exchange.respond(self.next_status.get_nowait())
            return
        except queue.Empty:
            pass
        with self._lock:
            number = next(self._events, None)
            if number is None:
                self.waiting += 1
                if self.waiting == self._concurrency:
                    self.all_wait.set()
        if number is None:
            self._end.wait(LIMIT_S)
            exchange.abort()
            return
        headers = (
            (names.REQUEST_ID, f"request-{number}"),
            (names.DEADLINE_MS, str(int(time.time() * 1000) + 30_000)),
            (names.TRACE_ID, f"Root=1-5759e988-{number:024x};Parent=53995c3f42cd8ad8;Sampled=1"),
            ("Content-Type", "application/json"),
        )
        exchange.respond(200, headers, json.dumps({"n": number}).encode())


SYNC = """
import logging, threading, os
log = logging.getLogger()
log.setLevel("INFO")
barrier = threading.Barrier(4)
def handler(event, context):
    n = event["n"]
    if n < 4: barrier.wait(20)
    print("printed", n)
    log.info("logged %s", n)
    return [n, context.aws_request_id, os.environ.get("_X_AMZN_TRACE_ID")]
"""
ASYNC = """
import asyncio, logging
log = logging.getLogger()
log.setLevel("INFO")
ready = []
all_ready = asyncio.Event()
loops = set()
async def handler(event, context):
    n = event["n"]
    loops.add(id(asyncio.get_running_loop()))
    if n < 4:
        ready.append(n)
        if len(ready) == 4: all_ready.set()
        await all_ready.wait()
    await asyncio.sleep(0)
    print("printed", n)
    await asyncio.gather(tell(n))
    return [n, context.aws_request_id, len(loops)]
async def tell(n): log.info("logged %s", n)
"""


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["threads", "tasks"])
def test_invocations_overlap_and_never_mix(tmp_path: Path, code: str) -> None:
    """Four run at a time; every answer and every line is of its own invocation."""
    total = 400
    with ManyPlatform(tmp_path, code, total=total, concurrency=4) as platform:
        out, err = platform.run()
    last = None if code is SYNC else 1

    assert {f"request-{n}": [n, f"request-{n}", last] for n in range(total)} == platform.values()
    assert 0 == platform.answered_twice
    lines = [json.loads(line) for line in out.splitlines()]
    assert 2 * total == len(lines)
    for line in lines:
        assert f"request-{line['message'].split()[1]}" == line["requestId"]
    assert "" == err


def test_as_many_polls_as_the_platform_asks_for(tmp_path: Path) -> None:
    """N requests for the next event are waiting when nothing is to do."""
    code = "def handler(event, context): return 1"
    with ManyPlatform(tmp_path, code, total=1, concurrency=7) as platform:
        assert platform.all_wait.wait(LIMIT_S)
        assert 7 == platform.waiting
        platform.run()


def test_sys_exit_ends_its_invocation_only(tmp_path: Path) -> None:
    """In a process that others share, sys.exit is an error of one invocation."""
    code = """
import sys
def handler(event, context):
    if event["n"] % 3 == 0: sys.exit(3)
    return event["n"]
"""
    with ManyPlatform(tmp_path, code, total=30, concurrency=3) as platform:
        platform.run()
    values = platform.values()
    assert [n for n in range(30) if n % 3] == [
        v for v in values.values() if isinstance(v, int)
    ] or ({n for n in range(30) if n % 3} == {v for v in values.values() if isinstance(v, int)})
    assert 10 == sum(isinstance(message, InvocationError) for message in platform.answers.values())


def test_refused_poll_and_late_answer(tmp_path: Path) -> None:
    """A worker that was refused comes back; 410 for a late answer is said and changes nothing."""
    code = "def handler(event, context): return event['n']"
    with ManyPlatform(tmp_path, code, total=20, concurrency=2) as platform:
        platform.next_status.put(500)
        platform.post_status.put(410)
        _, err = platform.run()
    assert 20 == len(platform.answers)
    assert "answered 410 for request-" in err


def test_failing_coroutine_shows_the_functions_frames(tmp_path: Path) -> None:
    """The stack of an async handler's error begins with the function's own frame."""
    code = "async def handler(event, context): raise LookupError(event['n'])"
    with ManyPlatform(tmp_path, code, total=4, concurrency=2) as platform:
        platform.run()
    for value in platform.values().values():
        assert isinstance(value, dict)
        assert ("LookupError", 1) == (value["errorType"], len(value["stackTrace"]))


PROCESSES = {"LAMBDASCOPE_CONCURRENCY": "processes"}
ENDINGS = {
    "os._exit(7)": "exit status 7",
    "os.kill(os.getpid(), 9)": "signal: killed",
    "os.abort()": "signal: aborted",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_processes_by_choice(tmp_path: Path, ending: str) -> None:
    """Each process serves its own; one that dies is replaced, and its caller told at once."""
    code = f"""
import os
def handler(event, context):
    if event["n"] % 20 == 5: {ending}
    return os.getpid()
"""
    with ManyPlatform(tmp_path, code, total=60, concurrency=3, **PROCESSES) as platform:
        _, err = platform.run()
    failed = {key: m for key, m in platform.answers.items() if isinstance(m, InvocationError)}
    text = f"Runtime exited with error: {ENDINGS[ending]}"

    assert {"request-5", "request-25", "request-45"} == set(failed)
    for request_id, message in failed.items():
        assert "Runtime.ExitError" == message.error_type
        body = json.loads(message.body)
        assert f"RequestId: {request_id} Error: {text}" == body["errorMessage"]
        assert (request_id, []) == (body["requestId"], body["stackTrace"])
        assert f"({ENDINGS[ending]}) during {request_id} and is replaced" in err
    assert 0 == platform.answered_twice
    pids = {m.body for m in platform.answers.values() if isinstance(m, InvocationResponse)}
    assert len(pids) > 1


def test_processes_that_end_after_their_answer(tmp_path: Path) -> None:
    """What ends between two invocations is replaced too, as often as it takes; nobody is failed."""
    code = """
import os
def handler(event, context):
    context.run_after_response(os._exit, 3)
    return event["n"]
"""
    with ManyPlatform(tmp_path, code, total=40, concurrency=2, **PROCESSES) as platform:
        _, err = platform.run()

    assert list(range(40)) == sorted(platform.values().values())
    assert "(exit status 3) and is replaced" in err


def test_failed_init_ends_all_processes(tmp_path: Path) -> None:
    """What fails when the module is loaded is reported once, and tried again by the platform."""
    code = "import sys\nsys.exit(4)\n"
    with ManyPlatform(tmp_path, code, total=1, concurrency=3, **PROCESSES) as platform:
        assert 4 == platform.process.wait(LIMIT_S)
        _, err = platform.end()

    assert 1 <= len(platform.init_errors) <= 3
    assert "Runtime exited with error: exit status 4" in platform.init_errors[0].body.decode()
    assert "is replaced" not in err


@pytest.mark.parametrize("env", [{}, PROCESSES], ids=["threads", "processes"])
def test_lines_of_the_functions_own(tmp_path: Path, env: dict[str, str]) -> None:
    """What is printed, or written by a handler of the function's, has the id of its invocation."""
    code = """
import logging, sys
print("at init")
log = logging.getLogger("own")
log.addHandler(logging.StreamHandler(sys.stdout))
log.propagate = False
def handler(event, context):
    print("printed", event["n"], end="")
    log.error("logged %s", event["n"])
    print(" twice")
"""
    with ManyPlatform(tmp_path, code, total=40, concurrency=2, **env) as platform:
        out, err = platform.run()
    lines = [json.loads(line) for line in out.splitlines()]
    of_invocations = [(x["message"], x["requestId"]) for x in lines if "requestId" in x]
    texts = [(f"printed {n}logged {n}", " twice") for n in range(40)]

    assert sorted((t, f"request-{n}") for n in range(40) for t in texts[n]) == sorted(
        of_invocations
    )
    assert {"at init"} == {line["message"] for line in lines if "requestId" not in line}
    assert "" == err


def test_asgi_requests_meet_in_one_application(tmp_path: Path) -> None:
    """Requests at the same time share one startup, which outlives them, and one event loop."""
    pytest.importorskip("starlette", reason="Starlette is not installed")
    code = """
import asyncio, contextlib
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
import lambdascope.asgi

@contextlib.asynccontextmanager
async def lifespan(app):
    print("startup")
    yield {"all": asyncio.Barrier(4), "beat": asyncio.create_task(asyncio.sleep(3600))}
    print("shutdown")

async def meet(request):
    number = int(request.path_params["n"])
    if number < 4: await request.state.all.wait()
    context = request.scope["aws.context"]
    return JSONResponse([number, context.aws_request_id, request.state.beat.done()])

app = Starlette(routes=[Route("/{n}", meet)], lifespan=lifespan)
adapted = lambdascope.asgi.handler(app)
async def handler(event, context):
    around = {"http": {"method": "GET"}}
    event = {"version": "2.0", "rawPath": f"/{event['n']}", "requestContext": around}
    return (await adapted(event, context))["body"]
"""
    total = 100
    with ManyPlatform(tmp_path, code, total=total, concurrency=4) as platform:
        out, err = platform.run()
    expected = {f"request-{n}": [n, f"request-{n}", False] for n in range(total)}
    values = platform.values().items()
    assert expected == {key: json.loads(str(value)) for key, value in values}
    assert ["startup", "shutdown"] == [json.loads(line)["message"] for line in out.splitlines()]
    assert "" == err
