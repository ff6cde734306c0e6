"""Our runtime and our extension under AWS's own Runtime Interface Emulator.

The emulator starts the extension through its shebang out of /opt/extensions, as Lambda does with a
layer, and answers 202 to a telemetry subscription: nothing but the runtime's signal tells the
extension that an invocation is over. It returns an answer when runtime and extension are both back.
"""

from __future__ import annotations

import os
import re
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest

from lambdascope.emulator import proc
from lambdascope.otlp import names
from observed import named, one
from otlp_recorder import OtlpRecorder
from rie_environment import ABSENT, LAYER, LAYER_RUNTIME, RieEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from collector import Collector
    from otlp_recorder import Item

    Start = Callable[..., RieEnvironment]

pytestmark = pytest.mark.rie

APP = """
    import signal
    import sys

    def handler(event, context):
        print("handles", event)
        if event == "raise":
            raise ValueError("no such order")
        while event == "hang":
            signal.pause()
        import lambdascope

        return {
            "event": event,
            "request_id": context.aws_request_id,
            "package": lambdascope.__file__,
            "python": sys.executable,
        }
"""
FOREIGN_APP = """
    def handler(event, context):
        return event
"""


@pytest.fixture
def recorder() -> Iterator[OtlpRecorder]:
    """Where the extension sends to."""
    with OtlpRecorder() as running:
        yield running


