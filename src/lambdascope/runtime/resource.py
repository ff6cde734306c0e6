"""The resource that all spans of the environment have: the function, its instance and its runtime.

Source of the names: OpenTelemetry semantic conventions 1.44, FaaS and cloud resources.
"""

from __future__ import annotations

import sys

from lambdascope import __version__
from lambdascope.otlp import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.config import RuntimeConfig


def resource_attributes(config: RuntimeConfig) -> dict[str, object]:
    """The resource: FaaS and cloud conventions first, the user's OTEL_* values over them."""
    version = sys.version_info
    known: dict[str, object] = {
        names.CLOUD_PROVIDER: names.CLOUD_PROVIDER_AWS,
        names.CLOUD_PLATFORM: names.CLOUD_PLATFORM_AWS_LAMBDA,
        names.CLOUD_REGION: config.region,
        names.FAAS_NAME: config.function_name,
        names.FAAS_VERSION: config.function_version,
        names.FAAS_INSTANCE: config.log_stream_name,
        names.SERVICE_NAME: config.function_name or "unknown_service",
        names.SERVICE_INSTANCE_ID: config.log_stream_name,
        names.PROCESS_RUNTIME_NAME: sys.implementation.name,
        names.PROCESS_RUNTIME_VERSION: f"{version.major}.{version.minor}.{version.micro}",
        names.TELEMETRY_SDK_LANGUAGE: names.TELEMETRY_SDK_LANGUAGE_PYTHON,
        names.TELEMETRY_SDK_NAME: names.TELEMETRY_NAME_LAMBDASCOPE,
        names.TELEMETRY_SDK_VERSION: __version__,
        names.TELEMETRY_DISTRO_NAME: names.TELEMETRY_NAME_LAMBDASCOPE,
        names.TELEMETRY_DISTRO_VERSION: __version__,
    }
    memory = config.memory_limit_in_mb
    if memory and memory.isdigit():
        known[names.FAAS_MAX_MEMORY] = int(memory) * 1024 * 1024
    if config.log_group_name:
        known[names.AWS_LOG_GROUP_NAMES] = [config.log_group_name]
    if config.log_stream_name:
        known[names.AWS_LOG_STREAM_NAMES] = [config.log_stream_name]
    known.update(config.resource_attributes)
    if config.service_name:
        known[names.SERVICE_NAME] = config.service_name
    return {key: value for key, value in known.items() if value}
