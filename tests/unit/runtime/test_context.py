"""The context object, with awslambdaric's own as the oracle."""

from __future__ import annotations

import copy
import json
import pickle
import threading
import time

import pytest

from lambdascope.runtime import context as context_module
from lambdascope.runtime.context import CurrentInvocation, LambdaContext
from lambdascope.runtime.faults import Fault
from lambdascope.runtime.logs import Logs
from lambdascope.wire import names
from unit.runtime.kit import ARN, ENVIRON, make_config, make_invocation, make_times

theirs = pytest.importorskip(
    "awslambdaric.lambda_context", reason="awslambdaric is not installed here"
)

CLIENT_CONTEXT = {
    "custom": {"a": 1},
    "env": {"locale": "de"},
    "client": {
        "installation_id": "i",
        "app_title": "t",
        "app_version_name": "n",
        "app_version_code": "c",
        "app_package_name": "p",
    },
    "w3c": {"traceparent": "00-1-2-01", "tracestate": 5, "baggage": "b=c", "other": "x"},
}
IDENTITY = {"cognitoIdentityId": "id", "cognitoIdentityPoolId": "pool"}
HEADERS = {
    "lambda_runtime_client_context": json.dumps(CLIENT_CONTEXT),
    "lambda_runtime_cognito_identity": json.dumps(IDENTITY),
    "lambda_runtime_aws_tenant_id": "tenant",
}


def _make(in_ms: float = 3000, **headers: str) -> LambdaContext:
    invocation = make_invocation(in_ms=in_ms, **headers)
    logs = Logs(json_format=False, level="", frame_fd=None)
    return LambdaContext(
        invocation,
        make_config(),
        deadline_ns=make_times(invocation).deadline_ns,
        write=logs.write,
    )


@pytest.fixture(params=[True, False], ids=["everything sent", "nothing sent"])
def both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[object, object]:
    """The same invocation as our context and as AWS's."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    sent = HEADERS if request.param else {}
    ours = _make(**sent)
    official = theirs.LambdaContext(
        ours.aws_request_id,
        copy.deepcopy(CLIENT_CONTEXT) if request.param else None,
        IDENTITY if request.param else None,
        int(time.time() * 1000) + 3000,
        ARN,
        "tenant" if request.param else None,
    )
    return ours, official


def test_every_attribute(both: tuple[object, object]) -> None:
    """Whatever AWS's context has, ours has, with the same value and type."""
    ours, official = both
    names_ = [name for name in dir(official) if not name.startswith("_")]

    for name in names_:
        expected, found = getattr(official, name), getattr(ours, name)
        if not callable(expected):
            assert repr(expected) == repr(found), name
            assert type(expected).__name__ == type(found).__name__, name
    assert set(names_) <= set(dir(ours))
    assert official.w3c() == ours.w3c()


def test_text_form(both: tuple[object, object]) -> None:
    """The text form is AWS's, which people have in their logs."""
    ours, official = both

    assert repr(official) == repr(ours)


def test_vars(both: tuple[object, object]) -> None:
    """Loggers read vars(context): everything public that AWS has there is there."""
    ours, official = both
    public = {name for name in vars(official) if not name.startswith("_")}

    assert public == {name for name in vars(ours) if not name.startswith("_")}
    assert "_epoch_deadline_time_in_ms" in vars(ours)


def test_client_fields() -> None:
    """The client context is an object with custom, env and client, without what is the tracer's."""
    context = _make(**HEADERS)

    assert {"a": 1} == context.client_context.custom
    assert {"locale": "de"} == context.client_context.env
    assert "t" == context.client_context.client.app_title
    assert ("id", "pool") == (
        context.identity.cognito_identity_id,
        context.identity.cognito_identity_pool_id,
    )
    assert {"traceparent": "00-1-2-01", "baggage": "b=c"} == context.w3c()


