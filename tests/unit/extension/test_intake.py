"""The OTLP receiver on raw bytes: answers, limits, tokens, and what it tells the end tracker."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from google.protobuf.json_format import MessageToJson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fake_collector import traces
from lambdascope.wire import handoff_post
from lambdascope.wire.names import MAX_PAYLOAD_BYTES
from lambdascope_extension.handed_over import HandedOver
from lambdascope_extension.server import MAX_CONNECTIONS, REQUEST_S
from unit.extension.loopback import TOKEN, Receiver, is_balanced, received, request, status

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = traces("a", "b")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An OTLP receiver."""
    made = Receiver()
    yield made
    made.close()


def test_answer_of_otlp(receiver: Receiver) -> None:
    """An accepted body is answered with 200 and an empty response of the same content type."""
    client = receiver.connect()
    assert (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
    ) == receiver.exchange(client, request(body=BODY))
    assert receiver.exchange(
        client, request("/v1/logs", b'{"resourceLogs":[]}', content_type="application/json")
    ).endswith(b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
    assert (2, 1) == (
        receiver.ledger.accounts["traces"].accepted,
        receiver.ledger.accounts["logs"].accepted,
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cuts=st.lists(st.integers(1, 400), max_size=8), chunked=st.booleans())
def test_any_split_of_the_bytes(receiver: Receiver, cuts: list[int], chunked: bool) -> None:
    """However the bytes arrive, in two requests on one connection, they mean the same."""
    if chunked:
        head = request(body=b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        one = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    else:
        one = request(body=BODY)
    before = receiver.ledger.accounts["traces"].accepted
    client = receiver.connect()
    data, answer = one * 2, b""
    for cut in [*cuts, len(data)]:
        answer += receiver.exchange(client, data[:cut])
        data = data[cut:]
    assert 2 == answer.count(b"HTTP/1.1 200 OK")
    assert 4 == receiver.ledger.accounts["traces"].accepted - before
    assert receiver.server.next_deadline() is None
    client.close()
    receiver.run()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (request("/v1/unknown", BODY), 404),
        (request(method="GET"), 405),
        (request(body=b"x", content_type="text/plain"), 415),
        (request("/v1/traces", BODY, "Content-Encoding: br"), 415),
        (request("/v1/traces", b"no gzip", "Content-Encoding: gzip"), 400),
        (request(body=b"garbage"), 400),
        (b"garbage\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"POST /v1/traces HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
        (b"POST /v1/traces HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /v1/traces HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (request().replace(b"h: 0", b"h: 99999999999"), 413),
        (request("/lambdascope/v1/hello"), 401),
        (request("/v1/traces", BODY, "Lambdascope-Request-Id: r"), 401),
        (request("/v1/traces", BODY, "Lambdascope-Token: " + "0" * 32), 401),
        (request("/v1/traces", BODY, "Lambdascope-Token: \xff"), 401),
    ],
)
def test_refusals(receiver: Receiver, data: bytes, expected: int) -> None:
    """What is not to be taken is refused with its status, one line and a count."""
    assert expected == status(receiver.exchange(receiver.connect(), data))
    assert [True] == [str(expected) in line for line in receiver.lines]
    assert [1] == list(receiver.ledger.refused.values())
    assert 0 == receiver.buffer.held_bytes


def test_refusals_of_one_kind_are_said_once(receiver: Receiver) -> None:
    """The second refusal of a kind is only counted."""
    for _ in range(3):
        receiver.exchange(receiver.connect(), request("/v1/traces", BODY, "Lambdascope-Done: 1"))
    assert ({"wrong_token": 3}, 1) == (receiver.ledger.refused, len(receiver.lines))
    assert TOKEN not in "".join(receiver.lines)


def test_refusal_in_protobuf(receiver: Receiver) -> None:
    """A refused OTLP request gets a Status message in its own content type."""
    answer = receiver.exchange(receiver.connect(), request(body=b"garbage"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/x-protobuf" in head
    assert b"\x12" == body[:1]


def test_body_over_the_limit_is_refused_before_it_is_sent(receiver: Receiver) -> None:
    """A length over the limit is answered at once; what is still sent is drained, not kept."""
    client = receiver.connect()
    head = request().replace(b"h: 0", b"h: %d" % (MAX_PAYLOAD_BYTES + 1))
    assert 413 == status(receiver.exchange(client, head))
    assert b"" == receiver.exchange(client, b"x" * 1_000_000)
    assert 1 == receiver.server.connection_count
    receiver.server.sweep(10**9)
    assert 0 == receiver.server.connection_count


def test_largest_body(receiver: Receiver) -> None:
    """A body of exactly the limit is taken, whether its length is known or it comes in chunks."""
    body = traces("a", padding=MAX_PAYLOAD_BYTES - 100)
    body += traces(*["b"] * ((MAX_PAYLOAD_BYTES - len(body)) // len(traces("b"))))
    assert len(body) <= MAX_PAYLOAD_BYTES
    assert 200 == status(receiver.exchange(receiver.connect(), request(body=body)))
    head = request().replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunk = b"ffff\r\n" + b"x" * 65535 + b"\r\n"
    answer = receiver.exchange(receiver.connect(), head + chunk * 100)
    assert 413 == status(answer)


def test_gzip(receiver: Receiver) -> None:
    """Compressed bodies are kept plain, so that they can be appended to others."""
    zipped = gzip.compress(BODY)
    data = request("/v1/traces", zipped, "Content-Encoding: gzip")
    assert 200 == status(receiver.exchange(receiver.connect(), data))
    batch = receiver.buffer.take()
    assert batch is not None
    assert BODY == batch.body


def test_expect_continue(receiver: Receiver) -> None:
    """A client that asks whether it may send a large body is told so."""
    client = receiver.connect()
    head, _, body = request("/v1/traces", BODY, "Expect: 100-continue").partition(b"\r\n\r\n")
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == receiver.exchange(client, head + b"\r\n\r\n")
    assert 200 == status(receiver.exchange(client, body))


def test_empty_request_is_a_success(receiver: Receiver) -> None:
    """Nothing to export is no mistake, and nothing to keep."""
    assert 200 == status(receiver.exchange(receiver.connect(), request()))
    assert (0, 0.0) == receiver.buffer.pending()


def test_connection_close_is_honoured(receiver: Receiver) -> None:
    """After its answer the connection is closed if the client wants that."""
    client = receiver.connect()
    answer = receiver.exchange(client, request("/v1/traces", BODY, "Connection: close"))
    assert (200, 0) == (status(answer), receiver.server.connection_count)


def test_full_buffer(receiver: Receiver) -> None:
    """Without room the sender is told to come back, and the spans are not counted as accepted."""
    small = Receiver(max_bytes=len(BODY))
    client = small.connect()
    assert 200 == status(small.exchange(client, request(body=BODY)))
    answer = small.exchange(client, request(body=BODY))
    assert (503, True) == (status(answer), b"\r\nRetry-After: 5\r\n" in answer)
    assert (2, {"buffer_full": 1}) == (
        small.ledger.accounts["traces"].accepted,
        small.ledger.refused,
    )
    small.close()


def test_signal_without_a_destination() -> None:
    """What cannot be sent anywhere is accepted, counted and dropped at once."""
    nowhere = Receiver(traces="no_endpoint")
    assert 200 == status(nowhere.exchange(nowhere.connect(), request(body=BODY)))
    account = nowhere.ledger.accounts["traces"]
    assert (2, {"no_endpoint": 2}, 0) == (account.accepted, account.dropped, account.held)
    assert 0 == nowhere.buffer.held_bytes
    nowhere.close()


def test_after_its_hello_a_runtime_is_known_to_hand_over(receiver: Receiver) -> None:
    """Lines of the first invocation may come before its spans: they are to wait for them."""
    receiver.intake.handed_over = handed = HandedOver()
    client = receiver.connect()
    receiver.exchange(client, request("/lambdascope/v1/hello"))
    assert not handed.is_fed
    token = f"Lambdascope-Token: {TOKEN}"
    receiver.exchange(receiver.connect(), request("/lambdascope/v1/hello", b"", token))

    assert handed.is_fed


def test_hello_and_done(receiver: Receiver) -> None:
    """The runtime's hello and done reach the end tracker; the end is told before the answer."""
    told = []
    receiver.intake.on_done = lambda: told.append(received(client))
    client = receiver.connect()
    token = f"Lambdascope-Token: {TOKEN}"
    assert 200 == status(receiver.exchange(client, request("/lambdascope/v1/hello", b"", token)))
    receiver.ends.begin("r", 0.0, 1e12, wanted=True)
    assert not receiver.ends.is_over(1.0)
    headers = (token, "Lambdascope-Request-Id: r")
    receiver.exchange(client, request("/v1/traces", BODY, *headers))
    assert not receiver.ends.is_over(1.0)
    receiver.exchange(client, request("/v1/traces", BODY, *headers, "Lambdascope-Done: 4"))
    assert receiver.ends.is_over(1.0)
    assert [b""] == told


@pytest.mark.parametrize(
    ("body", "done"),
    [(b"garbage", "0"), (b"", "0"), (BODY, "x"), (BODY, "-1"), (BODY, "9" * 30), (BODY, "1, 2")],
)
def test_done_counts_whatever_the_body_is(receiver: Receiver, body: bytes, done: str) -> None:
    """An invocation is over when the runtime says so, even with a body or number of nonsense."""
    receiver.ends.begin("r", 0.0, 1e12, wanted=True)
    headers = (f"Lambdascope-Token: {TOKEN}", "Lambdascope-Request-Id: r")
    client = receiver.connect()
    receiver.exchange(client, request("/v1/traces", body, *headers, f"Lambdascope-Done: {done}"))
    assert receiver.ends.is_over(1e11)


def test_done_on_a_body_that_is_too_large(receiver: Receiver) -> None:
    """The head of a refused request still ends the invocation."""
    receiver.ends.begin("r", 0.0, 1e12, wanted=True)
    headers = (f"Lambdascope-Token: {TOKEN}", "Lambdascope-Request-Id: r", "Lambdascope-Done: 9")
    data = request("/v1/traces", b"", *headers).replace(b"h: 0", b"h: 99999999")
    assert 413 == status(receiver.exchange(receiver.connect(), data))
    assert receiver.ends.is_over(1e11)


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("max_bytes", [100_000_000, 10])
def test_the_usual_post_is_a_request_like_any_other(pieces: int, max_bytes: int) -> None:
    """In one piece it is taken at a look, in two it is parsed: answer, counts and end are alike."""
    receiver = Receiver(max_bytes=max_bytes)
    client = receiver.connect()
    host = "localhost:4318"
    hello = request("/lambdascope/v1/hello", b"", f"Lambdascope-Token: {TOKEN}")
    receiver.exchange(client, hello)
    receiver.ends.begin("r-1", 0.0, 1e12, wanted=True)
    data = handoff_post.encoder(handoff_post.prefix(host, TOKEN))("r-1", 4, BODY)
    size = len(data) // pieces + 1
    answer = b"".join(receiver.exchange(client, data[at : at + size]) for at in (0, size))
    is_full = max_bytes < len(BODY)
    assert (503 if is_full else 200) == status(answer)
    assert (0 if is_full else 4) == receiver.ledger.accounts["traces"].accepted
    assert receiver.ends.is_over(1e11)
    assert is_balanced(receiver.ledger.accounts["traces"])
    receiver.close()


def test_the_usual_post_needs_the_token_and_the_runtime(receiver: Receiver) -> None:
    """The same bytes from somebody who has not said hello, and with another token."""
    other, runtime = receiver.connect(), receiver.connect()
    hello = request("/lambdascope/v1/hello", b"", f"Lambdascope-Token: {TOKEN}")
    receiver.exchange(runtime, hello)
    wrong = handoff_post.prefix("localhost:4318", TOKEN.swapcase())
    assert 401 == status(receiver.exchange(other, handoff_post.encoder(wrong)("r", 4, BODY)))
    assert 401 == status(receiver.exchange(runtime, handoff_post.encoder(wrong)("r", 4, BODY)))
    right = handoff_post.prefix("localhost:4318", TOKEN)
    assert 200 == status(receiver.exchange(other, handoff_post.encoder(right)("r", 4, BODY)))


def test_crowds_leave_room_for_others(receiver: Receiver) -> None:
    """However much a client sends at once, only a little is worked on before others have their
    turns; of a long body it is as much as ever."""
    for crowd in (request(body=BODY) * 300, b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 9000):  # fmt: skip
        client = receiver.connect()
        assert len(crowd) == client.send(crowd)
        receiver.reactor.run_once(0)
        (connection,) = receiver.server._connections.values()
        assert len(connection.body) < 400
        assert receiver.ledger.accounts["traces"].accepted < 50
        receiver.server.close(connection)
    client = receiver.connect()
    data = request(body=BODY).replace(b"h: %d" % len(BODY), b"h: 200000") + bytes(60_000)
    assert len(data) == client.send(data)
    receiver.reactor.run_once(0)
    receiver.reactor.run_once(0)
    (connection,) = receiver.server._connections.values()
    assert len(data) - 200 < len(connection.body)


def test_number_of_connections_is_bounded(receiver: Receiver) -> None:
    """New clients push out the longest silent ones, but never the runtime."""
    runtime = receiver.connect()
    token = f"Lambdascope-Token: {TOKEN}"
    receiver.exchange(runtime, request("/lambdascope/v1/hello", b"", token))
    clients = [receiver.connect() for _ in range(MAX_CONNECTIONS + 20)]
    assert MAX_CONNECTIONS == receiver.server.connection_count
    assert 200 == status(receiver.exchange(runtime, request(body=BODY)))
    assert 200 == status(receiver.exchange(clients[-1], request(body=BODY)))
    assert b"" == receiver.exchange(clients[0], request(body=BODY))


def test_slow_clients_make_room(receiver: Receiver) -> None:
    """Clients that never finish their requests do not keep others out."""
    for _ in range(MAX_CONNECTIONS):
        receiver.exchange(receiver.connect(), b"POST /v1/tra")
    assert 200 == status(receiver.exchange(receiver.connect(), request(body=BODY)))


def test_time_of_a_request_is_bounded(receiver: Receiver) -> None:
    """An unfinished request is given up after its time; a thaw gives it anew."""
    client = receiver.connect()
    receiver.exchange(client, b"POST /v1/traces HTTP/1.1\r\n")
    deadline = receiver.server.next_deadline()
    assert deadline is not None
    receiver.server.thaw(deadline + 100)
    receiver.server.sweep(deadline + 100)
    assert deadline + 100 + REQUEST_S == receiver.server.next_deadline()
    receiver.server.sweep(deadline + 100 + REQUEST_S)
    assert (None, 0) == (receiver.server.next_deadline(), receiver.server.connection_count)


def test_memory_of_unfinished_requests_is_bounded(receiver: Receiver) -> None:
    """Many large bodies at once are not all kept; those that do not fit are told to come back."""
    part = request().replace(b"h: 0", b"h: %d" % MAX_PAYLOAD_BYTES) + b"x" * (4 * 1024 * 1024)
    answers = [status(receiver.exchange(receiver.connect(), part)) for _ in range(4)]
    assert [0, 0, 0, 503] == answers


def test_answers_that_are_not_read_are_bounded(receiver: Receiver) -> None:
    """From a client that sends requests and reads nothing, no more is taken, and the runtime is
    served all the same."""
    client, runtime = receiver.connect(), receiver.connect()
    token = f"Lambdascope-Token: {TOKEN}"
    receiver.exchange(runtime, request("/lambdascope/v1/hello", b"", token))
    flood = request(method="GET") * 400
    stalled = sent = 0
    while stalled < 3:
        try:
            sent += client.send(flood)
            stalled = 0
        except BlockingIOError:
            stalled += 1
        receiver.run()
    (held,) = [one for one in receiver.server._connections.values() if not one.is_runtime]
    assert len(held.out) <= 65_536
    assert held.wants_write
    assert 200 == status(receiver.exchange(runtime, request(body=BODY)))
    deadline = receiver.server.next_deadline()
    assert deadline is not None
    receiver.server.sweep(deadline)
    assert 1 == receiver.server.connection_count


def test_a_pipelining_flood_leaves_turns_to_others(receiver: Receiver) -> None:
    """Who sends many requests at once is served a few of them at a time from then on."""
    flooding = receiver.connect()
    one = request(method="GET")
    assert 405 == status(receiver.exchange(flooding, one * 100))
    refused = receiver.ledger.refused["malformed"]
    flooding.send(one * 100)
    receiver.reactor.run_once(0)
    assert 0 < receiver.ledger.refused["malformed"] - refused <= 2048 // len(one)
    receiver.exchange(flooding, b"")
    for _ in range(100):
        receiver.run()
    assert 200 == receiver.ledger.refused["malformed"]


def test_many_fields_in_few_bytes_are_refused(receiver: Receiver) -> None:
    """Counting them would take long, and nobody has so many resources without a span."""
    assert 400 == status(receiver.exchange(receiver.connect(), request(body=b"\x0a\x00" * 100_000)))


def test_runtime_that_closes_is_told(receiver: Receiver) -> None:
    """The server says which connection closed, and whether it was the runtime's."""
    closed: list[bool] = []
    receiver.server.on_closed = lambda connection: closed.append(connection.is_runtime)
    runtime, other = receiver.connect(), receiver.connect()
    token = f"Lambdascope-Token: {TOKEN}"
    receiver.exchange(runtime, request("/lambdascope/v1/hello", b"", token))
    other.close()
    receiver.run()
    runtime.close()
    receiver.run()
    assert [False, True] == closed


HEAD = request(body=BODY).partition(b"\r\n\r\n")[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.binary(max_size=300)
    | st.tuples(st.integers(0, len(HEAD)), st.binary(max_size=20)).map(
        lambda edit: HEAD[: edit[0]] + edit[1] + HEAD[edit[0] :] + b"\r\n\r\n" + BODY
    )
)
@example(data=b"\r\n\r\n")
@example(data=b"POST /v1/traces HTTP/1.1\r\nLambdascope-Token: \x80\r\n\r\n")
def test_hostile_bytes(receiver: Receiver, data: bytes) -> None:
    """No bytes on the port raise anything, and the ledger stays balanced."""
    client = receiver.connect()
    receiver.exchange(client, data)
    client.close()
    receiver.run()
    assert 0 == receiver.server.connection_count
    assert all(is_balanced(account) for account in receiver.ledger.accounts.values())


@pytest.mark.parametrize("code", [0, 1, 2])
def test_failed_invocations_are_urgent(receiver: Receiver, code: int) -> None:
    """Spans with the status "error" are marked to go first, in protobuf and in JSON."""
    body = ExportTraceServiceRequest.FromString(BODY)
    body.resource_spans[0].scope_spans[0].spans[1].status.code = code  # type: ignore[assignment]
    client = receiver.connect()
    document = MessageToJson(body, use_integers_for_enums=True, indent=None).encode()
    for kind, data in (
        ("application/x-protobuf", body.SerializeToString()),
        ("application/json", document),
    ):
        assert 200 == status(receiver.exchange(client, request(body=data, content_type=kind)))
        assert (code == 2) == receiver.buffer.has_urgent()
        assert receiver.buffer.take() is not None
