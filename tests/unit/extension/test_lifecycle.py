"""The life cycle: what goes first, and what an end waits for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lambdascope.wire.extensions_api import Shutdown
from lambdascope_extension import lifecycle as module
from lambdascope_extension.end_tracker import EndTracker
from lambdascope_extension.flight import Flight
from lambdascope_extension.lifecycle import OVER, SHUTDOWN, Lifecycle
from lambdascope_extension.reactor import Reactor
from unit.extension.flusher_bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeClient:
    """A connection to the platform, which says nothing."""

    def __init__(self) -> None:
        self.pipe = os.pipe()

    def fileno(self) -> int:
        """Where the platform's events come."""
        return self.pipe[0]

    def ask_next(self) -> None:
        """Nothing comes."""


class FakeServer:
    """A server at which a body is being looked at."""

    is_working = True
    has_runtime = False

    def next_deadline(self) -> None:
        """Nothing is unfinished."""


class Life:
    """A life cycle, and what it moves."""

    def __init__(self) -> None:
        self.client, self.server, self.bench = FakeClient(), FakeServer(), Bench()
        self.reactor = Reactor()
        ends = EndTracker(subscribed=False)
        ends.on_hello()
        ends.on_runtime_gone()
        self.lifecycle = Lifecycle(
            client=self.client,  # type: ignore[arg-type]
            reactor=self.reactor,
            servers=[self.server],  # type: ignore[list-item]
            ends=ends,
            flusher=self.bench.flusher,
            flight=Flight(-1, ends, self.bench.buffer, self.bench.lines.append),
            background=False,
        )


@pytest.fixture
def life() -> Iterator[Life]:
    """One."""
    made = Life()
    yield made
    for fd in made.client.pipe:
        os.close(fd)


def test_events_go_first(life: Life) -> None:
    """However many clients are ready, the platform's event does not wait for all of them."""
    life.lifecycle._ask_next()
    assert {life.client.fileno()} == life.reactor.first


def test_end_waits_for_bodies_that_are_looked_at(life: Life) -> None:
    """A sender whose large body has come in whole before the end has it exported."""
    life.lifecycle._shut_down(
        Shutdown(reason="spindown", deadline_ms=module._budget_end_ms() + 60_000)
    )
    now = module.monotonic()
    life.lifecycle._advance(now)
    assert SHUTDOWN == life.lifecycle.phase
    life.server.is_working = False
    life.lifecycle._advance(now)
    assert OVER == life.lifecycle.phase
