"""The user's own collector: where telemetry goes on from the sink, by the standard variables.

The sink stands in the collector's place, so the endpoints are taken out of the function's variables
and given to the sink; everything else that says how to send (headers, compression, timeout) stays
with the sender, whose requests the sink passes on as they are. The extension's own endpoint comes
before the standard ones, as it does there. The sink speaks HTTP only, so gRPC is taken out as well.
Sources, in this order: `--env`, the shell. Source of the names: OpenTelemetry specification, "OTLP
Exporter Configuration".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Mapping

_GENERAL = names.ENV_OTLP_ENDPOINT
_OWN = names.ENV_EXTENSION_ENDPOINT
_ENDPOINT, _PROTOCOL = "ENDPOINT", "PROTOCOL"
_GENERAL_PROTOCOL = f"{names.OTLP_ENV_PREFIX}{_PROTOCOL}"
_OF_SIGNAL = {
    names.TRACES_PATH: names.ENV_OTLP_TRACES_ENDPOINT,
    names.METRICS_PATH: names.ENV_OTLP_METRICS_ENDPOINT,
    names.LOGS_SIGNAL_PATH: names.ENV_OTLP_LOGS_ENDPOINT,
}


def collector_urls(variables: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The whole URL for each signal that has one; empty when no collector is named."""
    known = _exporter_variables(variables, environ)
    found: dict[str, str] = {}
    for path, name in _OF_SIGNAL.items():
        if _is_grpc(known.get(name.replace(_ENDPOINT, _PROTOCOL)) or known.get(_GENERAL_PROTOCOL)):
            continue
        if known.get(name) and not known.get(_OWN):
            found[path] = known[name]
        elif base := known.get(_OWN) or known.get(_GENERAL):
            found[path] = base.rstrip("/") + path
    return found


def collector_problems(variables: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """A line for each variable that keeps telemetry from a collector that is named."""
    known = _exporter_variables(variables, environ)
    if not any(known.get(name) for name in (_OWN, _GENERAL, *_OF_SIGNAL.values())):
        return []
    return [
        f"{name}=grpc: it is passed on over HTTP only; give http/protobuf, and the endpoint of the "
        "collector's HTTP receiver, such as http://localhost:4318"
        for name, value in known.items()
        if name.endswith(_PROTOCOL) and _is_grpc(value)
    ]


def sender_variables(variables: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The function's variables, with how to send from the shell and without where to.

    What the extension cannot send is no use at a terminal, where nobody replays it.
    """
    endpoints = {_OWN, _GENERAL, *_OF_SIGNAL.values()}
    every = {names.ENV_STDOUT_BYTES: "0", **_exporter_variables({}, environ), **variables}
    return {
        name: value
        for name, value in every.items()
        if name not in endpoints and not (name.endswith(_PROTOCOL) and _is_grpc(value))
    }


def _exporter_variables(variables: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for source in (environ, variables)
        for name, value in source.items()
        if name.startswith(names.OTLP_ENV_PREFIX) or name == _OWN
    }


def _is_grpc(protocol: str | None) -> bool:
    return protocol is not None and protocol.strip().lower() == "grpc"
