"""A context object as the runtime makes it, for an invocation that nobody asked for."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from lambdascope.runtime.config import RuntimeConfig
from lambdascope.runtime.context import LambdaContext, Offers
from lambdascope.runtime.telemetry import InvokeTimes
from lambdascope.wire import names
from lambdascope.wire.runtime_api import Invocation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope.runtime.live_results import LiveResults

_ACCOUNT = "123456789012"
_REGION = "us-east-1"


def make_config(function_name: str, variables: Mapping[str, str] | None = None) -> RuntimeConfig:
    """The configuration of a function of that name; `variables` over Lambda's own."""
    environ = {
        names.ENV_RUNTIME_API: "127.0.0.1:1",  # nobody asks there
        names.ENV_FUNCTION_NAME: function_name,
        names.ENV_FUNCTION_VERSION: "$LATEST",
        names.ENV_MEMORY_SIZE: "128",
        names.ENV_LOG_GROUP: f"/aws/lambda/{function_name}",
        names.ENV_LOG_STREAM: "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
        names.ENV_REGION: _REGION,
    }
    return RuntimeConfig.from_env({**environ, **(variables or {})}, ["", "app.handler"])


def make_times(
    config: RuntimeConfig,
    *,
    remaining_s: float,
    request_id: str = "",
    headers: Mapping[str, str] | None = None,
) -> InvokeTimes:
    """An invocation that is received now and due in `remaining_s` seconds."""
    arn = f"arn:aws:lambda:{_REGION}:{_ACCOUNT}:function:{config.function_name}"
    all_headers = {
        names.REQUEST_ID: request_id or str(uuid.uuid4()),
        names.DEADLINE_MS: str(int((time.time() + remaining_s) * 1000)),
        names.FUNCTION_ARN: arn,
        "Content-Type": "application/json",
        **(headers or {}),
    }
    lower = {name.lower(): value for name, value in all_headers.items()}
    return InvokeTimes(Invocation(headers=lower, body=b""), time.monotonic_ns())


def context_of(
    config: RuntimeConfig, times: InvokeTimes, live: Callable[[], LiveResults]
) -> LambdaContext:
    """The context object of an invocation; what it logs goes to standard output."""
    return LambdaContext(
        times.invocation,
        config,
        deadline_ns=times.deadline_ns,
        write=lambda text: print(text, end="", flush=True),
        offers=Offers(times, live),
    )


def make_context(
    *,
    function_name: str = "function",
    remaining_s: float = 30.0,
    request_id: str = "",
    client_context: Mapping[str, Any] | None = None,
    tenant_id: str | None = None,
) -> LambdaContext:
    """A context for a handler that a test calls by itself: names, deadline and budgets are real.

    `remaining_s` is what is left of the deadline, in seconds. What needs the runtime, as `stream`,
    raises; use `Function` for that.
    """
    headers: dict[str, str] = {}
    if client_context is not None:
        headers[names.CLIENT_CONTEXT] = json.dumps(client_context)
    if tenant_id is not None:
        headers[names.TENANT_ID] = tenant_id
    config = make_config(function_name)
    times = make_times(config, remaining_s=remaining_s, request_id=request_id, headers=headers)

    def live() -> LiveResults:
        raise RuntimeError("this needs the runtime: invoke with lambdascope.testing.Function")

    return context_of(config, times, live)
