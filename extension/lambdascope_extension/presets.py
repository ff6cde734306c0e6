"""Backends by name: where they are, which of their own variables hold the key, what they expect.

Read once, after register, and only where LAMBDASCOPE_DESTINATION is set. A preset becomes the
standard variables and is read as they are, so that both go the same way. Pure: the environment
comes as a mapping. Each preset names the vendor's page that it goes by.
"""

from __future__ import annotations

from lambdascope.wire import names
from lambdascope_extension.destination import (
    BASIC,
    KMS,
    PARAMETER,
    ExportConfig,
    Secret,
    is_reference,
)
from lambdascope_extension.export_config import is_own, read_export_config
from lambdascope_extension.ledger import SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope_extension.destination import Destination

OTLP = "otlp"
_PREFIX = names.OTLP_ENV_PREFIX
# Of the general variables, those that are about the way and not about the destination.
_SHARED = ("TIMEOUT", "COMPRESSION", "CERTIFICATE")
_MB = 1_000_000


class _Missing(Exception):
    """What has to be set is not; the text says what."""


class Preset:
    """What is known of a backend in one environment. `endpoint` is without `/v1/<signal>`.

    `limits` are the most bytes of a request by signal; `only` holds headers of single signals.
    """

    __slots__ = (
        "endpoint",
        "headers",
        "hint",
        "limits",
        "max_items",
        "only",
        "secrets",
        "service",
        "signals",
    )

    def __init__(self, endpoint: str, hint: str) -> None:
        self.endpoint = endpoint
        self.hint = hint
        self.headers: dict[str, str] = {}
        self.only: dict[str, dict[str, str]] = {}
        self.secrets: dict[str, Secret] = {}
        self.signals: tuple[str, ...] = SIGNALS
        self.limits: dict[str, int] = {}
        self.max_items = 0
        self.service = ""


class _Variables:
    """The environment, without blanks around values."""

    __slots__ = ("_environ",)

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, *wanted: str) -> str:
        """The first of these that is set, or "". Raises _Missing for what no header may have."""
        for one in wanted:
            found = self._environ.get(one, "").strip()
            if not found.isprintable():
                raise _Missing(f"{one} holds a line break or another control character")
            if found:
                return found
        return ""

    def need(self, *wanted: str) -> str:
        """The first of these that is set. Raises _Missing."""
        found = self.get(*wanted)
        if not found:
            raise _Missing(f"{' or '.join(wanted)} is not set")
        return found

    @property
    def region(self) -> str:
        """The region of the function. Raises _Missing."""
        return self.need(names.ENV_REGION, names.ENV_DEFAULT_REGION)


def _datadog(get: _Variables) -> Preset:
    """Limits: 3.2 MB of spans (413 above), 500 kB of metrics that are not compressed.

    Of points with the same tags in the same second the last one wins, and resources are no tags
    unless a header says so: two environments would overwrite each other's metrics. Sources: Datadog
    documentation, "OTLP Intake for Serverless", "OTLP Traces Intake Endpoint" and "OTLP Metrics
    Intake Endpoint".
    """
    preset = Preset(
        f"https://otlp.{get.get('DD_SITE') or 'datadoghq.com'}", "check DD_API_KEY and DD_SITE"
    )
    arn = get.get("DD_API_KEY_SECRET_ARN", "DD_API_KEY_SSM_ARN")
    encrypted = get.get("DD_KMS_API_KEY", "DD_API_KEY_KMS")
    if arn:
        preset.secrets["dd-api-key"] = Secret(arn)
    elif encrypted:
        preset.secrets["dd-api-key"] = Secret(encrypted, how=KMS)
    else:
        preset.headers["dd-api-key"] = get.need(
            "DD_API_KEY", "DD_API_KEY_SECRET_ARN", "DD_KMS_API_KEY", "DD_API_KEY_SSM_ARN"
        )
    # Without the source the intake takes what comes for a host's; trace metrics are asked for.
    serverless = {"dd-otlp-source": "serverless"}
    preset.only = {
        "traces": {**serverless, "compute_stats": "true"},
        "metrics": {**serverless, "dd-otel-metric-config": '{"resource_attributes_as_tags":true}'},
    }
    preset.limits = {"traces": 3_200_000, "metrics": 500_000}
    return preset


