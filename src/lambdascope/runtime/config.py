"""The runtime's configuration: every variable it reads, read here and nowhere else.

`RuntimeConfig.from_env` takes a mapping and has no side effects. Sources: AWS Lambda developer
guide, "Defined runtime environment variables"; OpenTelemetry specification, "Environment Variable
Specification" and "Resource SDK" (OTEL_RESOURCE_ATTRIBUTES is percent-encoded).
"""

from __future__ import annotations

from lambdascope.transport.connection import split_address
from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope.runtime.sampling import Sampler

XRAY_PARENT = "parent"
XRAY_LINK = "link"
# Besides these there is the header of the invocation itself, see LAMBDASCOPE_XRAY.
_DEFAULT_PROPAGATORS = ("tracecontext", "baggage")
_PROPAGATORS = (*_DEFAULT_PROPAGATORS, "b3", "b3multi", "xray", "xray-lambda", "none")
_EXPORTERS = ("", "otlp", "console", "none")
# Those of OpenTelemetry that are read here, or by the extension and often set.
_OTEL_READ_HERE = frozenset(
    (
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_EXPORTER",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_PROPAGATORS",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        names.ENV_OTLP_ENDPOINT,
        names.ENV_OTLP_TRACES_ENDPOINT,
        names.ENV_OTLP_HEADERS,
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    )
)
_ENDPOINTS = (
    names.ENV_OTLP_ENDPOINT,
    names.ENV_OTLP_TRACES_ENDPOINT,
    names.ENV_OTLP_METRICS_ENDPOINT,
    names.ENV_OTLP_LOGS_ENDPOINT,
)
# Destinations of the extension that keep to AWS, and so do the parents of spans.
_TO_XRAY = {"aws-xray"}
_TO_AWS = {"aws-xray", "aws-logs", "aws-metrics"}
_HEX = frozenset(b"0123456789abcdefABCDEF")
# AWS's Python client stops escaping non-ASCII characters from 3.12 on, by the name of the image.
_RAW_UNICODE_ENVS = tuple(f"AWS_Lambda_python3.{minor}" for minor in (12, 13, 14, 15))


class ConfigError(Exception):
    """The environment is not one that a runtime can run in; the text is one line for a person."""


