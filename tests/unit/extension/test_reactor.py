"""The reactor: who is called when many are ready."""

from __future__ import annotations

import os

from lambdascope_extension import reactor as module
from lambdascope_extension.reactor import Reactor


def test_some_go_first_and_nobody_starves() -> None:
    """However many others are ready, one that goes first waits for one of them at most, and all
    others have their turns."""
    pipes = [os.pipe() for _ in range(6)]
    called: list[int] = []
    reactor = Reactor()
    numbers = {read: number for number, (read, _) in enumerate(pipes)}
    for read, write in pipes:
        reactor.watch(read, lambda mask, read=read: called.append(numbers[read]))  # type: ignore[misc]
        os.write(write, b"x")
    reactor.first.add(pipes[4][0])
    before = module._TURN_S
    module._TURN_S = 0.0  # each callback is a turn
    try:
        for _ in range(5):
            reactor.run_once(0)
    finally:
        module._TURN_S = before
        for pair in pipes:
            for fd in pair:
                reactor.forget(fd)
                os.close(fd)
    assert [4, 0, 4, 1, 4, 2, 4, 3, 4, 5] == called
    assert set() == reactor.first


def test_all_are_called_in_one_turn() -> None:
    """Callbacks that take no time are all made after one look."""
    pipes = [os.pipe() for _ in range(3)]
    called: list[int] = []
    reactor = Reactor()
    for read, write in pipes:
        reactor.watch(read, lambda mask, read=read: called.append(read))  # type: ignore[misc]
        os.write(write, b"x")
    before = module._TURN_S
    module._TURN_S = 60.0
    try:
        reactor.run_once(0)
    finally:
        module._TURN_S = before
        for pair in pipes:
            for fd in pair:
                os.close(fd)
    assert [read for read, _ in pipes] == called
