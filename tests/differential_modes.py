"""Runs the cases of the differential suite in other modes: concurrent, and under AWS's emulator.

One environment for each client serves all cases behind differential/dispatch.py; those that fail
before their handler is called, or that end a process others need, have an environment of their own.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from differential_cases import (
    ALONE,
    BROKEN_MODULE,
    CLIENT_CONTEXT,
    ENDING,
    EVENTS,
    HANDLERS,
)
from differential_kit import AWS_CONCURRENT, CONCURRENT, EVENT, HERE, TRACE
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment
from lambdascope.wire import names
from managed_kit import MANAGED
from rie_environment import ABSENT, LAYER_PYTHON, RieEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Invoke = Callable[["Case"], "Answer"]

WORKERS = 4
_PATIENCE_S = 10.0
_AGAIN_S = 0.005
_TIMEOUT_S = 15
_SHORT_S = 2
# Ends a process of AWS's client; the text of the time-out is all that there is.
_HANGING = frozenset(ENDING) - {"results.raises_unicode"}
_SITE = Path(__file__).parent.parent / "src"
_REQUEST_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Answer(NamedTuple):
    """What the caller got, without what differs from run to run."""

    function_error: str | None
    content_type: str
    answer: bytes


class Case(NamedTuple):
    """One invocation."""

    name: str
    handler: str
    event: bytes
    client_context: str = ""


def _through_dispatch(name: str, handler: str = "", **more: str) -> Case:
    event = b'{"handler": %b, "event": %b}' % (json.dumps(handler or name).encode(), EVENT)
    return Case(name, "dispatch.handler", event, **more)


_SPECIAL = (
    _through_dispatch("app.client", client_context=CLIENT_CONTEXT),
    _through_dispatch("bad client context", "app.echo", client_context="{not json"),
)
SHARED = (
    *(_through_dispatch(name) for name in HANDLERS if name not in ALONE and name not in ENDING),
    *(Case(f"event {name}", "dispatch.handler", event) for name, event in EVENTS.items()),
    *_SPECIAL,
)
INIT = (*(Case(name, name, EVENT) for name in ALONE), Case("syntax error", "broken.handler", EVENT))
ENDINGS = tuple(_through_dispatch(name) for name in ENDING)
CASES = tuple(case.name for case in (*SHARED, *INIT, *ENDINGS))


class Client(NamedTuple):
    """A runtime client: its module, where it lies, the interpreter that has it, its variables."""

    module: str
    site_packages: Path
    python: str
    variables: tuple[tuple[str, str], ...] = ()


def ours(*, processes: bool = False) -> Client:
    """Our client."""
    variables = (("LAMBDASCOPE_CONCURRENCY", "processes"),) if processes else ()
    return Client("lambdascope", _SITE, sys.executable, variables)


def theirs(peer_python: Path) -> Client:
    """AWS's client."""
    ask = "import awslambdaric, pathlib; print(pathlib.Path(awslambdaric.__file__).parent.parent)"
    found = subprocess.run([peer_python, "-c", ask], capture_output=True, text=True, check=True)
    return Client("awslambdaric", Path(found.stdout.strip()), str(peer_python))


@functools.cache
def answers(mode: str, client: Client, rie: Path | None) -> dict[str, Answer]:
    """The answer to every case, by its name; `mode` is none of those with processes."""
    place = _Place(mode, client, rie)

    def alone(case: Case) -> Answer:
        # Its callers wait for the deadline.
        hangs = client.module == "awslambdaric" and case.name in _HANGING
        timeout_s = _SHORT_S if hangs else _TIMEOUT_S
        with _environment(place, case.handler, timeout_s=timeout_s, workers=2) as invoke:
            return invoke(case)

    found: dict[str, Answer] = {}
    concurrent = mode in (CONCURRENT, AWS_CONCURRENT)
    with ThreadPoolExecutor(WORKERS) as pool, _environment(place, "dispatch.handler") as invoke:
        found |= _each(pool.map if concurrent else map, invoke, SHARED)
        if not concurrent:
            found |= _each(map, invoke, ENDINGS)
    with ThreadPoolExecutor(2 * WORKERS) as pool:
        found |= _each(pool.map, alone, (*(ENDINGS if concurrent else ()), *INIT))
    return found


