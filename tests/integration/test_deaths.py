"""Invocations whose process died: each is a whole trace, told by the extension, exactly once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from lambdascope.emulator.records import CRASHED, OUT_OF_MEMORY, TIMED_OUT
from lambdascope.otlp import names
from lambdascope.wire import names as names_of
from observed import named, one, running, times
from otlp_recorder import Item, OtlpRecorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collector import Collector
    from lambdascope.emulator.records import InvocationRecord

# The extension signals the runtime 0.2 s before the deadline.
TIMEOUT_MS = 1500
EXIT = "Runtime.ExitError"
# Warm first, so that the second invocation overwrites what the first one noted.
WARM = """
def handler(event, context):
    if event == "warm":
        return event
    return die()
"""
ENDS = {
    "os._exit(0)": "import os\ndef die(): os._exit(0)",
    "os._exit(7)": "import os\ndef die(): os._exit(7)",
    "SIGKILL": "import os\ndef die(): os.kill(os.getpid(), 9)",
    "a thread that exits": (
        "import os, threading, time\n"
        "def die():\n"
        "    threading.Thread(target=os._exit, args=(3,)).start()\n"
        "    time.sleep(30)"
    ),
}
# Not even Python's signal handlers run in it.
IN_C = "from itertools import repeat\ndef die(): sum(repeat(1))"


@pytest.fixture
def recorder() -> Iterator[OtlpRecorder]:
    """What the extension exports to."""
    with OtlpRecorder() as recorder:
        yield recorder


def run(
    folder: Path, recorder: OtlpRecorder, source: str, *events: bytes, **settings: object
) -> tuple[list[InvocationRecord], list[Item]]:
    """Invoke with each event, shut down; the records and the invoke spans in the order of those."""
    settings.setdefault("timeout_ms", TIMEOUT_MS)
    with running(folder, source, endpoint=recorder.endpoint, **settings) as function:
        records = [function.invoke(event) for event in events or (b"1",)]
        function.shutdown()
    spans = named(recorder.wait_for_spans(len(records)), "shop")
    by_id = {span["attributes"]["faas.invocation_id"]: span for span in spans}
    assert len(spans) == len(by_id), "an invocation has two spans"
    assert [record.request_id for record in records] == sorted(
        by_id, key=lambda request_id: times(by_id[request_id])[0]
    )
    return records, [by_id[record.request_id] for record in records]


def stack_of(span: Item) -> str:
    """The stacks on a span that was closed by the extension."""
    (event,) = span["events"]
    assert names.EVENT_EXCEPTION == event["name"]
    return str(event["attributes"][names.EXCEPTION_STACKTRACE])


@pytest.mark.parametrize("way", ENDS)
def test_process_that_ends(way: str, tmp_path: Path, recorder: OtlpRecorder) -> None:
    """A process that ends in its second invocation leaves both spans, the second with an error."""
    records, (first, second) = run(tmp_path, recorder, ENDS[way] + WARM, b'"warm"', b"2")

    assert CRASHED == records[1].status
    assert {} == {key: 1 for key, value in first["status"].items() if value}
    assert names.STATUS_ERROR == second["status"]["code"]
    assert EXIT == second["attributes"]["error.type"]
    assert first["traceId"] != second["traceId"]
    assert [True, False] == [span["attributes"]["faas.coldstart"] for span in (first, second)]
    assert first["resource_attributes"] == second["resource_attributes"]
    start, end = times(second)
    assert times(first)[1] < start <= end


def test_attributes_are_those_of_any_invocation(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """But for the error, the span of a dead invocation has what that of a healthy one has."""
    source = ENDS["SIGKILL"] + WARM
    _, (_, healthy, dead) = run(tmp_path, recorder, source, b'"warm"', b'"warm"', b"3")

    differing = {names.FAAS_INVOCATION_ID, names.AWS_XRAY_TRACE_ID, names.LAMBDASCOPE_DEADLINE_MS}
    differing |= {names.LAMBDASCOPE_REMAINING_START_MS, names.LAMBDASCOPE_REMAINING_END_MS}
    expected = {k: v for k, v in healthy["attributes"].items() if k not in differing}
    found = {k: v for k, v in dead["attributes"].items() if k not in differing | {"error.type"}}
    assert expected == found
    assert differing <= dead["attributes"].keys()
    assert (healthy["kind"], healthy["scope"]) == (dead["kind"], dead["scope"])
    # The trace is the caller's business to sample or not: its link is there too.
    assert len(healthy.get("links", [])) == len(dead.get("links", []))


@pytest.mark.parametrize("init_type", [names_of.INIT_ON_DEMAND, "provisioned-concurrency"])
def test_cold_start_that_dies(tmp_path: Path, recorder: OtlpRecorder, init_type: str) -> None:
    """Init is in the trace, or linked to, also where the process had no time to tell of it."""
    _, (span,) = run(tmp_path, recorder, ENDS["SIGKILL"] + WARM, init_type=init_type)

    spans = recorder.wait_for_spans(0)
    init = one(spans, "init shop")
    assert init_type == init["attributes"][names.LAMBDASCOPE_INIT_TYPE]
    for part in ("load runtime", "load handler", "connect extension"):
        found = one(spans, part)
        assert init["spanId"] == found["parentSpanId"]
        assert times(init)[0] <= times(found)[0] <= times(found)[1] <= times(init)[1]
    if init_type == names_of.INIT_ON_DEMAND:
        assert (span["traceId"], span["spanId"]) == (init["traceId"], init["parentSpanId"])
    else:
        links = {(link["traceId"], link["spanId"]): link for link in span["links"]}
        assert names.FLAGS_LOCAL == links[init["traceId"], init["spanId"]]["flags"]
        assert span["traceId"] != init["traceId"]


def test_segfault(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """A segmentation fault has the stack in which it happened."""
    source = "import ctypes\ndef die(): ctypes.string_at(0)" + WARM
    (record,), (span,) = run(tmp_path, recorder, source)

    assert CRASHED == record.status
    assert EXIT == span["attributes"]["error.type"]
    assert "the runtime process ended: Segmentation fault" == span["status"]["message"]
    assert f'File "{tmp_path}/app.py", line 2 in die' in stack_of(span)


def test_process_of_the_function_that_dies(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """What a process that the function forks dies of is not told of the function."""
    source = """
