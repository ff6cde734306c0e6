"""Secrets in free text go by how they look, and what only resembles them stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.otlp.scrub import scrub, scrub_json
from lambdascope.otlp.scrub_rules import ScrubRules, read_scrub_rules
from lambdascope.otlp.scrub_text import scrub_text

JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln"
KEY_ID = "AKIA" + "IOSFODNN7EXAMPLE"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
SECRET = {
    "got Authorization: Bearer abcdef0123456789~+/= from x": "got Authorization: Bearer * from x",
    f"token {JWT}, next": "token *, next",
    f"{JWT}": "*",
    f"key {KEY_ID}.": "key *.",
    f"({KEY_ID.replace('AKIA', 'ASIA')})": "(*)",
    PEM: "-----BEGIN RSA PRIVATE KEY-----*-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nMIIE": "-----BEGIN PRIVATE KEY-----*",
    "cannot connect to postgres://me:p%40ss@db:5432/x?a=1": (
        "cannot connect to postgres://*@db:5432/x?a=1"
    ),
    "password=hunter2": "password=*",
    "a db_password=hunter2, b": "a db_password=*, b",
    "secretKey='a b c' x": "secretKey='*' x",
    '{"user": "me", "password": "a\\"b, c"}': '{"user": "me", "password": "*"}',
    '{"x-api-key":"k"}': '{"x-api-key":"*"}',
    "{'token': 'abc'}": "{'token': '*'}",
    '"{\\"apiKey\\": \\"abc\\"}"': '"{\\"apiKey\\": \\"*\\"}"',
    "GET /p?a=1&access_token=abcd&b=2": "GET /p?a=1&access_token=*&b=2",
    "?X-Amz-Signature=abcdef#f": "?X-Amz-Signature=*#f",
    "CREATE USER x PASSWORD = 'abc'": "CREATE USER x PASSWORD = '*'",
    'password="open': 'password="*',
    "password=hunter2 password=hunter3": "password=* password=*",
    f"password={JWT}": "password=*",
}
PLAIN = (
    "SyntaxError: unexpected token: {",
    "the bearer of-bad-news-and-others came",
    "bearer 12",
    "timezone Asia/Tokyo, ASIAN2",
    f"x{KEY_ID}",
    f"{KEY_ID}7",
    "AKIAiosfodnn7example",
    "a.eyJ",
    "mail me@example.com, see https://example.com/@me:x",
    "http://host:80/a@b",
    "ssh://git@host/x",
    "password = x",
    "if password == secret123:",
    "tokens=12345",
    "token=12",
    "password",
    "password=",
    "no PRIVATE KEY here",
    "SELECT key FROM t WHERE a = 1",
)
DEFAULT = read_scrub_rules("")[0]
assert DEFAULT is not None
pieces = st.sampled_from(
    [
        *SECRET,
        *PLAIN,
        "password",
        "=",
        ":",
        '"',
        "'",
        "\\",
        "://",
        "@",
        ".eyJ",
        "bearer ",
        "AKIA",
        " ",
    ]
)


def text_of(text: str, rules: ScrubRules = DEFAULT) -> str:
    """The text without secrets."""
    return scrub_text(text.encode(), rules).decode()


@pytest.mark.parametrize(("text", "expected"), SECRET.items())
def test_secrets_go(text: str, expected: str) -> None:
    """Only the secret is replaced, wherever it stands, and a needle of the rules is in its text."""
    assert expected.replace("*", "[scrubbed]") == text_of(text)
    assert DEFAULT.is_hit(text.encode())
    around = f"\u0130 \u20ac {text} "
    assert "[scrubbed]" in text_of(around)


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_none_stays(text: str) -> None:
    """The bytes are the same object."""
    whole = text.encode()
    assert scrub_text(whole, DEFAULT) is whole


@given(st.lists(pieces, max_size=12).map("".join))
def test_a_second_time_changes_nothing(text: str) -> None:
    """Whatever stands beside each other, what was replaced is not found again."""
    once = text_of(text)
    assert once == text_of(once)


@given(st.lists(pieces, max_size=6).map(" ".join), st.sampled_from([*SECRET]))
def test_neighbours_do_not_save_a_secret(before: str, text: str) -> None:
    """In a line of its own, a secret is found after any other that is whole."""
    if not any(quote in before for quote in "\"'") and "PRIVATE" not in before:
        assert text_of(text) in text_of(f"{before}\n{text}")


@pytest.mark.parametrize(
    "piece",
    [
        b".eyJ",
        b"eyJ.eyJ",
        b"bearer ",
        b"AKIA",
        b"://",
        b"://a:",
        b"a:b@",
        b"PRIVATE KEY-----",
        b"password",
        b"password=",
        b'password="',
        b'password=\\"',
        b'"password":',
        b"a_token",
        b"-",
    ],
)
def test_no_text_takes_long(piece: bytes) -> None:
    """The work grows with the length of a text and not with its square, counted in lines run."""
    import sys

    def lines_run(size: int) -> int:
        count = 0

        def trace(frame: object, event: str, arg: object) -> object:
            nonlocal count
            count += event == "line"
            return trace

        text = piece * (size // len(piece))
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            scrub_text(text, DEFAULT)
        finally:
            sys.settrace(None)
        return count

    assert lines_run(16_000) <= 5 * lines_run(4_000) + 200


def test_texts_can_be_left_alone() -> None:
    """With -text nothing is looked for that only texts have, and nothing in them is replaced."""
    rules, unknown = read_scrub_rules("-text")
    assert rules is not None
    assert ("", []) == (unknown, rules.hits(f"bearer x {JWT} {KEY_ID}".encode()))
    body = b'{"body":{"stringValue":"password=hunter2"}}'
    assert body is scrub_json(body, rules)
    assert b"hunter2" not in scrub_json(body, DEFAULT)
    log = b"password=hunter2 .."
    for tag in b"\x0a\x2a\x12\x12\x0a":  # the string, the body, the record, scope, resource
        log = bytes([tag, len(log)]) + log
    assert log is scrub("logs", log, rules)
    assert b"hunter2" not in scrub("logs", log, DEFAULT)
