"""What several tests of the runtime make: configurations, invocations, times, a list of lines."""

from __future__ import annotations

import time

from lambdascope.runtime.config import RuntimeConfig
from lambdascope.runtime.telemetry import InvokeTimes
from lambdascope.wire import names
from lambdascope.wire.runtime_api import Invocation

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:hello"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
ENVIRON = {
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
    "AWS_LAMBDA_FUNCTION_NAME": "hello",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/hello",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]abc",
    "AWS_REGION": "eu-central-1",
}


def make_config(**environ: str) -> RuntimeConfig:
    """Return the configuration of an ordinary function, with `environ` over it."""
    return RuntimeConfig.from_env(ENVIRON | environ, ["lambdascope", "app.handler"])


def make_invocation(body: bytes = b"{}", *, in_ms: float = 3000, **headers: str) -> Invocation:
    """Return an event that is due in `in_ms`; `headers` are lower case, with "_" for "-"."""
    known = {
        names.REQUEST_ID: "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        names.DEADLINE_MS: str(int(time.time() * 1000 + in_ms)),
        names.FUNCTION_ARN: ARN,
        "Content-Type": "application/json",
    }
    all_headers = {name.lower(): value for name, value in known.items()}
    all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Invocation(headers=all_headers, body=body)


def make_times(invocation: Invocation | None = None) -> InvokeTimes:
    """Return the times of an invocation that was received just now."""
    return InvokeTimes(invocation or make_invocation(), time.monotonic_ns())


class Lines(list[str]):
    """Takes the place of the function that says a line on standard error."""

    def __call__(self, line: str) -> None:
        """Keep the line."""
        self.append(line)
