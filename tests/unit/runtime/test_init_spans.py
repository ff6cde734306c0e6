"""Init as a tree of spans."""

from __future__ import annotations

import builtins
import io
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lambdascope.clock import Clock
from lambdascope.otlp import names
from lambdascope.runtime.import_times import ImportRecord, ImportTimes
from lambdascope.runtime.init_phase import InitPhase
from lambdascope.runtime.init_spans import init_spans, late_imports, process_start_ns

if TYPE_CHECKING:
    from lambdascope.otlp.model import Span

SOURCE = Path(__file__).parents[3] / "src"
TRACE_ID, PARENT = b"t" * 16, b"p" * 8
MS = 1_000_000


def _init(start_ns: int) -> InitPhase:
    """Return an init of 100 ms with two parts and three imports, one of them lazy."""
    init = InitPhase(
        function_name="hello", init_type="on-demand", entered_ns=start_ns, cpu_ns=10 * MS
    )
    init.part(names.SPAN_LOAD_RUNTIME, start_ns, start_ns + 5 * MS)
    init.part(names.SPAN_LOAD_HANDLER, start_ns + 5 * MS, start_ns + 95 * MS)
    init.ended_ns = start_ns + 100 * MS
    times = ImportTimes()
    app = _record("app", None, start_ns + 6 * MS, start_ns + 90 * MS, self_ns=4 * MS)
    short = _record("short", app, start_ns + 7 * MS, start_ns + 7 * MS, self_ns=0)
    boto3 = _record("boto3", short, start_ns + 8 * MS, start_ns + 88 * MS, self_ns=80 * MS)
    late = _record("late", None, start_ns + 200 * MS, start_ns + 210 * MS, self_ns=10 * MS)
    times.records = [boto3, app, late]
    init.imports = times
    return init


def _record(
    name: str, parent: ImportRecord | None, start_ns: int, end_ns: int, *, self_ns: int
) -> ImportRecord:
    record = ImportRecord(name, start_ns, parent)
    record.end_ns, record.self_ns = end_ns, self_ns
    return record


def _spans(init: InitPhase, clock: Clock) -> dict[str, Span]:
    spans = init_spans(init, clock, trace_id=TRACE_ID, parent_span_id=PARENT)
    return {span.name: span for span in spans}


def test_tree() -> None:
    """Parts are children of init; an import is under the nearest one that has a span."""
    spans = _spans(_init(time.monotonic_ns()), Clock())
    by_id = {span.span_id: span.name for span in spans.values()}
    parents = {name: by_id.get(span.parent_span_id, "-") for name, span in spans.items()}

    assert {
        "init hello": "-",
        "interpreter start": "init hello",
        "load runtime": "init hello",
        "load handler": "init hello",
        "import app": "load handler",
        "import boto3": "import app",
    } == parents
    assert PARENT == spans["init hello"].parent_span_id
    assert {TRACE_ID} == {span.trace_id for span in spans.values()}
    assert len(by_id) == len(spans)


def test_times_and_attributes() -> None:
    """Times are Unix time of the one clock; an import tells its self and its total time."""
    clock, start_ns = Clock(), time.monotonic_ns()
    spans = _spans(_init(start_ns), clock)

    imported, root = spans["import app"], spans["init hello"]
    assert (start_ns + 6 * MS + clock.offset_ns, start_ns + 90 * MS + clock.offset_ns) == (
        imported.start_ns,
        imported.end_ns,
    )
    assert {
        names.LAMBDASCOPE_IMPORT_MODULE: "app",
        names.LAMBDASCOPE_IMPORT_SELF_MS: 4.0,
        names.LAMBDASCOPE_IMPORT_TOTAL_MS: 84.0,
    } == imported.attributes
    assert {
        names.FAAS_COLDSTART: True,
        names.LAMBDASCOPE_INIT_TYPE: "on-demand",
    } == root.attributes
    assert start_ns + 100 * MS + clock.offset_ns == root.end_ns
    assert root.start_ns == spans["interpreter start"].start_ns
    assert start_ns + clock.offset_ns == spans["interpreter start"].end_ns
    assert abs(time.time_ns() - root.end_ns) < 60_000_000_000


def test_lazy_imports_belong_to_the_invocation() -> None:
    """What the first invocation imported is under its span, not under init."""
    clock = Clock()
    init = _init(time.monotonic_ns())
    invoke = init_spans(init, clock, trace_id=TRACE_ID, parent_span_id=b"")[0]

    (late,) = late_imports(init, clock, invoke)

    assert ("import late", invoke.span_id, TRACE_ID) == (
        late.name,
        late.parent_span_id,
        late.trace_id,
    )


def test_imports_for_the_answer_belong_to_the_report() -> None:
    """What was imported after the handler's return is not the handler's."""
    clock = Clock()
    init = _init(time.monotonic_ns())
    invoke, report = init_spans(init, clock, trace_id=TRACE_ID, parent_span_id=b"")[:2]
    invoke.end_ns = init.ended_ns + clock.offset_ns

    (late,) = late_imports(init, clock, invoke, report)

    assert report.span_id == late.parent_span_id


def test_without_timed_imports() -> None:
    """With the timing of imports switched off there are the parts alone."""
    clock = Clock()
    init = _init(time.monotonic_ns())
    init.imports = None

    spans = _spans(init, clock)

    assert 4 == len(spans)
    assert [] == late_imports(init, clock, spans["init hello"])


def test_process_start_is_plausible() -> None:
    """The estimate lies between the moment before the process was made and its first line."""
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n"
        "from time import monotonic_ns, process_time_ns\n"
        "entered, cpu = monotonic_ns(), process_time_ns()\n"
        "from lambdascope.runtime.init_spans import process_start_ns\n"
        "print(process_start_ns(entered, cpu), entered, cpu)"
    )
    before_ns = time.monotonic_ns()
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    started_ns, entered_ns, cpu_ns = map(int, done.stdout.split())

    # /proc counts in steps of 10 ms.
    assert before_ns - 10 * MS <= started_ns <= entered_ns - cpu_ns


def test_process_start_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc cannot be read the CPU time alone gives the estimate."""

    def refuse(*_: object) -> object:
        raise PermissionError("no /proc")

    monkeypatch.setattr(builtins, "open", refuse)

    assert 900 == process_start_ns(1000, 100)


@pytest.mark.parametrize("stat", [b"", b"1 (python) S 1", b"1 (a) b) S " + b"x " * 30])
def test_process_start_with_odd_proc(stat: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A /proc that looks otherwise than expected does no harm."""
    monkeypatch.setattr(builtins, "open", lambda *_: io.BytesIO(stat))

    assert 900 == process_start_ns(1000, 100)
