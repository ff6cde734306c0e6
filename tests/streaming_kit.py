"""What the tests of response streaming share: a streaming runtime made of a raw script, and clients
that read an answer as it comes."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
from binascii import crc32
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from emulator_kit import RAW, WAIT_S, Stage
from lambdascope.emulator.function_url import FunctionUrl
from lambdascope.emulator.invoke import InvokeEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"

# The runtime's side of a streamed answer, over a plain socket.
STREAMING = (
    RAW
    + r"""
import base64

class Stream:
    def __init__(self, request_id, content_type="text/plain"):
        self.sock = socket.create_connection(API.split(":"))
        self.sock.sendall((
            f"POST {RUNTIME}invocation/{request_id}/response HTTP/1.1\r\nHost: {API}\r\n"
            f"Connection: close\r\nTransfer-Encoding: chunked\r\nContent-Type: {content_type}\r\n"
            "Lambda-Runtime-Function-Response-Mode: streaming\r\n"
            "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n"
            "\r\n").encode())

    def send(self, data):
        self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self):
        self.sock.sendall(b"0\r\n\r\n")
        return self.status()

    def fail(self, error_type, body):
        body = base64.b64encode(body).decode()
        self.sock.sendall((
            f"0\r\nLambda-Runtime-Function-Error-Type: {error_type}\r\n"
            f"Lambda-Runtime-Function-Error-Body: {body}\r\n\r\n").encode())
        return self.status()

    def status(self):
        answer = b""
        while piece := self.sock.recv(65536):
            answer += piece
        return int(answer.split()[1]) if answer else 0

def wait_for_the_test():
    # Blocks until the test opens the other end.
    open("gate").close()

"""
)

# First "one"; "two" when the test has let it go on.
GATED = f"""{STREAMING}
while True:
    request_id, headers, body = next_event()
    stream = Stream(request_id)
    stream.send(b"one")
    wait_for_the_test()
    say("second chunk")
    stream.send(b"two")
    say("status", stream.end())
"""

# Does what the event's "do" says, or the query's for a request to the function URL.
MODES = f"""{STREAMING}
def take():
    # Refused while the server has not noticed yet that a response was broken off.
    while (answer := call("GET", RUNTIME + "invocation/next"))[0] != 200:
        pass
    return answer[1]["lambda-runtime-aws-request-id"], answer[2]

while True:
    request_id, body = take()
    event = json.loads(body)
    do = event.get("do") or event.get("rawPath", "/")[1:]
    if do == "plain":
        respond(request_id, b'[1, 2]')
        continue
    if do == "raise":
        fail(request_id, b'{{"errorType": "ValueError", "errorMessage": "no"}}')
        continue
    if do == "prelude":
        stream = Stream(request_id, "{PRELUDE_TYPE}")
        stream.send(b'{{"statusCode": 418, "headers": {{"X-Tea": "pot"}}, ')
        stream.send(b'"cookies": ["a=1", "b=2"]}}\\0\\0\\0')
        stream.send(b'\\0\\0\\0\\0\\0short')
        stream.send(b' and stout')
    elif do == "no-prelude-end":
        stream = Stream(request_id, "{PRELUDE_TYPE}")
        stream.send(b'{{"statusCode": 418}}')
    elif do == "no-content":
        stream = Stream(request_id, "{PRELUDE_TYPE}")
        stream.send(b'{{"statusCode": 204}}' + bytes(8))
    else:
        stream = Stream(request_id)
        if do != "empty":
            stream.send(b"abc")
            stream.send(b"def")
    if do in ("late-error", "cut", "exit"):
        wait_for_the_test()
    if do == "late-error":
        say("status", stream.fail("Function.Late", b'{{"errorType": "Late"}}'))
        continue
    if do == "cut":
        stream.sock.close()
        continue
    if do == "exit":
        os._exit(3)
    if do == "hang":
        block()
    say("status", stream.end())
"""


class Gate:
    """What `wait_for_the_test` waits for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._path = folder / "gate"
        os.mkfifo(self._path)

    def open(self) -> None:
        """Let the runtime go on; waits until it has come here."""
        self._path.open("w").close()


