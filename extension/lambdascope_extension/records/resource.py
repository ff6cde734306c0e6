"""The resource of what the extension makes itself: the same function and environment as the spans.

Lambda does not give the log stream's name to extensions; the platform's initStart record has it.
What the user sets with OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES wins. Pure.
"""

from __future__ import annotations

from lambdascope import __version__
from lambdascope.otlp.resource import resource_of
from lambdascope.wire import names
from lambdascope_extension.export_config import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def resource_attributes(environ: Mapping[str, str], instance: str) -> dict[str, object]:
    """The resource; `instance` is the log stream's name, or ""."""
    get = environ.get
    facts = [
        get(names.ENV_FUNCTION_NAME, ""),
        get(names.ENV_FUNCTION_VERSION, ""),
        get(names.ENV_REGION, "") or get(names.ENV_DEFAULT_REGION, ""),
        get(names.ENV_LOG_GROUP, ""),
        instance,
        get(names.ENV_MEMORY_SIZE, ""),
        get(names.ENV_SERVICE_NAME, ""),
        "",  # the function's interpreter is not ours
        "",
    ]
    destinations = get(names.ENV_DESTINATION, "")
    if destinations:
        from lambdascope.otlp import datadog

        if datadog.is_among(destinations):
            for both in datadog.resource_pairs(environ).items():
                facts += both
    for pair in get(names.ENV_RESOURCE_ATTRIBUTES, "").split(","):
        key, equals, value = pair.partition("=")
        if equals and key.strip():
            facts += _decoded(key), _decoded(value)
    return resource_of(facts, __version__)


def _decoded(text: str) -> str:
    return unquote(text.strip()).decode("utf-8", "replace")
