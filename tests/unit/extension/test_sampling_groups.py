"""What others send is taken apart by traces, in any thread, and within bounds."""

from __future__ import annotations

import random

import pytest

from lambdascope.otlp.model import Span
from lambdascope.wire import names
from lambdascope_extension import sampling_groups
from lambdascope_extension.batch import Message
from lambdascope_extension.ledger import SAMPLED
from unit.extension.sampling_kit import DROPPED, ENCODER, KEPT, Kit, spans


def loose(bodies: bytes) -> Message:
    """A message of another sender."""
    return Message(
        signal="traces", kind=names.CONTENT_TYPE_PROTOBUF, body=bodies, items=4, received=1.0
    )


@pytest.mark.parametrize("body", [spans(KEPT), spans(DROPPED), spans(KEPT) + spans(DROPPED)])
def test_what_was_looked_at_beforehand(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large message is taken apart beside the main thread, which does not walk through it again,
    and all is decided as ever."""
    before, kit = Kit(), Kit()
    before.gate.put(loose(body))
    before.gate.end("")
    message = loose(body)
    kit.gate.prepare(message)
    monkeypatch.setattr(sampling_groups, "iter_spans", None)
    monkeypatch.setattr(sampling_groups, "parted", None)
    kit.gate.put(message)
    kit.gate.end("")
    assert before.reasons() == kit.reasons()
    assert before.account.dropped == kit.account.dropped


@pytest.mark.parametrize(("ratio", "kept"), [("0", 0), ("0.5", 5000)])
def test_very_many_traces_at_once(ratio: str, kept: int) -> None:
    """More than are remembered are not taken apart: if one of them is kept, all are."""
    kit = Kit(ratio)
    ids = (number.to_bytes(8, "big") + random.Random(number).randbytes(8) for number in range(5000))
    message = loose(
        b"".join(ENCODER.encode([Span(name="a", trace_id=one, span_id=bytes(8))]) for one in ids)
    )
    message.items = 5000
    assert kit.gate.put(message)
    assert {} == kit.gate._open
    assert kept == len(kit.left())
    assert (
        5000 == kit.account.accepted == kit.account.exported + kit.account.dropped.get(SAMPLED, 0)
    )
