"""What the dashboards show, once for all vendors: rows of panels, and what each of them asks for.

Names come from `lambdascope.otlp.names`, which the code that emits them uses too. grafana.py,
datadog.py and cloudwatch.py turn this into each vendor's JSON; this module must know none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from lambdascope.otlp import names

SECONDS = "s"
MILLISECONDS = "ms"
BYTES = "By"
NUMBER = "1"
PER_MINUTE = "1/min"
CORES = "cores"


@dataclass(frozen=True)
class Count:
    """A counter: what was added to it in a minute, or in a second for times; one series for each
    value of the attributes `by`."""

    metric: str
    label: str
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quantile:
    """The value that this share of a histogram's values does not exceed."""

    metric: str
    share: float
    label: str


@dataclass(frozen=True)
class Level:
    """A gauge of each environment: their sum, or the greatest of them."""

    metric: str
    label: str
    by: tuple[str, ...] = ()
    is_greatest: bool = False


@dataclass(frozen=True)
class SpanValue:
    """An attribute of the spans of that name: `function` is sum, max or p99."""

    span: str
    attribute: str
    function: str
    label: str


Series = Count | Quantile | Level | SpanValue


@dataclass(frozen=True)
class Panel:
    """One graph. `description` is the question that it answers."""

    title: str
    description: str
    unit: str
    series: tuple[Series, ...]
    is_stacked: bool = False


@dataclass(frozen=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: tuple[Panel, ...]


TITLE = "lambdascope: Lambda functions"
DESCRIPTION = "What a function does and costs, and whether its telemetry gets through."
_SHARES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
_SIGNAL = (names.LAMBDASCOPE_SIGNAL,)
_REASON = (names.LAMBDASCOPE_REASON,)


def _quantiles(metric: str) -> tuple[Series, ...]:
    return tuple(Quantile(metric, share, label) for share, label in _SHARES)


def _reported(attribute: str, function: str, label: str) -> SpanValue:
    return SpanValue(names.SPAN_PLATFORM_REPORT, attribute, function, label)


_INVOCATIONS = (
    Panel(
        "Invocations",
        "How often is it called, and how does that end?",
        PER_MINUTE,
        (
            Count(names.FAAS_INVOCATIONS, "succeeded"),
            Count(names.FAAS_ERRORS, "failed"),
            Count(names.FAAS_TIMEOUTS, "timed out"),
        ),
        is_stacked=True,
    ),
    Panel(
        "Errors by type",
        "Which errors are there?",
        PER_MINUTE,
        (Count(names.FAAS_ERRORS, "", (names.ERROR_TYPE,)),),
        is_stacked=True,
    ),
    Panel(
        "Timeouts",
        "Is the time limit reached?",
        PER_MINUTE,
        (Count(names.FAAS_TIMEOUTS, "timed out"),),
    ),
    Panel(
        "Cold starts",
        "How often does a caller wait for an init or a restore?",
        PER_MINUTE,
        (Count(names.FAAS_COLDSTARTS, "cold starts"),),
    ),
)
_DURATIONS = (
    Panel(
        "Duration",
        "How long does the function's own work take?",
        SECONDS,
        _quantiles(names.FAAS_INVOKE_DURATION),
    ),
    Panel(
        "Init duration",
        "How long do inits and restores take?",
        SECONDS,
        _quantiles(names.FAAS_INIT_DURATION),
    ),
)
_COST = (
    Panel(
        "Memory used against size",
        "Is the memory size right?",
        BYTES,
        (
            Quantile(names.FAAS_MEM_USAGE, 0.5, "used, p50"),
            Quantile(names.FAAS_MEM_USAGE, 0.99, "used, p99"),
            _reported(names.LAMBDASCOPE_PLATFORM_MAX_MEMORY_USED, "max", "used, most"),
            _reported(names.FAAS_MAX_MEMORY, "max", "size"),
        ),
    ),
    Panel(
        "Billed and run",
        "What is paid for, and what of it is work?",
        MILLISECONDS,
        (
            _reported(names.LAMBDASCOPE_PLATFORM_BILLED_DURATION_MS, "sum", "billed"),
            _reported(names.LAMBDASCOPE_PLATFORM_DURATION_MS, "sum", "ran"),
            _reported(names.LAMBDASCOPE_PLATFORM_INIT_DURATION_MS, "sum", "init"),
        ),
    ),
    Panel(
        "Added by extensions",
        "What do all extensions add to an invocation, as the platform measures it?",
        SECONDS,
        _quantiles(names.LAMBDASCOPE_EXTENSION_OVERHEAD),
    ),
)
_HEALTH = (
    Panel(
        "Accepted",
        "How much telemetry is there?",
        PER_MINUTE,
        (Count(names.LAMBDASCOPE_EXTENSION_ACCEPTED, "", _SIGNAL),),
    ),
    Panel(
        "Exported",
        "How much of it does the collector take?",
        PER_MINUTE,
        (Count(names.LAMBDASCOPE_EXTENSION_EXPORTED, "", _SIGNAL),),
    ),
    Panel(
        "Dropped by reason",
        "What is lost, and why?",
        PER_MINUTE,
        (Count(names.LAMBDASCOPE_EXTENSION_DROPPED, "", _SIGNAL + _REASON),),
        is_stacked=True,
    ),
    Panel(
        "Requests refused by reason",
        "What do senders get wrong?",
        PER_MINUTE,
        (Count(names.LAMBDASCOPE_EXTENSION_REFUSED, "", _REASON),),
        is_stacked=True,
    ),
    Panel(
        "Held",
        "How much waits for its export?",
        NUMBER,
        (Level(names.LAMBDASCOPE_EXTENSION_HELD, "", _SIGNAL),),
        is_stacked=True,
    ),
    Panel(
        "Held, size",
        "How large is what waits?",
        BYTES,
        (Level(names.LAMBDASCOPE_EXTENSION_HELD_SIZE, "in all environments"),),
    ),
    Panel(
        "Hold",
        "How long does the extension keep an environment after an invocation, as it measures it?",
        SECONDS,
        _quantiles(names.LAMBDASCOPE_EXTENSION_HOLD),
    ),
    Panel(
        "CPU of the extension",
        "What does the extension cost?",
        CORES,
        (Count(names.LAMBDASCOPE_EXTENSION_CPU_TIME, "in all environments"),),
    ),
    Panel(
        "Memory of the extension",
        "What does the extension cost?",
        BYTES,
        (Level(names.LAMBDASCOPE_EXTENSION_MEMORY_USAGE, "largest environment", is_greatest=True),),
    ),
    Panel(
        "Records of the platform",
        "What does the Telemetry API deliver?",
        PER_MINUTE,
        (Count(names.LAMBDASCOPE_TELEMETRY_RECORDS, "", (names.LAMBDASCOPE_RECORD_TYPE,)),),
    ),
    Panel(
        "Odd records by reason",
        "Which records came late, twice, or in an unknown form?",
        PER_MINUTE,
        (Count(names.LAMBDASCOPE_TELEMETRY_PROBLEMS, "", _REASON),),
        is_stacked=True,
    ),
    Panel(
        "Dropped by the platform",
        "What did Lambda itself not deliver?",
        PER_MINUTE,
        (
            Count(names.LAMBDASCOPE_TELEMETRY_DROPPED_RECORDS, "records"),
            Count(names.LAMBDASCOPE_TELEMETRY_DROPPED_SIZE, "bytes"),
        ),
    ),
)
ROWS = (
    Row("Invocations", _INVOCATIONS),
    Row("Durations", _DURATIONS),
    Row("Memory and cost", _COST),
    Row("Telemetry", _HEALTH),
)
