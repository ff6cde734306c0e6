"""Patches of AWS's client: which steps go through them, and that a broken one costs nothing."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from lambdascope.runtime.api import RuntimeApiError
from lambdascope.runtime.compat import Compat, compat_of
from lambdascope.runtime.faults import Fault
from lambdascope.runtime.import_watch import ImportWatch
from lambdascope.runtime.loop import Loop
from lambdascope.runtime.serde import Encoder, decode_event
from lambdascope.wire.runtime_api import InitError, InvocationError, InvocationResponse
from unit.runtime.kit import Lines, make_times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdascope.runtime.telemetry import InvokeTimes

REQUEST_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"


@pytest.fixture
def said() -> Lines:
    """What the runtime says."""
    return Lines()


@pytest.fixture
def compat(said: Lines, monkeypatch: pytest.MonkeyPatch) -> Iterator[Compat]:
    """A hook of its own, with another `__main__` and nothing left behind."""
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    for name in [name for name in sys.modules if name.startswith("awslambdaric")]:
        monkeypatch.delitem(sys.modules, name)  # the real one, where another test has loaded it
    before = dict(sys.modules)
    yield Compat(said, ensure_ascii=True)
    for name in sys.modules.keys() - before.keys():
        if name.startswith("awslambdaric"):
            del sys.modules[name]


def bootstrap() -> Any:
    """The module, found as Sentry's SDK finds it in a container image."""
    return sys.modules["__main__"].bootstrap


def settle(result: object, times: InvokeTimes) -> object:
    """Nothing is unfinished here."""
    return result


def call(compat: Compat, handler: Any, event: object = 1) -> object:
    """One call of the handler; its context is not looked at."""
    context: Any = None
    return compat.call(handler, settle, event, context, make_times())


def test_a_patch_that_wraps_the_handler(compat: Compat) -> None:
    """`handle_event_request` is looked up at the call, and may give the handler a wrapper."""
    original = bootstrap().handle_event_request
    seen: list[object] = []

    def patched(client: object, handler: Any, *rest: object) -> None:
        seen.append(rest[0])
        original(client, lambda event, context: ("wrapped", handler(event, context)), *rest)

    bootstrap().handle_event_request = patched

    assert ("wrapped", 2) == call(compat, lambda event, context: event + 1)
    assert [REQUEST_ID] == seen


def test_a_handler_that_raises(compat: Compat, said: Lines) -> None:
    """What the handler raises is what comes out; a patch outside of it sees nothing."""
    with pytest.raises(ZeroDivisionError):
        call(compat, lambda event, context: 1 / 0)
    with pytest.raises(SystemExit):
        call(compat, lambda event, context: sys.exit(3))

    assert [] == said


def test_a_patch_that_fails_before_the_handler(compat: Compat, said: Lines) -> None:
    """The handler runs without it, and it is said whose it was."""

    def patched(*_: object) -> None:
        raise KeyError("broken")

    bootstrap().handle_event_request = patched

    assert 1 == call(compat, lambda event, context: event)
    assert "patched" in said[0]
    assert __name__ in said[0]
    assert "KeyError" in said[0]


def test_a_patch_that_fails_after_the_handler(compat: Compat, said: Lines) -> None:
    """The handler does not run a second time, and its result stands."""
    original = bootstrap().handle_event_request
    calls: list[object] = []

    def patched(*arguments: Any) -> None:
        original(*arguments)
        raise OSError("cannot flush")

    bootstrap().handle_event_request = patched

    assert "done" == call(compat, lambda event, context: calls.append(event) or "done")
    assert [1] == calls
    assert "cannot flush" in said[0]


def response(body: bytes = b'{"a": 1}') -> InvocationResponse:
    """An answer."""
    return InvocationResponse(request_id=REQUEST_ID, body=body)


def patch_post(name: str, *order: list[str]) -> None:
    """Let that method note its name before it goes on."""
    client = bootstrap().LambdaRuntimeClient
    original = getattr(client, name)

    def patched(*arguments: Any) -> None:
        order[0].append(name)
        original(*arguments)

    setattr(client, name, patched)


def test_posts_go_through_the_client(compat: Compat) -> None:
    """A result and an error each go through their method, before they are posted."""
    order: list[str] = []
    for name in ("post_invocation_result", "post_invocation_error"):
        patch_post(name, order)

    def post(outcome: object, times: InvokeTimes) -> str:
        order.append(type(outcome).__name__)
        return "said"

    assert "said" == compat.report(post, response(), make_times())
    error = InvocationError(request_id=REQUEST_ID, body=b"{}")
    assert "said" == compat.report(post, error, make_times())
    assert [
        "post_invocation_result",
        "InvocationResponse",
        "post_invocation_error",
        "InvocationError",
    ] == order