import ctypes, os
def handler(event, context):
    child = os.fork()
    if child == 0:
        ctypes.string_at(0)
    os.waitpid(child, 0)
    if event == 2:
        os._exit(1)
    return event
"""
    records, (first, second) = run(tmp_path, recorder, source, b"1", b"2")

    assert ["success", CRASHED] == [record.status for record in records]
    assert {} == {key: 1 for key, value in first["status"].items() if value}
    assert "the runtime process ended before the invocation did" == second["status"]["message"]
    assert [] == second.get("events", [])


def test_read_back_from_a_collector(tmp_path: Path, collector: Collector) -> None:
    """OpenTelemetry's own collector takes what the extension makes, byte for byte."""
    source = "import ctypes\ndef die(): ctypes.string_at(0)" + WARM
    with running(tmp_path, source, endpoint=collector.http_endpoint) as function:
        record = function.invoke(b"1")
        function.shutdown()
    span = one(collector.wait_for_spans(6), "shop")

    assert record.request_id == span["attributes"][names.FAAS_INVOCATION_ID]
    assert {"code": 2, "message": "the runtime process ended: Segmentation fault"} == span["status"]
    assert "in die" in stack_of(span)
    assert {"service.name": "shop", "telemetry.sdk.language": "python"}.items() <= (
        span["resource_attributes"].items()
    )


