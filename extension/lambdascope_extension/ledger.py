"""The ledger: what was accepted is exported, dropped for a reason, or still held.

The buffer is its only writer. Counted are spans, metrics and log records, which can be told apart
in protobuf without decoding it; a JSON request of metrics or logs counts as one. Requests that were
refused were never accepted and are counted apart.
"""

from __future__ import annotations

SIGNALS = ("traces", "metrics", "logs")
# What the user wanted dropped is nothing to report at the end.
SAMPLED = "sampled"
_UNITS = {"traces": "spans", "metrics": "metrics", "logs": "records"}


class Account:
    """The counts of one signal. Invariant: accepted = exported + sum of dropped + held."""

    __slots__ = ("accepted", "dropped", "exported", "held")

    def __init__(self) -> None:
        self.accepted = 0
        self.exported = 0
        self.held = 0
        self.dropped: dict[str, int] = {}


class Ledger:
    """One account for each signal, and the refused requests by reason."""

    __slots__ = ("accounts", "refused")

    def __init__(self) -> None:
        self.accounts = {signal: Account() for signal in SIGNALS}
        self.refused: dict[str, int] = {}

    def accept(self, signal: str, items: int) -> None:
        """Taken from a sender, and held from now on."""
        account = self.accounts[signal]
        account.accepted += items
        account.held += items

    def export(self, signal: str, items: int) -> None:
        """Acknowledged by the collector."""
        account = self.accounts[signal]
        account.held -= items
        account.exported += items

    def drop(self, signal: str, items: int, reason: str) -> None:
        """Lost for `reason`."""
        if items:
            account = self.accounts[signal]
            account.held -= items
            account.dropped[reason] = account.dropped.get(reason, 0) + items

    def refuse(self, reason: str) -> None:
        """A request that was not accepted; its sender knows."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def parts(self) -> list[tuple[str, Ledger]]:
        """The ledgers to add up, each with the name of its destination where there are several."""
        return [("", self)]

    def summary(self) -> str:
        """One line about everything that did not get through; "" when all of it did."""
        parts = [
            f"{signal}: {account.accepted} {_UNITS[signal]} accepted, {account.exported} exported, "
            f"{sum(account.dropped.values())} dropped ({_listed(account.dropped)}), "
            f"{account.held} held"
            for signal, account in self.accounts.items()
            if account.held or account.dropped.keys() - {SAMPLED}
        ]
        if self.refused:
            parts.append(f"{sum(self.refused.values())} requests refused ({_listed(self.refused)})")
        return "; ".join(parts)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items())) or "none"
