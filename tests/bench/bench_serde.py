"""Prints what it costs to write a result and to read an event, and with orjson where it is there.

Run by hand: ``python tests/bench/bench_serde.py``. Each figure is the best of several runs, in
microseconds for one call.
"""

from __future__ import annotations

import decimal
import sys
import timeit
from typing import TYPE_CHECKING

from lambdascope.runtime.marshalling import JsonMarshaller, choose
from lambdascope.runtime.serde import Encoder, decode_event
from lambdascope.wire.names import CONTENT_TYPE_JSON

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 9
SECONDS_PER_RUN = 0.1
ITEM = {"name": "x" * 20, "tags": ["a", "b"], "price": 1.5}
RESULTS: dict[str, object] = {
    "small": {"ok": True},
    "1 MB": {"items": [{"id": number, **ITEM} for number in range(13_500)]},
    "5000 Decimals": [{"price": decimal.Decimal("1.10")} for _ in range(5000)],
}


def best_us(call: Callable[[], object]) -> float:
    """The best time of one call in microseconds."""
    once = min(timeit.repeat(call, number=1, repeat=3))
    number = max(1, int(SECONDS_PER_RUN / max(once, 1e-7)))
    return min(timeit.repeat(call, number=number, repeat=RUNS)) / number * 1e6


def main() -> None:
    """Print a line for each result."""
    encoder = Encoder(ensure_ascii=True)
    orjson = choose("orjson", encoder, print)
    marshaller = orjson or JsonMarshaller(encoder)
    print(f"python {sys.version.split()[0]}, best of {RUNS} runs, microseconds")
    print(
        f"{'result':<14} {'bytes':>8} {'write':>10} {'read':>10} {'orjson: write':>14} {'read':>10}"
    )
    for name, result in RESULTS.items():
        body, _ = encoder.encode(result)
        write = best_us(lambda result=result: encoder.encode(result))
        read = best_us(lambda body=body: decode_event(body, CONTENT_TYPE_JSON))
        line = f"{name:<14} {len(body):>8} {write:>10.2f} {read:>10.2f}"
        if orjson is not None:
            fast = best_us(lambda result=result: marshaller.marshal_response(result))
            parse = best_us(lambda body=body: marshaller.unmarshal_request(body, CONTENT_TYPE_JSON))
            line += f" {fast:>14.2f} {parse:>10.2f}"
        print(line)


if __name__ == "__main__":
    main()
