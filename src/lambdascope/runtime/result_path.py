"""Where in a result the value is that cannot be written; loaded only when a result was refused.

The encoder's error says what was wrong and not where. This walks the result in the encoder's order
until a value fails with the same words, and gives the way there as Python writes it, as in
`['items'][0].tags`. It is bounded, follows cycles once, and needs no deep stack.
"""

from __future__ import annotations

from lambdascope.runtime import serde
from lambdascope.runtime.faults import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Children = Iterator[tuple[str, object]]

_MAX_VALUES = 300_000
_MAX_KEY = 80
_MAX_SHOWN = 300
_LONG_INT_BITS = 2048
_CYCLE = "Circular reference detected"


class _Refused(Exception):
    """A value that cannot be written, in the encoder's words."""


def path_of(result: object, error: Exception) -> str:
    """The way to the value that `error` is about; "" for the result itself, or when not found."""
    wanted = text_of(error)
    # The text as a whole could not be written: the positions in the two errors differ.
    in_text = isinstance(error, UnicodeEncodeError)
    way: list[str] = []
    open_ids: dict[int, None] = {}  # in the order of `way`
    stack: list[Children] = [iter([("", result)])]
    for _ in range(_MAX_VALUES):
        following = next(stack[-1], None)
        if following is None:
            stack.pop()
            if not stack:
                break
            way.pop()
            open_ids.popitem()
            continue
        step, value = following
        try:
            if id(value) in open_ids:
                raise _Refused(_CYCLE)
            children = _children(value, in_text=in_text)
        except Exception as refusal:  # noqa: BLE001 - user classes may raise anything when read
            if text_of(refusal) == wanted or (in_text and isinstance(refusal, UnicodeEncodeError)):
                return _shown([*way[1:], step])
            continue
        if children is not None:
            stack.append(children)
            way.append(step)
            open_ids[id(value)] = None
    return ""


def _children(value: object, *, in_text: bool) -> Children | None:
    """What is in a value, None for one without. Raises what the encoder raises for the value."""
    if serde.is_atom(value) or isinstance(value, (str, int, float)):
        _check_atom(value, in_text=in_text)
        return None
    fields = serde.as_dict(value)
    if fields is not None:
        return iter([(_field(value, name), each) for name, each in fields.items()])
    if isinstance(value, dict):
        for key in value:
            _check_key(key)
        return iter([(_key(key), each) for key, each in value.items()])
    if isinstance(value, (list, tuple)):
        return ((f"[{index}]", each) for index, each in enumerate(value))
    return _converted(value, in_text=in_text)


def _converted(value: object, *, in_text: bool) -> Children | None:
    """What stands in the place of a value that JSON has no form of its own for."""
    if isinstance(value, bytes):
        _check_atom(value.decode(), in_text=in_text)
        return None
    if serde.is_decimal(value):
        return None
    other = serde.replaced(value)
    if isinstance(other, str):
        _check_atom(other, in_text=in_text)
        return None
    if isinstance(other, dict):
        return iter([(f".{name}", each) for name, each in other.items()])
    return iter([(".value", other)])


def _check_atom(value: object, *, in_text: bool) -> None:
    if in_text and isinstance(value, str):
        str.encode(value)
    if isinstance(value, int) and int.bit_length(value) > _LONG_INT_BITS:
        int.__repr__(value)  # raises for more digits than Python converts


def _check_key(key: object) -> None:
    if isinstance(key, bytes):
        key.decode()
    else:
        serde.check_key(key)


def _key(key: object) -> str:
    for kind in (str, bool, int, float, bytes):
        if isinstance(key, kind):
            # Not the __repr__ of a subclass, which may raise or tell anything.
            text = kind.__repr__(key)
            break
    else:
        text = "None"
    return f"[{text}]" if len(text) <= _MAX_KEY else f"[{text[:_MAX_KEY]}...]"


def _field(value: object, name: object) -> str:
    """The way to a field that `_asdict` has given."""
    if isinstance(name, str) and name.isidentifier() and name in dir(value):
        return f".{name}"
    return f"._asdict(){_key(name)}"


def _shown(way: list[str]) -> str:
    text = "".join(way)
    if len(text) <= _MAX_SHOWN:
        return text
    return f"{text[: _MAX_SHOWN // 2]}...{text[-_MAX_SHOWN // 2 :]}"
