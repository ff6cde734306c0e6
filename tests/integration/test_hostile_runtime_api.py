"""The runtime against a Runtime API that answers anything: seeded, in this process and in others.

Whatever the platform sends, the runtime waits for ever only for the first byte of an event; it ends
with status 1 and a line of its own, or goes on; it runs no event twice and drops none that it could
answer. A failing seed is in the test's name, and gives the same bytes again.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from hostile_answers import NEVER, SURE, Answer, next_answer, post_answer
from hostile_network import HostileNetwork, Hung
from hostile_server import HostileServer
from lambdascope.runtime.api import RuntimeApi
from lambdascope.runtime.logs import Logs
from lambdascope.runtime.loop import Loop
from lambdascope.runtime.termination import Termination
from runtime_fakes import LIMIT_S, HandoffStub, RuntimeProcess
from unit.runtime.kit import Lines, make_config

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.runtime.context import LambdaContext

_TARGET = re.compile(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)")
_SESSIONS = 200


class Platform:
    """What a hostile Runtime API does in one session; `problems` are the rules that were broken."""

    def __init__(self, rng: random.Random, *, events: int, share: float = 0.1) -> None:
        self.rng = rng
        self.share = share
        self.left = [f"r-{number}" for number in range(events)]
        self.handed: dict[str, Answer] = {}
        self.posts: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.log: list[tuple[str, Answer | None]] = []
        self.again: Answer | None = None

    def answer(self, method: str, target: str, _body: bytes) -> Answer | None:
        """The next answer; None for a next that is never answered."""
        if method == "GET":
            given = self._next()
        else:
            match = _TARGET.fullmatch(target)
            assert match is not None, target
            self.posts[match[1]] += 1
            given = post_answer(self.rng, share=self.share)
            sure = self.handed.get(match[1])
            refused = given.event == NEVER and sure is not None and sure.event == SURE
            # One that has not taken the outcome, and has not said so, may hand the event out again.
            refused &= b" 202" not in b"".join(given.pieces)
            self.again = sure if refused and self.rng.random() < 0.5 else None
        self.log.append((target, given))
        return given

    def _next(self) -> Answer | None:
        again, self.again = self.again, None
        if again is not None:
            return again
        if not self.left:
            return None
        given = next_answer(self.rng, self.left.pop(0), share=self.share)
        self.handed[given.request_id] = given
        return given

    def ran(self, context: LambdaContext) -> None:
        """The handler was called."""
        self.runs[context.aws_request_id] += 1
        context.get_remaining_time_in_millis()
        context.timeout(5.0)

    def check(self, *, missed: bool) -> None:
        """The rules about events; `missed` that each that came whole has an outcome."""
        told = self.log
        assert [] == [name for name, count in self.runs.items() if count > 1], told
        assert set(self.runs) <= set(self.handed), told
        sure = {name for name, given in self.handed.items() if given.event == SURE}
        assert not missed or set() == sure - set(self.posts), told
        assert [] == [name for name in self.posts if name not in self.handed], told


class _NoTelemetry:
    def began(self, *_: object) -> None: ...

    def started(self, *_: object) -> None: ...

    def ended(self, *_: object) -> None: ...

    def enter(self, *_: object) -> None: ...

    def leave(self, *_: object) -> None: ...


def plain(platform: Platform, event: object, context: LambdaContext) -> object:
    """An ordinary handler."""
    platform.ran(context)
    return {"id": context.aws_request_id}


def failing(platform: Platform, event: object, context: LambdaContext) -> object:
    """One that raises."""
    platform.ran(context)
    raise ValueError("no")


def streaming(platform: Platform, event: object, context: LambdaContext) -> object:
    """One that answers as a stream, and fails midway now and then."""
    platform.ran(context)
    with context.stream(status_code=200) as out:
        for _ in range(3):
            out.write(b"piece" * 100)
            if context.aws_request_id.endswith("3"):
                raise ValueError("midway")


HANDLERS = {"plain": plain, "failing": failing, "streaming": streaming}


def session(seed: int, handler: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """One loop from its first next to its end: how it ended."""
    rng = random.Random(seed)
    platform = Platform(rng, events=8)
    network = HostileNetwork(rng, platform.answer)
    # In some sessions connections are refused, and events lost with them: then none is missed.
    network.refuse = 0.2 if seed % 10 == 9 else 0.0
    logs = Logs(json_format=False, level="", frame_fd=None)
    lines = Lines()
    logs.say = lines  # type: ignore[method-assign]
    logs.write = logs.error = lambda *_: None  # type: ignore[method-assign,assignment]
    loop = Loop(
        make_config(),
        lambda event, context: HANDLERS[handler](platform, event, context),
        api=RuntimeApi("127.0.0.1", 9001, "fuzz"),
        logs=logs,
        telemetry=_NoTelemetry(),  # type: ignore[arg-type]
        termination=Termination(lambda: None),
    )
    try:
        with monkeypatch.context() as patch:
            network.put_in_place(patch)
            assert 1 == loop.run()
        assert lines[-1].endswith("; the runtime ends")
        how = "ended"
    except Hung as hung:
        if hung.begun:
            pytest.fail(f"it waits for ever: {platform.log}")
        how = "waiting"
    platform.check(missed=network.refuse == 0)
    return how


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("first", range(0, 3 * _SESSIONS, _SESSIONS))
def test_sessions(handler: str, first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred sessions of eight events each keep all the rules, and end in both ways."""
    ends = {session(seed, handler, monkeypatch) for seed in range(first, first + _SESSIONS)}

    assert {"ended", "waiting"} == ends


