"""Functions that set up logging in their own ways: the same lines as under AWS's client.

Nothing is swallowed, nothing is there twice that AWS's client has once, and no log call raises.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emulator_kit import Lines
from lambdascope.emulator.config import LOG_JSON, LOG_TEXT, FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment
from log_habits import HABITS, NOT_AS_TEXT, OURS_ALONE, SHARING
from managed_kit import MANAGED

if TYPE_CHECKING:
    from lambdascope.emulator.records import InvocationRecord

FORMATS = (LOG_TEXT, LOG_JSON)
REQUEST_ID = "8f60e725-45d2-4901-949c-482a936d20be"
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?Z?")
# What our records have and those of AWS's client have not.
ADDED = ("trace_id", "span_id")


def run(
    folder: Path,
    code: str,
    log_format: str,
    runtime: tuple[str, ...] = (),
    on_log: Lines | None = None,
    **settings: Any,
) -> InvocationRecord:
    """One cold invocation of a module with this code."""
    (folder / "app.py").write_text(code)
    config = FunctionConfig(
        handler="app.handler",
        task_root=str(folder),
        runtime=runtime,
        timeout_ms=10_000,
        memory_mb=512,
        log_format=log_format,
        own_extension=False,
        **settings,
    )
    environment = ExecutionEnvironment(config, on_log=on_log)
    try:
        return environment.invoke(b"{}", request_id=REQUEST_ID)
    finally:
        environment.shutdown()


def lines(record: InvocationRecord) -> list[str]:
    """The function's lines, without times; standard output and error keep no common order."""
    return sorted(_plain(line.text) for line in record.logs if line.source == "function")


def _plain(text: str) -> str:
    try:
        fields = json.loads(text)
    except ValueError:
        return TIME.sub("TIME", text)
    if not isinstance(fields, dict):
        return text
    fields.pop("timestamp", None)
    for name in ADDED:
        fields.pop(name, None)
    return json.dumps(fields, sort_keys=True)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("habit", "log_format"),
    [(h, f) for h in HABITS for f in FORMATS if f == LOG_JSON or h not in NOT_AS_TEXT],
)
def test_lines_are_those_of_awslambdaric(
    habit: str, log_format: str, tmp_path: Path, peer_python: Path
) -> None:
    """What a function logs, however it has set that up, comes out the same under both clients."""
    if "json-logger" in habit:
        _vendor("pythonjsonlogger", tmp_path)
    ours = run(tmp_path, HABITS[habit], log_format)
    theirs = run(
        tmp_path, HABITS[habit], log_format, (str(peer_python), "-m", "awslambdaric", "{handler}")
    )

    assert (None, b"null") == (theirs.function_error, theirs.answer)
    assert (None, b"null") == (ours.function_error, ours.answer)
    assert lines(theirs) == lines(ours)


@pytest.mark.parametrize("habit", SHARING)
def test_nothing_is_lost_or_doubled_where_several_run(habit: str, tmp_path: Path) -> None:
    """On managed instances each of these writes as often, and each line tells its invocation."""
    if "json-logger" in habit:
        _vendor("pythonjsonlogger", tmp_path)
    alone = run(tmp_path, HABITS[habit], LOG_JSON)
    # A line without an id, as those on standard error, is not in the record of an invocation.
    seen = Lines()
    record = run(tmp_path, HABITS[habit], LOG_JSON, on_log=seen, max_concurrency=2, **MANAGED)
    kept = [text for text in seen.texts("function") if "KEPT" in text]

    assert (None, b"null") == (record.function_error, record.answer)
    assert sum("KEPT" in text for text in lines(alone)) == len(kept), kept
    for text in kept:
        # The function may write objects of its own, without an id.
        if text.startswith("{") and "requestId" in (fields := json.loads(text)):
            assert fields["requestId"] in ("", REQUEST_ID)


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("habit", OURS_ALONE)
def test_lines_that_awslambdaric_loses(habit: str, log_format: str, tmp_path: Path) -> None:
    """A record that AWS's client mixes up or fails on is a line of its own, and nothing raises."""
    if "json-logger" in habit:
        _vendor("pythonjsonlogger", tmp_path)
    code, expected = OURS_ALONE[habit]
    record = run(tmp_path, code, log_format)
    texts = [line.text for line in record.logs if line.source == "function"]

    assert (None, b"null") == (record.function_error, record.answer)
    for part in expected:
        assert any(part in text for text in texts), texts


def _vendor(package: str, folder: Path) -> None:
    """A package into the function's folder, as it is deployed."""
    module = pytest.importorskip(package, reason=f"{package} is not installed")
    assert module.__file__ is not None
    shutil.copytree(Path(module.__file__).parent, folder / package)
