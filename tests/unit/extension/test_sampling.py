"""Which invocations leave where not all do, why, and that all spans follow one decision."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.otlp import names as otel
from lambdascope.otlp.model import Span
from lambdascope.wire import names
from lambdascope_extension.buffer import Buffer
from lambdascope_extension.gate import open_sampler
from lambdascope_extension.ledger import Ledger
from lambdascope_extension.sampling_gate import LOOSE_S, MAX_AGE_S, MAX_OPEN, MAX_OPEN_BYTES
from unit.extension.sampling_kit import DROPPED, ENCODER, KEPT, Kit, spans


@pytest.mark.parametrize(
    ("fields", "urgent", "reason"),
    [
        ({"status_code": otel.STATUS_ERROR}, True, "error"),
        (
            {"status_code": otel.STATUS_ERROR, "attributes": {"error.type": "timeout"}},
            True,
            "timeout",
        ),
        ({"attributes": {"faas.coldstart": True}}, False, "cold_start"),
        ({"attributes": {"sampling.keep": True}}, False, "explicit"),
        ({"attributes": {"lambdascope.keep": "true"}}, False, "explicit"),
        ({"end_ns": 200_000_001}, False, "slow"),
    ],
)
def test_what_is_kept_whatever_its_trace_id(
    fields: dict[str, Any], urgent: bool, reason: str
) -> None:
    """Each reason is on the invocation's span, which counts for itself alone."""
    kit = Kit("0", "200")
    kit.put(spans(**fields), "r1", urgent=urgent)
    kit.gate.end("r1")
    assert {"root": (reason, 1.0)} == kit.reasons()
    assert (2, 2, {}) == (kit.account.accepted, kit.account.exported, kit.account.dropped)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"attributes": {"faas.coldstart": False}},
        {"attributes": {"sampling.keep": False, "lambdascope.keep": "no", "x.keep": True}},
        {"name": "sampling.keep"},
        {"end_ns": 200_000_000},
    ],
)
def test_what_is_not_kept(fields: dict[str, Any]) -> None:
    """What speaks for nothing is dropped under the ratio 0 and counted as sampled."""
    kit = Kit("0", "200")
    kit.put(spans(KEPT, **fields), "r1")
    assert 0 == kit.gate.held_bytes
    kit.gate.end("r1")
    assert [] == kit.left()
    assert (2, 0, {"sampled": 2}) == (
        kit.account.accepted,
        kit.account.exported,
        kit.account.dropped,
    )


def test_the_ratio_goes_by_the_lowest_56_bits_of_the_trace_id() -> None:
    """What every function with the ratio keeps: the upper half for 0.5, with its weight."""
    kit = Kit("0.5")
    for number, trace_id in enumerate((KEPT, DROPPED)):
        kit.put(spans(trace_id, name=f"root{number}"), f"r{number}")
        kit.gate.end(f"r{number}")
    assert {"root0": ("ratio", 0.5)} == kit.reasons()
    draw = random.Random(1)
    kept = sum(kit.gate._sampling.is_kept(draw.randbytes(16)) for _ in range(10_000))
    assert 4800 < kept < 5200


def test_a_larger_ratio_keeps_what_a_smaller_one_does() -> None:
    """Functions with different ratios agree on the traces of the smallest."""
    few, many = Kit("0.1").gate._sampling, Kit("0.4").gate._sampling
    draw = random.Random(2)
    ids = [draw.randbytes(16) for _ in range(2000)]
    assert {one for one in ids if few.is_kept(one)} < {one for one in ids if many.is_kept(one)}


def test_all_bodies_of_an_invocation_follow_one_decision() -> None:
    """What came before and after the failure, and what others sent of its trace."""
    kit = Kit("0")
    child = ENCODER.encode([Span(name="own", trace_id=DROPPED, span_id=b"1" * 8, kind=3)])
    foreign = ENCODER.encode(
        [Span(name="foreign", trace_id=DROPPED, span_id=b"2" * 8, parent_span_id=b"rootrid1")]
    )
    kit.put(child, "r1", items=1)
    kit.put(foreign, items=1)
    assert [] == kit.left()
    kit.put(spans(status_code=otel.STATUS_ERROR), "r1", urgent=True)
    kit.gate.end("r1")
    late = ENCODER.encode(
        [Span(name="report", trace_id=DROPPED, span_id=b"3" * 8, parent_span_id=b"rootrid1")]
    )
    kit.put(late, items=1)
    kit.put(late.replace(b"report", b"rapport"[:6]), "r1", items=1)
    names_left = [span.name for span in kit.left()]
    assert ["child", "foreign", "own", "rappor", "report", "root"] == sorted(names_left)


