"""Calls to AWS over our own connections and with `requests`: the same answers, the same ends."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from fake_collector import BY_REQUESTS, Answer, FakeCollector
from lambdascope_extension.aws_calls import AwsCalls, AwsError
from lambdascope_extension.aws_http import AwsHttp, Call, NoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S", "AWS_REGION": "eu-west-1"}
CLOSED = ("closed without an answer", "ConnectionError")


@pytest.fixture
def store() -> Iterator[FakeCollector]:
    """A service of AWS."""
    with FakeCollector() as made:
        yield made


@pytest.fixture(params=[{}, BY_REQUESTS], ids=["own", "requests"])
def http(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AwsHttp:
    """Calls in an environment that makes them take the one way or the other."""
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    return AwsHttp(request.param)


def call(url: str, timeout_s: float = 10.0, *, direct: bool = False) -> Call:
    """A request with a body."""
    return Call(url, {"x-amz-target": "t"}, b"{}", timeout_s=timeout_s, direct=direct)


def test_answers(http: AwsHttp, store: FakeCollector) -> None:
    """Status and body come as they are: large ones whole, redirects not followed."""
    large = b"x" * 200_000
    store.plan(Answer(200, body=large), Answer(302, headers=(("Location", "/b"),)), Answer(500))
    url = f"{store.endpoint}/a?b=c"

    assert [(200, large), (302, b""), (500, b"")] == [http.answer(call(url)) for _ in range(3)]
    assert ["/a?b=c"] * 3 == [one.path for one in store.requests]
    assert [b"{}"] * 3 == [one.body for one in store.requests]
    headers = store.requests[0].headers
    assert ("t", "identity") == (headers["x-amz-target"], headers["accept-encoding"])
    assert store.endpoint == f"http://{headers['host']}"


def test_very_long_answers(http: AwsHttp, store: FakeCollector) -> None:
    """Of an answer that no service gives at most its beginning is kept in memory."""
    store.plan(Answer(200, body=b"x" * 5_000_000))
    status, body = http.answer(call(store.endpoint + "/"))
    assert (200, True) == (status, len(body) < 1_000_000)


@pytest.mark.parametrize(
    ("url", "reasons"),
    [
        ("http://127.0.0.1:1/", ("connection refused", "ConnectionError")),
        ("http://store.invalid/", ("the name cannot be resolved", "ProxyError")),
        ("store:1/", ("InvalidSchema",)),
        ("http://a:b/", ("InvalidURL",)),
    ],
)
def test_no_answer(http: AwsHttp, url: str, reasons: tuple[str, ...]) -> None:
    """Why there is none is one line, whatever the address is."""
    with pytest.raises(NoAnswer) as caught:
        http.answer(call(url))
    assert str(caught.value) in reasons


def test_answer_that_is_cut_off(http: AwsHttp, store: FakeCollector) -> None:
    """A connection that ends in the middle of a head is no answer."""
    store.plan(Answer(cut=10))
    with pytest.raises(NoAnswer) as caught:
        http.answer(call(store.endpoint))
    assert str(caught.value) in CLOSED


def test_time(http: AwsHttp, store: FakeCollector) -> None:
    """A call ends with its time, and nothing of it is left open."""
    store.plan(Answer(hold=threading.Event()))
    with pytest.raises(NoAnswer) as caught:
        http.answer(call(store.endpoint, 0.1))
    assert str(caught.value) in ("no answer in time", "ReadTimeout")
    assert store.wait_left(0) > 0


def test_cut(http: AwsHttp, store: FakeCollector) -> None:
    """A cut from another thread ends a call and lets none begin until calls are allowed again."""
    store.plan(Answer(hold=threading.Event()))

    def cut() -> None:
        store.wait_requests(1)
        http.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(NoAnswer):
        http.answer(call(store.endpoint, 60.0))
    thread.join()
    with pytest.raises(NoAnswer):
        http.answer(call(store.endpoint))
    http.allow()

    assert 200 == http.answer(call(store.endpoint))[0]
    assert 2 == len(store.requests)


def test_proxies(store: FakeCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy gets the call, but for one that goes past all proxies."""
    with FakeCollector(Answer(200, body=b"proxy")) as proxy:
        environ = {"http_proxy": proxy.endpoint}
        monkeypatch.setenv("http_proxy", proxy.endpoint)
        monkeypatch.delenv("no_proxy", raising=False)
        http = AwsHttp(environ)
        found = [http.answer(call(store.endpoint + "/", direct=direct)) for direct in (False, True)]

    assert [(200, b"proxy"), (200, b"")] == found
    assert [f"{store.endpoint}/"] == [one.path for one in proxy.requests]


def test_without_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `requests` is needed and not installed, that is what is said."""
    monkeypatch.setitem(sys.modules, "lambdascope_extension.requests_calls", None)
    with pytest.raises(NoAnswer, match="`requests` is needed"):
        AwsHttp(BY_REQUESTS).answer(call("http://127.0.0.1:1/"))


@pytest.mark.parametrize("body", [b"{}", b'{"Plaintext": 1}', b'{"Plaintext": "/w=="}'])
def test_texts_that_are_none(store: FakeCollector, body: bytes) -> None:
    """What KMS gives and is no text is said as such."""
    store.plan(Answer(200, body=body))
    with pytest.raises(AwsError, match="Plaintext of AWS's answer is no text"):
        AwsCalls({**KEYS, "AWS_ENDPOINT_URL": store.endpoint}).decrypted("x", 10)
