"""The Telemetry API of the emulator: answers to a subscription, and what then arrives."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from lambdascope.emulator.telemetry import ALREADY_SUBSCRIBED, SUBSCRIBED
from lambdascope.emulator.telemetry_delivery import Destination
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.names import LOGS_PATH, TELEMETRY_PATH
from telemetry_kit import EPOCH_NS, Item, put, receiving, telemetry

# --- Answers to a subscription --------------------------------------------------------------------


def test_a_subscription_is_answered_with_ok_and_said_to_the_subscriber() -> None:
    """200 with the JSON string OK; platform.telemetrySubscription names what was asked for."""
    with receiving() as receiver, telemetry() as bus:
        assert put(bus, receiver.uri()) == (200, "OK")
        assert receiver.items(1) == [
            {
                "time": "2026-01-01T00:00:00.000Z",
                "type": "platform.telemetrySubscription",
                "record": {
                    "name": "ext",
                    "state": "Subscribed",
                    "types": ["platform", "function"],
                },
            }
        ]


@pytest.mark.parametrize(
    ("change", "names_field"),
    [
        ({"schemaVersion": "2020-01-01"}, "schemaVersion"),
        ({"types": []}, "types"),
        ({"types": ["platform", "spans"]}, "types"),
        ({"buffering": {"maxItems": 999}}, "maxItems"),
        ({"buffering": {"maxBytes": 1_048_577}}, "maxBytes"),
        ({"buffering": {"timeoutMs": 24}}, "timeoutMs"),
        ({"destination": {"protocol": "TCP", "port": 9}}, "protocol"),
        ({"destination": {"protocol": "HTTP", "URI": "https://sandbox:1"}}, "URI"),
        ({"destination": {"protocol": "HTTP", "URI": "http://example.com:80/"}}, "URI"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:99999/"}}, "URI"),
    ],
)
def test_a_field_that_breaks_the_rules_is_a_validation_error(
    change: Item, names_field: str
) -> None:
    """400 with errorType ValidationError and a message that names the field."""
    fields: Item = {
        "schemaVersion": "2025-01-29",
        "types": ["platform"],
        "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:1"},
    }
    with telemetry() as bus:
        answer = bus.answer(TELEMETRY_PATH, {}, json.dumps(fields | change).encode(), "ext")
    body = json.loads(answer.body)
    assert (answer.status, body["errorType"], answer.state) == (400, "ValidationError", "")
    assert names_field in body["errorMessage"]
    assert answer.to_response().startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_body_that_is_not_json_is_a_validation_error() -> None:
    """Garbage is answered, not raised."""
    with telemetry() as bus:
        answer = bus.answer(TELEMETRY_PATH, {}, b"\xff{", "ext")
    assert (answer.status, json.loads(answer.body)["errorType"]) == (400, "ValidationError")


def test_after_init_nobody_can_subscribe() -> None:
    """403 with Telemetry.SubscriptionClosed once close_subscriptions was called."""
    with telemetry() as bus:
        bus.close_subscriptions()
        assert put(bus, "http://sandbox.localdomain:1") == (
            403,
            {
                "errorMessage": "Telemetry API subscription is closed already",
                "errorType": "Telemetry.SubscriptionClosed",
            },
        )


def test_a_second_subscription_of_one_extension_changes_nothing() -> None:
    """It is answered with OK, its state says so, and the first listener stays the only one."""
    with receiving() as first, receiving() as second, telemetry() as bus:
        put(bus, first.uri())
        fields = {
            "schemaVersion": "2025-01-29",
            "types": ["platform"],
            "destination": {"protocol": "HTTP", "URI": second.uri()},
        }
        answer = bus.answer(TELEMETRY_PATH, {}, json.dumps(fields).encode(), "ext")
        assert (answer.status, answer.state) == (200, ALREADY_SUBSCRIBED)
        bus.emit("platform.start", {"requestId": "r"}, EPOCH_NS)
        assert first.kinds(2) == ["platform.telemetrySubscription", "platform.start"]
        assert second.requests == []


def test_unsupported_answers_as_awss_emulator_does() -> None:
    """202 with Telemetry.NotSupported whatever the body is; nothing is delivered."""
    with receiving() as receiver, telemetry(mode="unsupported") as bus:
        answer = bus.answer(TELEMETRY_PATH, {}, b"{}", "ext")
        bus.emit("platform.start", {}, EPOCH_NS)
        assert bus.flush(1)
        assert receiver.requests == []
    assert answer.status == 202
    assert (
        answer.body == b'{"errorMessage":"Telemetry API is not supported",'
        b'"errorType":"Telemetry.NotSupported"}\n'
    )


def test_missing_answers_as_images_without_the_api_do() -> None:
    """404 with the text of Go's server."""
    with telemetry(mode="missing") as bus:
        answer = bus.answer(TELEMETRY_PATH, {}, b"{}", "ext")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert answer.content_type == "text/plain; charset=utf-8"


def test_the_superseded_logs_api_is_not_supported() -> None:
    """202 with Logs.NotSupported, in AWS's words."""
    with telemetry() as bus:
        answer = bus.answer(LOGS_PATH, {}, b"{}", "ext")
    assert (answer.status, json.loads(answer.body)["errorType"]) == (202, "Logs.NotSupported")


# --- Where it goes --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["sandbox.localdomain", "sandbox", "localhost", "127.0.0.1"])
def test_the_documented_names_lead_to_loopback_and_the_path_is_kept(host: str) -> None:
    """POST of application/json to the path and query of the URI."""
    with receiving() as receiver, telemetry() as bus:
        assert put(bus, receiver.uri(host, "/t/secret?x=1"))[0] == 200
        receiver.batches(1)
        method, target, headers, _ = receiver.requests[0]
        assert (method, target) == ("POST", "/t/secret?x=1")
        assert headers["content-type"] == "application/json"


def test_a_name_that_resolves_elsewhere_is_not_followed_out_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only loopback and link-local addresses are believed of a resolver."""
    answers = {"sandbox": "10.9.8.7", "sandbox.localdomain": "127.0.0.2"}

    def lookup(host: str, port: int, *_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert list(Destination("http://sandbox:1").addresses()) == ["127.0.0.1"]
    assert list(Destination("http://sandbox.localdomain:1").addresses()) == [
        "127.0.0.1",
        "127.0.0.2",
    ]


def test_a_destination_outside_is_refused() -> None:
    """A URI that leads out of the environment never gets as far as a socket."""
    with pytest.raises(RemoteProtocolError, match="the host must be"):
        Destination("http://169.254.1.2.example.com:80/")


def test_the_state_of_an_answer_tells_the_platform_what_to_log() -> None:
    """SUBSCRIBED with the types that were asked for."""
    with receiving() as receiver, telemetry() as bus:
        fields = {
            "schemaVersion": "2025-01-29",
            "types": ["platform", "extension"],
            "destination": {"protocol": "HTTP", "URI": receiver.uri()},
        }
        answer = bus.answer(TELEMETRY_PATH, {}, json.dumps(fields).encode(), "ext")
        assert (answer.state, answer.types) == (SUBSCRIBED, ("platform", "extension"))
