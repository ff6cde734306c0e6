"""Secrets and signatures around a sender: when AWS is asked, what failures mean, and the cut."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from fake_collector import Answer, FakeCollector, traces
from lambdascope.wire.names import CONTENT_TYPE_PROTOBUF
from lambdascope_extension.answers import CUT, EXPORTED, REFUSED, RETRY, Result
from lambdascope_extension.authorized_sender import AuthorizedSender
from lambdascope_extension.batch import Batch, Message
from lambdascope_extension.destination import BASIC, HEADERS, Destination, Secret
from lambdascope_extension.exporter import Job
from tls_kit import HAS_OPENSSL, Authority, TlsFront

if TYPE_CHECKING:
    from pathlib import Path

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf"
KEYS = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S", "AWS_REGION": "eu-west-1"}


class Inner:
    """A sender that keeps the headers it is given and answers as planned, then 200 for ever."""

    def __init__(self, *statuses: int) -> None:
        self.headers: list[dict[str, bytes]] = []
        self.signed: list[dict[str, str]] = []
        self._statuses = list(statuses)

    def send(self, job: Job) -> Result:
        """Take what a real one would send."""
        destination = job.destination
        self.headers.append(dict(destination.headers))
        if destination.sign is not None:
            self.signed.append(destination.sign({"content-type": "x"}, b"body"))
        status = self._statuses.pop(0) if self._statuses else 200
        return Result(EXPORTED if status == 200 else REFUSED, status=status)

    def cut(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is open."""


def stored(value: str) -> Answer:
    """What Secrets Manager answers."""
    return Answer(200, body=json.dumps({"SecretString": value}).encode())


def job(secret: Secret | None = None, *, service: str = "") -> Job:
    """A job for a destination that needs AWS."""
    one = Destination(signal="traces", url="http://c/v1/traces", shown="http://c", port=80)
    if secret is not None:
        one.secrets["x-key"] = secret
    one.service, one.region = service, "eu-west-1"
    message = Message(
        signal="traces", kind=CONTENT_TYPE_PROTOBUF, body=traces("a"), items=1, received=1.0
    )
    return Job(Batch([message]), one, timeout_s=5, started=0.0, wants_new_connection=False)


def sender(inner: Inner, aws: FakeCollector | None, **variables: str) -> AuthorizedSender:
    """The sender under test."""
    endpoint = {} if aws is None else {"AWS_ENDPOINT_URL": aws.endpoint}
    return AuthorizedSender(inner, {**KEYS, **endpoint, **variables})


def test_a_secret_is_asked_for_once() -> None:
    """The first batch has it fetched, with a signature; the next ones find it."""
    inner = Inner()
    with FakeCollector(stored(" v \n")) as aws:
        made = sender(inner, aws)
        results = [made.send(job(Secret(ARN, prefix=b"Bearer "))) for _ in range(3)]

    assert [EXPORTED] * 3 == [one.outcome for one in results]
    assert [{"x-key": b"Bearer v"}] * 3 == inner.headers
    [request] = aws.requests
    assert ("secretsmanager.GetSecretValue", {"SecretId": ARN}) == (
        request.headers["x-amz-target"],
        json.loads(request.body),
    )
    assert "/eu-west-1/secretsmanager/aws4_request" in request.headers["authorization"]


@pytest.mark.parametrize(
    ("secret", "value", "part"),
    [
        (Secret(ARN), "a\nb: c", "holds a line break"),
        (Secret(f"{ARN}#k"), "no json", "no JSON object with the key 'k'"),
        (Secret(ARN, how=HEADERS), "no list", "neither name=value,name=value nor a JSON object"),
        (Secret(ARN, how=HEADERS), "{}", "neither name=value,name=value nor a JSON object"),
        (Secret(ARN, how=HEADERS), '{"a": "b\\r\\nc"}', "neither name=value,name=value"),
        (Secret(ARN, how=HEADERS), '{"a b": "c"}', "neither name=value,name=value"),
    ],
)
def test_values_that_are_no_headers(secret: Secret, value: str, part: str) -> None:
    """What cannot be a header is not sent; the line names the secret and never its value."""
    inner = Inner()
    with FakeCollector(stored(value)) as aws:
        result = sender(inner, aws).send(job(secret))

    assert (RETRY, []) == (result.outcome, inner.headers)
    assert part in result.reason
    assert value not in result.reason


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (Answer(400, body=b'{"__type": "com.x#AccessDeniedException", "Message": "no"}'), "Access"),
        (Answer(500, body=b"<html>"), "answers 500"),
        (Answer(200, body=b"[]"), "answers 200"),
        (Answer(200, body=b"{}"), "has no text"),
        (Answer(cut=10), "no answer from"),
    ],
)
def test_stores_that_fail(answer: Answer, part: str) -> None:
    """The batch is kept, whatever the store says, and the reason is for people."""
    with FakeCollector(answer, answer) as aws:
        result = sender(Inner(), aws).send(job(Secret(ARN)))

    assert (RETRY, True) == (result.outcome, part in result.reason)
    assert "permissions" in result.hint


