"""Raw bytes over gRPC: what a receiver gets, and what its status means for the batch."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from fake_collector import span_names, traces
from lambdascope.wire.names import CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF
from lambdascope_extension.answers import CUT, EXPORTED, REFUSED, RETRY, Result
from lambdascope_extension.batch import Batch, Message
from lambdascope_extension.destination import Destination
from lambdascope_extension.exporter import Job, loader
from lambdascope_extension.grpc_sender import GrpcSender
from lambdascope_extension.plain_sender import PlainSender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Behaviour = Callable[[bytes, Any], bytes]

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# A google.rpc.Status with RetryInfo of 2.5 s, written by hand: the package is not one of ours.
_DURATION = b"\x08\x02\x10" + b"\x80\xca\xb5\xee\x01"
_INFO = b"\x0a" + bytes([len(_DURATION)]) + _DURATION
_URL = b"type.googleapis.com/google.rpc.RetryInfo"
_ANY = b"\x0a" + bytes([len(_URL)]) + _URL + b"\x12" + bytes([len(_INFO)]) + _INFO
RETRY_INFO = b"\x08\x08\x1a" + bytes([len(_ANY)]) + _ANY


class Receiver(grpc.GenericRpcHandler):
    """A gRPC server that keeps what it gets and answers as `behaviour` says."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[tuple[str, dict[str, Any], bytes]] = []
        self.behaviour: Behaviour = lambda body, context: b""
        self.arrived = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def service(self, details: Any) -> Any:
        """The handler for any method."""
        metadata = dict(details.invocation_metadata)

        def answer(body: bytes, context: Any) -> bytes:
            self.calls.append((details.method, metadata, body))
            self.arrived.set()
            return self.behaviour(body, context)

        return grpc.unary_unary_rpc_method_handler(answer)

    def stop(self) -> None:
        """End it, with its connections."""
        self._server.stop(None).wait(10)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes everything until told otherwise."""
    made = Receiver()
    yield made
    made.stop()


@pytest.fixture
def sender() -> Iterator[GrpcSender]:
    """A sender."""
    made = GrpcSender()
    yield made
    made.close()


def destination(port: int) -> Destination:
    """A loopback address by gRPC."""
    url = f"http://127.0.0.1:{port}"
    made = Destination(signal="traces", url=url, shown=url, port=port)
    made.is_grpc = True
    return made


def job(to: Destination, *, kind: str = CONTENT_TYPE_PROTOBUF, timeout_s: float = 10.0) -> Job:
    """A job with one span."""
    message = Message(signal="traces", kind=kind, body=traces("a"), items=1, received=1.0)
    batch = Batch([message])
    return Job(batch, to, timeout_s=timeout_s, started=0.0, wants_new_connection=False)


@pytest.mark.parametrize("gzip", [False, True])
def test_what_the_receiver_gets(receiver: Receiver, sender: GrpcSender, gzip: bool) -> None:
    """The service's method is called with the batch's own bytes, its id and the user's headers."""
    to = destination(receiver.port)
    to.gzip = gzip
    to.headers = {"authorization": b"Bearer x"}
    sent = job(to)

    result = sender.send(sent)

    [(method, metadata, body)] = receiver.calls
    assert (EXPORTED, 200, METHOD) == (result.outcome, result.status, method)
    assert ["a"] == span_names(body)
    assert ("Bearer x", sent.batch.id) == (
        metadata["authorization"],
        metadata["lambdascope-batch-id"],
    )
    assert metadata["user-agent"].startswith("lambdascope/")


def failing(sender: GrpcSender, receiver: Receiver, code: str, text: str, *more: Any) -> Result:
    """The result of an export that is answered with a status."""

    def fail(body: bytes, context: Any) -> bytes:
        context.set_trailing_metadata(more)
        context.abort(getattr(grpc.StatusCode, code), text)
        return b""

    receiver.behaviour = fail
    return sender.send(job(destination(receiver.port)))


