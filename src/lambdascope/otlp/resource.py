"""The resource and the function's identity as attributes, from plain texts.

The runtime makes them of its configuration; the extension, when the runtime is dead, of the same
texts in the flight file. Source of the names: OpenTelemetry semantic conventions 1.44, FaaS and
cloud resources.
"""

from __future__ import annotations

from lambdascope.otlp import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# The texts that `resource_of` takes first, in this order; then come keys and values of the user's.
FACTS = (
    "function name",
    "function version",
    "region",
    "log group",
    "log stream",
    "memory in MB",
    "service name",
    "Python's implementation",
    "Python's version",
)


def resource_of(facts: Sequence[str], version: str) -> dict[str, object]:
    """The resource: FaaS and cloud conventions first, the user's OTEL_* values over them.

    `version` is ours. Raises ValueError when there are too few facts.
    """
    if len(facts) < len(FACTS):
        raise ValueError(f"{len(facts)} texts are no resource")
    function, function_version, region, group, stream, memory, service, python, release = facts[:9]
    known: dict[str, object] = {
        names.CLOUD_PROVIDER: names.CLOUD_PROVIDER_AWS,
        names.CLOUD_PLATFORM: names.CLOUD_PLATFORM_AWS_LAMBDA,
        names.CLOUD_REGION: region,
        names.FAAS_NAME: function,
        names.FAAS_VERSION: function_version,
        names.FAAS_INSTANCE: stream,
        names.SERVICE_NAME: function or "unknown_service",
        names.SERVICE_INSTANCE_ID: stream,
        names.PROCESS_RUNTIME_NAME: python,
        names.PROCESS_RUNTIME_VERSION: release,
        names.TELEMETRY_SDK_LANGUAGE: names.TELEMETRY_SDK_LANGUAGE_PYTHON,
        names.TELEMETRY_SDK_NAME: names.TELEMETRY_NAME_LAMBDASCOPE,
        names.TELEMETRY_SDK_VERSION: version,
        names.TELEMETRY_DISTRO_NAME: names.TELEMETRY_NAME_LAMBDASCOPE,
        names.TELEMETRY_DISTRO_VERSION: version,
    }
    if memory.isascii() and memory.isdigit():
        known[names.FAAS_MAX_MEMORY] = int(memory) * 1024 * 1024
    if group:
        known[names.AWS_LOG_GROUP_NAMES] = [group]
    if stream:
        known[names.AWS_LOG_STREAM_NAMES] = [stream]
    known.update(zip(facts[9::2], facts[10::2], strict=False))
    if service:
        known[names.SERVICE_NAME] = service
    return {key: value for key, value in known.items() if value}


def arn_attributes(arn: str, version: str) -> dict[str, object]:
    """Account, resource id (alias replaced by the version) and the ARN as it was invoked."""
    if not arn:
        return {}
    found: dict[str, object] = {names.AWS_LAMBDA_INVOKED_ARN: arn}
    parts = arn.split(":")
    if len(parts) >= 7 and parts[0] == "arn":
        found[names.CLOUD_ACCOUNT_ID] = parts[4]
        qualified = [*parts[:7], version] if len(parts) > 7 and version else parts[:8]
        found[names.CLOUD_RESOURCE_ID] = ":".join(qualified)
    return found
