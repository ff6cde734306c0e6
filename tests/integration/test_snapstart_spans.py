"""SnapStart: the spans of init and restore, of failures and of an end in between."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from runtime_fakes import HandoffStub
from snapstart_kit import FOUR_HOOKS, HOOKED, PLAIN, SnapApi, run

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("snapshot_restore_py", reason="snapshot_restore_py is not installed here")
protobuf = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    reason="the OpenTelemetry packages are not installed here",
)

HOUR_NS = 3_600_000_000_000


def _spans(body: bytes) -> dict[str, object]:
    request = protobuf.ExportTraceServiceRequest.FromString(body)
    return {span.name: span for span in request.resource_spans[0].scope_spans[0].spans}


def test_spans(tmp_path: Path) -> None:
    """Init and restore are traces of their own, to which the first invocation links."""
    code = f"""{FOUR_HOOKS}
import time
@snapshots.register_after_restore
def import_late():
    import slow
"""
    (tmp_path / "slow.py").write_text("import time; time.sleep(0.005)")
    wait = threading.Event()
    with HandoffStub(tmp_path) as stub, SnapApi(restored=lambda: wait.wait(0.2)) as api:
        run(api, tmp_path, code)
        ((headers, body),) = stub.wait_for_posts(1)
    spans = _spans(body)
    names = {span.span_id: span.name for span in spans.values()}
    parents = {n: names.get(s.parent_span_id, "") for n, s in spans.items()}
    init, restore, invoke = spans["init hello"], spans["restore hello"], spans["hello"]

    assert headers["lambdascope-done"] == str(len(spans))
    assert not [name for name in spans if name.startswith("import lambdascope")]
    assert 3 == len({init.trace_id, restore.trace_id, invoke.trace_id})
    assert {
        (init.trace_id, init.span_id),
        (restore.trace_id, restore.span_id),
    } == {(link.trace_id, link.span_id) for link in invoke.links}
    assert {
        "init hello": "",
        "restore hello": "",
        "hello": "",
        "before snapshot app.close_pool": "init hello",
        "before snapshot app.note": "init hello",
        "after restore app.note": "restore hello",
        "after restore app.open_pool": "restore hello",
        "after restore app.import_late": "restore hello",
        "import slow": "after restore app.import_late",
        "connect extension": "restore hello",
        "report hello": "hello",
    }.items() <= parents.items()
    assert init.end_time_unix_nano + 200_000_000 <= restore.start_time_unix_nano
    assert api.answered_ns <= restore.start_time_unix_nano + 1_000_000
    assert restore.end_time_unix_nano <= invoke.start_time_unix_nano
    for span in spans.values():
        if parent := spans.get(parents[span.name]):
            assert span.trace_id == parent.trace_id
            if parent is not invoke:
                assert parent.start_time_unix_nano <= span.start_time_unix_nano
                assert span.end_time_unix_nano <= parent.end_time_unix_nano


def test_second_invocation_has_no_links(tmp_path: Path) -> None:
    """Restore belongs to the first invocation alone."""
    with HandoffStub(tmp_path) as stub, SnapApi(events=2) as api:
        run(api, tmp_path, FOUR_HOOKS)
        _, (_, body) = stub.wait_for_posts(2)

    assert {"hello", "report hello"} == set(_spans(body))
    assert not _spans(body)["hello"].links


def test_clock_is_anchored_anew(tmp_path: Path) -> None:
    """Wall time that passed in the snapshot shows: init has the old time, all later the new.

    The monotonic clock stands still in a snapshot; here a hook moves the wall clock instead.
    """
    code = f"""{HOOKED}
@snapshots.register_before_snapshot
def an_hour_passes():
    from lambdascope import clock
    from lambdascope.runtime import telemetry
    real = clock.time_ns
    clock.time_ns = telemetry.time_ns = lambda: real() + {HOUR_NS}
{PLAIN}
"""
    before_ns = time.time_ns()
    with HandoffStub(tmp_path) as stub, SnapApi() as api:
        run(api, tmp_path, code)
        ((_, body),) = stub.wait_for_posts(1)
    after_ns = time.time_ns()
    spans = _spans(body)
    # /proc counts the process's start in steps of 10 ms.
    before_ns -= 20_000_000

    for name, span in spans.items():
        is_early = name.startswith(("init", "load", "interpreter", "before", "import"))
        shift = 0 if is_early else HOUR_NS
        assert before_ns <= span.start_time_unix_nano - shift <= after_ns, name
        assert before_ns <= span.end_time_unix_nano - shift <= after_ns, name
    assert {"restore hello", "connect extension", "hello", "report hello"} < set(spans)


@pytest.mark.parametrize(
    ("kind", "failed"), [("before_snapshot", "init"), ("after_restore", "restore")]
)
def test_spans_of_a_failure(kind: str, failed: str, tmp_path: Path) -> None:
    """The phase that failed has the error; a failed restore comes with the init before it."""
    code = (
        f"{HOOKED}\ndef hook(): raise OSError('no pool')\nsnapshots.register_{kind}(hook)\n{PLAIN}"
    )
    with HandoffStub(tmp_path) as stub, SnapApi() as api:
        run(api, tmp_path, code)
        ((_, body),) = stub.wait_for_posts(1)
    spans = _spans(body)
    roots = {name: span for name, span in spans.items() if not span.parent_span_id}
    hook = spans[f"{kind.replace('_', ' ')} app.hook"]

    assert {"init hello", f"{failed} hello"} == set(roots)
    assert {f"{failed} hello"} == {name for name, span in roots.items() if span.status.code == 2}
    assert roots[f"{failed} hello"].span_id == hook.parent_span_id
    assert ["exception"] == [happened.name for happened in roots[f"{failed} hello"].events]


@pytest.mark.parametrize(
    ("kind", "ended"), [("before_snapshot", "init"), ("after_restore", "restore")]
)
def test_spans_of_a_termination(kind: str, ended: str, tmp_path: Path) -> None:
    """A hook that hangs until the platform ends the environment is seen, with its name."""
    code = f"""{HOOKED}
import signal
def hook():
    os.kill(os.getpid(), signal.SIGTERM)
snapshots.register_{kind}(hook)
{PLAIN}"""
    with HandoffStub(tmp_path) as stub, SnapApi() as api:
        ending = run(api, tmp_path, code)
        ((_, body),) = stub.wait_for_posts(1)
    spans = _spans(body)
    name = f"{kind.replace('_', ' ')} app.hook"

    assert (0, "") == (ending.status, ending.err)
    assert not api.errors
    assert spans[f"{ended} hello"].span_id == spans[name].parent_span_id
    status = spans[f"{ended} hello"].status
    assert (2, f"SIGTERM in {name}") == (status.code, status.message)
