"""Answers of a hostile Runtime API, made from a seed: good ones, odd ones and broken ones.

An answer is a list of pieces and what happens after them. `NEVER`, `MAYBE` and `SURE` say what may
become of the event in it: a runtime that takes the event of a `SURE` answer and does not report an
outcome for it has lost it. Knows no socket: `hostile_network` and `hostile_server` play answers.
"""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING

from lambdascope.wire import names

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

NEVER, MAYBE, SURE = "never", "maybe", "sure"
_TAIL_BYTES = 100
OPEN, CLOSE, RESET = "open", "close", "reset"
REPEATED = b"Lambda-Runtime-Aws-Request-Id"


class Answer:
    """What the peer sends for one request: `pieces` one by one, then `ending`.

    `request_id` is that of the event in it, "" in an answer to a post. `name` says what is odd.
    """

    def __init__(self, name: str, data: bytes, draft: Draft, *, request_id: str = "") -> None:
        self.name = name
        self.pieces = [data] if data else []
        self.ending = draft.ending
        self.request_id = request_id
        self.event = draft.fate
        self.gap_s = 0.1
        self._surplus = len(draft.after)

    def split(self, rng: random.Random) -> Answer:
        """Cut it at some places, perhaps at all of the first hundred."""
        data = b"".join(self.pieces)
        if len(data) < 2:
            return self
        if rng.random() < 0.03:
            # Slower than anybody waits for the rest.
            self.gap_s = 20.0
            self.event = MAYBE if self.event == SURE else self.event
        if rng.random() < 0.1:
            cuts = list(range(1, min(len(data), 100)))
        else:
            cuts = sorted({rng.randrange(1, len(data)) for _ in range(rng.choice((0, 0, 1, 3)))})
        edges = [0, *cuts, len(data)]
        self.pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
        return self

    def sent_pieces(self) -> Iterator[bytes]:
        """The pieces as a real peer sends them: the surplus in one with the end of the rest.

        What arrives after the next request has been sent is taken for the answer to that, and what
        becomes of the event behind it depends on the scheduler.
        """
        data = b"".join(self.pieces)
        edge = len(data) - self._surplus - _TAIL_BYTES if self._surplus else len(data)
        at = 0
        for piece in self.pieces:
            if at < edge:
                yield data[at : min(at + len(piece), edge)]
            at += len(piece)
        if edge < at:
            yield data[max(edge, 0) :]

    def __repr__(self) -> str:
        return f"<{self.name}, {self.ending}, {self.event}: {b''.join(self.pieces)[:300]!r}>"


