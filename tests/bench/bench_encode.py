"""Prints what a span costs to make, to encode and to count, against the official encoder.

Run by hand: ``PYTHONPATH=tests python tests/bench/bench_encode.py``. Each figure is the median of
several runs, in microseconds for the whole call. A span has five attributes and one event with two,
as the span of a failed invocation has.
"""

from __future__ import annotations

import statistics
import sys
import timeit
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from lambdascope.otlp import names
from lambdascope.otlp.model import Event, Span
from lambdascope.otlp.walk import count_spans
from unit.otlp.official import PARENT_SPAN_ID, SPAN_ID, START_NS, TRACE_ID, make_encoder, sdk_span

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 15
SECONDS_PER_RUN = 0.05


def make_span() -> Span:
    """Return a new span as the runtime makes it."""
    return Span(
        name="hello",
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        parent_span_id=PARENT_SPAN_ID,
        kind=names.KIND_SERVER,
        start_ns=START_NS,
        end_ns=START_NS + 1_000_000,
        status_code=names.STATUS_ERROR,
        attributes={
            names.FAAS_TRIGGER: names.FAAS_TRIGGER_OTHER,
            names.FAAS_INVOCATION_ID: "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            names.FAAS_COLDSTART: True,
            names.LAMBDASCOPE_DEADLINE_MS: 1_763_000_003_123,
            names.AWS_LAMBDA_INVOKED_ARN: "arn:aws:lambda:eu-west-1:123456789012:function:hello:a",
        },
        events=[
            Event(
                name=names.EVENT_EXCEPTION,
                time_ns=START_NS + 900_000,
                attributes={
                    names.EXCEPTION_TYPE: "ValueError",
                    names.EXCEPTION_MESSAGE: "no such table",
                },
            )
        ],
    )


def median_us(call: Callable[[], object]) -> float:
    """Return the median time of one call in microseconds."""
    once = min(timeit.repeat(call, number=1, repeat=5))
    number = max(1, int(SECONDS_PER_RUN / max(once, 1e-7)))
    return statistics.median(timeit.repeat(call, number=number, repeat=RUNS)) / number * 1e6


def main() -> None:
    """Print one line for each number of spans."""
    encoder = make_encoder()
    print(f"python {sys.version.split()[0]}, median of {RUNS} runs, microseconds")
    print(f"make a span with its event: {median_us(make_span):.2f}")
    print(f"{'spans':>5} {'bytes':>7} {'ours':>9} {'official':>9} {'ratio':>6} {'count':>7}")
    for spans_count in (1, 10, 100):
        spans = [make_span() for _ in range(spans_count)]
        sdk_spans = [sdk_span(span) for span in spans]
        body = encoder.encode(spans)
        assert spans_count == count_spans(body)
        ours = median_us(lambda spans=spans: encoder.encode(spans))
        official = median_us(lambda spans=sdk_spans: encode_spans(spans).SerializeToString())
        count = median_us(lambda body=body: count_spans(body))
        print(
            f"{spans_count:>5} {len(body):>7} {ours:>9.1f} {official:>9.1f} "
            f"{official / ours:>5.1f}x {count:>7.1f}"
        )


if __name__ == "__main__":
    main()
