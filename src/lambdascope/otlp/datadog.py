"""What Datadog needs beyond the conventions to know a function's invocations as such.

Loaded only where Datadog is a destination. Whoever makes the spans puts it in, because a span that
is written once costs less than one that is decoded and written again on its way. Sources: Datadog's
documentation, "OTLP intake for serverless", "Mapping OpenTelemetry semantics", "Unified service
tagging".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = "datadog"
# The name by which its pages find invocations, and the type of such spans.
_OPERATION = "aws.lambda"
_TYPE = "serverless"
_TAGS = {
    "DD_SERVICE": "service.name",
    "DD_ENV": "deployment.environment.name",
    "DD_VERSION": "service.version",
}


def is_among(destinations: str) -> bool:
    """Whether LAMBDASCOPE_DESTINATION names it."""
    return _NAME in destinations.lower().replace(",", " ").split()


def resource_pairs(environ: Mapping[str, str]) -> dict[str, str]:
    """Resource attributes from Datadog's own variables for service, environment and tags."""
    found: dict[str, str] = {}
    for tag in environ.get("DD_TAGS", "").replace(",", " ").split():
        key, colon, value = tag.partition(":")
        if key and colon and value:
            found[key] = value
    for variable, name in _TAGS.items():
        value = environ.get(variable, "").strip()
        if value:
            found[name] = value
    return found


def invoke_attributes(arn: str, function: str, *, is_cold: bool) -> dict[str, object]:
    """What the span of an invocation has in addition: the same for all invocations of an ARN."""
    parts = arn.split(":")
    plain = ":".join(parts[:7])
    found: dict[str, object] = {
        "operation.name": _OPERATION,
        "span.type": _TYPE,
        "resource.name": function,
        "functionname": function.lower(),
        "cold_start": "true" if is_cold else "false",
    }
    if len(parts) >= 7:
        found |= {"faas.id": plain, "function_arn": plain.lower()}
    return {key: value for key, value in found.items() if value}