class Endpoints:
    """A stage with both endpoints in front of it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.invoke = InvokeEndpoint(stage.environment)
        self.site = FunctionUrl(stage.environment)
        self._readers: list[Reader] = []

    def get(self, path: str = "/", *, method: str = "GET", **options: Any) -> Reader:
        """A request to the function URL, whose answer is read as it comes."""
        return self._read(self.site.url, method, path, **options)

    def invoke_streaming(self, body: bytes = b"{}", **headers: str) -> Reader:
        """InvokeWithResponseStream."""
        path = "/2021-11-15/functions/function/response-streaming-invocations"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._read(self.invoke.url, "POST", path, body=body, headers=named)

    def close(self) -> None:
        """Stop answering, and let go of every client."""
        self.site.close()
        self.invoke.close()
        for reader in self._readers:
            reader.close()

    def _read(self, *arguments: Any, **options: Any) -> Reader:
        reader = Reader(*arguments, **options)
        self._readers.append(reader)
        return reader


@contextmanager
def serving(
    folder: Path, script: str, *, extension: str = "", **settings: Any
) -> Iterator[Endpoints]:
    """A ready function behind its endpoints, for the length of a block."""
    extensions = {"witness": extension} if extension else {}
    with Stage(folder, script, **extensions).configure(**settings).ready() as stage:
        endpoints = Endpoints(stage)
        endpoints.invoke.start()
        endpoints.site.start()
        try:
            yield endpoints
        finally:
            stage.environment.shutdown()
            endpoints.close()


class Reader:
    """One request; the answer's head is there when it has been made."""

    def __init__(
        self,
        url: str,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            str(address.hostname), address.port, timeout=WAIT_S
        )
        self._connection.request(method, path, body, headers or {})
        self.response = self._connection.getresponse()
        self.status = self.response.status
        self.headers = self.response.headers

    def some(self) -> bytes:
        """What has come, at least a byte; empty at the end."""
        return self.response.read1(65_536)

    def until(self, words: bytes) -> bytes:
        """Everything so far, until `words` are among it."""
        data = b""
        while words not in data:
            piece = self.some()
            assert piece, data
            data += piece
        return data

    def rest(self) -> bytes:
        """Everything to a proper end."""
        return self.response.read()

    def broken_rest(self) -> bytes:
        """Everything until the connection ends in the middle of the body, which it must."""
        data = b""
        try:
            while piece := self.response.read1(65_536):
                data += piece
        except (http.client.IncompleteRead, ValueError):
            # ValueError: http.client looked for the size of the next chunk and found nothing.
            return data
        raise AssertionError(f"the answer ended well after {data[:100]!r}")

    def leave(self) -> None:
        """Drop the connection, as a client that has been stopped does."""
        sock = self._connection.sock
        assert sock is not None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.response.close()
        self._connection.close()

    def events(self) -> list[tuple[str, bytes]]:
        """The rest as messages of AWS's event stream: (event type, payload), checksums checked."""
        return list(decode_events(self.rest()))


def decode_events(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Messages of AWS's event stream."""
    while data:
        total, size, check = struct.unpack(">III", data[:12])
        assert crc32(data[:8]) == check
        message, data = data[:total], data[total:]
        assert crc32(message[:-4]) == struct.unpack(">I", message[-4:])[0]
        head, headers = message[12 : 12 + size], {}
        while head:
            end = 1 + head[0]
            name = head[1:end].decode()
            kind, length = struct.unpack(">BH", head[end : end + 3])
            assert kind == 7
            headers[name] = head[end + 3 : end + 3 + length].decode()
            head = head[end + 3 + length :]
        assert headers[":message-type"] == "event"
        yield headers[":event-type"], message[12 + size : -4]


def completion(events: list[tuple[str, bytes]]) -> dict[str, Any]:
    """The InvokeComplete, which must be the last event."""
    kinds = [kind for kind, _ in events]
    assert kinds.count("InvokeComplete") == 1
    assert kinds[-1] == "InvokeComplete"
    found: dict[str, Any] = json.loads(events[-1][1])
    return found
