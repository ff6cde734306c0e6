"""Takes secrets out of what leaves the buffer, so that none reaches a collector, a spool or a log.

The buffer asks it for the messages of each batch, because a search through many bodies at once
costs little more than through a single one. The rules are loaded with the first batch. What cannot
be looked through is dropped, and counted.
"""

from __future__ import annotations

from _thread import allocate_lock

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope.otlp.scrub_rules import ScrubRules
    from lambdascope_extension.batch import Message


class Scrubber:
    """`text` is the variable's value."""

    __slots__ = ("_has_failed", "_is_read", "_lock", "_rules", "_say", "_text")

    def __init__(self, text: str, say: Callable[[str], None]) -> None:
        self._text = text
        self._say = say
        self._lock = allocate_lock()
        self._rules: ScrubRules | None = None
        self._is_read = False
        self._has_failed = False

    def prepare(self, message: Message) -> None:
        """Take the secrets out of it now; any thread may."""
        rules = self._loaded()
        if rules is None:
            return
        try:
            message.body = _scrubbed(message, rules)
            message.scrub_fault = ""
        except ValueError as error:
            message.scrub_fault = str(error) or type(error).__name__

    def clean(self, messages: list[Message]) -> tuple[list[Message], list[Message]]:
        """The messages without secrets, and those that cannot be looked through."""
        rules = self._loaded()
        if rules is None:
            return messages, []
        fresh = [one.body for one in messages if one.scrub_fault is None]
        is_hit = rules.is_hit(fresh[0] if len(fresh) == 1 else b"".join(fresh))
        if not is_hit and len(fresh) == len(messages):
            return messages, []
        cleaned, lost = [], []
        for message in messages:
            # Several lanes have the same one: it is not changed in place.
            one = message
            if is_hit and message.scrub_fault is None:
                one = message.copy()
                self.prepare(one)
            if one.scrub_fault:
                lost.append(one)
                self._say_once(one)
            else:
                cleaned.append(one)
        return cleaned, lost

    def _loaded(self) -> ScrubRules | None:
        with self._lock:
            if not self._is_read:
                self._rules = self._read()
                self._is_read = True
        return self._rules

    def _read(self) -> ScrubRules | None:
        from lambdascope.otlp.scrub_rules import read_scrub_rules

        rules, unknown = read_scrub_rules(self._text)
        if unknown:
            self._say(
                f"{names.ENV_SCRUB} {unknown[:40]!r} is not known, left out: "
                "use +name, -name or off"
            )
        return rules

    def _say_once(self, message: Message) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._say(
                f"{message.items} items of {message.signal} are dropped, because they cannot be "
                f"searched for secrets ({message.scrub_fault}): see {names.ENV_SCRUB}"
            )


def open_scrubber(environ: Mapping[str, str], say: Callable[[str], None]) -> Scrubber | None:
    """A scrubber, unless that is turned off."""
    text = environ.get(names.ENV_SCRUB, "").strip()
    return None if text.lower() == "off" else Scrubber(text, say)


def _scrubbed(message: Message, rules: ScrubRules) -> bytes:
    if not rules.is_hit(message.body):
        return message.body
    # Most functions never need it.
    from lambdascope.otlp.scrub import scrub, scrub_json

    if message.kind == names.CONTENT_TYPE_JSON:
        return scrub_json(message.body, rules)
    return scrub(message.signal, message.body, rules)
