"""Which attributes and URL parameters hold secrets, by their names.

The extension makes rules from a variable and looks for their needles in every body, before anything
is walked. Pure: it knows nothing of the forms of telemetry. The parameters of signed URLs are those
of OpenTelemetry's semantic conventions (url.full, url.query) and of AWS's Signature Version 4.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SCRUBBED = "[scrubbed]"

# With their words apart, as `_plain` makes them. A name counts as the whole of an attribute's last
# part or as its end: `token` is in `http.request.header.x-auth-token` and in `accessToken`.
DEFAULT_NAMES = (
    "authorization",
    "cookie",
    "set_cookie",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "secret_key",
    "secret_access_key",
    "private_key",
    "token",
    "credential",
    "credentials",
    "api_key",
    "apikey",
)
_URL_NAMES = ("sig", "signature", "awsaccesskeyid", "x_amz_signature", "x_amz_credential")
URL_KEYS = frozenset(("url.full", "url.query", "url.original", "http.url", "http.target"))
# What secrets in free text have in or around them, in lower case.
_TEXT_MARKS = ("bearer ", ".eyj", "akia", "asia", "private key-----")
# A search for each spelling of each name would take twice the time.
_ROOTS = ("pass", "key", "sig")
_OFF = ("off", "none", "false", "0")


class ScrubRules:
    """Made once; `is_hit` is asked for every body. `urls`, `texts`: whether these are searched."""

    __slots__ = ("_ends", "_names", "_needles", "_url_ends", "_url_names", "texts", "urls")

    def __init__(self, wanted: Iterable[str], *, urls: bool = True, texts: bool = True) -> None:
        self.urls = urls
        self.texts = texts
        self._names = frozenset(wanted)
        self._ends = _ends(self._names)
        self._url_names = self._names.union(_URL_NAMES if urls else ())
        self._url_ends = _ends(self._url_names)
        spelt = {one for name in self._names for one in _spellings(name)}
        if urls:
            # The first is for the user and password before a host.
            spelt.update(("@", "sig=", "signature=", "awsaccesskeyid="))
        if texts:
            spelt.update(_TEXT_MARKS)
        self._needles = _needles(spelt)

    def is_hit(self, body: bytes) -> bool:
        """Whether a name may stand in it; if none does, there is nothing to scrub."""
        return next(self._hits(body), -1) >= 0

    def hits(self, body: bytes) -> list[int]:
        """Where names may stand, sorted."""
        return sorted(self._hits(body))

    def _hits(self, body: bytes) -> Iterator[int]:
        text = body.lower()
        for root, spellings in self._needles:
            position = text.find(root)
            while position >= 0:
                if not spellings or any(
                    position >= offset and text.startswith(spelling, position - offset)
                    for spelling, offset in spellings
                ):
                    yield position
                position = text.find(root, position + 1)

    def matches(self, key: str) -> bool:
        """Whether the attribute's value is a secret."""
        plain = _plain(key)
        return plain in self._names or plain.endswith(self._ends)

    def hides(self, name: str) -> bool:
        """The same for what is assigned to a name in a URL or a text."""
        plain = _plain(name)
        return plain in self._url_names or plain.endswith(self._url_ends)

    def url(self, text: str) -> str:
        """A URL, or its query alone, without user, password and the values of secret parameters."""
        scheme, found, rest = text.partition("://")
        end = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
        user = rest.rfind("@", 0, end) if found else -1
        if user >= 0:
            text = f"{scheme}://{SCRUBBED}{rest[user:]}"
        if "=" not in text:
            return text
        before, mark, query = text.partition("?")
        return f"{self._parameters(before)}{mark}{self._parameters(query)}"

    def _parameters(self, text: str) -> str:
        """Those of a query or a fragment, in which sign-ins put theirs."""
        return "#".join(
            [
                "&".join([self._parameter(one) for one in part.split("&")])
                for part in text.split("#")
            ]
        )

    def _parameter(self, text: str) -> str:
        name, equals, _ = text.partition("=")
        if equals and self.hides(name):
            return f"{name}={SCRUBBED}"
        return text


def read_scrub_rules(text: str) -> tuple[ScrubRules | None, str]:
    """`default,+name,-name`, or `off`, to the rules, and what is wrong with it, "" for nothing.

    None: nothing is scrubbed. What is not understood leaves the default as it is.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if len(entries) == 1 and entries[0].lower() in _OFF:
        return None, ""
    wanted = {_plain(name): None for name in DEFAULT_NAMES}
    off = {"-url": False, "-text": False}
    unknown = ""
    for entry in entries:
        name = _plain(entry[1:])
        if entry[0] == "+" and name:
            wanted[name] = None
        elif entry in off:
            off[entry] = True
        elif entry[0] == "-" and name in wanted:
            del wanted[name]
        elif entry.lower() != "default":
            unknown = unknown or entry
    return ScrubRules(wanted, urls=not off["-url"], texts=not off["-text"]), unknown


def _plain(name: str) -> str:
    """In lower case, with one sign between words: `X-Api-Key` and `xApiKey` are `x_api_key`."""
    plain = ""
    is_low = False
    for char in name:
        if is_low and char.isupper():
            plain += "_"
        is_low = char.islower() or char.isdigit()
        plain += "_" if char in "- " else char.lower()
    return plain


def _ends(known: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{mark}{name}" for name in known for mark in "._")


def _spellings(name: str) -> Iterable[str]:
    """How the name may stand in a body, in lower case."""
    return {name.replace("_", mark) for mark in ("_", "-", " ", "")}


def _needles(spelt: set[str]) -> list[tuple[bytes, list[tuple[bytes, int]]]]:
    """What to look for, each with the spellings around it and where it is in them.

    None around it: it is one itself.
    """
    least = {one for one in spelt if not any(two in one for two in spelt if two != one)}
    by_root: dict[str, list[tuple[bytes, int]]] = {}
    for one in sorted(least):
        root = next((root for root in _ROOTS if root in one), one)
        around = by_root.setdefault(root, [])
        if root != one:
            around.append((one.encode(), one.index(root)))
    return [(root.encode(), around) for root, around in by_root.items()]