@pytest.mark.parametrize(
    ("code", "outcome", "status"),
    [
        *((code, RETRY, 0) for code in ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED")),
        *((code, RETRY, 0) for code in ("OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")),
        ("RESOURCE_EXHAUSTED", REFUSED, 0),
        ("INVALID_ARGUMENT", REFUSED, 400),
        ("UNAUTHENTICATED", REFUSED, 401),
        ("PERMISSION_DENIED", REFUSED, 403),
        ("UNIMPLEMENTED", REFUSED, 0),
        ("INTERNAL", REFUSED, 0),
    ],
)
def test_statuses(
    receiver: Receiver, sender: GrpcSender, code: str, outcome: str, status: int
) -> None:
    """Only the statuses that the specification names are tried again."""
    result = failing(sender, receiver, code, "some  text\nof it")

    assert (outcome, status) == (result.outcome, result.status)
    assert result.hint
    assert code == "DEADLINE_EXCEEDED" or f"{code}: some text of it" == result.reason


def test_retry_info(receiver: Receiver, sender: GrpcSender) -> None:
    """A full receiver that says when to come back is asked again then."""
    details = ("grpc-status-details-bin", RETRY_INFO)
    result = failing(sender, receiver, "RESOURCE_EXHAUSTED", "full", details)

    assert (RETRY, 2.5) == (result.outcome, result.retry_after)


@pytest.mark.parametrize("details", [b"\xff", b"", b"\x1a\x02\x0a\x00", RETRY_INFO[:-1]])
def test_broken_details(receiver: Receiver, sender: GrpcSender, details: bytes) -> None:
    """Details that cannot be read are none."""
    more = ("grpc-status-details-bin", details)
    result = failing(sender, receiver, "UNAVAILABLE", "busy", more)

    assert (RETRY, 0.0) == (result.outcome, result.retry_after)


def test_message_that_is_too_large(receiver: Receiver, sender: GrpcSender) -> None:
    """What gRPC says of a message over its limit is the 413 that has a batch split."""
    text = "grpc: received message larger than max (5000000 vs. 4194304)"
    result = failing(sender, receiver, "RESOURCE_EXHAUSTED", text)

    assert (REFUSED, 413) == (result.outcome, result.status)


def test_receiver_that_repeats_the_key(receiver: Receiver, sender: GrpcSender) -> None:
    """What a receiver says of a key is shown without it."""

    def fail(body: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such key: k3y-v4lue, or Bearer k3y")
        return b""

    receiver.behaviour = fail
    to = destination(receiver.port)
    to.headers = {"authorization": b"Bearer k3y-v4lue"}

    assert "UNAUTHENTICATED: no such key: ***, or Bearer k3y" == sender.send(job(to)).reason


def test_partial_success(receiver: Receiver, sender: GrpcSender) -> None:
    """What the receiver rejected is counted."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 1
    answer.partial_success.error_message = "too old"
    receiver.behaviour = lambda body, context: answer.SerializeToString()

    result = sender.send(job(destination(receiver.port)))

    assert (EXPORTED, 1, "too old") == (result.outcome, result.rejected, result.message)


def test_cut(receiver: Receiver, sender: GrpcSender) -> None:
    """Another thread can end a call that is under way, and none begins after it."""
    go_on = threading.Event()
    receiver.behaviour = lambda body, context: b"" * go_on.wait(10)
    first = job(destination(receiver.port))
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(sender.send(first)))
    thread.start()
    assert receiver.arrived.wait(10)
    first.is_cut = True
    sender.cut()
    thread.join(10)
    go_on.set()
    second = job(destination(receiver.port))
    second.is_cut = True

    assert [CUT, CUT] == [results[0].outcome, sender.send(second).outcome]
    assert 1 == len(receiver.calls)


def test_no_answer_in_time(receiver: Receiver, sender: GrpcSender) -> None:
    """A receiver that is too slow is given up, for another try."""
    go_on = threading.Event()
    receiver.behaviour = lambda body, context: b"" * go_on.wait(10)

    result = sender.send(job(destination(receiver.port), timeout_s=0.2))
    go_on.set()

    assert (RETRY, "no answer in time") == (result.outcome, result.reason)


def test_receiver_that_came_back(sender: GrpcSender) -> None:
    """A dead receiver is found out at once, and its successor too: no waiting of gRPC's own."""
    first = Receiver()
    to = destination(first.port)
    outcomes = [sender.send(job(to)).outcome]
    first.stop()
    failed = sender.send(job(to))
    outcomes.append(failed.outcome)
    second = Receiver(first.port)
    outcomes.append(sender.send(job(to)).outcome)
    second.stop()
    third = Receiver(first.port)
    outcomes.append(sender.send(job(to)).outcome)
    third.stop()

    assert [EXPORTED, RETRY, EXPORTED, EXPORTED] == outcomes
    assert "4317" in failed.hint


def test_after_a_thaw(receiver: Receiver, sender: GrpcSender) -> None:
    """A connection is kept between exports, and replaced where the job says so."""
    peers: list[str] = []

    def remember(body: bytes, context: Any) -> bytes:
        peers.append(context.peer())
        return b""

    receiver.behaviour = remember
    to = destination(receiver.port)
    for wants_new in (False, False, True):
        one = job(to)
        one.wants_new_connection = wants_new
        assert EXPORTED == sender.send(one).outcome

    assert peers[0] == peers[1] != peers[2]


def test_json_is_refused(receiver: Receiver, sender: GrpcSender) -> None:
    """A JSON body has no form in gRPC: it is refused with what to do, and not sent."""
    result = sender.send(job(destination(receiver.port), kind=CONTENT_TYPE_JSON))

    assert (REFUSED, []) == (result.outcome, receiver.calls)
    assert "http/protobuf" in result.hint


def test_loader_chooses() -> None:
    """A gRPC sender is loaded where one destination asks for it, and the others go by HTTP."""
    by_grpc = destination(1)
    by_http = Destination(signal="logs", url="http://c/", shown="http://c/", port=80)

    assert isinstance(loader([by_http], {})(), PlainSender)
    assert isinstance(loader([by_grpc], {})(), GrpcSender)
    both = loader([by_grpc, by_http], {})()
    assert isinstance(both, GrpcSender)
    assert isinstance(both._by_http, PlainSender)
