"""The common base of all messages: equality and a readable form; and JSON text without `json`.

Messages are slotted classes with keyword-only construction instead of dataclasses, because
importing `dataclasses` costs more than everything else that runs before the first next (about 8
ms). All API modules of `wire` use this one; it knows none of them.
"""

from __future__ import annotations

from lambdascope.wire.errors import LocalProtocolError

_SPECIAL = frozenset('"\\')


class Message:
    """Base of the messages; subclasses list their fields in `__slots__`."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # messages are values that may hold dicts

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"


def plain_json(text: str) -> str:
    """`text` as a JSON string, for the two requests that are sent before `json` is imported.

    Raises LocalProtocolError for text that would need an escape: these are names of ours.
    """
    if not text.isascii() or not text.isprintable() or not _SPECIAL.isdisjoint(text):
        raise LocalProtocolError(f"{text[:60]!r} cannot stand in a request without an escape")
    return f'"{text}"'