def test_a_refused_key_is_renewed_once_until_one_is_taken() -> None:
    """Each refusal after a success has the key fetched again, a row of refusals only once."""
    inner = Inner(401, 200, 401, 401, 401, 200, 403, 200)
    with FakeCollector(*[stored(f"v{number}") for number in range(9)]) as aws:
        made = sender(inner, aws)
        outcomes = [made.send(job(Secret(ARN))).outcome for _ in range(5)]

    assert [EXPORTED, REFUSED, REFUSED, EXPORTED, EXPORTED] == outcomes
    sent = [one["x-key"].decode() for one in inner.headers]
    assert ["v0", "v1", "v1", "v2", "v2", "v2", "v2", "v3"] == sent
    assert 4 == len(aws.requests)


def test_cut_while_a_secret_is_asked_for() -> None:
    """The main thread can end the call to the store as it can end an export."""
    held = threading.Event()
    with FakeCollector(Answer(hold=held), stored("v")) as aws:
        made = sender(Inner(), aws)
        first, results = job(Secret(ARN)), list[Result]()
        thread = threading.Thread(target=lambda: results.append(made.send(first)))
        thread.start()
        aws.wait_requests(1)
        first.is_cut = True
        made.cut()
        thread.join(10)
        second = made.send(job(Secret(ARN)))

    assert [CUT, EXPORTED] == [results[0].outcome, second.outcome]


def test_no_credentials() -> None:
    """Without credentials nothing can be signed: said with the variables that are missing."""
    result = AuthorizedSender(Inner(), {"AWS_REGION": "eu-west-1"}).send(job(service="xray"))

    assert RETRY == result.outcome
    assert "neither AWS_ACCESS_KEY_ID nor AWS_CONTAINER_CREDENTIALS_FULL_URI" in result.reason


def container(key: str, left_s: float) -> Answer:
    """What the address of a restored function's credentials answers."""
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + left_s))
    found: dict[str, Any] = {"AccessKeyId": key, "SecretAccessKey": "s", "Token": "t"}
    return Answer(200, body=json.dumps({**found, "Expiration": expires}).encode())


def test_credentials_that_end() -> None:
    """They are asked for again before they end, and when a signature with them is refused."""
    inner = Inner(200, 200, 200, 403)
    answers = [container("K1", 200), container("K2", 3600), container("K3", 3600)]
    with FakeCollector(*answers) as address:
        made = AuthorizedSender(
            inner, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{address.endpoint}/credentials"}
        )
        outcomes = [made.send(job(service="xray")).outcome for _ in range(4)]

    keys = [one["authorization"].partition("Credential=")[2][:2] for one in inner.signed]
    assert ["K1", "K2", "K2", "K2", "K3"] == keys
    assert [EXPORTED] * 4 == outcomes
    assert "t" == inner.signed[0]["x-amz-security-token"]


def test_basic() -> None:
    """A stored password becomes an Authorization header with the user's name."""
    inner = Inner()
    with FakeCollector(stored("pass")) as aws:
        sender(inner, aws).send(job(Secret(ARN, how=BASIC, prefix=b"123:")))

    assert b"Basic MTIzOnBhc3M=" == inner.headers[0]["x-key"]


@pytest.mark.skipif(not HAS_OPENSSL, reason="needs openssl to make certificates")
@pytest.mark.parametrize("trusted", [True, False])
def test_stores_behind_an_own_authority(tmp_path: Path, trusted: bool) -> None:
    """SSL_CERT_FILE counts for calls to AWS, too; without it a foreign certificate is refused."""
    authority, inner = Authority(tmp_path), Inner()
    variables = {"SSL_CERT_FILE": str(authority.file)} if trusted else {}
    with (
        FakeCollector(stored("v")) as aws,
        TlsFront(aws.endpoint, authority.certificate("aws")) as front,
    ):
        made = AuthorizedSender(inner, {**KEYS, **variables, "AWS_ENDPOINT_URL": front.endpoint})
        result = made.send(job(Secret(ARN)))

    assert ((EXPORTED, 1) if trusted else (RETRY, 0)) == (result.outcome, len(aws.requests))


def test_certificates_that_are_not_there() -> None:
    """A file of authorities that cannot be read is a reason, not a fault."""
    with FakeCollector() as aws:
        https = aws.endpoint.replace("http:", "https:")
        variables = {**KEYS, "SSL_CERT_FILE": "/none", "AWS_ENDPOINT_URL": https}
        result = AuthorizedSender(Inner(), variables).send(job(Secret(ARN)))

    assert (RETRY, True) == (result.outcome, "no answer from" in result.reason)
