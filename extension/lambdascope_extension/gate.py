"""What spans pass on their way into the buffer, where they are sampled.

The assembly puts it in front of the buffer for all that make messages. What samples is loaded only
where a ratio is set.
"""

from __future__ import annotations

from lambdascope.wire import names
from lambdascope_extension.buffer import Buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from lambdascope_extension.batch import Message
    from lambdascope_extension.sampling_gate import SamplingGate


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
