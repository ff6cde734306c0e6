"""Faults that are huge, endless or hostile: what is told of them fits, and never fails."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

from fault_kit import MEBIBYTE, body_of, caught, raise_
from lambdascope.runtime.faults import (
    ErrorReport,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class _SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _StrangeText(str):
    __slots__ = ()


class _StrangeError(Exception):
    def __str__(self) -> str:
        return _StrangeText("strange")


class _HostileError(Exception):
    @property
    def __cause__(self) -> object:
        raise ZeroDivisionError("hostile")


def test_broken_text() -> None:
    """An exception whose __str__ raises is reported all the same."""
    body = body_of(lambda: raise_(_SilentError()))

    assert "<_SilentError whose text raised RuntimeError>" == body["errorMessage"]
    assert "_SilentError" == body["errorType"]


def test_text_is_plain_text() -> None:
    """A __str__ that returns a subclass of str gives its content."""
    assert str is type(text_of(_StrangeError()))


def test_hostile_exception() -> None:
    """An exception that cannot be described at all still has its type and its message."""
    body = body_of(lambda: raise_(_HostileError("m")))

    assert "_HostileError" == body["errorType"]
    assert body["errorMessage"].startswith("m (no more can be told: ZeroDivisionError)")
    assert [] == body["stackTrace"]


def test_recursion_without_end() -> None:
    """Thousands of frames are told by their first and last ones."""

    def recurse(depth: int) -> None:
        other(depth + 1)

    def other(depth: int) -> None:
        recurse(depth + 1)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        body = body_of(lambda: recurse(0))
    finally:
        sys.setrecursionlimit(limit)

    trace = body["stackTrace"]
    assert "RecursionError" == body["errorType"]
    assert len(trace) == 201
    assert re.fullmatch(r"  \[\d{5} frames left out\]\n", trace[100])
    assert "in <lambda>" in trace[0]
    assert "in recurse" in trace[-1] + trace[-2]


def test_huge_message() -> None:
    """A message of any size fits the error body, with a word on what is missing."""
    report = ErrorReport(ValueError("\u20ac" * 20 * MEBIBYTE), "id")

    data = report.to_json()

    assert len(data) < MEBIBYTE
    assert json.loads(data)["errorMessage"].endswith("more characters]")


def test_huge_everything() -> None:
    """Also with huge causes and notes the body fits, and keeps type, message and stack."""
    error = ValueError("\u20ac" * 120_000)
    for _ in range(16):
        error.add_note("\u20ac" * 8000)
    error.__cause__ = ValueError("\u20ac" * 8000)

    data = ErrorReport(caught(lambda: raise_(error)), "id").to_json()
    body = json.loads(data)

    assert len(data) < MEBIBYTE
    assert ["errorMessage", "errorType", "requestId", "stackTrace"] == list(body)
    assert 120_000 == len(body["errorMessage"])
    assert body["stackTrace"]


def test_huge_source_lines(tmp_path: Path) -> None:
    """A line of minified code does not make the body huge."""
    source = f"def f(): raise ValueError('{'a' * 2_000_000}')"
    path = tmp_path / "big.py"
    path.write_text(source)
    space: dict[str, Callable[[], None]] = {}
    exec(compile(source, str(path), "exec"), space)

    body = body_of(space["f"])

    assert len(body["stackTrace"][-1]) < 5000
