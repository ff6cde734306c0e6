"""The handler of the root logger, with awslambdaric's formatter as the oracle."""

from __future__ import annotations

import json
import logging
import os
import struct
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime.config import XRAY_LINK
from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.log_handler import JsonFormatter, LambdaLoggerHandler, install, level_name
from lambdascope.runtime.logs import Logs
from lambdascope.runtime.trace_parent import TraceParent
from unit.runtime.kit import make_invocation, make_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

theirs = pytest.importorskip(
    "awslambdaric.lambda_runtime_log_utils", reason="awslambdaric is not installed here"
)

LOGGER = logging.getLogger("mine")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger without handlers, as it is in a new process; put back afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    logger.handlers.clear()
    logger.setLevel(logging.WARNING)
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def invocation() -> Iterator[str]:
    """An invocation that is running, for a tenant."""
    times = make_times(make_invocation(lambda_runtime_aws_tenant_id="tenant"))
    token = current_invocation.set(times)
    yield times.invocation.request_id
    current_invocation.reset(token)


def _install(*, json_format: bool = False, level: str = "", fd: int | None = None) -> None:
    install(Logs(json_format=json_format, level=level, frame_fd=fd))


def test_text(root: logging.Logger, invocation: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A record is level, UTC time, request id and message, tab-separated."""
    _install()
    logging.getLogger("some.name").warning("hello %s", "you")

    level, time_, request_id, message = capsys.readouterr().out.split("\t")

    assert ("[WARNING]", invocation, "hello you\n") == (level, request_id, message)
    assert len("2026-01-01T00:00:00.000Z") == len(time_)


def test_level_is_set_where_it_is_known(root: logging.Logger) -> None:
    """AWS_LAMBDA_LOG_LEVEL sets the root logger's level; an unknown name leaves it."""
    levels = []
    for name in ("TRACE", "INFO", "FATAL", "LOUD", ""):
        root.setLevel(logging.WARNING)
        _install(level=name)
        levels.append(root.level)

    assert [10, 20, 50, 30, 30] == levels


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "NOTSET"), (5, "NOTSET"), (10, "DEBUG"), (25, "INFO"), (30, "WARNING"), (99, "CRITICAL")],
)
def test_levels_between(number: int, name: str) -> None:
    """A level of the function's own counts as the standard one below, as with AWS's client."""
    record = logging.makeLogRecord({"levelno": number})

    assert theirs._format_log_level(record) == logging.getLevelNamesMapping()[name]
    assert level_name(number) == name


def test_frames(root: logging.Logger) -> None:
    """On the descriptor each record is a frame with its level, also of many lines."""
    reader, writer = os.pipe()
    _install(level="DEBUG", fd=writer)
    LOGGER.warning("a\nb")
    LOGGER.log(25, "c")
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()

    kind, length = struct.unpack(">II", data[:8])
    second = struct.unpack(">I", data[16 + length : 20 + length])[0]

    assert (0xA55A0013, 0xA55A000F) == (kind, second)
    assert data[16 : 16 + length].endswith(b"\ta\nb")


def _record(**fields: object) -> logging.LogRecord:
    base = {
        "name": "mine",
        "levelno": 20,
        "levelname": "INFO",
        "msg": "hello %s",
        "args": ("you",),
        "pathname": "/var/task/app.py",
        "funcName": "handler",
        "lineno": 7,
        "aws_request_id": "id",
        "tenant_id": None,
    }
    return logging.makeLogRecord(base | fields)


def _failed() -> object:
    try:
        raise KeyError("missing")
    except KeyError:
        return sys.exc_info()


RECORDS: dict[str, Callable[[], logging.LogRecord]] = {
    "plain": _record,
    "tenant": lambda: _record(tenant_id="t"),
    "exception": lambda: _record(exc_info=_failed(), levelno=40, levelname="ERROR"),
    "extra": lambda: _record(order=5, tags=["a"], nothing=None, nested={"a": {1, 2}.__len__}),
    "extra that would hide a field": lambda: _record(level="mine", message="mine", requestId="x"),
    "an object": lambda: _record(msg={"a": 1}, args=()),
    "an object with arguments": lambda: _record(msg={"a": 1}, args=("x",), levelno=20),
    "no arguments": lambda: _record(msg="50%", args=()),
    "own level": lambda: _record(levelno=25, levelname="NOTICE"),
    "stack": lambda: _record(stack_info="Stack ..."),
}


@pytest.mark.parametrize("make", RECORDS.values(), ids=RECORDS)
def test_json_is_that_of_awslambdaric(make: Callable[[], logging.LogRecord]) -> None:
    """A record in JSON has the keys and values of AWS's client, apart from the milliseconds."""
    try:
        expected = json.loads(theirs.JsonFormatter().format(make()))
    except TypeError as error:  # a format that does not fit its arguments
        with pytest.raises(TypeError, match=str(error)):
            JsonFormatter().format(make())
        return

    text = JsonFormatter().format(make())

    found = json.loads(text)
    seconds, milliseconds = found.pop("timestamp").split(".")
    assert expected.pop("timestamp") == f"{seconds}Z"
    assert 4 == len(milliseconds)
    assert "\n" not in text
    found.pop("taskName", None)
    expected.pop("taskName", None)
    assert expected == found


class _Silent:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def _cycle() -> list[object]:
    cycle: list[object] = []
    cycle.append(cycle)
    return cycle


@pytest.mark.parametrize(
    "value", [_Silent(), _cycle(), {(1, 2): 3}, {"a": _Silent()}, {"x": _cycle()}]
)
def test_a_log_call_never_fails(
    value: object,
    root: logging.Logger,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A field that JSON does not know is written as text, and the record is not lost."""
    _install(json_format=True)

    LOGGER.warning("kept", extra={"field": value})

    out, err = capsys.readouterr()
    assert "kept" == json.loads(out)["message"]
    assert "" == err


def test_exception_with_broken_text(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception whose __str__ raises is logged all the same."""

    class SilentError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    _install(json_format=True)
    try:
        raise SilentError
    except SilentError:
        LOGGER.exception("kept")

    fields = json.loads(capsys.readouterr().out)

    assert "SilentError" == fields["errorType"]
    assert "raised RuntimeError" in fields["errorMessage"]


def test_trace_of_the_invocation(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """Every record of an invocation has the ids of its invoke span; JSON has them at the top."""
    times = make_times()
    times.trace = TraceParent(None, XRAY_LINK)
    trace_id, span_id = times.trace.trace_id.hex(), times.trace.span_id.hex()
    _install(json_format=True)

    token = current_invocation.set(times)
    LOGGER.warning("hello")
    current_invocation.reset(token)

    fields = json.loads(capsys.readouterr().out)
    assert (trace_id, span_id) == (fields["trace_id"], fields["span_id"])


def test_request_id_in_threads(
    root: logging.Logger, invocation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records of a thread that the function started belong to the invocation."""
    _install(json_format=True)
    thread = threading.Thread(target=LOGGER.warning, args=("in a thread",))
    thread.start()
    thread.join()

    fields = json.loads(capsys.readouterr().out)

    assert (invocation, "tenant") == (fields["requestId"], fields["tenantId"])


def test_handler_has_a_log_sink(root: logging.Logger) -> None:
    """Libraries find the handler of the platform by its attribute `log_sink`."""
    _install()

    found = [handler for handler in root.handlers if hasattr(handler, "log_sink")]

    assert [LambdaLoggerHandler] == [type(handler) for handler in found]
