"""SnapStart: hooks, restore/next, what a restored environment starts afresh, and each failure.

The platform is a fake (snapstart_kit.SnapApi), except where the emulator stands in its place. The
order of requests and hooks is also held against AWS's own Python client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime_fakes import HandoffStub
from snapstart_kit import (
    AFTER,
    BEFORE,
    FOUR_HOOKS,
    HOOKED,
    OURS,
    PLAIN,
    RESET,
    SILENT,
    SnapApi,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytest.importorskip("snapshot_restore_py", reason="snapshot_restore_py is not installed here")
HEALTHY = ["GET /restore/next", "GET /invocation/next"]
ALL = [
    *("loaded", "before-2", "before-1", "GET /restore/next", "after-1", "after-2"),
    *("GET /invocation/next", "handler", "POST /invocation/r0/response", "GET /invocation/next"),
]


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
