"""What invocations like this one would cost on Lambda. Pure arithmetic.

Prices: https://aws.amazon.com/lambda/pricing/ for x86 in us-east-1, first tier, without the free
tier: 0.0000166667 USD per GB-second, in steps of 1 ms, and 0.20 USD per million requests. Init
counts as billed duration for on-demand functions since August 2025 (AWS Compute Blog, "AWS Lambda
standardizes billing for INIT Phase"), so a cold start is dearer than the REPORT line of old.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambdascope.emulator.records import Report

USD_PER_GB_SECOND = 0.0000166667
USD_PER_MILLION_REQUESTS = 0.20
PRICE_BASIS = "list price, x86, us-east-1"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """USD for a million such invocations, and which share of it (0 to 1) pays for init."""

    usd_per_million: float
    init_share: float


def cost_of(report: Report) -> Cost:
    """The price of a million invocations with the billed duration and memory of `report`."""
    gb = report.memory_size_mb / 1024
    duration_usd = report.billed_duration_ms / 1000 * gb * USD_PER_GB_SECOND * 1e6
    total = duration_usd + USD_PER_MILLION_REQUESTS
    billed_init_ms = min(report.init_duration_ms or 0.0, float(report.billed_duration_ms))
    init_usd = billed_init_ms / 1000 * gb * USD_PER_GB_SECOND * 1e6
    return Cost(usd_per_million=total, init_share=init_usd / total)


def cost_text(report: Report) -> str:
    """One line: the price, the share of init when there is one, and the basis of the figures."""
    cost = cost_of(report)
    init = f"; {cost.init_share:.0%} is billed init" if cost.init_share else ""
    # Those for cached snapshots and for restored gigabytes, which nothing here can know.
    snap_start = "; SnapStart's own charges come on top" if report.restore_duration_ms else ""
    return f"${cost.usd_per_million:,.2f} per million like this ({PRICE_BASIS}{init}{snap_start})"
