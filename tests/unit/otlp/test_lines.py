"""Requests as lines of a log: whatever a log export does to them, they come back or are refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.otlp.lines import FORMS, PREFIX, SIGNALS, DamagedLine, Line, parse_line

ID = "0123456789abcdef" * 2


def line(body: bytes = b"body", *, signal: str = "traces", form: str = "protobuf") -> Line:
    """A line of five items."""
    return Line(signal=signal, form=form, id=ID, items=5, body=body)


def fields(one: Line | None) -> tuple[object, ...]:
    """All that a line says."""
    assert one is not None
    return one.signal, one.form, one.id, one.items, one.body


@given(body=st.binary(max_size=500), signal=st.sampled_from(SIGNALS), form=st.sampled_from(FORMS))
def test_round_trip(body: bytes, signal: str, form: str) -> None:
    """What was written is read again, also between what log exports put around it."""
    made = line(body, signal=signal, form=form)
    text = made.encode().decode("ascii")
    for wrapped in (
        text,
        f"2026-11-21T01:02:03.004Z\t{text}\n",
        json.dumps({"timestamp": 1, "message": f"{text}\n", "logStream": "s"}),
        json.dumps({"message": json.dumps({"message": text})}),
        f'"{text}","another column"',
    ):
        assert fields(made) == fields(parse_line(wrapped))


def test_line_is_one_plain_line() -> None:
    """There is nothing in it that any log or export has to escape."""
    text = line(bytes(range(256)) * 20).encode().decode("ascii")
    assert text == json.dumps(text).strip('"')
    assert text.startswith(f"{PREFIX} ")
    assert set(text) <= set(" -_=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


@pytest.mark.parametrize("text", ["", "START RequestId: 1", "lambdascope-otlp-2 traces", PREFIX])
def test_other_lines_are_not_ours(text: str) -> None:
    """Lines without the prefix are ignored."""
    assert parse_line(text) is None


@given(data=st.data())
def test_cut_line_is_damaged(data: st.DataObject) -> None:
    """A line that was cut anywhere behind its prefix is never taken for a whole one."""
    text = line(b"some body" * 20).encode().decode("ascii")
    cut = data.draw(st.integers(len(PREFIX) + 1, len(text) - 1))
    with pytest.raises(DamagedLine):
        parse_line(text[:cut].rstrip("="))


@given(text=st.text(max_size=200))
def test_garbage_is_damaged(text: str) -> None:
    """Whatever follows the prefix, the answer is a refusal."""
    with pytest.raises(DamagedLine):
        parse_line(f"{PREFIX} {text}")


@pytest.mark.parametrize(
    ("old", "new"), [("traces", "events"), (" 5 ", " x "), (ID, ID[:-1] + "G")]
)
def test_wrong_head_is_damaged(old: str, new: str) -> None:
    """Every word of the head is checked."""
    with pytest.raises(DamagedLine):
        parse_line(line().encode().decode("ascii").replace(old, new))


def test_bomb_is_refused() -> None:
    """A line that would inflate to very much is damaged."""
    with pytest.raises(DamagedLine):
        parse_line(line(bytes(65 * 1024 * 1024)).encode().decode("ascii"))
