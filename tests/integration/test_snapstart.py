"""SnapStart: hooks, restore/next, what a restored environment starts afresh, and each failure.

The platform is a fake (snapstart_kit.SnapApi), except where the emulator stands in its place. The
order of requests and hooks is also held against AWS's own Python client.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from observed import named, one, running, times
from otlp_recorder import OtlpRecorder
from rie_environment import ABSENT, RieEnvironment
from runtime_fakes import HandoffStub
from snapstart_kit import HOOKED, OURS, RESET, SILENT, SnapApi, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytest.importorskip("snapshot_restore_py", reason="snapshot_restore_py is not installed here")
protobuf = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    reason="the OpenTelemetry packages are not installed here",
)

HOUR_NS = 3_600_000_000_000
PLAIN = "def handler(event, context): return 1"
FOUR_HOOKS = (
    HOOKED
    + """
@snapshots.register_before_snapshot
def close_pool():
    note("before-1")

snapshots.register_before_snapshot(note, "before-2")
snapshots.register_after_restore(note, text="after-1")

@snapshots.register_after_restore
def open_pool():
    note("after-2")

def handler(event, context):
    note("handler")
    return 1
"""
)
HEALTHY = ["GET /restore/next", "GET /invocation/next"]
ALL = [
    *("loaded", "before-2", "before-1", "GET /restore/next", "after-1", "after-2"),
    *("GET /invocation/next", "handler", "POST /invocation/r0/response", "GET /invocation/next"),
]
BEFORE = "Runtime.BeforeSnapshotError"
AFTER = "Runtime.AfterRestoreError"


@pytest.fixture(params=["lambdascope", pytest.param("awslambdaric", marks=pytest.mark.peers)])
def argv(request: pytest.FixtureRequest) -> Sequence[str]:
    """Our runtime, and AWS's Python client."""
    if request.param == "lambdascope":
        return OURS
    return (str(request.getfixturevalue("peer_python")), "-m", "awslambdaric", "app.handler")


@pytest.mark.parametrize("after", [RESET, SILENT])
def test_order(argv: Sequence[str], after: str, tmp_path: Path) -> None:
    """Before-hooks run last first, after-hooks first first, around restore/next; one next each.

    The connection of restore/next is of no use any more, whether it is closed or silent.
    """
    with SnapApi(after=after) as api:
        ending = run(api, tmp_path, FOUR_HOOKS, argv=argv)

    assert ALL == api.order
    assert [b"1"] == api.responses
    assert (None, "") == (ending.status, ending.err)


def test_hooks_that_hooks_register(argv: Sequence[str], tmp_path: Path) -> None:
    """A hook that a hook of the same kind registers is run: the next one before, the last after."""
    code = f"""{HOOKED}
snapshots.register_before_snapshot(note, "b1")
snapshots.register_before_snapshot(snapshots.register_before_snapshot, note, "b-late")
snapshots.register_after_restore(snapshots.register_after_restore, note, "a-late")
snapshots.register_after_restore(note, "a1")
{PLAIN}
"""
    with SnapApi(events=0) as api:
        run(api, tmp_path, code, argv=argv)

    assert ["loaded", "b-late", "b1", HEALTHY[0], "a1", "a-late", HEALTHY[1]] == api.order


def test_without_the_package(tmp_path: Path) -> None:
    """A function that never imported the package has no hooks, and it is not imported for it."""
    code = """
import sys
def handler(event, context):
    return [name in sys.modules for name in ("snapshot_restore_py", "random")]
"""
    with SnapApi() as api:
        run(api, tmp_path, code)

    assert [*HEALTHY, "POST /invocation/r0/response", HEALTHY[1]] == api.order
    assert [b"[false, false]"] == api.responses


def test_on_demand_runs_no_hooks(argv: Sequence[str], tmp_path: Path) -> None:
    """Hooks of a function that is not started from a snapshot are left alone."""
    with SnapApi() as api:
        run(api, tmp_path, FOUR_HOOKS, argv=argv, AWS_LAMBDA_INITIALIZATION_TYPE="on-demand")

    assert ["loaded", *ALL[6:]] == api.order


