"""What is added to spans for Datadog, and when."""

from __future__ import annotations

import pytest

from lambdascope.otlp.datadog import invoke_attributes, is_among, resource_pairs


@pytest.mark.parametrize(
    ("text", "found"),
    [("datadog", True), ("otlp, DataDog", True), ("", False), ("datadogs", False)],
)
def test_is_among(text: str, found: bool) -> None:
    """It is one of the words of the list, in any case."""
    assert found == is_among(text)


def test_invoke_attributes() -> None:
    """The names that its pages go by; the function's ARN is without version or alias."""
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:Shop"
    found = invoke_attributes(f"{arn}:live", "Shop", is_cold=True)

    assert {
        "operation.name": "aws.lambda",
        "span.type": "serverless",
        "resource.name": "Shop",
        "functionname": "shop",
        "cold_start": "true",
        "faas.id": arn,
        "function_arn": arn.lower(),
    } == found
    assert "faas.id" not in invoke_attributes("", "Shop", is_cold=False)


def test_resource_pairs() -> None:
    """Service, environment and version are those of unified tagging, and tags are pairs."""
    environ = {"DD_SERVICE": " s ", "DD_VERSION": "2", "DD_TAGS": "a:b:c d: :e,f", "DD_ENV": ""}

    assert {"a": "b:c", "service.name": "s", "service.version": "2"} == resource_pairs(environ)