def _honeycomb(get: _Variables) -> Preset:
    """Source: Honeycomb documentation, "Send Data with OpenTelemetry"."""
    endpoint = get.get("HONEYCOMB_API_ENDPOINT") or "https://api.honeycomb.io"
    preset = Preset(endpoint, "check HONEYCOMB_API_KEY and HONEYCOMB_API_ENDPOINT")
    preset.headers["x-honeycomb-team"] = get.need("HONEYCOMB_API_KEY")
    dataset = get.get("HONEYCOMB_DATASET")
    if dataset:
        preset.headers["x-honeycomb-dataset"] = dataset
    metrics = get.get("HONEYCOMB_METRICS_DATASET")
    if metrics:
        preset.only = {"metrics": {"x-honeycomb-dataset": metrics}}
    return preset


def _new_relic(get: _Variables) -> Preset:
    """Limits: requests smaller than 10**6 bytes. Values of more than 4095 characters are cut there,
    and no record is lost for them. Source: New Relic documentation, "New Relic OTLP endpoint" and
    "Update New Relic OTLP handling of long attributes".
    """
    key, host = get.get("NEW_RELIC_LICENSE_KEY"), get.get("NEW_RELIC_HOST")
    # The region is the beginning of the key; where that is a secret, the agent's variable tells.
    if key.startswith("eu") or ".eu" in host:
        name = "otlp.eu01"
    else:
        name = "gov-otlp" if key.startswith("gov") or "gov" in host else "otlp"
    preset = Preset(f"https://{name}.nr-data.net", "check NEW_RELIC_LICENSE_KEY")
    stored, parameter = (
        get.get("NEW_RELIC_LICENSE_KEY_SECRET"),
        get.get("NEW_RELIC_LICENSE_KEY_SSM_PARAMETER_NAME"),
    )
    if key:
        preset.headers["api-key"] = key
    elif stored:
        preset.secrets["api-key"] = Secret(f"{stored}#LicenseKey")
    elif parameter:
        preset.secrets["api-key"] = Secret(parameter, how=PARAMETER)
    else:
        raise _Missing("NEW_RELIC_LICENSE_KEY is not set")
    preset.limits = dict.fromkeys(SIGNALS, _MB - 1)
    return preset


def _grafana(get: _Variables) -> Preset:
    """Source: Grafana Cloud documentation, "Send data to the Grafana Cloud OTLP endpoint"."""
    zone = get.get("GRAFANA_CLOUD_ZONE")
    endpoint = (
        f"https://otlp-gateway-{zone}.grafana.net/otlp"
        if zone
        else get.need("GRAFANA_CLOUD_OTLP_ENDPOINT", "GRAFANA_CLOUD_ZONE")
    )
    preset = Preset(endpoint, "check GRAFANA_CLOUD_INSTANCE_ID and GRAFANA_CLOUD_API_KEY")
    instance = get.need("GRAFANA_CLOUD_INSTANCE_ID")
    key = get.need("GRAFANA_CLOUD_API_KEY", "GRAFANA_CLOUD_API_TOKEN")
    before = f"{instance}:".encode()
    if is_reference(key.encode()):
        preset.secrets["authorization"] = Secret(key, how=BASIC, prefix=before)
    else:
        from binascii import b2a_base64

        both = b2a_base64(before + key.encode(), newline=False).decode()
        preset.headers["authorization"] = f"Basic {both}"
    return preset


