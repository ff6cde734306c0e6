"""The environment variables of the runtime and of the extensions.

Nothing of the emulator's own environment is passed on except PATH, LD_LIBRARY_PATH and HOME: a
function that works here because of a variable in somebody's shell would fail on Lambda. Sources:
AWS Lambda developer guide, "Defined runtime environment variables"; what extensions do not get is
from AWS's Runtime Interface Emulator.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope.emulator.config import FunctionConfig

_INHERITED = ("PATH", "LD_LIBRARY_PATH", "HOME")
# An SDK without credentials tries the instance metadata service for seconds; these fail at once.
DEFAULT_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "lambdascope",
    "AWS_SECRET_ACCESS_KEY": "lambdascope",
    "AWS_SESSION_TOKEN": "lambdascope",
}
_NOT_FOR_EXTENSIONS = frozenset(
    (
        names.ENV_EXECUTION_ENV,
        names.ENV_LOG_GROUP,
        names.ENV_LOG_STREAM,
        names.ENV_TASK_ROOT,
        names.ENV_RUNTIME_DIR,
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
    )
)


def runtime_variables(
    config: FunctionConfig,
    *,
    address: str,
    log_stream: str,
    handoff_file: str,
    otlp_endpoint: str | None = None,
    inherited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Everything that the runtime gets. What the user sets cannot replace what Lambda reserves."""
    shell = os.environ if inherited is None else inherited
    variables = {name: shell[name] for name in _INHERITED if name in shell}
    variables.update(DEFAULT_CREDENTIALS)
    # Any free port, so that several environments on one machine do not meet.
    variables[names.ENV_OTLP_PORT] = "0"
    if otlp_endpoint is not None:
        variables[names.ENV_OTLP_ENDPOINT] = otlp_endpoint
    variables.update({"LANG": "en_US.UTF-8", "TZ": ":UTC"})
    # Lambda drops names that start with an underscore from the customer's variables.
    variables.update({k: v for k, v in config.variables.items() if not k.startswith("_")})
    variables.update(_reserved(config, address=address, log_stream=log_stream))
    variables[names.ENV_HANDOFF_FILE] = handoff_file
    return variables


def extension_variables(runtime: Mapping[str, str]) -> dict[str, str]:
    """The part of the runtime's variables that extensions get."""
    return {
        name: value
        for name, value in runtime.items()
        if not name.startswith("_") and name not in _NOT_FOR_EXTENSIONS
    }


def leave_out_of_snapshot(variables: dict[str, str], *, address: str, token: str) -> None:
    """Take away what a snapshot must not hold, keys and the name of a log stream; `token` is for
    the credentials at `address`.

    Source: AWS Lambda developer guide, "Monitoring for Lambda SnapStart", and "Security model for
    Lambda SnapStart".
    """
    for name in (*DEFAULT_CREDENTIALS, names.ENV_LOG_GROUP, names.ENV_LOG_STREAM):
        variables.pop(name, None)
    variables[names.ENV_CREDENTIALS_URI] = f"http://{address}{names.CREDENTIALS_PATH}"
    variables[names.ENV_CREDENTIALS_TOKEN] = token


def _reserved(config: FunctionConfig, *, address: str, log_stream: str) -> dict[str, str]:
    variables = {
        names.ENV_RUNTIME_API: address,
        names.ENV_HANDLER: config.handler,
        names.ENV_TASK_ROOT: config.task_root,
        names.ENV_RUNTIME_DIR: "/var/runtime",
        names.ENV_REGION: config.region,
        names.ENV_DEFAULT_REGION: config.region,
        names.ENV_FUNCTION_NAME: config.function_name,
        names.ENV_FUNCTION_VERSION: config.version,
        names.ENV_MEMORY_SIZE: str(config.memory_mb),
        names.ENV_LOG_GROUP: f"/aws/lambda/{config.function_name}",
        names.ENV_LOG_STREAM: log_stream,
        names.ENV_LOG_FORMAT: config.log_format,
        names.ENV_INIT_TYPE: config.init_type,
    }
    if config.managed:
        variables[names.ENV_MAX_CONCURRENCY] = str(config.max_concurrency)
    return variables
