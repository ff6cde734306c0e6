"""The exchange between Lambda and an ASGI application, in this process."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from lambdascope.asgi import handler
from lambdascope.runtime.live_results import lasting_tasks
from lambdascope.runtime.streaming import StreamBroken

EVENT = {
    "version": "2.0",
    "rawPath": "/",
    "requestContext": {"domainName": "x.lambda-url.y.on.aws", "http": {"method": "GET"}},
}
START = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}
PLAIN = {"statusCode": 200, "headers": {"a": "b"}, "isBase64Encoded": False}
WAIT_S = 10.0


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    """A piece of a response."""
    return {"type": "http.response.body", "body": data, "more_body": more}


class Stream:
    """Takes pieces; breaks at `breaks_at`; with `slow` what is left over waits for `go_on`."""

    def __init__(self, *, breaks_at: bytes = b"never", slow: bool = False) -> None:
        self.pieces: list[bytes] = []
        self.go_on = threading.Event()
        self._breaks_at = breaks_at
        self._slow = slow

    def offer(self, piece: bytes) -> memoryview | None:
        """As the runtime's."""
        if piece == self._breaks_at:
            raise StreamBroken("no more")
        self.pieces.append(piece)
        return memoryview(piece) if self._slow else None

    def send_rest(self, _rest: memoryview) -> None:
        """As the runtime's."""
        assert self.go_on.wait(WAIT_S)


class Context:
    """What of the runtime's context is used."""

    def __init__(self, **options: Any) -> None:
        self.out = Stream(**options)
        self.head: dict[str, Any] = {}
        self.later: list[Any] = []

    def stream(self, **head: Any) -> Stream:
        """Begin the stream."""
        self.head = head
        return self.out

    def run_after_response(self, *work: Any) -> None:
        """Keep it."""
        self.later.append(work)


def answer(app: Any, context: Any = None, **options: Any) -> Any:
    """What a handler without a lifespan makes of EVENT."""
    return asyncio.run(handler(app, lifespan="off", **options)(EVENT, context))


async def pieces(_scope: Any, receive: Any, send: Any) -> None:
    """An application with two pieces."""
    await receive()
    await send(START)
    await send(body(b"one", more=True))
    await send(body(b"two"))
    assert "http.disconnect" == (await receive())["type"]


def test_collected_and_streamed() -> None:
    """A function URL streams where the context can; `stream=False` collects."""
    context = Context()
    assert answer(pieces, context) is None
    assert [b"one", b"two"] == context.out.pieces
    assert {"status_code": 200, "headers": {"a": "b"}, "cookies": []} == context.head
    assert PLAIN | {"body": "onetwo"} == answer(pieces, Context(), stream=False)
    assert PLAIN | {"body": "onetwo"} == answer(pieces)


def test_application_waits_for_a_slow_platform() -> None:
    """The second piece is not made before the first one has left."""
    context = Context(slow=True)
    made: list[str] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"one", more=True))
        made.append("two")
        await send(body(b"two"))

    async def scenario() -> None:
        running = asyncio.ensure_future(handler(app, lifespan="off")(EVENT, context))
        while not context.out.pieces:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [] == made
        context.out.go_on.set()
        await running

    asyncio.run(scenario())
    assert [b"one", b"two"] == context.out.pieces


def test_broken_stream() -> None:
    """Sending raises OSError, receiving tells of the disconnect, the invocation is StreamBroken."""
    seen: list[str] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(START)
        for _ in range(2):
            try:
                await send(body(b"one", more=True))
            except OSError as error:
                seen.append(str(error))
        seen.append((await receive())["type"])
        raise LookupError("of no interest")

    with pytest.raises(StreamBroken, match="no more"):
        answer(app, Context(breaks_at=b"one"))
    assert ["no more", "no more", "http.disconnect"] == seen


def test_work_after_the_response() -> None:
    """It is left to the runtime, and its failure is logged."""
    context = Context()
    gate = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"one"))
        await gate.wait()
        raise LookupError("late")

    async def scenario() -> None:
        found = await handler(app, lifespan="off", stream=False)(EVENT, context)
        assert PLAIN | {"body": "one"} == found
        gate.set()
        ((work, task),) = context.later
        await work(task)

    with pytest.MonkeyPatch.context() as patch:
        said: list[Any] = []
        log = logging.getLogger("lambdascope.asgi")
        patch.setattr(log, "exception", lambda *_, exc_info: said.append(exc_info))
        asyncio.run(scenario())
    assert ["LookupError('late')"] == [repr(error) for error in said]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "returned without a complete response"),
        ([START], "returned without a complete response"),
        ([START, body(b"", more=True)], "returned without a complete response"),
        ([body(b"")], "sent http.response.body where it does not belong"),
        ([START, START], "sent http.response.start where it does not belong"),
        ([START, {"type": "websocket.send"}], "sent websocket.send where it does not belong"),
    ],
)
def test_applications_that_break_the_protocol(messages: list[Any], said: str) -> None:
    """What is not a response is an error that says why."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    with pytest.raises(RuntimeError, match=said):
        answer(app)


def test_what_the_application_raises_before_its_response() -> None:
    """It is the invocation's own error."""

    async def app(*_: Any) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        answer(app)


@pytest.mark.parametrize("options", [{"stream": "yes"}, {"lifespan": True}])
def test_wrong_options(options: dict[str, Any]) -> None:
    """They are refused when the handler is made."""
    with pytest.raises(ValueError, match=f"^{next(iter(options))} is "):
        handler(pieces, **options)


class Living:
    """An application that counts its startups; the first `failures` of them fail."""

    def __init__(self, failures: int = 0) -> None:
        self.startups = 0
        self.states: list[dict[str, Any]] = []
        self._failures = failures

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Lifespan and requests."""
        if scope["type"] == "http":
            self.states.append(scope["state"])
            await pieces(scope, receive, send)
            return
        assert "lifespan.startup" == (await receive())["type"]
        self.startups += 1
        await asyncio.sleep(0)
        if self.startups <= self._failures:
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        scope["state"]["pool"] = self
        await send({"type": "lifespan.startup.complete"})
        await receive()


def test_startup_once_for_many_requests() -> None:
    """Requests at the same time share one startup; each has a copy of its state."""
    app = Living()

    async def scenario() -> None:
        handle = handler(app)
        await asyncio.gather(*(handle(EVENT, None) for _ in range(3)))
        assert PLAIN | {"body": "onetwo"} == await handle(EVENT, None)
        assert ["asgi-lifespan"] == [task.get_name() for task in lasting_tasks if not task.done()]

    asyncio.run(scenario())
    assert (1, [{"pool": app}] * 4) == (app.startups, app.states)
    assert app.states[0] is not app.states[1]


def test_startup_that_fails_is_tried_again() -> None:
    """The invocation fails and says why; the next one starts the application anew."""
    app = Living(failures=1)

    async def scenario() -> None:
        handle = handler(app)
        with pytest.raises(RuntimeError, match="startup failed: no database"):
            await handle(EVENT, None)
        assert PLAIN | {"body": "onetwo"} == await handle(EVENT, None)

    asyncio.run(scenario())
    assert 2 == app.startups


async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
    """An application that knows http alone."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await pieces(scope, receive, send)


def test_application_without_a_lifespan() -> None:
    """By default it is served; with "on" that is an error."""
    assert PLAIN | {"body": "onetwo"} == asyncio.run(handler(without_lifespan)(EVENT, None))
    with pytest.raises(RuntimeError, match="NotImplementedError: lifespan"):
        asyncio.run(handler(without_lifespan, lifespan="on")(EVENT, None))