def test_a_patch_may_change_the_body(compat: Compat) -> None:
    """The body that a patch hands on is the one that is posted; an untouched one is not copied."""
    posted: list[Any] = []
    client = bootstrap().LambdaRuntimeClient
    original = client.post_invocation_result

    def post(outcome: object, times: InvokeTimes) -> str:
        posted.append(outcome)
        return ""

    untouched = response()
    before = untouched.body
    compat.report(post, untouched, make_times())
    client.post_invocation_result = lambda self, name, data, *rest: original(self, name, data + " ")
    compat.report(post, response(), make_times())

    assert posted[0].body is before
    assert (b'{"a": 1} ', "application/json") == (posted[1].body, posted[1].content_type)


def test_a_patch_that_swallows_a_post(compat: Compat) -> None:
    """The answer is posted all the same, and a refusal by the Runtime API is not hidden."""
    posted: list[object] = []
    client = bootstrap().LambdaRuntimeClient
    original = client.post_invocation_result

    def post(outcome: object, times: InvokeTimes) -> str:
        posted.append(outcome)
        raise RuntimeApiError("answered 500", status=500)

    def swallow(*arguments: Any) -> None:
        try:
            original(*arguments)
        except Exception:  # noqa: BLE001 - what it is about
            pass

    for patched in (lambda *_: None, swallow):
        client.post_invocation_result = patched
        with pytest.raises(RuntimeApiError):
            compat.report(post, response(), make_times())
    assert 2 == len(posted)


def test_a_failed_init(compat: Compat) -> None:
    """`post_init_error` gets the error's fields, while the exception is being handled."""
    client = bootstrap().LambdaRuntimeClient
    original = client.post_init_error
    seen: list[Any] = []

    def patched(self: Any, error: Any) -> None:
        seen.append((error, sys.exc_info()[0].__name__, sys.exc_info()[1].__cause__))
        original(self, error)

    client.post_init_error = patched
    cause = ImportError("no such module")
    fault = Fault("Runtime.ImportModuleError", "Unable to import")
    fault.__cause__ = cause
    message = InitError(body=b'{"errorType": "x"}')

    assert "said" == compat.init_error(lambda _: "said", message, fault)
    assert "said" == compat.init_error(lambda _: "said", message, LookupError("none"))
    assert [
        ({"errorType": "x"}, "Runtime.ImportModuleError", cause),
        ({"errorType": "x"}, "LookupError", None),
    ] == seen


def test_the_marshaller_is_ours_until_it_is_replaced(compat: Compat) -> None:
    """The loop reads and writes JSON itself as long as nobody has replaced the marshaller."""
    encoder = Encoder(ensure_ascii=True)
    assert compat.encoder(encoder) is encoder
    assert compat.decoder() is decode_event

    class Other:
        def unmarshal_request(self, body: bytes, content_type: str) -> object:
            return body, content_type

        def marshal_response(self, response: object) -> tuple[str, str]:
            return str(response), "text/plain"

    bootstrap().LambdaRuntimeClient.marshaller = Other()

    assert (b"7", "text/plain") == compat.encoder(encoder).encode(7)
    assert (b"x", "kind") == compat.decoder()(b"x", "kind")


def test_the_stand_in_of_the_marshaller(compat: Compat) -> None:
    """A class that derives from AWS's gets what AWS's would give."""
    marshaller = bootstrap().LambdaMarshaller()

    assert {"a": 1} == marshaller.unmarshal_request(b'{"a": 1}')
    assert ('"\\u00e9"', "application/json") == marshaller.marshal_response("\u00e9")
    assert (b"raw", "application/unknown") == marshaller.marshal_response(b"raw")
    assert '{"a": 1}' == bootstrap().to_json({"a": 1})


def test_the_real_client_takes_over(compat: Compat) -> None:
    """When the function loads the real one, its names count, with the patches made until then."""
    order: list[str] = []
    patch_post("post_invocation_result", order)
    real_marshaller = object()
    client = type("LambdaRuntimeClient", (), {"marshaller": real_marshaller})
    parts = types.ModuleType("awslambdaric.lambda_runtime_client")
    parts.LambdaRuntimeClient = client  # type: ignore[attr-defined]  # as in the real one
    real: Any = types.ModuleType("awslambdaric.bootstrap")
    real.LambdaRuntimeClient = client
    real.handle_event_request = None
    watch = ImportWatch()
    compat.watch(watch)
    for module in (parts, real):
        sys.modules[module.__name__] = module
        watch.settle()

    def post(outcome: object, times: InvokeTimes) -> str:
        return ""

    assert bootstrap() is real
    compat.report(post, response(), make_times())
    assert ["post_invocation_result"] == order
    assert 1 == call(compat, lambda event, context: event)
    encoder = Encoder(ensure_ascii=True)
    assert compat.encoder(encoder) is encoder


def test_one_for_the_process(compat: Compat, said: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every loop of the process goes through the same one."""
    assert Loop.compat is None
    monkeypatch.setattr(Loop, "compat", None)

    first = compat_of(said, ensure_ascii=True)

    assert first is compat_of(said, ensure_ascii=True)
    assert first is Loop.compat