def test_memory(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """A process that was killed for its memory is told as such."""
    source = "def die():\n    held = [bytearray(1 << 20) for _ in range(1024)]" + WARM
    (record,), (span,) = run(
        tmp_path, recorder, source, memory_limit=True, memory_mb=128, timeout_ms=20_000
    )

    assert OUT_OF_MEMORY == record.status
    assert "Runtime.OutOfMemory" == span["attributes"]["error.type"]


def test_system_exit(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """sys.exit in the handler is reported by the runtime itself, and not a second time."""
    source = "import sys\ndef die(): sys.exit(3)" + WARM
    _, (span,) = run(tmp_path, recorder, source)

    assert EXIT == span["attributes"]["error.type"]
    assert "exit status 3" in span["status"]["message"]
    one(recorder.wait_for_spans(0), "report shop")


def test_timeout(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """A time-out has the stack in which the time went, the whole init, and ends at the deadline."""
    source = "import time\ndef die():\n    time.sleep(30)" + WARM
    (record,), (span,) = run(tmp_path, recorder, source)

    assert TIMED_OUT == record.status
    assert "timeout" == span["attributes"]["error.type"]
    # Until the runtime had the event some time had passed.
    assert span["status"]["message"].startswith("the invocation did not end within 1.")
    assert f'File "{tmp_path}/app.py", line 3, in die' in stack_of(span).splitlines()[-1]
    assert record.deadline_ms * 1_000_000 == times(span)[1]
    assert 0 == span["attributes"][names.LAMBDASCOPE_REMAINING_END_MS]
    init = one(recorder.wait_for_spans(0), "init shop")
    assert (span["traceId"], span["spanId"]) == (init["traceId"], init["parentSpanId"])


def test_timeout_after_many_spans(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """Of more spans than the notes have room for all arrive once, and the one that hung is open."""
    source = """
import time
from opentelemetry import trace
tracer = trace.get_tracer("app")
def die():
    for number in range(1000):
        with tracer.start_as_current_span("done"):
            pass
    with tracer.start_as_current_span("hangs"):
        time.sleep(30)
"""
    _, (span,) = run(tmp_path, recorder, source + WARM, timeout_ms=3000)

    spans = recorder.wait_for_spans(0)
    assert len(spans) == len({one["spanId"] for one in spans})
    done = named(spans, "done")
    assert 1000 == len(done)
    assert [] == [one for one in done if one["status"].get("code")]
    hangs = one(spans, "hangs")
    assert "timeout" == hangs["attributes"]["error.type"]
    assert (span["traceId"], span["spanId"]) == (hangs["traceId"], hangs["parentSpanId"])
    assert "in die" in stack_of(span)


def test_timeout_of_tasks(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """A coroutine that hangs is shown with all that it awaits, and so are the tasks beside it."""
    source = """
import asyncio
async def deep():
    await asyncio.sleep(30)
async def beside():
    await asyncio.Event().wait()
async def handler(event, context):
    task = asyncio.create_task(beside(), name="beside")
    await deep()
"""
    _, (span,) = run(tmp_path, recorder, source)

    own, beside = stack_of(span).split("Task beside:\n")
    assert f'File "{tmp_path}/app.py", line 9, in handler' in own
    assert f'File "{tmp_path}/app.py", line 4, in deep' in own
    assert beside.startswith(f'  File "{tmp_path}/app.py", line 6, in beside\n')


def test_timeout_in_c(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """Where C code never comes back to Python, SIGTERM still finds the stack."""
    (record,), (span,) = run(tmp_path, recorder, IN_C + WARM)

    assert TIMED_OUT == record.status
    assert "timeout" == span["attributes"]["error.type"]
    assert f'File "{tmp_path}/app.py", line 2 in die' in stack_of(span)


def test_near_the_deadline(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """An invocation that ends in the last moment before the deadline is as any other."""
    source = """
import time
def handler(event, context):
    while context.get_remaining_time_in_millis() > 60:
        time.sleep(0.01)
"""
    (record,), (span,) = run(tmp_path, recorder, source, variables={"LAMBDASCOPE_FLUSH": "end"})

    assert "success" == record.status
    assert {} == {key: 1 for key, value in span["status"].items() if value}
    assert [] == span.get("events", [])


def test_environment_that_is_ended_in_a_handler(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """What runs when the next environment takes over has its own trace; both are there."""
    source = "import os\ndef die(): os._exit(1)" + WARM
    records, spans = run(tmp_path, recorder, source, b"1", b'"warm"', b"3", b'"warm"')

    assert [CRASHED, "success"] * 2 == [record.status for record in records]
    codes = [span["status"].get("code", 0) for span in spans]
    assert [names.STATUS_ERROR, 0] * 2 == codes
    assert 4 == len({span["traceId"] for span in spans})


SEVERAL = {"init_type": names_of.INIT_MANAGED_INSTANCES, "max_concurrency": 3, "memory_mb": 2048}


def test_several_at_a_time(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """Of several that run in one process each has its span, and those that it took along too."""
    source = """
import os, threading
together = threading.Barrier(3)
def handler(event, context):
    if event == "warm":
        return event
    together.wait(20)
    if event == 1:
        os._exit(9)
    threading.Event().wait(20)
"""
    with running(tmp_path, source, endpoint=recorder.endpoint, **SEVERAL) as function:
        warm = [function.invoke(b'"warm"') for _ in range(4)]
        with ThreadPoolExecutor(3) as pool:
            dead = list(pool.map(function.invoke, [b"1", b"2", b"3"]))
        function.shutdown()
    spans = named(recorder.wait_for_spans(0), "shop")

    errors = {
        span["attributes"]["faas.invocation_id"]: span["attributes"].get("error.type", "")
        for span in spans
    }
    assert 7 == len(spans)
    assert [""] * 4 == [errors[record.request_id] for record in warm]
    assert [EXIT] * 3 == [errors[record.request_id] for record in dead]


def test_one_process_of_several(tmp_path: Path, recorder: OtlpRecorder) -> None:
    """Where each invocation has a process, the one that died has an error and the others have none.

    The environment lives on; it is told at its end.
    """
    source = """
import os
def handler(event, context):
    if event == "die":
        os._exit(9)
    return event
"""
    settings = {**SEVERAL, "variables": {"LAMBDASCOPE_CONCURRENCY": "processes"}}
    with running(
        tmp_path, source, endpoint=recorder.endpoint, timeout_ms=2000, **settings
    ) as function:
        before = [function.invoke(b"1") for _ in range(3)]
        died = function.invoke(b'"die"')
        after = [function.invoke(b"2") for _ in range(6)]
        function.shutdown()
    spans = named(recorder.wait_for_spans(0), "shop")

    errors = {
        span["attributes"]["faas.invocation_id"]: span["attributes"].get("error.type", "")
        for span in spans
    }
    assert 10 == len(spans)
    assert [""] * 9 == [errors[record.request_id] for record in before + after]
    assert errors[died.request_id]


def test_the_end_of_the_environment_waits_for_all_processes(
    tmp_path: Path, recorder: OtlpRecorder
) -> None:
    """Where each invocation has a process, each comes to its own end before the platform kills."""
    source = f"""
import atexit, os, threading
def end():
    threading.Event().wait(0.2)
    os.mknod(os.path.join({str(tmp_path)!r}, f"ended-{{os.getpid()}}"))
def handler(event, context):
    atexit.register(end)
    return os.getpid()
"""
    settings = {**SEVERAL, "variables": {"LAMBDASCOPE_CONCURRENCY": "processes"}}
    with running(
        tmp_path, source, endpoint=recorder.endpoint, timeout_ms=2000, **settings
    ) as function:
        pid = function.invoke(b"1").answer.decode()
        function.shutdown()

    assert [f"ended-{pid}"] == [path.name for path in tmp_path.glob("ended-*")]