def test_the_platforms_spans_follow_a_drop() -> None:
    """The report span of an invocation that was dropped is dropped; a failed one is not."""
    kit = Kit("0")
    kit.put(spans(), "r1")
    kit.gate.end("r1")
    report = Span(
        name="platform report", trace_id=DROPPED, span_id=b"3" * 8, parent_span_id=b"rootrid1"
    )
    kit.put(ENCODER.encode([report]), items=1)
    kit.gate.end("")
    assert [] == kit.left()
    report.status_code = otel.STATUS_ERROR
    kit.put(ENCODER.encode([report]), items=1)
    kit.gate.end("")
    assert [] == kit.left()
    kit.put(ENCODER.encode([report]), items=1, urgent=True)
    assert ["platform report"] == [span.name for span in kit.left()]


def test_a_body_of_many_traces_is_taken_apart() -> None:
    """Each trace of another sender is decided for itself, also by what is in it."""
    kit = Kit("0.5")
    failed = b"\x01" * 9 + bytes(7)
    request = ExportTraceServiceRequest()
    request.MergeFromString(spans(KEPT, name="a") + spans(name="b"))
    request.MergeFromString(spans(failed, name="c", status_code=otel.STATUS_ERROR))
    kit.put(request.SerializeToString(), items=6, urgent=True)
    kit.gate.end("")
    left = kit.left()
    assert [(KEPT, 2), (failed, 2)] == sorted(
        (one, len([span for span in left if span.trace_id == one]))
        for one in {span.trace_id for span in left}
    )
    assert {"sampled": 2} == kit.account.dropped
    assert (6, 4) == (kit.account.accepted, kit.account.exported)


def test_slow_is_what_is_over_a_quantile_of_the_last() -> None:
    """Without a limit an invocation is slow that takes longer than 99 % of those before it."""
    kit = Kit("0")
    for number in range(30):
        kit.put(spans(bytes([number + 1]) * 9 + bytes(7), end_ns=1_000_000 * (number % 5 + 1)), "r")
        kit.gate.end("r")
    assert {} == kit.reasons()
    kit.put(spans(end_ns=6_000_000), "slow")
    kit.gate.end("slow")
    assert {"root": ("slow", 1.0)} == kit.reasons()


@pytest.mark.parametrize("reason", [names.SHUTDOWN_TIMEOUT, names.SHUTDOWN_FAILURE, "spindown"])
def test_an_invocation_that_never_ended_is_kept(reason: str) -> None:
    """At shutdown it must have died; what others sent is only kept where the platform says so."""
    kit = Kit("0")
    kit.put(spans(KEPT, name="own"), "r1")
    kit.put(spans(name="foreign"))
    kit.gate.end_all(reason)
    expected = {"own": ("unfinished", 1.0)}
    if reason != "spindown":
        expected["foreign"] = ("unfinished", 1.0)
    assert expected == kit.reasons()
    kit.put(spans(b"\x07" * 9 + bytes(7), name="after"))
    assert {} == kit.reasons()


def test_json_is_decided_as_a_whole() -> None:
    """If one of its traces is kept, or something in it speaks for it, all of it is."""
    kit = Kit("0.5")
    kind = names.CONTENT_TYPE_JSON
    text = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId": "%s"},{"traceId":"%s"}]}]}]}'
    kit.put((text % (DROPPED.hex(), KEPT.hex())).encode(), kind=kind)
    assert 1 == len(kit.buffer.waiting_signals())
    kit.buffer.drop_all("x")
    kit.put((text % (DROPPED.hex(), DROPPED.hex())).encode(), kind=kind)
    assert {"x": 2, "sampled": 2} == kit.account.dropped
    kit.put((text % (DROPPED.hex(), DROPPED.hex())).encode(), kind=kind, urgent=True)
    assert 1 == len(kit.buffer.waiting_signals())


def test_what_is_held_is_bounded() -> None:
    """By number, bytes and age: the oldest are decided before their end."""
    kit = Kit("0")
    for number in range(MAX_OPEN + 5):
        kit.put(spans(number.to_bytes(9, "big") + bytes(7)), f"r{number}")
    assert {"sampled": 10} == kit.account.dropped
    assert MAX_OPEN == len(kit.gate._open)
    kit.put(spans(bytes(16), name="x" * MAX_OPEN_BYTES), "large")
    assert (0, {}) == (kit.gate._open_bytes, kit.gate._open)
    kit.put(spans(), "old", now=1.0)
    kit.put(spans(bytes(16)), "new", now=2.0 + MAX_AGE_S)
    assert ["new"] == list(kit.gate._open)


def test_without_events_loose_traces_are_decided_by_time() -> None:
    """On managed instances nobody tells when they are over; what has a request id waits for it."""
    kit = Kit("0.5")
    kit.put(spans(KEPT), "r1", now=1.0)
    kit.put(spans(bytes(9) + b"\xfe" * 7, name="loose"), now=1.0)
    kit.gate.end_loose(1.0 + LOOSE_S)
    assert {} == kit.reasons()
    kit.gate.end_loose(1.1 + LOOSE_S)
    assert {"loose": ("ratio", 0.5)} == kit.reasons()
    kit.gate.end("r1")
    assert {"root": ("ratio", 0.5)} == kit.reasons()


