"""The judge of the chaos runs: it must see what it is there to see."""

from __future__ import annotations

import pytest

from chaos.collector import Request
from chaos.verdict import Verdict
from fake_collector import traces
from lambdascope.wire import names

LEDGER = {"accepted": 2, "exported": 2, "held": 0}


class Life:
    """A life whose handlers made these spans and whose extension said these ledgers."""

    name = "life"
    invocations = 1
    generations = 1

    def __init__(
        self,
        *made: str,
        ledgers: tuple[dict[str, int], ...] = (),
        spooled: tuple[str, ...] = (),
    ) -> None:
        self.possible = set(made)
        self.lines: list[str] = []
        self._ledgers = list(ledgers)
        self.spooled = [body(*spooled)] if spooled else []

    def made(self) -> tuple[set[str], set[str]]:
        """Spans, and no invocation."""
        return self.possible, set()

    def ledgers(self) -> list[dict[str, int]]:
        """What was said at the end."""
        return self._ledgers

    def not_handed_over(self) -> int:
        """Nothing."""
        return 0


def request(batch_id: str, *spans: str, status: int = 200, rejected: int = 0) -> Request:
    """A batch at the collector."""
    taken = status == 200
    return Request(1.0, names.TRACES_PATH, batch_id, "", status, taken, rejected, body(*spans))


def body(*spans: str) -> bytes:
    """A request; each span has an id of its name."""
    return b"".join(traces(one).replace(b"s" * 8, one.encode()[:8].ljust(8, b"_")) for one in spans)


@pytest.mark.parametrize(
    ("life", "requests", "said"),
    [
        (Life("a", "b"), [request("1", "a", "b")], ""),
        (Life("a", "b"), [request("1", "a", "b"), request("1", "a", "b")], ""),
        (Life("a", "b"), [request("1", "a")], "1 lost, 0 counted"),
        (Life("a", "b"), [request("1", "a"), request("2", "a", "b")], "arrived in two batches"),
        (Life("a"), [request("1", "a", status=401)], "status_401: 0 counted, 1 at"),
        (Life("a", "b"), [request("1", "a", "b", rejected=1)], "rejected: 0 counted, 1 at"),
        (Life("a", ledgers=({**LEDGER, "exported": 1},)), [request("1", "a")], "out of balance"),
        (Life("a", ledgers=(LEDGER,)), [request("1", "a")], "accepted, 1 spans known"),
        (
            Life("a", "b", ledgers=({**LEDGER, "exported": 1, "dropped too_old": 1},)),
            [request("1", "a")],
            "",
        ),
        (
            Life("a", "b", ledgers=(LEDGER | {"exported": 0, "dropped too_old": 2},)),
            [request("1", "a", "b", status=503)],
            "",
        ),
        (Life("a"), [request("1", "a", status=503)], "1 lost, 0 counted"),
        (Life(), [request("1", "a", status=503)], "1 lost, 0 counted"),
        (
            Life("a", ledgers=(LEDGER | {"exported": 1, "dropped too_old": 1},)),
            [],
            "2 accepted, 0 spans known, 1 counted, 1 lost",
        ),
        (
            Life(
                "a", "b", ledgers=(LEDGER | {"accepted": 1, "exported": 0, "dropped too_old": 1},)
            ),
            [],
            "2 lost, 1 counted",
        ),
        (
            Life("a", "b", ledgers=(LEDGER | {"exported": 1, "dropped too_old": 1},)),
            [request("1", "of the platform")],
            "2 lost, 1 counted",
        ),
        (Life("a", "b", "c", spooled=("b",)), [request("1", "a")], "1 lost, 0 counted"),
        (
            Life(
                "a", "b", ledgers=(LEDGER | {"exported": 1, "dropped spooled": 1},), spooled=("b",)
            ),
            [request("1", "a")],
            "",
        ),
    ],
)
def test_what_is_wrong_is_said(life: Life, requests: list[Request], said: str) -> None:
    """A span that is lost, doubled or counted wrongly is a fault, and nothing else is."""
    verdict = Verdict()
    verdict.add(life, requests)
    assert bool(said) == bool(verdict.faults)
    assert said in "".join(verdict.faults)
