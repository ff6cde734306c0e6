"""One execution environment with everything around it, as a context: nothing is left afterwards.

It puts the sink for telemetry between the environment and the user's collector, so that the command
can read the spans which the extension sends. `spans` is complete when the context has ended.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from lambdascope.cli.collector import collector_problems, collector_urls, sender_variables
from lambdascope.cli.interpreter import OwnPackage
from lambdascope.emulator.environment import ExecutionEnvironment
from lambdascope.emulator.otlp_decode import decode
from lambdascope.emulator.sink import OtlpSink
from lambdascope.otlp.model import Event, Link, Span
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope.cli.function import Function
    from lambdascope.emulator.otlp_decode import Item
    from lambdascope.emulator.records import LogLine


class Session:
    """An environment for `function`, not started yet. `on_log` gets its log lines."""

    def __init__(
        self,
        function: Function,
        environ: Mapping[str, str],
        *,
        on_log: Callable[[LogLine], None],
    ) -> None:
        self._function = function
        self._environ = environ
        self._on_log = on_log
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            config = self._function.config
            path = stack.enter_context(OwnPackage(self._function.interpreter))
            self._sink = OtlpSink(relay_to=collector_urls(config.variables, self._environ) or None)
            stack.callback(self._sink.close)
            self._sink.start()
            # Loads what reads protobuf now: in the middle of the first export it would be counted
            # as the extension's time.
            decode(names.TRACES_PATH, b"", is_json=False)
            variables = sender_variables(config.variables, self._environ)
            if path:
                users = variables.get("PYTHONPATH")
                variables["PYTHONPATH"] = f"{users}:{path}" if users else path
            self.environment = ExecutionEnvironment(
                replace(config, variables=variables),
                on_log=self._on_log,
                otlp_endpoint=self._sink.endpoint,
            )
            stack.callback(self.environment.shutdown)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def spans(self) -> list[Span]:
        """The spans that arrived, in no order."""
        return [_span(item) for item in self._sink.spans()]

    def problems(self) -> list[str]:
        """What could not be read or passed on to the user's collector, each once."""
        about = collector_problems(self._function.config.variables, self._environ)
        return list(dict.fromkeys([*about, *self._sink.problems()]))


def _span(item: Item) -> Span:
    return Span(
        name=item["name"],
        trace_id=bytes.fromhex(item["trace_id"]),
        span_id=bytes.fromhex(item["span_id"]),
        parent_span_id=bytes.fromhex(item["parent_span_id"]),
        kind=item["kind"],
        start_ns=item["start_ns"],
        end_ns=item["end_ns"],
        attributes=item["attributes"],
        events=[Event(**event) for event in item["events"]],
        links=[
            Link(
                trace_id=bytes.fromhex(link["trace_id"]),
                span_id=bytes.fromhex(link["span_id"]),
                attributes=link["attributes"],
            )
            for link in item["links"]
        ],
        status_code=item["status_code"],
        status_message=item["status_message"],
    )
