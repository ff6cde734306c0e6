"""Every official name and number that we emit, against the packages generated from the sources."""

from __future__ import annotations

import re

import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.semconv._incubating.attributes import (
    aws_attributes,
    client_attributes,
    cloud_attributes,
    error_attributes,
    exception_attributes,
    faas_attributes,
    graphql_attributes,
    http_attributes,
    messaging_attributes,
    network_attributes,
    process_attributes,
    server_attributes,
    service_attributes,
    telemetry_attributes,
    url_attributes,
    user_agent_attributes,
)
from opentelemetry.semconv._incubating.metrics import faas_metrics
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import TraceFlags

from lambdascope.otlp import names

OFFICIAL_MODULES = {
    "AWS": aws_attributes,
    "CLIENT": client_attributes,
    "CLOUD": cloud_attributes,
    "ERROR": error_attributes,
    "EXCEPTION": exception_attributes,
    "FAAS": faas_attributes,
    "GRAPHQL": graphql_attributes,
    "HTTP": http_attributes,
    "MESSAGING": messaging_attributes,
    "NETWORK": network_attributes,
    "PROCESS": process_attributes,
    "SERVER": server_attributes,
    "SERVICE": service_attributes,
    "TELEMETRY": telemetry_attributes,
    "URL": url_attributes,
    "USER": user_agent_attributes,
}
DOCUMENT = faas_attributes.FaasDocumentOperationValues
SYSTEM = messaging_attributes.MessagingSystemValues
OFFICIAL_VALUES = {
    "CLOUD_PLATFORM_AWS_LAMBDA": cloud_attributes.CloudPlatformValues.AWS_LAMBDA,
    "CLOUD_PROVIDER_AWS": cloud_attributes.CloudProviderValues.AWS,
    "FAAS_DOCUMENT_OPERATION_DELETE": DOCUMENT.DELETE,
    "FAAS_DOCUMENT_OPERATION_EDIT": DOCUMENT.EDIT,
    "FAAS_DOCUMENT_OPERATION_INSERT": DOCUMENT.INSERT,
    "FAAS_TRIGGER_DATASOURCE": faas_attributes.FaasTriggerValues.DATASOURCE,
    "FAAS_TRIGGER_HTTP": faas_attributes.FaasTriggerValues.HTTP,
    "FAAS_TRIGGER_OTHER": faas_attributes.FaasTriggerValues.OTHER,
    "FAAS_TRIGGER_PUBSUB": faas_attributes.FaasTriggerValues.PUBSUB,
    "FAAS_TRIGGER_TIMER": faas_attributes.FaasTriggerValues.TIMER,
    "HTTP_METHOD_OTHER": http_attributes.HttpRequestMethodValues.OTHER,
    "MESSAGING_OPERATION_PROCESS": messaging_attributes.MessagingOperationTypeValues.PROCESS,
    "MESSAGING_SYSTEM_ACTIVEMQ": SYSTEM.ACTIVEMQ,
    "MESSAGING_SYSTEM_AWS_SNS": SYSTEM.AWS_SNS,
    "MESSAGING_SYSTEM_AWS_SQS": SYSTEM.AWS_SQS,
    "MESSAGING_SYSTEM_KAFKA": SYSTEM.KAFKA,
    "MESSAGING_SYSTEM_RABBITMQ": SYSTEM.RABBITMQ,
    "TELEMETRY_SDK_LANGUAGE_PYTHON": telemetry_attributes.TelemetrySdkLanguageValues.PYTHON,
}
# Names under an official prefix that the conventions do not have: ours, for the reason beside each.
NOT_OFFICIAL = {
    "AWS_ELB_TARGET_GROUP_ARN",  # the registry has nothing of load balancers
    "AWS_EVENTBRIDGE_DETAIL_TYPE",  # nor of EventBridge
    "AWS_EVENTBRIDGE_EVENT_ID",
    "AWS_EVENTBRIDGE_RULE_ARN",
    "AWS_EVENTBRIDGE_SOURCE",
    "MESSAGING_SYSTEM_KINESIS",  # a value; the registry has none for Kinesis
    "AWS_XRAY_TRACE_ID",  # the conventions have no attribute for X-Ray's form of the trace id
    "TELEMETRY_NAME_LAMBDASCOPE",  # a value, ours to choose
}
NUMBERS = {
    **{f"KIND_{key.removeprefix('SPAN_KIND_')}": n for key, n in Span.SpanKind.items()},
    **{f"STATUS_{key.removeprefix('STATUS_CODE_')}": n for key, n in Status.StatusCode.items()},
    **{key.removeprefix("AGGREGATION_"): n for key, n in AggregationTemporality.items()},
    **{
        f"SEVERITY_{key.removeprefix('SEVERITY_NUMBER_')}": n
        for key, n in SeverityNumber.items()
        if not key[-1].isdigit()
    },
    "FLAG_HAS_IS_REMOTE": SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK,
    "FLAG_IS_REMOTE": SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK,
    "FLAG_SAMPLED": int(TraceFlags.SAMPLED),
}
CONSTANTS = {name: value for name, value in vars(names).items() if name.isupper()}


