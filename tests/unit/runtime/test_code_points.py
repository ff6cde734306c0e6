"""Where functions may be interrupted, with the disassembler of the interpreter as the oracle."""

from __future__ import annotations

import asyncio.base_events
import contextlib
import dis
import functools
import inspect
import itertools
import json.decoder
import logging
import pickle
import tarfile
import threading
from types import CodeType, ModuleType
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime.code_points import NOWHERE, handler_at, loop_heads, return_point

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = [
    asyncio.base_events,
    contextlib,
    functools,
    inspect,
    json.decoder,
    logging,
    pickle,
    tarfile,
    threading,
]


def _codes(module: ModuleType) -> Iterator[CodeType]:
    """Every function of the module."""
    with open(str(module.__file__), "rb") as source:
        todo = [compile(source.read(), str(module.__file__), "exec", dont_inherit=True)]
    while todo:
        code = todo.pop()
        yield code
        todo += [const for const in code.co_consts if isinstance(const, CodeType)]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_loop_heads_are_where_loops_go_back_to(module: ModuleType) -> None:
    """Every backward jump that is looked for leads to a head; extended heads are extended on."""
    for code in _codes(module):
        instructions = list(dis.get_instructions(code))
        jumps = {i.argval for i in instructions if i.opname == "JUMP_BACKWARD"}
        extended = {i.offset for i in instructions if i.opname == "EXTENDED_ARG"}
        heads = loop_heads(code)
        assert jumps <= heads
        assert all(head - 2 in extended for head in heads - jumps)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_handlers_are_those_of_the_table(module: ModuleType) -> None:
    """The handler of each instruction is the one in the table of the function."""
    for code in _codes(module):
        table = dis._parse_exception_table(code)  # type: ignore[attr-defined]
        for instruction in dis.get_instructions(code):
            offset = instruction.offset
            expected = [e.target for e in table if e.start <= offset < e.end]
            assert [handler_at(code, offset)] == (expected or [NOWHERE])


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_return_points_have_the_handlers_of_their_call(module: ModuleType) -> None:
    """After a call the function is interrupted only where the same handlers are in force."""
    seen = 0
    for code in _codes(module):
        for here, after in _pairs(code):
            point = return_point(code, here.offset)
            if point == NOWHERE:
                continue
            seen += 1
            assert here.opname.startswith("CALL")
            assert point == after.offset
            assert handler_at(code, point) == handler_at(code, here.offset)
    assert seen > 10


def _pairs(code: CodeType) -> Iterator[tuple[dis.Instruction, dis.Instruction]]:
    return itertools.pairwise(dis.get_instructions(code))


def test_the_last_call_of_a_with_block_has_none() -> None:
    """Between the block's last call and `__exit__` the block's handler is not in force."""

    def returns(lock: threading.Lock) -> bool:
        with lock:
            return lock.locked()

    code = returns.__code__
    calls = [i for i in dis.get_instructions(code) if i.opname == "CALL"]

    assert return_point(code, calls[0].offset) == NOWHERE
    assert return_point(code, 0) == NOWHERE
    assert return_point(code, -1) == NOWHERE
