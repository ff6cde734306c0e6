"""The instructions of a function before which it may be interrupted. CPython 3.12 and later.

At each of them an exception is handled as at the instruction before it: by the handlers that the
source says. Between the end of a `with` block and the call of `__exit__`, for one, it would not be.
Source: CPython, Objects/exception_handling_notes.txt (the table of handlers), the `dis` module.
"""

from __future__ import annotations

from opcode import opmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

_CACHE = opmap["CACHE"]
_EXTENDED_ARG = opmap["EXTENDED_ARG"]
_JUMP_BACKWARD = opmap.get("JUMP_BACKWARD", -1)
_CALLS = frozenset(opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "CALL_KW") if name in opmap)
NOWHERE = -1


def loop_heads(code: CodeType) -> set[int]:
    """The offsets to which the loops go back."""
    instructions = code.co_code
    heads = set()
    argument = 0
    for offset in range(0, len(instructions), 2):
        operation = instructions[offset]
        argument = argument << 8 | instructions[offset + 1]
        if operation == _EXTENDED_ARG:
            continue
        if operation == _JUMP_BACKWARD:
            head = _next(instructions, offset) - 2 * argument
            heads.add(head)
            while instructions[head] == _EXTENDED_ARG:  # the event is that of what it extends
                head += 2
                heads.add(head)
        argument = 0
    return heads


def return_point(code: CodeType, offset: int) -> int:
    """Where the function goes on after the call at `offset`, or NOWHERE.

    NOWHERE when it is not at a call, or when other handlers are in force after it, as where the
    call is the last one of a `with` or `try` block.
    """
    instructions = code.co_code
    call = offset
    while call > 0 and instructions[call] == _CACHE:
        call -= 2
    if not 0 <= call < len(instructions) or instructions[call] not in _CALLS:
        return NOWHERE
    point = _next(instructions, call)
    return point if handler_at(code, point) == handler_at(code, call) else NOWHERE


def handler_at(code: CodeType, offset: int) -> int:
    """The offset of the handler for an exception at an instruction, or NOWHERE."""
    numbers = _numbers(code.co_exceptiontable)
    for start in numbers:
        length, target, _depth = next(numbers), next(numbers), next(numbers)
        if 2 * start <= offset < 2 * (start + length):
            return 2 * target
    return NOWHERE


def _numbers(table: bytes) -> Iterator[int]:
    """The numbers of the table: six bits a byte, the highest first, bit 6 for "more follow"."""
    number = 0
    for byte in table:
        number = number << 6 | byte & 0x3F
        if not byte & 0x40:
            yield number
            number = 0


def _next(instructions: bytes, offset: int) -> int:
    offset += 2
    while offset < len(instructions) and instructions[offset] == _CACHE:
        offset += 2
    return offset
