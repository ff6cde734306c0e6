"""What the start reads from the environment."""

from __future__ import annotations

import os

import pytest

from lambdascope.wire import names
from lambdascope_extension.config import StartConfig, environment


def test_defaults() -> None:
    """Without variables the extension listens where OTLP senders look, and wants both events."""
    config = StartConfig.from_environ({})
    assert ("", 4318, ("INVOKE", "SHUTDOWN"), ()) == (
        config.runtime_api,
        config.otlp_port,
        config.events,
        config.problems,
    )
    assert f"/tmp/.lambdascope-{os.geteuid()}/handoff" == config.handoff_file


def test_variables() -> None:
    """Port and rendezvous file can be chosen; 0 is any free port."""
    config = StartConfig.from_environ(
        {
            names.ENV_RUNTIME_API: "127.0.0.1:9001",
            names.ENV_OTLP_PORT: "0",
            names.ENV_HANDOFF_FILE: "/elsewhere/file",
        }
    )
    assert ("127.0.0.1:9001", 0, "/elsewhere/file") == (
        config.runtime_api,
        config.otlp_port,
        config.handoff_file,
    )


@pytest.mark.parametrize("port", ["x", "-1", "65536", "4318.0", "²"])
def test_wrong_port(port: str) -> None:
    """A port that is none is said to be so, and the default is used."""
    config = StartConfig.from_environ({names.ENV_OTLP_PORT: port})
    assert 4318 == config.otlp_port
    assert [True] == [port in problem for problem in config.problems]


def test_managed_instances_offer_no_invoke() -> None:
    """On managed instances only SHUTDOWN may be asked for."""
    environ = {names.ENV_INIT_TYPE: names.INIT_MANAGED_INSTANCES}
    assert ("SHUTDOWN",) == StartConfig.from_environ(environ).events


def test_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and values are text, also where they are not UTF-8."""
    monkeypatch.setitem(os.environ, "LAMBDASCOPE_TEST", "ü\udcff")
    assert "ü\udcff" == dict(os.environ)["LAMBDASCOPE_TEST"]
    assert environment().keys() >= {"PATH"}