FAILURES = {
    # hooks, how restore/next is answered: requests, exit status, error type, the body's type, text
    "before": (
        "snapshots.register_before_snapshot(lambda: {}['pool'])",
        200,
        (["loaded", "POST /init/error"], 64, BEFORE, "KeyError", "'pool'"),
    ),
    "before, exits": (
        "import sys; snapshots.register_before_snapshot(sys.exit, 3)",
        200,
        (["loaded", "POST /init/error"], 64, BEFORE, "SystemExit", "3"),
    ),
    "after": (
        """
snapshots.register_after_restore(lambda: 1 / 0)
snapshots.register_after_restore(note, "never")
""",
        200,
        (
            ["loaded", HEALTHY[0], "POST /restore/error"],
            65,
            AFTER,
            "ZeroDivisionError",
            "division by zero",
        ),
    ),
    "after, exits": (
        "import sys; snapshots.register_after_restore(sys.exit)",
        200,
        (["loaded", HEALTHY[0], "POST /restore/error"], 65, AFTER, "SystemExit", ""),
    ),
    "refused": (
        "snapshots.register_after_restore(note, 'never')",
        403,
        (["loaded", HEALTHY[0], "POST /init/error"], 64, BEFORE, None, "refused"),
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failures(argv: Sequence[str], case: str, tmp_path: Path) -> None:
    """A failure before the restore is an init error and status 64, one after it a restore error."""
    hooks, status, (order, exit_status, header, name, text) = FAILURES[case]
    with SnapApi(status=status) as api:
        ending = run(api, tmp_path, f"{HOOKED}\n{hooks}\n{PLAIN}", argv=argv)
    ((head, body),) = api.errors

    assert order == api.order
    assert exit_status == ending.status
    assert header == head["lambda-runtime-function-error-type"]
    assert name in (None, body["errorType"])
    assert text in body["errorMessage"]
    assert "Traceback (most recent call last)" not in ending.err


def test_failed_hook_is_logged(tmp_path: Path) -> None:
    """The function's log has the failure with the hook's own frames, and none of ours."""
    hooks = """
@snapshots.register_after_restore
def open_pool():
    raise OSError("no pool")
"""
    with SnapApi() as api:
        ending = run(api, tmp_path, f"{HOOKED}\n{hooks}\n{PLAIN}")

    assert "[ERROR] OSError: no pool" in ending.out
    assert "in open_pool" in ending.out
    assert "snapshot.py" not in ending.out
    assert ["in open_pool"] == [
        line.split(", ")[2].splitlines()[0] for line in api.errors[0][1]["stackTrace"]
    ]


def test_platform_that_is_gone(tmp_path: Path) -> None:
    """A Runtime API that ends the connection without an answer: reported, and status 64."""

    def end() -> None:
        raise OSError("the fake ends the connection")

    with SnapApi(restored=end) as api:
        ending = run(api, tmp_path, PLAIN)

    assert ["GET /restore/next", "POST /init/error"] == api.order
    assert BEFORE == api.errors[0][1]["errorType"]
    assert "restore/next: " in api.errors[0][1]["errorMessage"]
    assert 64 == ending.status


def test_terminated_while_it_waits(tmp_path: Path) -> None:
    """SIGTERM during restore/next, as when a snapshot has been taken, ends with status 0."""
    with SnapApi(hold=True) as api:
        ending = run(api, tmp_path, FOUR_HOOKS, until=api.waiting)

    assert ALL[:4] == api.order
    assert (0, "") == (ending.status, ending.err)


@pytest.mark.parametrize("kind", ["before_snapshot", "after_restore"])
def test_terminated_in_a_hook(kind: str, tmp_path: Path) -> None:
    """SIGTERM interrupts a hook as it does a handler; nothing failed, so nothing is reported."""
    code = f"""{HOOKED}
import signal
snapshots.register_before_snapshot(note, "b")
def hook():
    os.kill(os.getpid(), signal.SIGTERM)
    note("never")
snapshots.register_{kind}(hook)
{PLAIN}
"""
    with SnapApi() as api:
        ending = run(api, tmp_path, code)

    assert {"before_snapshot": ["loaded"], "after_restore": ["loaded", "b", HEALTHY[0]]}[
        kind
    ] == api.order
    assert (0, "") == (ending.status, ending.err)


def test_async_handler(tmp_path: Path) -> None:
    """The event loop of an async handler is made after the restore."""
    code = f"""{HOOKED}
import asyncio
real = asyncio.new_event_loop
def new_event_loop():
    note("loop")
    return real()
asyncio.new_event_loop = new_event_loop
async def handler(event, context): return 1
"""
    with SnapApi() as api:
        ending = run(api, tmp_path, code)

    assert ["loaded", *HEALTHY, "loop", "POST /invocation/r0/response", HEALTHY[1]] == api.order
    assert [b"1"] == api.responses
    assert "" == ending.err


def test_async_hook(tmp_path: Path) -> None:
    """An async function as a hook is not run, and that is said."""
    code = f"{HOOKED}\n@snapshots.register_after_restore\nasync def hook(): note('never')\n{PLAIN}"
    with SnapApi(events=0) as api:
        ending = run(api, tmp_path, code)

    assert ["loaded", *HEALTHY] == api.order
    assert "lambdascope: after restore app.hook: an async function cannot be a hook" in ending.err


def test_random_state(tmp_path: Path) -> None:
    """Two environments from one state draw different numbers; a hook may seed them again."""
    seeded = f"{HOOKED}\nimport random\nrandom.seed(1)\n"
    handler = "def handler(e, c): return random.random()\n"
    fixed = "snapshots.register_after_restore(random.seed, 1)\n"
    drawn = []
    for code in (seeded + handler, seeded + handler, seeded + fixed + handler):
        with SnapApi() as api:
            run(api, tmp_path, code)
            drawn += api.responses

    assert 3 == len(set(drawn))
    assert b"0.13436424411240122" == drawn[2]


def test_address_is_read_again(tmp_path: Path) -> None:
    """The Runtime API is asked for where it is after the restore, hooks included."""
    code = f"""{HOOKED}
second = os.environ["SECOND"]
snapshots.register_before_snapshot(os.environ.__setitem__, "AWS_LAMBDA_RUNTIME_API", second)
{PLAIN}
"""
    with SnapApi() as first, SnapApi() as second:
        run(first, tmp_path, code, until=second.idle, SECOND=second.address)

    assert ["loaded", "GET /restore/next"] == first.order
    assert [HEALTHY[1], "POST /invocation/r0/response", HEALTHY[1]] == second.order


def test_bad_address_after_the_restore(tmp_path: Path) -> None:
    """An address that is none is said; the one from before is kept."""
    code = f"""{HOOKED}
snapshots.register_after_restore(os.environ.__setitem__, "AWS_LAMBDA_RUNTIME_API", "no address")
{PLAIN}
"""
    with SnapApi() as api:
        ending = run(api, tmp_path, code)

    assert ["loaded", *HEALTHY, "POST /invocation/r0/response", HEALTHY[1]] == api.order
    assert "lambdascope: AWS_LAMBDA_RUNTIME_API after the restore: " in ending.err


def test_handoff_is_found_after_the_restore(tmp_path: Path) -> None:
    """The extension is looked for where it is after the restore; nobody is greeted before it."""
    (tmp_path / "new").mkdir()
    with HandoffStub(tmp_path) as old, HandoffStub(tmp_path / "new") as new:

        def restored() -> None:
            assert [] == old.hellos
            old.close()
            new.file.rename(old.file)

        with SnapApi(restored=restored) as api:
            ending = run(api, tmp_path, FOUR_HOOKS)

    assert ALL == api.order
    assert "" == ending.err
    assert ([], 1, 1) == (old.hellos, len(new.hellos), len(new.posts))


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
    import lambdascope.clock as clock
    real = clock.time_ns
    clock.time_ns = lambda: real() + {HOUR_NS}
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


EMULATED = """
    import snapshot_restore_py as snapshots
    snapshots.register_before_snapshot(print, "before")
    snapshots.register_after_restore(print, "after")
    def handler(event, context):
        print("handler")
        return event
"""


def test_under_the_emulator(tmp_path: Path) -> None:
    """Stopped and restored: hooks run, and the spans reach a backend by the extension."""
    with (
        OtlpRecorder() as recorder,
        running(tmp_path, EMULATED, endpoint=recorder.endpoint, init_type="snap-start") as function,
    ):
        record = function.invoke(b'{"a": 1}')
        function.shutdown()
        spans = recorder.wait_for_spans(4)
        printed = function.lines.texts("function")

    restore, invoke = one(spans, "restore shop"), one(spans, "shop")
    assert b'{"a": 1}' == record.answer
    assert ["before", "after", "handler"] == printed
    assert restore["traceId"] in [link["traceId"] for link in invoke["links"]]
    assert times(one(spans, "init shop"))[1] <= times(restore)[0]
    assert 1 == len(named(spans, "after restore builtins.print"))


@pytest.mark.parametrize(
    ("kind", "error_type"), [("before_snapshot", BEFORE), ("after_restore", AFTER)]
)
def test_failures_under_the_emulator(kind: str, error_type: str, tmp_path: Path) -> None:
    """The emulator, whose states are those of AWS's server, takes both reports."""
    code = f"""
    import snapshot_restore_py as snapshots
    snapshots.register_{kind}(lambda: 1 / 0)
    def handler(event, context): return event
    """
    with running(tmp_path, code, endpoint=None, init_type="snap-start") as function:
        record = function.invoke(b"{}")

    assert error_type == record.error_type
    assert b"division by zero" in record.answer


@pytest.mark.rie
def test_aws_emulator_knows_no_snapshots(rie: Path, tmp_path: Path) -> None:
    """AWS's emulator has no restore/next: it is told, and takes, what went wrong."""
    task = tmp_path / "task"
    task.mkdir()
    (task / "app.py").write_text(PLAIN)
    variables = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    with RieEnvironment(rie, tmp_path, extension=ABSENT, variables=variables) as environment:
        answer = environment.invoke({})

    assert BEFORE == answer.body["errorType"]
    assert "answered 404 to restore/next" in answer.body["errorMessage"]