class RuntimeConfig:
    """What the environment says. Values only; strings are as AWS gives them.

    `memory_limit_in_mb` stays text, because AWS's context object has it so. `problems` are lines
    that a person should read once.
    """

    def __init__(self, environ: Mapping[str, str], handler: str) -> None:
        get = environ.get
        self.handler = handler
        self.api_host, self.api_port = _api_address(environ)
        self.task_root = get(names.ENV_TASK_ROOT, "")
        self.function_name = get(names.ENV_FUNCTION_NAME)
        self.function_version = get(names.ENV_FUNCTION_VERSION)
        self.memory_limit_in_mb = get(names.ENV_MEMORY_SIZE)
        self.log_group_name = get(names.ENV_LOG_GROUP)
        self.log_stream_name = get(names.ENV_LOG_STREAM)
        self.region = get(names.ENV_REGION, "")
        self.init_type = get(names.ENV_INIT_TYPE, names.INIT_ON_DEMAND)
        self.ensure_ascii = get(names.ENV_EXECUTION_ENV) not in _RAW_UNICODE_ENVS
        self.json_logs = get(names.ENV_LOG_FORMAT, "").upper() == "JSON"
        self.log_level = get(names.ENV_LOG_LEVEL, "").upper()
        self.max_concurrency = _whole_number(get(names.ENV_MAX_CONCURRENCY)) or 1
        self.by_processes = get("LAMBDASCOPE_CONCURRENCY", "").strip().lower() == "processes"
        self.log_socket = get(names.ENV_LOG_SOCKET, "")
        self.keep_async_tasks = get("LAMBDASCOPE_ASYNC_TASKS", "").strip().lower() == "keep"
        self.log_fd = _whole_number(get(names.ENV_LOG_FD))
        self.problems: list[str] = []
        self._read_telemetry(environ)
        # One that is empty counts as one that is not set (OpenTelemetry specification).
        others = [
            name
            for name in environ
            if name.startswith("OTEL_") and name not in _OTEL_READ_HERE and environ[name]
        ]
        self.exception_signal = ""
        self.has_limits = False
        if others:
            from lambdascope.runtime.otel_variables import exception_signal, problems_of

            self.problems += problems_of(environ, others)
            self.exception_signal = exception_signal(environ, self.problems)
            self.has_limits = any(name.endswith("_LIMIT") for name in others)

    @classmethod
    def from_env(cls, environ: Mapping[str, str], argv: list[str]) -> RuntimeConfig:
        """Read it. The handler is the first argument, else _HANDLER. Raises ConfigError."""
        handler = argv[1] if len(argv) > 1 else environ.get(names.ENV_HANDLER, "")
        return cls(environ, handler)

    def _read_telemetry(self, environ: Mapping[str, str]) -> None:
        get = environ.get
        off = get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        # Such values have no case (OpenTelemetry specification, environment variables).
        exporter = get("OTEL_TRACES_EXPORTER", "").strip().lower()
        if exporter not in _EXPORTERS:
            self.problems.append(
                f"OTEL_TRACES_EXPORTER={exporter[:40]!r} is not otlp, console or none; "
                "otlp is taken"
            )
        self.record_spans = not off and exporter != "none"
        self.to_console = exporter == "console"
        self.sampler: Sampler | None = None
        if "OTEL_TRACES_SAMPLER" in environ and self.record_spans:
            from lambdascope.runtime.sampling import read_sampler

            name, argument = get("OTEL_TRACES_SAMPLER", ""), get("OTEL_TRACES_SAMPLER_ARG", "")
            self.sampler = read_sampler(name, argument, self.problems) if name else None
        self.time_imports = self.record_spans and get("LAMBDASCOPE_IMPORTS", "") != "0"
        self.hold_gc = get("LAMBDASCOPE_INIT_GC", "") != "on"
        self.instruments = _instruments(get(names.ENV_INSTRUMENT, "")) if self.record_spans else ()
        self.instrument_index = get(names.ENV_INSTRUMENT_INDEX, "")
        self.handoff_file = get(names.ENV_HANDOFF_FILE, "")
        self.wants_export = self.to_console or any(map(get, _ENDPOINTS))
        propagators = read_propagators(get(names.ENV_PROPAGATORS, ""), self.problems)
        self.propagators, self.reads_xray = propagators
        self.xray_policy = self._xray_policy(environ)
        self.service_name = get("OTEL_SERVICE_NAME", "")
        self.resource_attributes = self._resource_attributes(get("OTEL_RESOURCE_ATTRIBUTES", ""))
        self.for_datadog = False
        if get(names.ENV_DESTINATION):
            self._read_destinations(environ)

    def _read_destinations(self, environ: Mapping[str, str]) -> None:
        """What the extension sends to decides on some of what is in the spans."""
        from lambdascope.otlp import datadog

        if datadog.is_among(environ[names.ENV_DESTINATION]):
            self.for_datadog = True
            self.resource_attributes = {
                **datadog.resource_pairs(environ),
                **self.resource_attributes,
            }

    def _xray_policy(self, environ: Mapping[str, str]) -> str:
        """Whether the X-Ray header may be the parent: only where X-Ray is the backend.

        Its parent is a segment that lives in X-Ray alone, so a trace elsewhere would look broken
        (OpenTelemetry semantic conventions, "Instrumenting AWS Lambda", active tracing).
        """
        chosen = environ.get("LAMBDASCOPE_XRAY", "").strip().lower()
        if chosen in (XRAY_PARENT, XRAY_LINK):
            return chosen
        if chosen:
            self.problems.append(
                f"LAMBDASCOPE_XRAY={chosen[:40]!r} is not known: use parent or link; link is taken"
            )
            return XRAY_LINK
        endpoint = environ.get(names.ENV_OTLP_TRACES_ENDPOINT, "") or environ.get(
            names.ENV_OTLP_ENDPOINT, ""
        )
        to_xray = endpoint.startswith("https://xray.") and ".amazonaws.com" in endpoint
        chosen = environ.get(names.ENV_DESTINATION, "").lower().replace(",", " ")
        to_xray = to_xray or _TO_XRAY <= set(chosen.split()) <= _TO_AWS
        return XRAY_PARENT if to_xray or "xray-lambda" in self.propagators else XRAY_LINK

    def _resource_attributes(self, text: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for pair in text.split(","):
            key, equals, value = pair.partition("=")
            if equals and key.strip():
                found[percent_decode(key.strip())] = percent_decode(value.strip())
            elif pair.strip():
                self.problems.append(
                    f"OTEL_RESOURCE_ATTRIBUTES: {pair.strip()[:60]!r} is not key=value; left out"
                )
        return found


def read_propagators(text: str, problems: list[str]) -> tuple[tuple[str, ...], bool]:
    """OTEL_PROPAGATORS: those that read the senders' contexts, and whether X-Ray's in records are.

    What is not known is left out, and said in `problems`.
    """
    chosen = [each.strip().lower() for each in text.split(",")]
    known = ", ".join(_PROPAGATORS)
    problems += [
        f"OTEL_PROPAGATORS: {each[:40]!r} is not known ({known}); left out"
        for each in chosen
        if each and each not in _PROPAGATORS
    ]
    if not any(chosen):
        return _DEFAULT_PROPAGATORS, True
    if "none" in chosen:
        return (), False
    taken = sorted((each for each in _PROPAGATORS if each in chosen), key=chosen.index)
    return tuple(taken), "xray" in taken or "xray-lambda" in taken


def _instruments(text: str) -> tuple[str, ...] | None:
    """LAMBDASCOPE_INSTRUMENT: what is to be instrumented; None is all that can be."""
    chosen = tuple(each.strip().lower() for each in text.split(",") if each.strip())
    return () if chosen in (("none",), ("off",)) else chosen or None


def _api_address(environ: Mapping[str, str]) -> tuple[str, int]:
    address = environ.get(names.ENV_RUNTIME_API, "")
    if not address:
        raise ConfigError(
            f"{names.ENV_RUNTIME_API} is not set: python -m lambdascope runs inside Lambda. "
            "To run a handler on this machine: lambdascope invoke app.handler"
        )
    try:
        return split_address(address)
    except ValueError as error:
        raise ConfigError(f"{names.ENV_RUNTIME_API}: {error}") from None


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def percent_decode(text: str) -> str:
    """Undo percent-encoding; malformed escapes and bytes that are no UTF-8 stay readable."""
    if "%" not in text:
        return text
    # A variable that is no UTF-8 comes with surrogates in it.
    head, *parts = text.encode("utf-8", "surrogateescape").split(b"%")
    out = bytearray(head)
    for part in parts:
        digits = part[:2]
        if len(digits) == 2 and _HEX.issuperset(digits):
            out.append(int(digits, 16))
            out += part[2:]
        else:
            out += b"%" + part
    return out.decode("utf-8", "replace")