APP = """
from lambdascope.runtime import api
from lambdascope.transport import connection, upload
# The bounds, made short, but longer than a busy machine needs.
api._POST_TIMEOUT_S = connection._REST_S = upload._PATIENCE_S = 1.0

def ran(context):
    print("ran", context.aws_request_id, flush=True)
    context.timeout(5.0)
    context.on_deadline(lambda: None)

def plain(event, context):
    ran(context)
    return {"id": context.aws_request_id}

def streaming(event, context):
    ran(context)
    for _ in range(3):
        yield b"piece" * 100
        if context.aws_request_id.endswith("3"):
            raise ValueError("midway")

async def asynchronous(event, context):
    ran(context)
    return {"id": context.aws_request_id}
"""
POOL = """
from lambdascope.runtime import concurrent
concurrent._FIRST_PAUSE_S = 0.001
"""
_RAN = re.compile(r"ran (r-[0-9]+|extra)")
_CLEAR = re.compile(r"(?:lambdascope: .*\n)*")


def real_session(seed: int, handler: str, folder: Path, *, workers: int = 1) -> tuple[int, bool]:
    """One process from its start to its end: its exit status, and whether it ended by itself."""
    (folder / "app.py").write_text(APP + (POOL if workers > 1 else ""))
    concurrent = {"AWS_LAMBDA_MAX_CONCURRENCY": str(workers)} if workers > 1 else {}
    rng = random.Random(seed)
    with (
        HostileServer(rng, events=6 * workers, share=0.1, workers=workers) as server,
        HandoffStub(folder) as stub,
        RuntimeProcess(
            server.address,
            folder,
            f"app.{handler}",
            LAMBDASCOPE_HANDOFF_FILE=str(stub.file),
            **concurrent,
        ) as process,
    ):
        gone = threading.Thread(target=lambda: (process.process.wait(), server.idle.set()))
        gone.start()
        assert server.idle.wait(LIMIT_S), (server.log, "neither ended nor asked for more")
        ended_itself = process.process.poll() is not None
        if not ended_itself:
            process.process.terminate()
        status = process.wait()
        gone.join()
    told = "\n".join((f"seed {seed}", *map(str, server.log), process.out, process.err))
    assert _CLEAR.fullmatch(process.err), told
    assert not ended_itself or "lambdascope: " in process.err, told
    runs = Counter(_RAN.findall(process.out))
    assert [] == [name for name, count in runs.items() if count > 1], told
    assert set(runs) <= set(server.handed), told
    assert set() == server.unanswered(), told
    return status, ended_itself


@pytest.mark.parametrize("handler", ["plain", "streaming", "asynchronous"])
@pytest.mark.parametrize("seed", range(14))
def test_real_sessions(seed: int, handler: str, tmp_path: Path) -> None:
    """A real process ends with 1 and a line of its own, or serves on until SIGTERM gives 0."""
    status, ended_itself = real_session(seed, handler, tmp_path)

    assert (1 if ended_itself else 0) == status


@pytest.mark.parametrize("seed", range(6))
def test_failed_init(seed: int, tmp_path: Path) -> None:
    """Whatever a failed init is answered, the process ends with 1 and tells a refusal."""
    (tmp_path / "app.py").write_text(APP)
    with (
        HostileServer(random.Random(seed), events=0, share=0.7) as server,
        RuntimeProcess(server.address, tmp_path, "app.missing") as process,
    ):
        status = process.wait()

    assert (1, 1) == (status, server.init_errors)
    assert _CLEAR.fullmatch(process.err)
    ((_, given),) = server.log
    # Without a 202 in it, it cannot have been taken for an acceptance.
    if b" 202 " not in b"".join(given.pieces):
        assert "init/error" in process.err, given


@pytest.mark.parametrize("handler", ["plain", "streaming", "asynchronous"])
@pytest.mark.parametrize("seed", range(6))
def test_real_sessions_of_several_workers(seed: int, handler: str, tmp_path: Path) -> None:
    """The same with three invocations at a time: a worker that fails is replaced by another one."""
    status, ended_itself = real_session(seed, handler, tmp_path, workers=3)

    assert (1 if ended_itself else 0) == status