def test_headers_that_nobody_knows_yet() -> None:
    """Every header of the event is there, by its name in lower case, and cannot be changed."""
    context = _make(lambda_runtime_aws_something_new="17")

    assert "17" == context.headers["lambda-runtime-aws-something-new"]
    assert ARN == context.headers[names.FUNCTION_ARN.lower()]
    with pytest.raises(TypeError):
        context.headers["lambda-runtime-aws-something-new"] = "18"


@pytest.mark.parametrize("text", ["{}", '{"client": null}', '{"w3c": 5}', '{"client": "text"}'])
def test_sparse_client_context(text: str) -> None:
    """Missing fields are None, and odd ones do no harm."""
    context = _make(lambda_runtime_client_context=text)

    assert context.client_context.custom is None
    assert {} == context.w3c()


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("lambda_runtime_client_context", "Client Context"),
        ("lambda_runtime_cognito_identity", "Cognito Identity"),
    ],
)
@pytest.mark.parametrize("text", ["{", "[]", "5", "[" * 100_000])
def test_bad_json_in_a_header(header: str, what: str, text: str) -> None:
    """A header that is no JSON object fails the invocation with AWS's error type."""
    with pytest.raises(Fault, match=f"^Unable to parse {what} JSON: .") as caught:
        _make(**{header: text})

    assert names.FAULT_CONTEXT == caught.value.error_type


def test_null_headers() -> None:
    """null counts as not sent, as with AWS's client."""
    context = _make(lambda_runtime_client_context="null", lambda_runtime_cognito_identity="null")

    assert context.client_context is None
    assert context.identity.cognito_identity_id is None


def test_remaining_time_survives_a_stepped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the wall clock after receipt does not change the remaining time."""
    context = _make(in_ms=5000)
    before = context.get_remaining_time_in_millis()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)

    after = context.get_remaining_time_in_millis()

    assert 4900 < after <= before <= 5000
    assert type(after) is int


def test_remaining_time_follows_the_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remaining time falls as time passes, and stays 0 after the deadline."""
    context = _make(in_ms=5000)
    now = time.monotonic_ns()
    left = []
    for passed_ms in (1000, 4000, 6000, 10_000):
        later = now + passed_ms * 1_000_000
        monkeypatch.setattr(context_module, "monotonic_ns", lambda later=later: later)
        left.append(context.get_remaining_time_in_millis())

    assert [4000, 1000] == pytest.approx(left[:2], abs=20)
    assert [0, 0] == left[2:]


def test_deadline_that_has_passed() -> None:
    """An event that comes too late has no time left."""
    assert _make(in_ms=-1000).get_remaining_time_in_millis() == 0


def test_log_writes_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """context.log writes the text without a line end, whatever its type."""
    context = _make()

    context.log("a")
    context.log(5)

    assert "a5" == capsys.readouterr().out


def test_copies(capsys: pytest.CaptureFixture[str]) -> None:
    """A context can be copied and sent to another process, and can still log there."""
    context = _make(**HEADERS)

    for twin in (copy.deepcopy(context), pickle.loads(pickle.dumps(context))):
        assert repr(context) == repr(twin)
        assert context.headers == twin.headers
        twin.log("x")

    assert "xx" == capsys.readouterr().out


def test_users_may_set_attributes() -> None:
    """Decorators hang things on the context, so it takes any attribute."""
    context = _make()
    context.mine = 1
    context.headers = {"mine": "2"}

    assert (1, {"mine": "2"}) == (context.mine, context.headers)


def test_current_invocation_in_threads() -> None:
    """A thread that did not inherit the context sees the latest invocation of the process."""
    current = CurrentInvocation()
    first, second = make_times(), make_times()
    seen: list[object] = []

    def look() -> None:
        seen.append(current.times())

    def run() -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    run()
    token = current.set(first)
    run()
    current.reset(token)
    current.set(second)
    run()

    assert [None, first, second] == seen
    assert second.invocation is current.get()