class Draft:
    """An answer while it is being spoilt. `fate` is about its event."""

    def __init__(self, start: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.start = start
        self.headers = headers
        self.body = body
        self.framing = "length"
        self.before = self.after = b""
        self.ending = OPEN
        self.fate = SURE

    def replace(self, name: str, *values: bytes) -> None:
        """Have this header with these values, or not at all."""
        key = name.encode()
        self.headers = [pair for pair in self.headers if pair[0].lower() != key.lower()]
        self.headers += [(key, value) for value in values]

    def to_bytes(self, rng: random.Random) -> bytes:
        """All of it."""
        headers, body = list(self.headers), self.body
        if self.framing == "length":
            headers.append((b"Content-Length", b"%d" % len(body)))
        elif self.framing == "chunked":
            headers.append((b"Transfer-Encoding", b"chunked"))
            body = chunked(rng, body)
        elif self.framing == "end":
            self.ending = CLOSE
        lines = [self.start, *(name + b": " + value for name, value in headers)]
        return self.before + b"\r\n".join(lines) + b"\r\n\r\n" + body + self.after


def chunked(rng: random.Random, body: bytes) -> bytes:
    """A body in chunks, with or without extensions and trailers."""
    out, at = b"", 0
    while at < len(body):
        size = rng.randrange(1, len(body) + 1)
        piece = body[at : at + size]
        at += size
        out += b"%x%b\r\n%b\r\n" % (len(piece), rng.choice((b"", b";a=b", b" ;x")), piece)
    return out + rng.choice((b"0\r\n\r\n", b"000;last\r\n\r\n", b"0\r\nX-Late: 1\r\nY: 2\r\n\r\n"))


def _is_next(draft: Draft) -> bool:
    return draft.start.endswith(b"200 OK")


def framing(rng: random.Random, draft: Draft) -> None:
    """The body is chunked, or ends with the connection."""
    draft.framing = rng.choice(("chunked", "end"))


def old_version(rng: random.Random, draft: Draft) -> None:
    """HTTP/1.0."""
    draft.start = draft.start.replace(b"/1.1", b"/1.0")
    draft.framing = rng.choice(("length", "end"))
    draft.ending = CLOSE if rng.random() < 0.5 else OPEN


def interim(rng: random.Random, draft: Draft) -> None:
    """Interim responses come first."""
    lines = (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    draft.before = b"".join(rng.choice(lines) for _ in range(rng.choice((1, 2, 20))))


def only_interim(rng: random.Random, draft: Draft) -> None:
    """Interim responses, and then nothing."""
    draft.before = b"HTTP/1.1 102 Processing\r\n\r\n" * rng.choice((1, 5000))
    cut(rng, draft)
    draft.start, draft.headers, draft.body, draft.framing = b"", [], b"", "none"


def pipelined(rng: random.Random, draft: Draft) -> None:
    """More bytes than were asked for."""
    body = b'"never asked for"'
    extra = b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: extra\r\n"
    extra += b"Lambda-Runtime-Deadline-Ms: 99999999999999\r\nContent-Length: %d\r\n\r\n" % len(body)
    draft.after = rng.choice((extra + body, b"\r\n", b"x", extra))


def polite_close(rng: random.Random, draft: Draft) -> None:
    """The header says that the connection is closed."""
    draft.replace("Connection", rng.choice((b"close", b"Close, x", b"keep-alive, close")))
    draft.ending = rng.choice((OPEN, CLOSE, RESET))


def rude_close(rng: random.Random, draft: Draft) -> None:
    """The connection is closed without a word."""
    draft.ending = CLOSE


def odd_headers(rng: random.Random, draft: Draft) -> None:
    """Other case, white space, bytes that are no ASCII, long ones."""
    draft.headers = [
        (name.swapcase() if rng.random() < 0.5 else name, b" \t" + value + b" ")
        for name, value in draft.headers
    ]
    draft.headers += [
        (b"X-Text", "né☃".encode()),
        (b"X-Bytes", bytes(range(0x80, 0x100))),
        (b"X-Control", b"\x1b[31m\x07\x85"),
        (b"X-Empty", b""),
        (b"X-Long", b"l" * rng.choice((10, 70_000))),
    ]


def deadline(rng: random.Random, draft: Draft) -> None:
    """A deadline that is absurd, or none."""
    if not _is_next(draft):
        return
    odd = (b"0", b"1", b"-5", b"-0", b"soon", b"", b"1e12", b"NaN", b"0x10", b"1_0", b"\xd9\xa1")
    far = (b"9" * 15, b"9" * 18, b"9" * 19, b"9" * 40, b"9" * 5000, b"253402300800000")
    draft.replace(names.DEADLINE_MS, *rng.choice([(value,) for value in odd + far] + [()]))


def repeated_headers(rng: random.Random, draft: Draft) -> None:
    """Every header twice."""
    for name, value in list(draft.headers):
        draft.headers.append((name, value))


def two_ids(rng: random.Random, draft: Draft) -> None:
    """A second, different request id."""
    if _is_next(draft):
        draft.headers.append((REPEATED, rng.choice((b"another", b"", b"r,1"))))
        draft.fate = MAYBE


def no_id(rng: random.Random, draft: Draft) -> None:
    """No request id."""
    if _is_next(draft):
        draft.replace(names.REQUEST_ID, *rng.choice(((), (b"",), (b" ",))))
        draft.fate = NEVER


def odd_optional(rng: random.Random, draft: Draft) -> None:
    """Optional headers that are empty or nonsense."""
    values = (b"", b"{", b"null", b"[]", b"[" * 5000, b'"x"', b"\xff", b'{"client": 5, "w3c": 7}')
    for name in (names.CLIENT_CONTEXT, names.COGNITO_IDENTITY, names.TENANT_ID, names.TRACE_ID):
        draft.replace(name, rng.choice(values))
    draft.replace(names.INVOCATION_ID, rng.choice((b"", "ñ".encode(), b"\x80", b"n" * 5000)))


def content_type(rng: random.Random, draft: Draft) -> None:
    """Another content type, or none."""
    draft.replace("Content-Type", *rng.choice(((b"text/plain",), (b"",), (b"a/b", b"c/d"), ())))


def odd_body(rng: random.Random, draft: Draft) -> None:
    """An event that is no JSON, or hardly."""
    deep = b"[" * 100_000
    bodies = (b"", b"{", b'"\xff"', b"NaN", b"\0", b"1 2", deep, b'"\\ud800"', b"1" * 5000)
    draft.body = rng.choice(bodies)


def big_body(rng: random.Random, draft: Draft) -> None:
    """A large event, also one over Lambda's limit."""
    if _is_next(draft):
        draft.body = b'"' + b"b" * rng.choice((70_000, 70_000, 7 * 1024 * 1024)) + b'"'


def status(rng: random.Random, draft: Draft) -> None:
    """Another status."""
    codes = b"200 204 206 301 304 400 403 404 410 413 429 500 502 503 599 600 999".split()
    draft.start = b"HTTP/1.1 " + rng.choice(codes) + rng.choice((b" Odd", b" ", b""))
    draft.fate = MAYBE if b" 200" in draft.start else NEVER


def bad_start(rng: random.Random, draft: Draft) -> None:
    """No status line."""
    starts = (
        *(b"HTTP/2.0 200 OK", b"ICY 200 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1 2OO OK"),
        *(b"HTTP/1.1 99 x", b"HTTP/1.1 101 x", b"HTTP/1.1 -20 x", b"", b"\xff\xfe", b"200"),
        *(b"GET / HTTP/1.1", b"HTTP/1.1 \xb2\xb2\xb2 x", b"HTTP/1.1 2000 x", b"http/1.1 200 OK"),
    )
    draft.start = rng.choice(starts)
    draft.fate = NEVER


def bad_header(rng: random.Random, draft: Draft) -> None:
    """A header that HTTP forbids."""
    bad = (
        *((b"X\0", b"1"), (b"X", b"a\0b"), (b"X", b"a\nb"), (b"X", b"a\rb"), (b" folded", b"x")),
        *((b"", b"x"), (b"X ", b"x"), (b"X\xff", b"x"), (b"X", b"a\n b"), (b"X", b"a\r\n b")),
    )
    draft.headers.insert(rng.randrange(len(draft.headers) + 1), rng.choice(bad))
    draft.fate = NEVER


def bad_length(rng: random.Random, draft: Draft) -> None:
    """A length that lies or is none."""
    true = len(draft.body)
    values: list[tuple[bytes, ...]] = [
        *((b"-1",), (b"abc",), (b"",), (b"9" * 15,), (b"9" * 16,), (b"9" * 5000,), (b"0x5",)),
        *((b"%d" % (true + 1),), (b"%d" % max(true - 1, 0),), (b"1", b"2"), ("٣".encode(),)),
        (b"268435456",),
    ]
    draft.framing = "none"
    draft.headers += [(b"Content-Length", value) for value in rng.choice(values)]
    draft.fate = MAYBE
    draft.ending = rng.choice((OPEN, CLOSE, RESET))


def bad_coding(rng: random.Random, draft: Draft) -> None:
    """A transfer coding that does not fit."""
    draft.framing = rng.choice(("length", "chunked"))
    both = (b"chunked", b"gzip", b"chunked, chunked", b"identity", b"")
    draft.headers.append((b"Transfer-Encoding", rng.choice(both)))
    draft.fate = MAYBE


def bad_chunks(rng: random.Random, draft: Draft) -> None:
    """Chunks or trailers that are none."""
    draft.framing = "none"
    draft.headers.append((b"Transfer-Encoding", b"chunked"))
    sizes = (b"xyz", b"-1", b"f" * 12, b"f" * 13, b"f" * 300, b"", b"0x5", b"5 5", b"+5", b"ff;\r")
    trailers = (b"0\r\nX", b"0\r\n: x\r\n\r\n", b"0\r\n\0\r\n\r\n", b"0\r\nX:" + b"t" * 1_100_000)
    size = rng.choice(sizes) + rng.choice((b"\r\n", b"\n", b"\r\r\n"))
    draft.body = rng.choice(
        (
            size + draft.body,
            b"%x\r\n" % len(draft.body) + draft.body + b"zz",
            rng.choice(trailers),
            b"1\r\n12\r\n0\r\n\r\n",
        )
    )
    draft.fate = MAYBE
    draft.ending = rng.choice((OPEN, CLOSE, RESET))


def huge_head(rng: random.Random, draft: Draft) -> None:
    """A head of more than a megabyte."""
    draft.headers.append((b"X-Huge", b"h" * 1_100_000))
    draft.fate = MAYBE


def cut(rng: random.Random, draft: Draft) -> None:
    """Spoilt in `spoil`, where all of the bytes are known."""
    draft.fate = NEVER
    draft.ending = rng.choice((OPEN, CLOSE, RESET))


def garbage(rng: random.Random, draft: Draft) -> None:
    """Random bytes."""
    cut(rng, draft)


def nothing(rng: random.Random, draft: Draft) -> None:
    """No answer at all."""
    cut(rng, draft)


HARMLESS = (framing, old_version, interim, pipelined, polite_close, rude_close, odd_headers,
            repeated_headers, content_type)  # fmt: skip
ODD = (deadline, odd_optional, odd_body, big_body)
BROKEN = (only_interim, two_ids, no_id, status, bad_start, bad_header, bad_length, bad_coding,
          bad_chunks, huge_head, cut, garbage, nothing)  # fmt: skip


def spoil(rng: random.Random, draft: Draft, *, share: float) -> tuple[str, bytes]:
    """Make bytes of it, spoilt in up to three ways; `share` of them are broken."""
    ways: list[Callable[[random.Random, Draft], None]] = []
    ways += rng.sample(HARMLESS, rng.choice((0, 0, 1, 2)))
    if _is_next(draft) and rng.random() < 0.4:
        ways.append(rng.choice(ODD))
    if rng.random() < share:
        ways.append(rng.choice(BROKEN))
    for way in ways:
        way(rng, draft)
    data = draft.to_bytes(rng)
    if nothing in ways:
        data = b""
    elif garbage in ways:
        data = rng.randbytes(rng.choice((1, 10, 1000))) + rng.choice((b"", b"\r\n\r\n"))
    elif cut in ways:
        data = data[: rng.randrange(len(data) - len(draft.after))]
    return "+".join(way.__name__ for way in ways) or "plain", data


def next_answer(rng: random.Random, request_id: str, *, share: float = 0.3) -> Answer:
    """An answer to next with the event {"id": request_id}."""
    deadline_ms = int(time.time() * 1000) + 10_000
    headers = [
        (names.REQUEST_ID.encode(), request_id.encode()),
        (names.DEADLINE_MS.encode(), b"%d" % deadline_ms),
        (names.FUNCTION_ARN.encode(), b"arn:aws:lambda:eu-central-1:123456789012:function:hello"),
        (b"Content-Type", b"application/json"),
    ]
    draft = Draft(b"HTTP/1.1 200 OK", headers, json.dumps({"id": request_id}).encode())
    name, data = spoil(rng, draft, share=share)
    return Answer(name, data, draft, request_id=request_id).split(rng)


def post_answer(rng: random.Random, *, share: float = 0.2) -> Answer:
    """An answer to a post; its `event` says whether the platform has taken it."""
    headers = [(b"Content-Type", b"application/json")]
    draft = Draft(b"HTTP/1.1 202 Accepted", headers, b'{"status":"OK"}\n')
    name, data = spoil(rng, draft, share=share)
    return Answer(name, data, draft).split(rng)
