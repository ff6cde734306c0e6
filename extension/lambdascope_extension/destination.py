"""A place that telemetry is sent to: address, headers, limits, and what its headers are made of.

Made by `export_config` and `presets` after register, read by the flusher and the senders. Values
only. A header's value may be kept in a secret store; then only the reference to it is here, and the
sender's thread gets it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_HOLD_S = 0.5
DEFAULT_TIMEOUT_S = 10.0
# What a stored value is: a header's value, the same by the name of a parameter or encrypted with
# KMS, the password of an Authorization header, or a list of headers.
VALUE = "value"
PARAMETER = "parameter"
KMS = "kms"
BASIC = "basic"
HEADERS = "headers"
# What is shorter may be any word.
_LEAST_SECRET = 6
_STORES = (b"secretsmanager", b"ssm")


class Secret:
    """What is stored under `reference`, and how a header is made of it, after `prefix`."""

    __slots__ = ("how", "prefix", "reference")

    def __init__(self, reference: str, *, how: str = VALUE, prefix: bytes = b"") -> None:
        self.reference = reference
        self.how = how
        self.prefix = prefix


def is_reference(value: bytes) -> bool:
    """Whether it is the ARN of a secret or a parameter."""
    parts = value.split(b":", 3)
    return len(parts) == 4 and parts[0] == b"arn" and parts[2] in _STORES


def header_text(value: bytes) -> str:
    """A header's value as it is signed, and sent in UTF-8 again."""
    return value.decode("utf-8", "replace")


class Destination:
    """Where one signal goes. `shown` is the URL without anything secret; `verify` and `cert` are
    what `requests` takes.

    `service` and `region` are of AWS and mean that requests are signed, with `sign`, which gets
    headers and body and gives more headers, and is the sender's. `max_bytes` and `max_items`
    bound a request, 0 for not at all. `hint` says what to do when the key is refused.
    """

    __slots__ = (
        "cert",
        "gzip",
        "headers",
        "hint",
        "is_grpc",
        "max_bytes",
        "max_items",
        "port",
        "region",
        "secrets",
        "service",
        "shown",
        "sign",
        "signal",
        "timeout_s",
        "url",
        "verify",
    )

    def __init__(self, *, signal: str, url: str, shown: str, port: int) -> None:
        self.signal = signal
        self.url = url
        self.shown = shown
        self.port = port
        self.headers: dict[str, bytes] = {}
        self.secrets: dict[str, Secret] = {}
        self.timeout_s = DEFAULT_TIMEOUT_S
        self.gzip = False
        self.verify: str | bool = True
        self.cert: str | tuple[str, str] | None = None
        self.is_grpc = False
        self.service = ""
        self.region = ""
        self.sign: Callable[[Mapping[str, str], bytes], dict[str, str]] | None = None
        self.max_bytes = 0
        self.max_items = 0
        self.hint = ""

    @property
    def needs_aws(self) -> bool:
        """Whether the sender has to sign requests or to ask for secrets."""
        return bool(self.service or self.secrets)

    def masked(self, text: str) -> str:
        """What a peer has said, without the values of headers that it may have repeated."""
        for value in self.headers.values():
            # The value as a whole, and what comes after `Bearer` or its like.
            for secret in (value, value.rpartition(b" ")[2]):
                if len(secret) >= _LEAST_SECRET:
                    text = text.replace(secret.decode("latin-1"), "***")
        return text

    def set_header(self, name: str, value: bytes) -> None:
        """Set a header; a value whose last word is the ARN of a secret is asked for later."""
        before, space, last = value.rpartition(b" ")
        if is_reference(last):
            reference = last.decode("utf-8", "replace")
            self.secrets[name] = Secret(reference, prefix=before + space)
            self.headers.pop(name, None)
        else:
            self.headers[name] = value
            self.secrets.pop(name, None)


class ExportConfig:
    """Values only. A signal has either a destination or, in `reasons`, why it is dropped.

    `name` is "" for the standard variables' destination where it is the only one.
    """

    __slots__ = ("destinations", "hold_s", "name", "problems", "reasons")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.destinations: dict[str, Destination] = {}
        self.reasons: dict[str, str] = {}
        self.hold_s = DEFAULT_HOLD_S
        self.problems: list[str] = []
