"""What the tests of the invoke endpoint share: it stands before a fake environment."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Unpack

import requests

from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.invoke import InvokeEndpoint
from lambdascope.emulator.records import InvocationRecord, LogLine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdascope.emulator.environment import InvokeOptions

WAIT_S = 20
ARN = "arn:aws:lambda:us-east-1:123456789012:function:shop"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


class FakeEnvironment:
    """Answers with the event, and with `answer_fields` changed; runs nothing.

    It publishes the answer, then waits for `extensions_back`, as the real one waits for extensions.
    """

    def __init__(self, **answer_fields: Any) -> None:
        self.config = FunctionConfig(handler="app.handler", task_root="/x", function_name="shop")
        self.answer_fields = answer_fields
        self.calls: list[tuple[bytes, dict[str, Any]]] = []
        self.extensions_back = threading.Event()
        self.extensions_back.set()
        self.fault: Exception | None = None
        self.begun = threading.Semaphore(0)
        self.done = threading.Semaphore(0)

    def invoke(self, event: bytes, **options: Unpack[InvokeOptions]) -> InvocationRecord:
        """As ExecutionEnvironment.invoke."""
        self.calls.append((event, dict(options)))
        self.begun.release()
        if self.fault is not None:
            self.done.release()
            raise self.fault
        record = InvocationRecord(
            request_id=options.get("request_id") or "made-up",
            number=len(self.calls),
            cold=False,
            event=event,
            deadline_ms=0,
            trace_header=options.get("trace_header") or "Root=1-0-0;Sampled=0",
            invoked_function_arn=ARN,
            **{"answer": event, **self.answer_fields},
        )
        on_response = options.get("on_response")
        if on_response is not None:
            on_response(record)
        assert self.extensions_back.wait(WAIT_S)
        record.logs.append(LogLine(time_ns=0, source="platform", text="REPORT at the end"))
        self.done.release()
        return record


@contextmanager
def endpoint(environment: FakeEnvironment | None = None) -> Iterator[tuple[str, FakeEnvironment]]:
    """An endpoint for the length of a block: its URL, and the fake behind it."""
    fake = environment or FakeEnvironment()
    listening = InvokeEndpoint(fake)
    listening.start()
    try:
        yield listening.url, fake
    finally:
        fake.extensions_back.set()
        listening.close()


def post(
    url: str,
    body: bytes = b"{}",
    *,
    name: str = "shop",
    query: str = "",
    headers: dict[str, str] | None = None,
) -> requests.Response:
    """One request as an SDK sends it."""
    target = f"{url}/2015-03-31/functions/{name}/invocations{query}"
    return requests.post(target, body, headers=headers, timeout=WAIT_S)


def error_of(answer: requests.Response) -> tuple[int, str]:
    """Status and error type, after checking that header and body belong to an AWS error."""
    body = answer.json()
    assert body["Type"] in ("User", "Service")
    assert body.get("message") or body.get("Message")
    assert answer.headers["x-amzn-RequestId"]
    return answer.status_code, answer.headers["x-amzn-ErrorType"]


def text_of(answer: requests.Response) -> str:
    """The words of an error."""
    body = answer.json()
    return str(body.get("message") or body.get("Message"))
