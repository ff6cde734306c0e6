"""Whether an invocation is recorded, by OTEL_TRACES_SAMPLER. Loaded where that is set.

The decision is made before the invoke span begins, as the SDK's samplers make it for the spans
below: a test holds the two equal. Source: OpenTelemetry specification, "Tracing SDK", built-in
samplers; the ratio is compared with the low 64 bits of the trace id, as the Python SDK does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from lambdascope.runtime.trace_parent import TraceParent

    Sampler = Callable[[TraceParent], bool]

_SAMPLER, _ARGUMENT = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
DEFAULT = "parentbased_always_on"
_RATIOS = ("traceidratio", "parentbased_traceidratio")
KNOWN = ("always_on", "always_off", DEFAULT, "parentbased_always_off", *_RATIOS)
_LIMIT = 1 << 64


def read_sampler(name: str, argument: str, problems: list[str]) -> Sampler:
    """The sampler of that name. What cannot be used is said in `problems`, and a default taken."""
    chosen = name.strip().lower()
    if chosen not in KNOWN:
        problems.append(
            f"{_SAMPLER}={name[:40]!r} is not one of {', '.join(KNOWN)}; {DEFAULT} is taken"
        )
        chosen = DEFAULT
    root = chosen.removeprefix("parentbased_")
    bound = 0 if root == "always_off" else _LIMIT
    if chosen in _RATIOS:
        bound = round(_ratio(argument, problems) * _LIMIT)

    def is_sampled(place: TraceParent) -> bool:
        if chosen != root and place.parent_span_id:
            return place.sampled is not False
        return int.from_bytes(place.trace_id[8:], "big") < bound

    return is_sampled


def settle(environ: MutableMapping[str, str]) -> None:
    """Put what is taken into the environment, because the SDK reads it too: it would complain of
    what is not again, and cannot be loaded with a ratio that is none."""
    problems: list[str] = []
    name, argument = (environ.get(each, "") for each in (_SAMPLER, _ARGUMENT))
    read_sampler(name or DEFAULT, argument, problems)
    for problem in problems:
        variable = problem.partition("=")[0]
        environ[variable] = DEFAULT if variable == _SAMPLER else "1"
    if name and not argument:
        environ[_ARGUMENT] = "1"


def _ratio(text: str, problems: list[str]) -> float:
    try:
        ratio = float(text or 1)
    except ValueError:
        ratio = -1.0
    if 0 <= ratio <= 1:
        return ratio
    problems.append(f"{_ARGUMENT}={text[:40]!r} is no number from 0 to 1; 1 is taken")
    return 1.0
