"""What everything passes on its way into the buffer: secrets are taken out of it here.

The assembly puts it in front of the buffer for all that make messages, so that no secret reaches a
collector, a spool or a log. The rules are loaded with the first message, because the start has no
use for them. What cannot be looked through is dropped, and counted.
"""

from __future__ import annotations

from lambdascope.wire import names
from lambdascope_extension.buffer import Buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from lambdascope_extension.batch import Message
    from lambdascope_extension.sampling_gate import SamplingGate

NOT_SCRUBBED = "not_scrubbed"


def open_gate(buffer: Buffer, environ: Mapping[str, str], say: Callable[[str], None]) -> Buffer:
    """The buffer, with a gate that scrubs before it unless that is turned off."""
    text = environ.get(names.ENV_SCRUB, "").strip()
    return buffer if text.lower() == "off" else ScrubbingGate(buffer, text, say)


def open_sampler(
    buffer: Buffer, environ: Mapping[str, str], say: Callable[[str], None]
) -> SamplingGate | None:
    """A gate that samples, if a ratio is set."""
    if not environ.get(names.ENV_SAMPLE, "").strip():
        return None
    from lambdascope_extension.sampling import read_sampling
    from lambdascope_extension.sampling_gate import SamplingGate

    sampling = read_sampling(environ, say)
    return None if sampling is None else SamplingGate(buffer, sampling, say)


class Gate(Buffer):
    """Before another buffer; batches are taken from that one alone."""

    __slots__ = ("_buffer", "_say")

    def __init__(self, buffer: Buffer, say: Callable[[str], None]) -> None:
        self._buffer = buffer
        self._say = say
        super().__init__(buffer.ledger, max_bytes=0)

    @property
    def held_bytes(self) -> int:
        """What is held behind the gate."""
        return self._buffer.held_bytes

    @held_bytes.setter
    def held_bytes(self, size: int) -> None:
        """Nothing is held here."""

    def prepare(self, message: Message) -> None:
        """As behind the gate."""
        self._buffer.prepare(message)

    def drop_all(self, reason: str, signals: Container[str] | None = None) -> None:
        """Everything that is held is lost."""
        if signals is None:
            self._buffer.drop_all(reason)
        else:
            self._buffer.drop_all(reason, signals)

    def _lose(self, message: Message, reason: str) -> None:
        self.ledger.accept(message.signal, message.items)
        self.ledger.drop(message.signal, message.items, reason)


class ScrubbingGate(Gate):
    """`text` is the variable's value."""

    __slots__ = ("_has_failed", "_scrub", "_text")

    def __init__(self, buffer: Buffer, text: str, say: Callable[[str], None]) -> None:
        super().__init__(buffer, say)
        self._text = text
        self._scrub: Callable[[Message], bytes] | None = None
        self._has_failed = False

    def prepare(self, message: Message) -> None:
        """Take the secrets out of it."""
        if self._scrub is None:
            self._scrub = _load(self._text, self._say)
        try:
            message.body = self._scrub(message)
            message.scrub_fault = ""
        except ValueError as error:
            message.scrub_fault = str(error)

    def put(self, message: Message) -> bool:
        """As in the base class, without secrets."""
        if message.scrub_fault is None:
            self.prepare(message)
        if not message.scrub_fault:
            return self._buffer.put(message)
        if not self._has_failed:
            self._has_failed = True
            self._say(
                f"{message.items} items of {message.signal} are dropped, because they cannot be "
                f"searched for secrets ({message.scrub_fault}): see {names.ENV_SCRUB}"
            )
        self._lose(message, NOT_SCRUBBED)
        return True


def _load(text: str, say: Callable[[str], None]) -> Callable[[Message], bytes]:
    from lambdascope.otlp.scrub_rules import read_scrub_rules

    rules, unknown = read_scrub_rules(text)
    if unknown:
        say(f"{names.ENV_SCRUB} {unknown[:40]!r} is not known, left out: use +name, -name or off")

    def apply(message: Message) -> bytes:
        if rules is None or not rules.is_hit(message.body):
            return message.body
        # Most functions never need it.
        from lambdascope.otlp.scrub import scrub, scrub_json

        if message.kind == names.CONTENT_TYPE_JSON:
            return scrub_json(message.body, rules)
        return scrub(message.signal, message.body, rules)

    return apply