def _each(
    mapping: Callable[..., Iterator[Answer]], run: Invoke, cases: tuple[Case, ...]
) -> dict[str, Answer]:
    return dict(zip((case.name for case in cases), mapping(run, cases), strict=True))


class _Place(NamedTuple):
    mode: str
    client: Client
    rie: Path | None


@contextlib.contextmanager
def _environment(
    place: _Place, handler: str, *, timeout_s: int = _TIMEOUT_S, workers: int = WORKERS
) -> Iterator[Invoke]:
    client = place.client
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = folder / "task"
        shutil.copytree(HERE, task, ignore=shutil.ignore_patterns("__pycache__"))
        (task / "broken.py").write_text(BROKEN_MODULE)
        if place.mode == CONCURRENT:
            config = FunctionConfig(
                handler=handler,
                task_root=str(task),
                runtime=(client.python, "-m", client.module, "{handler}"),
                variables=dict(client.variables),
                timeout_ms=timeout_s * 1000,
                own_extension=False,
                max_concurrency=workers,
                **MANAGED,
            )
            with _ours(config) as invoke:
                yield invoke
            return
        assert place.rie is not None
        managed = place.mode == AWS_CONCURRENT
        variables = {"AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s), **dict(client.variables)}
        if managed:
            variables[names.ENV_MAX_CONCURRENCY] = str(workers)
        environment = RieEnvironment(
            place.rie,
            folder,
            runtime=(LAYER_PYTHON, "-m", client.module),
            extension=ABSENT,
            managed=managed,
            handler=handler,
            site_packages=client.site_packages,
            variables=variables,
        )
        with environment:
            yield lambda case: _invoke_aws(environment, case)


@contextlib.contextmanager
def _ours(config: FunctionConfig) -> Iterator[Invoke]:
    environment = ExecutionEnvironment(config)

    def invoke(case: Case) -> Answer:
        record = environment.invoke(
            case.event, trace_header=TRACE, client_context=case.client_context or None
        )
        return _plain(
            record.function_error, record.content_type, record.answer, Path(config.task_root)
        )

    try:
        yield invoke
    finally:
        environment.shutdown()


def _invoke_aws(environment: RieEnvironment, case: Case) -> Answer:
    headers = {"X-Amzn-Trace-Id": TRACE}
    if case.client_context:
        headers["X-Amz-Client-Context"] = base64.b64encode(case.client_context.encode()).decode()
    # It refuses what comes before a worker has asked for its next event, and does not tell when.
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        _, body, told = environment.invoke_bytes(case.event, headers)
        if told.get("error-type") != names.FAULT_RUNTIME_UNAVAILABLE or time.monotonic() > deadline:
            break
        threading.Event().wait(_AGAIN_S)
    failed = "error-type" in told if environment.managed else _is_error(body)
    # An error is text to its concurrent mode, whatever the client said.
    told_error = names.CONTENT_TYPE_JSON if failed and environment.managed else ""
    content_type = told_error or told.get("content-type", "")
    return _plain("Unhandled" if failed else None, content_type, body, environment.task)


def _is_error(body: bytes) -> bool:
    """AWS's emulator of the buffered mode does not tell a caller in any other way."""
    try:
        value = json.loads(body)
    except ValueError:
        return False
    return isinstance(value, dict) and "errorType" in value


def _plain(function_error: str | None, content_type: str, body: bytes, task: Path) -> Answer:
    return Answer(
        function_error,
        content_type,
        _REQUEST_ID.sub(b"ID", body).replace(os.fsencode(task), b"TASK"),
    )
