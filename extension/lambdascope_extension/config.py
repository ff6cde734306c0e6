"""What the extension needs to know before it registers, from environment variables.

The start makes one StartConfig; everything else is read later, by `export_config`. These two
modules are the only readers of the environment. Wrong values are never fatal: the default is taken
and a line in `problems` says so.
"""

from __future__ import annotations

import posix

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

BOTH_EVENTS = (names.EVENT_INVOKE, names.EVENT_SHUTDOWN)


def environment() -> dict[str, str]:
    """The environment variables of this process."""
    return {
        name.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape")
        for name, value in posix.environ.items()
    }


class StartConfig:
    """Values only. `events` is what the extension should ask for at register."""

    __slots__ = ("events", "handoff_file", "otlp_port", "problems", "runtime_api")

    def __init__(
        self,
        *,
        runtime_api: str,
        otlp_port: int,
        handoff_file: str,
        events: tuple[str, ...],
        problems: tuple[str, ...] = (),
    ) -> None:
        self.runtime_api = runtime_api
        self.otlp_port = otlp_port
        self.handoff_file = handoff_file
        self.events = events
        self.problems = problems

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> StartConfig:
        """Read the variables; an empty one counts as unset."""
        problems: list[str] = []
        managed = environ.get(names.ENV_INIT_TYPE) == names.INIT_MANAGED_INSTANCES
        return cls(
            runtime_api=environ.get(names.ENV_RUNTIME_API, ""),
            otlp_port=_port(environ.get(names.ENV_OTLP_PORT, ""), problems),
            handoff_file=environ.get(names.ENV_HANDOFF_FILE) or default_handoff_file(),
            # Managed instances run invocations side by side and offer no INVOKE event.
            events=(names.EVENT_SHUTDOWN,) if managed else BOTH_EVENTS,
            problems=tuple(problems),
        )


def default_handoff_file() -> str:
    """The agreed path of the rendezvous file: in a directory of this user alone."""
    return names.DEFAULT_HANDOFF_FILE.format(euid=posix.geteuid())


def _port(text: str, problems: list[str]) -> int:
    if not text:
        return names.DEFAULT_OTLP_PORT
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    problems.append(
        f"{names.ENV_OTLP_PORT} {text!r} is no port: give a number from 0 (any free one) to 65535; "
        f"using {names.DEFAULT_OTLP_PORT}"
    )
    return names.DEFAULT_OTLP_PORT
