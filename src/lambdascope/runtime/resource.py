"""The resource that all spans of the environment have: the function, its instance and its runtime.

The facts alone go into the flight file at the end of init; attributes are made of them later.
"""

from __future__ import annotations

import sys

from lambdascope import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.config import RuntimeConfig


def resource_attributes(config: RuntimeConfig) -> dict[str, object]:
    """The resource: FaaS and cloud conventions first, the user's OTEL_* values over them."""
    from lambdascope.otlp.resource import resource_of

    return resource_of(resource_facts(config), __version__)


def resource_facts(config: RuntimeConfig) -> list[str]:
    """What it is made of, in the order of otlp.resource.FACTS, and then the user's attributes."""
    version = sys.version_info
    facts = [
        config.function_name or "",
        config.function_version or "",
        config.region,
        config.log_group_name or "",
        config.log_stream_name or "",
        config.memory_limit_in_mb or "",
        config.service_name,
        sys.implementation.name,
        f"{version.major}.{version.minor}.{version.micro}",
    ]
    for pair in config.resource_attributes.items():
        facts += pair
    return facts