def _dash0(get: _Variables) -> Preset:
    """Source: Dash0 documentation, "Endpoints" and "Datasets"."""
    region = get.get("DASH0_REGION")
    endpoint = get.get("DASH0_ENDPOINT", "DASH0_OTLP_ENDPOINT", "DASH0_OTLP_URL")
    if not endpoint and not region:
        raise _Missing("DASH0_ENDPOINT or DASH0_REGION is not set")
    preset = Preset(
        endpoint or f"https://ingress.{region}.aws.dash0.com",
        "check DASH0_AUTH_TOKEN and DASH0_DATASET",
    )
    preset.headers["authorization"] = f"Bearer {get.need('DASH0_AUTH_TOKEN')}"
    dataset = get.get("DASH0_DATASET")
    if dataset:
        preset.headers["dash0-dataset"] = dataset
    return preset


def _aws(get: _Variables, service: str, signal: str, may: str) -> Preset:
    """Limits of spans: 5 MB and 10,000. Source: Amazon CloudWatch user guide, "OTLP Endpoints"."""
    suffix = "amazonaws.com.cn" if get.region.startswith("cn-") else "amazonaws.com"
    preset = Preset(
        f"https://{service}.{get.region}.{suffix}", f"check that the function's role {may}"
    )
    preset.service = service
    preset.signals = (signal,)
    return preset


def _xray(get: _Variables) -> Preset:
    preset = _aws(get, "xray", "traces", "may write to X-Ray, and that Transaction Search is on")
    preset.limits = {"traces": 5 * _MB}
    preset.max_items = 10_000
    return preset


def _cloudwatch_logs(get: _Variables) -> Preset:
    preset = _aws(get, "logs", "logs", "may write to the log group, and that it exists")
    own = _own("aws-logs", "HEADERS")
    # Lambda does not tell extensions the function's own stream; the intake makes none.
    if "x-aws-log-stream" not in get.get(own).lower():
        raise _Missing(f"{own} does not say x-aws-log-stream=STREAM, which has to exist")
    preset.headers["x-aws-log-group"] = get.need(names.ENV_LOG_GROUP)
    preset.limits = {"logs": _MB}
    return preset


def _cloudwatch_metrics(get: _Variables) -> Preset:
    preset = _aws(get, "monitoring", "metrics", "may write metrics to CloudWatch")
    preset.limits = {"metrics": _MB}
    return preset


PRESETS: dict[str, Callable[[_Variables], Preset]] = {
    "datadog": _datadog,
    "honeycomb": _honeycomb,
    "newrelic": _new_relic,
    "grafana": _grafana,
    "dash0": _dash0,
    "aws-xray": _xray,
    "aws-logs": _cloudwatch_logs,
    "aws-metrics": _cloudwatch_metrics,
}
# What the platform's and the function's metrics must not be for these: they refuse it.
DELTA_ONLY = ("datadog", "newrelic")


def read_destinations(environ: Mapping[str, str], *, own_port: int) -> list[ExportConfig]:
    """A configuration for each name in LAMBDASCOPE_DESTINATION, at least one.

    What is said about all of them together is among the problems of the first.
    """
    text = environ.get(names.ENV_DESTINATION, "")
    wanted = list(dict.fromkeys(word for word in text.lower().replace(",", " ").split()))
    problems = [
        f"{names.ENV_DESTINATION} {name[:40]!r} is not known, left out: use some of "
        f"{', '.join((*PRESETS, OTLP))}"
        for name in wanted
        if name not in PRESETS and name != OTLP
    ]
    configs = [
        _standard(environ, own_port) if name == OTLP else _named(name, environ, own_port)
        for name in wanted
        if name in PRESETS or name == OTLP
    ]
    if not configs:
        configs.append(_without("none"))
    elif OTLP not in wanted and (unused := _unused(environ, own_port)):
        problems.append(
            f"{unused} is not used beside {names.ENV_DESTINATION}={text[:80]}: "
            f"add {OTLP} to that, or say with {_own(wanted[0], 'ENDPOINT')} where it is"
        )
    configs[0].problems[:0] = problems
    return configs