def test_everything_that_is_held_can_be_dropped() -> None:
    """As after a fault: nothing is lost without being counted."""
    kit = Kit("0.5")
    kit.put(spans(), "r1")
    kit.put(spans(KEPT, status_code=otel.STATUS_ERROR), "r2", urgent=True)
    kit.gate.drop_all("fault")
    assert (4, 0, {"fault": 4}) == (
        kit.account.accepted,
        kit.account.exported,
        kit.account.dropped,
    )


def test_without_room_behind_it() -> None:
    """What is kept and has no room is counted as such."""
    kit = Kit("0.5", max_bytes=10)
    assert kit.put(spans(KEPT), "r1")
    kit.gate.end("r1")
    assert {"buffer_full": 2} == kit.account.dropped


@pytest.mark.parametrize("body", [b"\x0a\x05\x12\x03\x12\x7f\x01", b"\x0a\x02\x12\x00", b""])
def test_bodies_without_spans_pass(body: bytes) -> None:
    """What is damaged is for the collector to refuse, what is empty is nothing."""
    kit = Kit("0")
    assert kit.put(body, items=0)
    assert kit.put(body, "r1", items=0)
    kit.gate.end("r1")
    assert 0 == kit.account.accepted


def test_other_signals_pass() -> None:
    """Metrics are those of all invocations, logs are kept."""
    kit = Kit("0")
    kit.put(b"", signal="metrics", items=1)
    kit.put(b"", signal="logs", items=3)
    assert 3 == kit.buffer.ledger.accounts["logs"].accepted
    assert {"metrics", "logs"} == kit.buffer.waiting_signals()


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["part", "failed", "foreign", "late", "end", "over"]),
        ),
        max_size=40,
    ),
    ratio=st.sampled_from(["0", "0.5"]),
    reason=st.sampled_from(["spindown", "timeout"]),
)
def test_any_order_of_bodies_and_ends(
    steps: list[tuple[int, str]], ratio: str, reason: str
) -> None:
    """Whatever overlaps: every span is either left or dropped, once, and an invocation with a
    failure that was told before its end has all its spans."""
    kit = Kit(ratio, "off")
    put: dict[int, int] = {}
    failed: set[int] = set()
    ended: set[int] = set()
    count = 0
    for number, kind in steps:
        trace_id = number.to_bytes(1, "big") * 16
        count += 1
        child = Span(name=f"{number}", trace_id=trace_id, span_id=count.to_bytes(8, "big"))
        child.parent_span_id = b"rootrid1"
        if kind == "end":
            kit.gate.end(f"r{number}")
            ended.add(number)
            continue
        if kind == "over":
            kit.gate.end("")
            continue
        if kind == "failed" and number not in ended:
            child.status_code = otel.STATUS_ERROR
            failed.add(number)
        owner = "" if kind in ("foreign", "late") else f"r{number}"
        is_held = owner or number in failed
        put[number] = put.get(number, 0) + bool(is_held)
        child.name += "" if is_held else " loose"
        urgent = child.status_code == otel.STATUS_ERROR
        assert kit.put(ENCODER.encode([child]), owner, items=1, urgent=urgent)
    kit.gate.end_all(reason)
    left = kit.left()
    account = kit.account
    assert len(left) == account.exported
    assert account.accepted == account.exported + sum(account.dropped.values())
    assert account.accepted == len([kind for _, kind in steps if kind not in ("end", "over")])
    assert len(left) == len({span.span_id for span in left})
    for number in failed:
        assert put[number] == len([span for span in left if span.name == f"{number}"])


@pytest.mark.parametrize(
    ("ratio", "slow", "line"),
    [
        ("1", "", ""),
        ("1.5", "", "LAMBDASCOPE_SAMPLE '1.5'"),
        ("nan", "", "LAMBDASCOPE_SAMPLE 'nan'"),
        ("10%", "", "LAMBDASCOPE_SAMPLE '10%'"),
        ("0.1", "fast", "LAMBDASCOPE_SAMPLE_SLOW_MS 'fast'"),
        ("0.1", "p20", "LAMBDASCOPE_SAMPLE_SLOW_MS 'p20'"),
        ("0.1", "off", ""),
        ("0.1", "p95", ""),
        ("0.1", "250", ""),
    ],
)
def test_the_variables(ratio: str, slow: str, line: str) -> None:
    """A ratio that is none keeps everything, which costs nothing; mistakes are said."""
    lines: list[str] = []
    environ = {names.ENV_SAMPLE: ratio, names.ENV_SAMPLE_SLOW: slow}
    gate = open_sampler(Buffer(Ledger()), environ, lines.append)
    assert (gate is None) == (ratio != "0.1")
    assert bool(line) == bool(lines)
    assert line in "".join(lines)


def test_nothing_is_made_without_a_ratio() -> None:
    """The default keeps everything."""
    assert open_sampler(Buffer(Ledger()), {}, print) is None
