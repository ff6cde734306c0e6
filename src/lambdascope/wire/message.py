"""The common base of all messages: equality and a readable form, nothing else.

Messages are slotted classes with keyword-only construction instead of dataclasses, because
importing `dataclasses` costs more than everything else that runs before the first next (about 8
ms).
"""

from __future__ import annotations


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
