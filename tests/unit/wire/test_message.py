"""The base of the messages: values that compare and can be read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from lambdascope.wire.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from lambdascope.wire.extensions_api import ExtensionNext
from lambdascope.wire.message import plain_json
from lambdascope.wire.runtime_api import InitError, Next
from wire_texts import PLAIN_JSON


def test_messages_are_equal_by_kind_and_fields() -> None:
    """The same kind with the same fields is equal; anything else is not."""
    assert InitError(body=b"a") == InitError(body=b"a")
    assert InitError(body=b"a") != InitError(body=b"a", restore=True)
    assert Next() != ExtensionNext(identifier="a")
    assert Next() != "next"


def test_messages_cannot_be_hashed() -> None:
    """They may hold dicts, so they are no keys."""
    with pytest.raises(TypeError):
        hash(Next())


def test_messages_can_be_read() -> None:
    """The text names the kind and all fields."""
    assert repr(Next(restore=True)) == "Next(restore=True)"


def test_messages_have_no_other_attributes() -> None:
    """A misspelled field is an error, not a new attribute."""
    with pytest.raises(AttributeError):
        Next().other = 1  # type: ignore[attr-defined]


@given(PLAIN_JSON)
def test_plain_json_is_json(text: str) -> None:
    """What is let through means the same to a JSON parser."""
    assert text == json.loads(plain_json(text))


@pytest.mark.parametrize("text", ['"', "\\", "\n", "\x7f", "\u00e9", "\ud800"])
def test_plain_json_refuses_what_needs_an_escape(text: str) -> None:
    """It never writes wrong JSON."""
    with pytest.raises(LocalProtocolError):
        plain_json(f"a{text}b")


def test_errors_tell_whose_fault_it_was() -> None:
    """Both kinds have one base; a peer's fault has the status that a server answers."""
    assert issubclass(LocalProtocolError, ProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError)
    assert RemoteProtocolError("a").status == 400
    assert (
        (error := RemoteProtocolError("a", status=413)).status,
        str(error),
    ) == (413, "a")
