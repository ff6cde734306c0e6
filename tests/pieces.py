"""Feeds bytes to the parser in pieces and tells what came out, in a form that can be compared."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import Head, Parser

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_HEAD_BYTES = 4096


class Parsed(NamedTuple):
    """One message. A request has method and target, a response a status."""

    method: str
    target: str
    status: int
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str] | None
    keep_alive: bool


class Outcome(NamedTuple):
    """Whole and unfinished messages (`trailers` is None), and whether the parser refused."""

    messages: list[Parsed]
    refused: bool


def parse(
    pieces: Iterable[bytes], *, request: bool, eof: bool = False, max_head: int = MAX_HEAD_BYTES
) -> Outcome:
    """What the parser makes of the pieces; with `eof` the peer then closes its side."""
    parser = Parser(request=request, max_head_bytes=max_head)
    messages: list[Parsed] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            _drain(parser, messages)
        if eof:
            parser.feed_eof()
            _drain(parser, messages)
    except RemoteProtocolError:
        return Outcome(messages, True)
    return Outcome(messages, False)


def parse_one(data: bytes, *, request: bool, eof: bool = False) -> Parsed:
    """The one message that the bytes are."""
    outcome = parse([data], request=request, eof=eof)
    assert not outcome.refused
    assert len(outcome.messages) == 1
    assert outcome.messages[0].trailers is not None
    return outcome.messages[0]


def bytewise(data: bytes) -> list[bytes]:
    """Each byte for itself."""
    return [data[i : i + 1] for i in range(len(data))]


def split_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The bytes cut at the given places."""
    cuts = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


def _drain(parser: Parser, messages: list[Parsed]) -> None:
    while (event := parser.next_event()) is not None:
        if isinstance(event, Head):
            messages.append(
                Parsed(
                    event.method,
                    event.target,
                    event.status,
                    event.headers,
                    b"",
                    None,
                    event.keep_alive,
                )
            )
        elif isinstance(event, bytes):
            assert event
            messages[-1] = messages[-1]._replace(body=messages[-1].body + event)
        else:
            messages[-1] = messages[-1]._replace(trailers=event)
