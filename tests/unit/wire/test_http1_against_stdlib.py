"""The framing against Python's own client and server, which were not written by us."""

from __future__ import annotations

import http.client
import http.server
import io
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from lambdascope.wire import http1
from pieces import parse_one
from wire_texts import ASCII_TEXT, BODY, TOKEN

if TYPE_CHECKING:
    import socket

# Names that the standard library treats in its own way.
_SPECIAL = {"content-length", "transfer-encoding", "connection", "expect", "host", "trailer"}
HEADERS = st.dictionaries(
    TOKEN.filter(lambda name: name.lower() not in _SPECIAL), ASCII_TEXT, max_size=5
).map(lambda headers: tuple({name.lower(): value for name, value in headers.items()}.items()))
PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
# http.server removes repeated slashes at the beginning of a path on purpose.
TARGETS = ASCII_TEXT.map(lambda text: "/x" + text)


class FakeSocket:
    """As much of a socket as http.client and http.server need: given input, kept output."""

    def __init__(self, incoming: bytes = b"") -> None:
        self._incoming = incoming
        self.sent = bytearray()

    def makefile(self, mode: str, *_: object, **__: object) -> io.BytesIO:
        """The input as a file."""
        return io.BytesIO(self._incoming)

    def sendall(self, data: bytes) -> None:
        """Keep the output."""
        self.sent += data

    def close(self) -> None:
        """Nothing to close."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Keeps what it was asked, and answers what the test wants."""

    protocol_version = "HTTP/1.1"
    answer: tuple[int, tuple[tuple[str, str], ...], bytes] = (200, (), b"")

    def do_POST(self) -> None:
        """Read and answer one request."""
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen = list(self.headers.items())
        status, headers, body = self.answer
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def served(data: bytes, handler: type[Handler] = Handler) -> tuple[Handler, bytes]:
    """What http.server understood of the bytes, and what it answered."""
    sock = FakeSocket(data)
    server = cast("http.server.HTTPServer", None)
    done = handler(cast("socket.socket", sock), ("127.0.0.1", 1), server)
    return done, bytes(sock.sent)


def client_reads(data: bytes) -> http.client.HTTPResponse:
    """The response as http.client understood it."""
    response = http.client.HTTPResponse(cast("socket.socket", FakeSocket(data)))
    response.begin()
    return response


@given(TARGETS, HEADERS, BODY)
def test_its_server_reads_our_requests(
    target: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> None:
    """http.server sees the method, target, headers and body that we encoded."""
    sent = http1.encode_request("POST", target, (("Host", "h"), *headers), body)
    handler, _ = served(sent)
    assert (handler.command, handler.request_version) == ("POST", "HTTP/1.1")
    assert target == handler.path
    expected = [("Host", "h"), *headers, ("Content-Length", str(len(body)))]
    assert (expected, body) == (handler.seen, handler.body)


@given(TARGETS, HEADERS, BODY)
def test_we_read_the_requests_of_its_client(
    target: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> None:
    """We see the method, target, headers and body that http.client encoded."""
    sock = FakeSocket()
    connection = http.client.HTTPConnection("h")
    connection.sock = sock
    connection.request("POST", target, body, dict(headers))
    parsed = parse_one(bytes(sock.sent), request=True)
    assert ("POST", target, body) == (parsed.method, parsed.target, parsed.body)
    assert dict(headers).items() <= parsed.headers.items()
    assert ("h", str(len(body))) == (parsed.headers["host"], parsed.headers["content-length"])


@given(PIECES)
def test_we_read_the_chunks_of_its_client(pieces: list[bytes]) -> None:
    """A body that http.client encodes in chunks is the same body."""
    sock = FakeSocket()
    connection = http.client.HTTPConnection("h")
    connection.sock = sock
    connection.request("POST", "/", iter(pieces), encode_chunked=True)
    assert b"".join(pieces) == parse_one(bytes(sock.sent), request=True).body


@given(st.sampled_from((200, 202, 400, 403, 413, 500, 599)), HEADERS, BODY)
def test_its_client_reads_our_responses(
    status: int, headers: tuple[tuple[str, str], ...], body: bytes
) -> None:
    """http.client sees the status, headers and body that we encoded."""
    response = client_reads(http1.encode_response(status, headers, body))
    assert (status, body) == (response.status, response.read())
    assert [*headers, ("Content-Length", str(len(body)))] == response.getheaders()
    assert not response.will_close


@given(PIECES, st.booleans())
def test_its_client_reads_our_chunks(pieces: list[bytes], with_trailer: bool) -> None:
    """http.client sees the body that we encoded in chunks, also with trailers behind it."""
    response = client_reads(
        http1.encode_chunked_head("HTTP/1.1 200 OK", ())
        + b"".join(map(http1.encode_chunk, pieces))
        + http1.encode_last_chunk((("X", "y"),) if with_trailer else ())
    )
    assert b"".join(pieces) == response.read()


@given(st.sampled_from((200, 202, 404, 500)), HEADERS, BODY)
def test_we_read_the_responses_of_its_server(
    status: int, headers: tuple[tuple[str, str], ...], body: bytes
) -> None:
    """We see the status, headers and body that http.server encoded."""

    class Answering(Handler):
        answer = (status, headers, body)

    _, sent = served(http1.encode_request("POST", "/", (("Host", "h"),)), Answering)
    parsed = parse_one(sent, request=False)
    assert (status, body) == (parsed.status, parsed.body)
    own = {"server", "date"}
    seen = {name: value for name, value in parsed.headers.items() if name not in own}
    wanted = {name: value for name, value in headers if name not in own}
    assert {**wanted, "content-length": str(len(body))} == seen