def is_official(name: str) -> bool:
    """Return whether the conventions own the name."""
    return name.split("_")[0] in OFFICIAL_MODULES and name not in NOT_OFFICIAL


@pytest.mark.parametrize("name", sorted(filter(is_official, CONSTANTS)))
def test_official_names_and_values_are_those_of_the_conventions(name: str) -> None:
    """A constant under an official prefix is spelt as in the generated package."""
    if name in OFFICIAL_VALUES:
        expected = OFFICIAL_VALUES[name].value
    else:
        module = OFFICIAL_MODULES[name.split("_")[0]]
        expected = getattr(module if hasattr(module, name) else faas_metrics, name)

    assert expected == CONSTANTS[name]


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_numbers_are_those_of_the_protocol(name: str) -> None:
    """Kinds, status codes and flags are the numbers of trace.proto."""
    assert NUMBERS[name] == CONSTANTS[name]


def test_every_number_is_held_to_the_protocol() -> None:
    """Each number has one to compare it with; the sums of flags are made of these."""
    numbers = {name for name, value in CONSTANTS.items() if isinstance(value, int)}

    assert set(NUMBERS) == numbers - {"FLAGS_LOCAL", "FLAGS_REMOTE"}


def test_schema_url_is_that_of_the_installed_conventions() -> None:
    """The schema that we name is the version that the other tests here compare with."""
    assert Schemas.V1_44_0.value == names.SCHEMA_URL


class UnitMeter(NoOpMeter):
    """Takes down the units that the conventions' package gives its meter instruments."""

    def __init__(self) -> None:
        super().__init__("units")
        self.units: dict[str, str] = {}

    def create_counter(self, name: str, unit: str = "", description: str = "") -> None:
        """Take down the unit."""
        self.units[name] = unit

    create_histogram = create_counter


UNITS = {
    names.FAAS_INVOKE_DURATION: names.UNIT_SECONDS,
    names.FAAS_INIT_DURATION: names.UNIT_SECONDS,
    names.FAAS_MEM_USAGE: names.UNIT_BYTES,
    names.FAAS_COLDSTARTS: names.UNIT_COLDSTARTS,
    names.FAAS_ERRORS: names.UNIT_ERRORS,
    names.FAAS_INVOCATIONS: names.UNIT_INVOCATIONS,
    names.FAAS_TIMEOUTS: names.UNIT_TIMEOUTS,
}


def test_units_are_those_of_the_conventions() -> None:
    """Each faas metric has the unit that the generated package creates it with."""
    meter = UnitMeter()
    for name in UNITS:
        getattr(faas_metrics, "create_" + name.replace(".", "_"))(meter)

    assert meter.units == UNITS


def test_duration_bounds_go_on_to_the_longest_run() -> None:
    """Ours begin with the advised bounds, rise, and end at the 900 s of a function."""
    assert names.LONG_DURATION_BOUNDS[: len(names.DURATION_BOUNDS)] == names.DURATION_BOUNDS
    assert sorted(set(names.LONG_DURATION_BOUNDS)) == list(names.LONG_DURATION_BOUNDS)
    assert 900.0 == names.LONG_DURATION_BOUNDS[-1]


def test_our_own_attributes_are_under_our_own_prefix() -> None:
    """What the conventions do not know is lower case, dotted, and starts with our name."""
    own = [value for name, value in CONSTANTS.items() if name.startswith("LAMBDASCOPE_")]

    assert own
    assert all(re.fullmatch(r"lambdascope(\.[a-z]+(_[a-z]+)*)+", value) for value in own)


def test_no_two_constants_name_one_attribute() -> None:
    """An attribute has one constant, so a search for it finds every use."""
    keys = [value for value in CONSTANTS.values() if isinstance(value, str) and "." in value]

    assert sorted(set(keys)) == sorted(keys)
