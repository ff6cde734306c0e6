"""The deadline of an invocation, and how much of it is left.

`context.deadline` makes one; budgets, the iterator, batches and callbacks are built on it. Seconds
of the monotonic clock decide; the wall time is kept to be shown or passed on. Nothing here starts
a thread or interrupts anything: that is `budget` and `watchdog`.
"""

from __future__ import annotations

from time import monotonic, time

from lambdascope.runtime.context import current_invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

INFINITE = float("inf")
# Time kept back for what follows a block, until somebody says otherwise.
DEFAULT_RESERVE = 0.5
# Clients refuse a time-out of 0, or take it for "never": this one makes the call fail at once.
MIN_TIMEOUT = 0.001
# The longest that Lambda lets a function run (AWS Lambda quotas: 900 seconds).
MAX_TIMEOUT = 900.0


class DeadlineExceeded(TimeoutError):
    """The time of a budget is used up. Raised where the `with` block is left, never inside it."""


class BudgetInterrupt(BaseException):
    """What stops the code inside a synchronous budget; outside it becomes DeadlineExceeded.

    Not an Exception, so that the retry loops and the wrapping of errors that most code has
    (`except Exception`) do not take it for a failed call, as with asyncio.CancelledError. Code that
    catches it for its own cleaning up has to raise it again.
    """


class Deadline:
    """A moment: `at` in seconds of the monotonic clock, `epoch_ms` in milliseconds of Unix time.

    `epoch_ms` is None where there is no deadline; then `at` is infinite. `owner` names the
    invocation. Deadlines compare by `at`, the earlier one is the smaller one.
    """

    __slots__ = ("at", "clock", "epoch_ms", "owner")

    def __init__(
        self,
        at: float,
        *,
        epoch_ms: int | None = None,
        owner: object = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.at = at
        self.epoch_ms = epoch_ms
        self.owner = owner
        self.clock = clock

    @classmethod
    def after(cls, seconds: float, *, clock: Callable[[], float] = monotonic) -> Deadline:
        """The deadline that is `seconds` away, for tests and for work that has a limit of its own.

        Raises ValueError for a number that is not finite.
        """
        if not -INFINITE < seconds < INFINITE:
            raise ValueError(f"a deadline is a finite number of seconds away, not {seconds!r}")
        return cls(clock() + seconds, epoch_ms=int((time() + seconds) * 1000), clock=clock)

    def remaining(self) -> float:
        """Seconds until then; 0.0 afterwards, infinite where there is no deadline."""
        left = self.at - self.clock()
        return left if left > 0 else 0.0

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return self.clock() >= self.at

    def __eq__(self, other: object) -> bool:
        return self.at == other.at if isinstance(other, Deadline) else NotImplemented

    def __lt__(self, other: Deadline) -> bool:
        return self.at < other.at if isinstance(other, Deadline) else NotImplemented

    def __le__(self, other: Deadline) -> bool:
        return self.at <= other.at if isinstance(other, Deadline) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.at)

    def __repr__(self) -> str:
        return f"Deadline(remaining={self.remaining():.3f}, epoch_ms={self.epoch_ms})"


NO_DEADLINE = Deadline(INFINITE)


class _Latest:
    """The deadline that was made last, so that one invocation has one, whatever the wall does."""

    __slots__ = ("deadline",)

    def __init__(self) -> None:
        self.deadline = NO_DEADLINE


_latest = _Latest()


def current_deadline() -> Deadline:
    """The deadline of the invocation that is running; none outside an invocation.

    For code that has no context at hand. It is turned into monotonic time when it is first asked
    for, while `context.deadline` was turned when the event arrived: a step of the wall clock
    between the two moves this one by as much.
    """
    invocation = current_invocation.get()
    if invocation is None:
        return NO_DEADLINE
    owner = (invocation.request_id, invocation.deadline_ms)
    latest = _latest.deadline
    if latest.owner != owner:
        left = invocation.deadline_ms / 1000 - time()
        latest = Deadline(monotonic() + left, epoch_ms=invocation.deadline_ms, owner=owner)
        _latest.deadline = latest
    return latest


def deadline_of(context: object) -> Deadline:
    """The deadline of a context: ours, or of anything with get_remaining_time_in_millis().

    None stands for the invocation that is running. Raises TypeError for anything else.
    """
    if context is None:
        return current_deadline()
    found = getattr(context, "deadline", None)
    if isinstance(found, Deadline):
        return found
    remaining_ms = getattr(context, "get_remaining_time_in_millis", None)
    if remaining_ms is None:
        raise TypeError(f"{type(context).__name__} is not a Lambda context: it has no deadline")
    return Deadline.after(remaining_ms() / 1000)


def remaining(deadline: Deadline | None = None) -> float:
    """Seconds until the deadline, by default that of the invocation that is running."""
    return (current_deadline() if deadline is None else deadline).remaining()


def timeout(
    default: float | None = None,
    *,
    reserve: float = DEFAULT_RESERVE,
    deadline: Deadline | None = None,
) -> float:
    """Seconds that a client may wait: what is left less `reserve`, at most `default`.

    Never 0 or less: when nothing is left it is MIN_TIMEOUT (1 ms), with which the call fails at
    once and in the client's own way. Without a deadline and a default it is MAX_TIMEOUT (900 s).
    Raises ValueError for a `default` that is not positive and a `reserve` that is negative.
    """
    check_reserve(reserve)
    if default is None:
        default = MAX_TIMEOUT
    elif not default > 0:
        raise ValueError(f"default has to be more than 0 seconds, not {default!r}")
    left = min(remaining(deadline) - reserve, default)
    return left if left > MIN_TIMEOUT else MIN_TIMEOUT


def check_reserve(reserve: float) -> None:
    """Raise ValueError unless it is a number of seconds from 0 up."""
    if not 0 <= reserve < INFINITE:
        raise ValueError(f"reserve has to be 0 seconds or more, not {reserve!r}")