def platform_variables(
    environ: Mapping[str, str], configs: list[ExportConfig], problems: list[str]
) -> Mapping[str, str]:
    """The variables for the platform's metrics: delta where a destination takes nothing else."""
    strict = [config.name for config in configs if config.name in DELTA_ONLY]
    name = names.ENV_OTLP_TEMPORALITY
    if not strict or environ.get(name, "").strip().lower() != "cumulative":
        return environ
    problems.append(
        f"{name} cumulative is not taken by {strict[0]}: the platform's metrics are delta; set it "
        "to delta for the function's own"
    )
    return {**environ, name: "delta"}


def _unused(environ: Mapping[str, str], own_port: int) -> str:
    """The variable that names another place; "" if it only tells an SDK where we are."""
    for name in (names.ENV_EXTENSION_ENDPOINT, names.ENV_OTLP_ENDPOINT):
        endpoint = environ.get(name, "").strip()
        if endpoint and not is_own(endpoint, own_port):
            return name
    return ""


def _standard(environ: Mapping[str, str], own_port: int) -> ExportConfig:
    config = read_export_config(environ, own_port=own_port)
    config.name = OTLP
    return config


def _without(name: str) -> ExportConfig:
    config = ExportConfig(name)
    config.reasons = dict.fromkeys(SIGNALS, "config")
    return config


def _own(name: str, suffix: str) -> str:
    """The variable of ours about one destination."""
    return f"LAMBDASCOPE_{name.upper().replace('-', '_')}_{suffix}"


def _named(name: str, environ: Mapping[str, str], own_port: int) -> ExportConfig:
    try:
        preset = PRESETS[name](_Variables(environ))
    except _Missing as error:
        config = _without(name)
        config.problems.append(
            f"{names.ENV_DESTINATION} {name}: {error}; telemetry for it is counted and dropped"
        )
        return config
    as_standard = {key: value for key, value in environ.items() if not key.startswith(_PREFIX)} | {
        key: value for suffix in _SHARED if (value := environ.get(key := f"{_PREFIX}{suffix}", ""))
    }
    as_standard.pop(names.ENV_HEADERS_SECRET, None)
    as_standard.pop(names.ENV_EXTENSION_ENDPOINT, None)
    endpoint = environ.get(_own(name, "ENDPOINT"), "").strip() or preset.endpoint
    as_standard[names.ENV_OTLP_ENDPOINT] = endpoint.removesuffix("/")
    as_standard[names.ENV_OTLP_HEADERS] = environ.get(_own(name, "HEADERS"), "")
    as_standard.setdefault(f"{_PREFIX}COMPRESSION", "gzip")
    config = read_export_config(as_standard, own_port=own_port)
    config.name = name
    config.problems = [
        problem.replace(names.ENV_OTLP_ENDPOINT, f"{names.ENV_DESTINATION} {name}:").replace(
            names.ENV_OTLP_HEADERS, _own(name, "HEADERS")
        )
        for problem in config.problems
    ]
    for signal in SIGNALS:
        if signal not in preset.signals:
            config.destinations.pop(signal, None)
            config.reasons[signal] = "not_taken"
        elif signal in config.destinations:
            _complete(config.destinations[signal], preset, environ)
    return config


def _complete(destination: Destination, preset: Preset, environ: Mapping[str, str]) -> None:
    own = set(destination.headers) | set(destination.secrets)
    headers = {**preset.headers, **preset.only.get(destination.signal, {})}
    for header, value in headers.items():
        if header not in own:
            destination.set_header(header, value.encode("utf-8", "replace"))
    for header, secret in preset.secrets.items():
        if header not in own:
            destination.secrets[header] = secret
    destination.hint = preset.hint
    destination.service = preset.service
    if preset.service:
        destination.region = _Variables(environ).region
    destination.max_bytes = preset.limits.get(destination.signal, 0)
    destination.max_items = preset.max_items
