"""The buffer and its ledger: nothing is lost without a count."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambdascope.wire.names import CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF
from lambdascope_extension.buffer import Batch, Buffer, Message
from lambdascope_extension.ledger import SIGNALS, Ledger
from unit.extension.loopback import is_balanced


def message(
    body: bytes = b"body",
    *,
    signal: str = "traces",
    kind: str = CONTENT_TYPE_PROTOBUF,
    items: int = 1,
    received: float = 1.0,
    urgent: bool = False,
) -> Message:
    """One accepted body."""
    return Message(
        signal=signal, kind=kind, body=body, items=items, received=received, urgent=urgent
    )


def filled(*messages: Message, batch_bytes: int = 1000, max_bytes: int = 10_000) -> Buffer:
    """A buffer that holds these."""
    buffer = Buffer(Ledger(), max_bytes=max_bytes, batch_bytes=batch_bytes)
    assert [True] * len(messages) == [buffer.put(one) for one in messages]
    return buffer


def taken(buffer: Buffer) -> Batch:
    """The next batch, which must be there."""
    batch = buffer.take()
    assert batch is not None
    return batch


def test_bodies_of_a_signal_are_appended() -> None:
    """One batch carries all bodies of a signal in the order in which they came."""
    buffer = filled(message(b"a", items=2), message(b"b"), message(b"c", signal="logs"))
    batch = taken(buffer)
    assert (b"ab", 3, "traces") == (batch.body, batch.items, batch.signal)


def test_batches_are_cut_between_bodies() -> None:
    """A batch stays under the cap, except that one larger body goes alone."""
    buffer = filled(*(message(bytes([65 + n]) * 400) for n in range(4)), message(b"x" * 3000))
    assert [800, 800, 3000] == [len(taken(buffer).body) for _ in range(3)]
    assert buffer.take() is None


def test_json_bodies_stay_alone() -> None:
    """JSON cannot be appended, so every body is a batch, apart from protobuf of its signal."""
    buffer = filled(
        message(b"{1}", kind=CONTENT_TYPE_JSON, received=1),
        message(b"pb", received=2),
        message(b"{2}", kind=CONTENT_TYPE_JSON, received=3),
    )
    assert [b"{1}", b"pb", b"{2}"] == [taken(buffer).body for _ in range(3)]


def test_returned_batch_keeps_its_id_and_its_place() -> None:
    """What comes back is taken again first, as the same request with the same id."""
    buffer = filled(message(b"old", received=1))
    first = taken(buffer)
    buffer.put(message(b"new", received=2))
    buffer.put_back(first)
    again = taken(buffer)
    assert (first.id, b"old") == (again.id, again.body)
    assert b"new" == taken(buffer).body


def test_full_buffer_refuses() -> None:
    """A body without room is not accepted and not counted."""
    buffer = filled(message(b"x" * 900), max_bytes=1000)
    assert not buffer.put(message(b"y" * 101))
    assert 1 == buffer.ledger.accounts["traces"].accepted


def test_full_buffer_gives_up_what_failed_before() -> None:
    """New bodies push out the oldest batches that a collector has refused, and count them."""
    buffer = filled(message(b"x" * 900, items=7), max_bytes=1000)
    buffer.put_back(taken(buffer))
    assert buffer.put(message(b"y" * 900))
    account = buffer.ledger.accounts["traces"]
    assert ({"buffer_full": 7}, 1, 900) == (account.dropped, account.held, buffer.held_bytes)


def test_failures_go_first() -> None:
    """What tells of a failed invocation overtakes all else, and never shares a batch with it."""
    buffer = filled(
        message(b"old", received=1),
        message(b"log", signal="logs", received=2),
        message(b"failed", received=3, urgent=True),
        message(b"again", received=4, urgent=True),
    )
    assert buffer.has_urgent()
    assert not buffer.has_urgent({"traces"})
    assert [b"failedagain", b"old", b"log"] == [taken(buffer).body for _ in range(3)]
    assert not buffer.has_urgent()


def test_failures_that_came_back_stay_first() -> None:
    """A returned batch of failures is before newer ones, and both before ordinary ones."""
    buffer = filled(message(b"one", received=2, urgent=True), message(b"old", received=1))
    first = taken(buffer)
    buffer.put_back(first)
    buffer.put(message(b"two", received=3, urgent=True))
    assert buffer.has_urgent()
    assert [b"one", b"two", b"old"] == [taken(buffer).body for _ in range(3)]


def test_failures_are_given_up_last() -> None:
    """A failure pushes out what failed before, then what is new, and at last older failures."""
    buffer = filled(
        message(b"r" * 300, items=1, received=1),
        message(b"u" * 300, items=10, urgent=True),
        max_bytes=1000,
    )
    urgent, returned = taken(buffer), taken(buffer)
    buffer.put_back(urgent)
    buffer.put_back(returned)
    buffer.put(message(b"n" * 300, items=100))
    dropped = buffer.ledger.accounts["traces"].dropped
    counts = []
    for _ in range(3):
        assert buffer.put(message(b"f" * 300, items=0, urgent=True))
        counts.append(dropped["buffer_full"])
    assert [1, 101, 111] == counts


def test_ordinary_bodies_do_not_push_out_failures() -> None:
    """A body of a good invocation is refused while only failures are held."""
    buffer = filled(message(b"u" * 900, urgent=True), max_bytes=1000)
    buffer.put_back(taken(buffer))
    assert not buffer.put(message(b"y" * 900))
    assert buffer.put(message(b"y" * 900, urgent=True))


def test_old_returned_batches_expire() -> None:
    """What was tried, came back and is too old is dropped; what was never tried is not."""
    buffer = filled(message(b"tried", items=2, received=1))
    buffer.put_back(taken(buffer))
    buffer.put(message(b"fresh", received=2))
    buffer.expire(3.0)
    account = buffer.ledger.accounts["traces"]
    assert ({"too_old": 2}, 1, 5) == (account.dropped, account.held, buffer.held_bytes)


def test_batch_under_way_keeps_its_room() -> None:
    """A batch that is being sent cannot be pushed out, and its bytes count."""
    buffer = filled(message(b"x" * 900), max_bytes=1000)
    taken(buffer)
    assert not buffer.put(message(b"y" * 900))


def test_skipped_signals_are_neither_taken_nor_pending() -> None:
    """Signals whose collector is to be left alone are as if they were not there."""
    buffer = filled(message(b"t", received=1), message(b"log", signal="logs", received=2))
    assert (3, 2.0) == buffer.pending({"traces"})
    batch = buffer.take({"traces"})
    assert batch is not None
    assert "logs" == batch.signal
    assert buffer.take({"traces"}) is None
    assert (0, 0.0) == buffer.pending({"traces"})


@pytest.mark.parametrize(("rejected", "exported"), [(0, 10), (3, 7), (99, 0), (-5, 10)])
def test_partial_success_is_split(rejected: int, exported: int) -> None:
    """Rejected items are dropped, never more than there were."""
    buffer = filled(message(items=10))
    buffer.exported(taken(buffer), rejected=rejected)
    account = buffer.ledger.accounts["traces"]
    assert (exported, 10 - exported) == (account.exported, account.dropped.get("rejected", 0))


def test_retracted_batch_is_not_taken_again() -> None:
    """A batch that turned out to be exported after all leaves the queue once."""
    buffer = filled(message())
    batch = taken(buffer)
    buffer.put_back(batch)
    assert [True, False] == [buffer.retract(batch), buffer.retract(batch)]
    assert buffer.take() is None


def test_summary_is_silent_when_all_got_through() -> None:
    """There is a line only about what was dropped, refused or kept."""
    buffer = filled(message(items=3), message(signal="logs"))
    buffer.exported(taken(buffer))
    buffer.drop(taken(buffer), "shutdown")
    buffer.ledger.refuse("too_large")
    assert (
        "logs: 1 records accepted, 0 exported, 1 dropped (shutdown 1), 0 held; "
        "1 requests refused (too_large 1)"
    ) == buffer.ledger.summary()
    assert "" == Ledger().summary()


class Life(RuleBasedStateMachine):
    """Any order of everything that can happen to a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = Buffer(Ledger(), max_bytes=500, batch_bytes=120)
        self.under_way: list[Batch] = []
        self.clock = 1.0

    @rule(
        signal=st.sampled_from(SIGNALS),
        kind=st.sampled_from((CONTENT_TYPE_PROTOBUF, CONTENT_TYPE_JSON)),
        size=st.integers(0, 300),
        items=st.integers(0, 50),
    )
    def put(self, signal: str, kind: str, size: int, items: int) -> None:
        """A sender posts."""
        self.clock += 1
        body = b"x" * size
        self.buffer.put(message(body, signal=signal, kind=kind, items=items, received=self.clock))

    @rule(skip=st.sets(st.sampled_from(SIGNALS)))
    def take(self, skip: set[str]) -> None:
        """An export begins."""
        batch = self.buffer.take(skip)
        if batch is not None:
            assert batch.signal not in skip
            self.under_way.append(batch)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), rejected=st.integers(-1, 60))
    def finish(self, data: st.DataObject, rejected: int) -> None:
        """An export ends in one of its ways."""
        batch = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        how = data.draw(st.sampled_from(("exported", "drop", "put_back", "retract")))
        if how == "exported":
            self.buffer.exported(batch, rejected=rejected)
        elif how == "drop":
            self.buffer.drop(batch, "status_400")
        else:
            self.buffer.put_back(batch)
            if how == "retract":
                assert self.buffer.retract(batch)
                self.buffer.exported(batch)

    @rule(signals=st.sets(st.sampled_from(SIGNALS)))
    def drop_all(self, signals: set[str]) -> None:
        """The collector cannot be reached at all."""
        self.buffer.drop_all("no_sender", signals)
        assert (0, 0.0) == self.buffer.pending(set(SIGNALS) - signals)

    @invariant()
    def ledger_is_balanced(self) -> None:
        """accepted = exported + dropped + held for every signal, and bytes agree."""
        for account in self.buffer.ledger.accounts.values():
            assert is_balanced(account)
            assert account.held >= 0
        under_way = sum(len(batch.body) for batch in self.under_way)
        assert self.buffer.pending()[0] + under_way == self.buffer.held_bytes <= 500


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
