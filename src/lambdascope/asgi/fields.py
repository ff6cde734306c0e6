"""Reads fields of an event, which may be anything: each function raises ValueError naming it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

T = TypeVar("T")


def bare_value(event: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """The field, or None where it is missing or null."""
    value = event.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise ValueError(f"the event's {name} is a {type(value).__name__}, not a {kind.__name__}")


def text(event: Mapping[str, Any], name: str, *, default: str | None = None) -> str:
    """The field, which must be there unless there is a default."""
    value = bare_value(event, name, str)
    if value is None:
        value = default
    if value is None:
        raise ValueError(f"the event has no {name}")
    return value


def mapping(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The field, empty where it is missing."""
    return bare_value(event, name, dict) or {}


def texts(event: Mapping[str, Any], name: str) -> list[str]:
    """The field, a list of text, empty where it is missing."""
    values = bare_value(event, name, list) or []
    return [_checked(value, name) for value in values]


def entries(event: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    """Pairs of names and values; a name's value may be a list, or null, which counts as none."""
    return list(_entries(mapping(event, name), name))


def _entries(fields: dict[str, Any], name: str) -> Iterator[tuple[str, str]]:
    for key, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                yield _checked(key, name), _checked(each, f"{name} {str(key)[:60]!r}")


def _checked(value: object, name: str) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"the event's {name} has a {type(value).__name__} where text belongs")
