"""Who may be the parent of an invocation, besides X-Ray: what the caller sent along with the event.

In this order: the client context of an Invoke call (its `w3c` member, then its custom fields), then
the event's own carrier: the headers of a request, or the one message or event of a bus. Loaded with
the first event that has one of them. Nothing raises: a malformed context is not taken, and the
reason is kept for the span.
"""

from __future__ import annotations

from lambdascope.otlp.names import PARENT_CLIENT_CONTEXT, PARENT_EVENT, PARENT_NONE
from lambdascope.runtime import triggers as shapes
from lambdascope.runtime.trace_context import baggage, extract, fields_of, names_a_trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.context import LambdaContext
    from lambdascope.runtime.event_source import EventSource
    from lambdascope.runtime.trace_context import Remote

_MAX_FIELDS = 200
_MAX_TEXT = 8192


class Senders:
    """The one that is the parent, `remote`, from `source`; others that are well formed are linked.

    `baggage` is the parent's, or that of the first sender who has some. `reasons` say what became
    of the candidates that are not the parent. `yields` is whether X-Ray goes before.
    """

    __slots__ = ("baggage", "others", "reasons", "remote", "source", "yields")

    def __init__(
        self, config: RuntimeConfig, context: LambdaContext | None, source: EventSource | None
    ) -> None:
        self.remote: Remote | None = None
        self.source = PARENT_NONE
        self.others: list[Remote] = []
        self.reasons: list[str] = []
        self.baggage = ""
        if context is not None:
            for carrier in _of_client_context(context, config):
                self._consider(carrier, PARENT_CLIENT_CONTEXT, config)
        if source is not None and source.carrier:
            self._consider(source.carrier, PARENT_EVENT, config)
        # A topic's message is no call that waits for the answer.
        self.yields = (
            source is not None and source.shape == shapes.SNS and self.source == PARENT_EVENT
        )

    def _consider(self, carrier: Mapping[str, str], name: str, config: RuntimeConfig) -> None:
        remote = extract(carrier, config.propagators)
        if not self.baggage:
            self.baggage = baggage(carrier)
        if remote is None:
            if names_a_trace(carrier):
                self.reasons.append(f"{name}: malformed")
        elif self.remote is None:
            self.remote, self.source = remote, name
        elif not self.remote.is_same(remote):
            self.others.append(remote)
            self.reasons.append(f"{name}: linked")


def _of_client_context(context: LambdaContext, config: RuntimeConfig) -> list[dict[str, str]]:
    """What the client context holds for the propagators, the W3C member first."""
    wanted = fields_of(config.propagators)
    found = []
    custom = context.client_context.custom if context.client_context is not None else None
    for fields in (context.w3c(), custom):
        if type(fields) is dict and fields and len(fields) <= _MAX_FIELDS:
            pairs = ((str(name).lower(), value) for name, value in fields.items())
            carrier = {k: v[:_MAX_TEXT] for k, v in pairs if k in wanted and v and type(v) is str}
            if carrier:
                found.append(carrier)
    return found