@pytest.fixture
def start(rie: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the emulator with a function, once, and sees that nothing of it is left."""
    host = _host()
    started: list[RieEnvironment] = []

    def begin(endpoint: str, *, app: str = APP, **options: Any) -> RieEnvironment:
        environment = RieEnvironment(rie, tmp_path, **options)
        environment.task.mkdir()
        environment.task.joinpath("app.py").write_text(textwrap.dedent(app))
        environment.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        started.append(environment.__enter__())
        return environment

    yield begin
    for environment in started:
        environment.__exit__()
        print(environment.log_text())  # shown by pytest when the test fails
        assert [] == list(proc.marked(f"LAMBDASCOPE_HANDOFF_FILE={environment.handoff_file}"))
        assert host == _host()


def _host() -> list[list[str]]:
    return [sorted(os.listdir(folder)) for folder in ("/opt", "/var")]


def reports(log: str) -> list[str]:
    """The request ids of the REPORT lines."""
    return re.findall(r"^REPORT RequestId: ([0-9a-f-]{36})\t.*Duration: [0-9.]+ ms", log, re.M)


def invoked(spans: list[Item]) -> list[str]:
    """The request ids of the invoke spans."""
    return [span["attributes"]["faas.invocation_id"] for span in named(spans, "shop")]


def test_success(start: Start, recorder: OtlpRecorder) -> None:
    """The caller gets the answer, the log a REPORT line, the backend init, invoke and report."""
    emulator = start(recorder.endpoint)
    answer = emulator.invoke({"order": 17})
    log = emulator.stop()
    spans = recorder.wait_for_spans(3)

    assert 200 == answer.status
    assert {"order": 17} == answer.body["event"]
    request_id = answer.body["request_id"]
    assert [request_id] == reports(log)
    assert "handles {'order': 17}\n" in log
    assert "registered, subscribed to [INVOKE SHUTDOWN]" in log
    assert "lambdascope:" not in log
    invoke = one(spans, "shop")
    assert request_id == invoke["attributes"]["faas.invocation_id"]
    assert invoke["attributes"]["faas.coldstart"] is True
    assert (
        "arn:aws:lambda:us-east-1:012345678912:function:shop"
        == (invoke["attributes"]["aws.lambda.invoked_arn"])
    )
    for name in ("init shop", "report shop"):
        child = one(spans, name)
        assert (invoke["traceId"], invoke["spanId"]) == (child["traceId"], child["parentSpanId"])


def test_handler_error(start: Start, recorder: OtlpRecorder) -> None:
    """The caller gets the error, the span says so, and the next invocation is served."""
    emulator = start(recorder.endpoint)
    failed, after = emulator.invoke("raise"), emulator.invoke(1)
    log = emulator.stop()
    invoke = named(recorder.wait_for_spans(5), "shop")[0]

    # AWS's emulator has no X-Amz-Function-Error: only the body tells.
    assert ("ValueError", "no such order") == (
        failed.body["errorType"],
        failed.body["errorMessage"],
    )
    assert 'raise ValueError("no such order")' in "".join(failed.body["stackTrace"])
    assert 1 == after.body["event"]
    assert failed.body["requestId"] == reports(log)[0]
    assert "ValueError" == invoke["attributes"]["error.type"]
    assert names.STATUS_ERROR == invoke["status"]["code"]


@pytest.mark.parametrize("extension", ["linked", "absent"])
def test_import_error(start: Start, recorder: OtlpRecorder, extension: str) -> None:
    """The init error's body reaches every caller, and the traceback that AWS's client drops."""
    emulator = start(recorder.endpoint, app="import no_such_part", extension=extension)
    answers = [emulator.invoke(), emulator.invoke()]
    log = emulator.stop()

    for answer in answers:
        assert 502 == answer.status
        assert "Runtime.ImportModuleError" == answer.body["errorType"]
        assert (
            "Unable to import module 'app': No module named 'no_such_part'"
            == (answer.body["errorMessage"])
        )
        cause = answer.body["cause"]
        assert "ModuleNotFoundError" == cause["errorType"]
        assert "import no_such_part" in "".join(cause["stackTrace"])
    assert "INIT RTDONE(status: error)" in log
    if extension == "linked":
        init = named(recorder.wait_for_spans(3), "init shop")[0]
        assert "Runtime.ImportModuleError" == init["attributes"]["error.type"]
        assert "" == init.get("parentSpanId", "")
        (event,) = init["events"]
        assert "import no_such_part" in event["attributes"]["exception.stacktrace"]


def test_timeout(start: Start, recorder: OtlpRecorder) -> None:
    """The invocation that hung has its span with the reason, and a new environment serves on."""
    emulator = start(recorder.endpoint, variables={"AWS_LAMBDA_FUNCTION_TIMEOUT": "1"})
    before, hung, after = (emulator.invoke(event) for event in (1, "hang", 2))
    log = emulator.stop()
    # What failed is sent first.
    spans = sorted(recorder.wait_for_spans(3), key=lambda span: int(span["startTimeUnixNano"]))

    assert "Task timed out after 1.00 seconds" == hung.body
    assert [1, 2] == [before.body["event"], after.body["event"]]
    ids = reports(log)
    assert (before.body["request_id"], after.body["request_id"]) == (ids[0], ids[2])
    assert ids == invoked(spans)
    first, second, third = named(spans, "shop")
    assert names.STATUS_ERROR == second["status"]["code"]
    assert "timeout" == second["attributes"]["error.type"]
    (event,) = second["events"]
    assert 'app.py", line 10, in handler' in event["attributes"]["exception.stacktrace"]
    assert [True, False, True] == [
        span["attributes"]["faas.coldstart"] for span in (first, second, third)
    ]
    assert first["traceId"] != third["traceId"]


DEATHS = """
    import ctypes
    import os
    import signal

    def handler(event, context):
        if event == "exit":
            os._exit(7)
        if event == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "segfault":
            ctypes.string_at(0)
        return event
"""


def test_process_that_ends(start: Start, recorder: OtlpRecorder) -> None:
    """Each invocation whose process died has one span, with the error, and a new process serves on.

    AWS's emulator says no more than that it was a failure.
    """
    emulator = start(recorder.endpoint, app=DEATHS)
    events = ["fine", "exit", "kill", "segfault", "fine"]
    for event in events:
        emulator.invoke(event)
    emulator.stop()
    spans = named(recorder.wait_for_spans(5), "shop")
    spans.sort(key=lambda span: int(span["startTimeUnixNano"]))

    found = [span["attributes"].get("error.type", "") for span in spans]
    assert ["", *3 * ["Runtime.ExitError"], ""] == found
    assert 5 == len({span["traceId"] for span in spans})
    (event,) = spans[3]["events"]
    assert 'app.py", line 12 in handler' in event["attributes"]["exception.stacktrace"]


def test_all_of_many_invocations_arrive(start: Start, recorder: OtlpRecorder) -> None:
    """Busy environments do not flush at each end: what is held leaves when SIGTERM ends them."""
    emulator = start(recorder.endpoint)
    ids = [emulator.invoke(number).body["request_id"] for number in range(9)]
    held_back = ids[-1] not in invoked(recorder.wait_for_spans(0))
    log = emulator.stop()
    spans = recorder.wait_for_spans(19)

    assert held_back
    assert ids == reports(log)
    assert ids == invoked(spans)
    assert ids == [s["attributes"]["faas.invocation_id"] for s in named(spans, "report shop")]
    one(spans, "init shop")
    assert "lambdascope:" not in log


def test_without_extension(start: Start, recorder: OtlpRecorder) -> None:
    """The function is served all the same, and exports its spans by itself."""
    emulator = start(recorder.endpoint, extension=ABSENT)
    answers = [emulator.invoke(number) for number in range(3)]
    spans = recorder.wait_for_spans(7)
    log = emulator.stop()
    ids = [answer.body["request_id"] for answer in answers]

    assert [0, 1, 2] == [answer.body["event"] for answer in answers]
    assert ids == reports(log)
    assert ids == invoked(spans)
    assert "lambdascope:" not in log


def test_layer(start: Start, collector: Collector) -> None:
    """A layer works by itself under Lambda's own Python, down to a real collector."""
    emulator = start(
        collector.http_endpoint,
        runtime=LAYER_RUNTIME,
        extension=LAYER,
        variables={"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"},
    )
    answer = emulator.invoke("hello")
    log = emulator.stop()
    spans = collector.wait_for_spans(3)

    assert "/opt/python/lambdascope/__init__.py" == answer.body["package"]
    assert "/var/lang/bin/python3" == answer.body["python"]
    assert [answer.body["request_id"]] == reports(log) == invoked(spans)
    assert "lambdascope:" not in log


def test_managed_instances(start: Start, recorder: OtlpRecorder) -> None:
    """Where INVOKE is refused the extension registers for SHUTDOWN alone, and misses nothing.

    AWS's emulator of Lambda Managed Instances runs the layer as another user.
    """
    emulator = start(recorder.endpoint, runtime=LAYER_RUNTIME, extension=LAYER, managed=True)
    answer = emulator.invoke("hello")
    log = emulator.stop()
    spans = recorder.wait_for_spans(3)

    assert "hello" == answer.body["event"]
    assert "/opt/python/lambdascope/__init__.py" == answer.body["package"]
    assert [answer.body["request_id"]] == reports(log) == invoked(spans)
    # Only who has registered may subscribe, and nobody registers for INVOKE here.
    assert 'msg="Telemetry subscription created" agentName=lambdascope' in log
    one(spans, "report shop")
    assert "lambdascope:" not in log


def test_foreign_runtime(start: Start, recorder: OtlpRecorder, peer_python: Path) -> None:
    """Nobody tells when AWS's client is done, so the extension does not wait for it at all."""
    emulator = start(
        recorder.endpoint, app=FOREIGN_APP, runtime=(str(peer_python), "-m", "awslambdaric")
    )
    began = time.monotonic()
    answers = [emulator.invoke({"number": number}) for number in range(3)]
    took_s = time.monotonic() - began
    emulator.stop()

    assert [{"number": number} for number in range(3)] == [answer.body for answer in answers]
    # An extension that waits for an end is back shortly before the timeout, after 300 s.
    assert took_s < 15
    assert [] == recorder.bodies
