"""The platform's events, read from their bodies.

The extensions client calls it. It does what `lambdascope.wire.extensions_api` does, except that it
imports less: see `json_text`. Source: AWS Lambda developer guide, "Using the Lambda Extensions
API".
"""

from __future__ import annotations

from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.extensions_api import Invoke, Shutdown
from lambdascope.wire.names import EVENT_INVOKE, EVENT_SHUTDOWN
from lambdascope_extension.json_text import loads


def parse_event(body: bytes) -> Invoke | Shutdown:
    """The event in the body of an answer to event/next. Raises RemoteProtocolError.

    The shutdown reason is lowered, because documentation and wire differ in case.
    """
    fields = loads(body)
    if not isinstance(fields, dict):
        raise RemoteProtocolError(f"an event that is no object: {body[:60]!r}")
    kind, deadline_ms = fields.get("eventType"), fields.get("deadlineMs")
    if not isinstance(deadline_ms, int) or kind not in (EVENT_INVOKE, EVENT_SHUTDOWN):
        raise RemoteProtocolError(f"neither INVOKE nor SHUTDOWN with a deadline: {body[:60]!r}")
    if kind == EVENT_SHUTDOWN:
        reason = str(fields.get("shutdownReason", "")).lower()
        return Shutdown(reason=reason, deadline_ms=deadline_ms)
    return Invoke(
        request_id=str(fields.get("requestId", "")),
        deadline_ms=deadline_ms,
        invoked_function_arn=str(fields.get("invokedFunctionArn", "")),
    )
