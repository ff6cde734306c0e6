"""Makes a Lambda handler of an ASGI application: event to request, response to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from lambdascope.asgi.cycle import Collected, Cycle, Streamed
from lambdascope.asgi.lifespan import Lifespan
from lambdascope.asgi.request import ALB, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lambdascope.asgi.cycle import Application

    LambdaHandler = Callable[[object, Any], Coroutine[Any, Any, object]]


def handler(
    app: Application,
    *,
    stream: bool | Literal["auto"] = "auto",
    lifespan: Literal["auto", "on", "off"] = "auto",
    base_path: str = "",
) -> LambdaHandler:
    """A Lambda handler that gives each event to `app` as an HTTP request.

    `stream`: whether responses are sent while they are made. "auto" is function URLs alone; True
    adds API Gateway, for a REST API whose integration streams. Lambda does not tell a function how
    it was asked, so a function URL whose invoke mode is BUFFERED needs False. Load balancers never
    stream. `lifespan`: "on" makes it an error that the application has none, "off" does not ask.
    `base_path` is the path that a custom domain maps to the API; it becomes the root path, as does
    the stage where the path has it.

    What the application raises before its response is complete is the invocation's error; after
    that it is logged. An event that is no HTTP request is a ValueError. The scope has "aws.event"
    and "aws.context". Raises ValueError for other options than these.
    """
    if stream not in (True, False, "auto"):
        raise ValueError(f"stream is {stream!r}, not True, False or 'auto'")
    if lifespan not in ("auto", "on", "off"):
        raise ValueError(f"lifespan is {lifespan!r}, not 'auto', 'on' or 'off'")
    prefix = "/" + base_path.strip("/") if base_path.strip("/") else ""
    life = Lifespan(app, required=lifespan == "on") if lifespan != "off" else None

    async def handle(event: object, context: Any) -> object:
        request = Request(event, base_path=prefix)
        scope = request.scope(context)
        if life is not None:
            scope["state"] = await life.state()
        streams = request.of_function_url if stream == "auto" else stream and request.shape != ALB
        sink = Streamed(context) if streams and hasattr(context, "stream") else Collected(request)
        return await Cycle(request.body, sink).run(app, scope, context)

    return handle
