"""A limit for a block of code: `with budget(...)` and `async with budget(...)`.

The rule is one for both: a block is left before the end of its budget, or by an exception. What
differs is how code that overruns is stopped: a task is cancelled by its event loop, a thread is
interrupted at the watchdog's request (`interrupt` tells how). `__exit__` is where an interrupt is
kept from the code behind the block; the order of its statements matters, the comments say why.
What a signal handler raises is left alone; where it comes while an interrupt is on its way, the
block ends by whichever comes last, as in any `finally`.
"""

from __future__ import annotations

from _thread import _local, allocate_lock, get_ident
from os import register_at_fork
from sys import _getframe
from time import monotonic, sleep

from lambdascope.runtime.deadline import (
    DEFAULT_RESERVE,
    INFINITE,
    BudgetInterrupt,
    DeadlineExceeded,
    check_reserve,
    current_deadline,
)
from lambdascope.runtime.interrupt import (
    check_async_owner,
    make_interrupter,
    owner_of,
    without_ours,
)
from lambdascope.runtime.watchdog import LEFT, RUNG, Alarm, start, watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from asyncio import Timeout
    from types import CodeType, TracebackType

    from lambdascope.runtime.deadline import Deadline
    from lambdascope.runtime.interrupt import Interrupter

_POLL_S = 0.0001
_LOAD_S = 1.0


class _Blocks(_local):
    """The innermost synchronous block of each thread."""

    top: Budget | None = None

    def is_due(self) -> bool:
        """Whether a block of this thread is to be interrupted."""
        block = self.top
        while block is not None:
            if block.is_due:
                return True
            block = block.outer
        return False

    def take_due(self) -> None:
        """They are interrupted now, all that are due at once."""
        block = self.top
        while block is not None:
            if block.is_due:
                block.interrupted = True
            block = block.outer


class _Interrupts:
    """The way to interrupt, found when the first synchronous block is entered."""

    __slots__ = ("_finding", "way")

    def __init__(self) -> None:
        self.way: Interrupter | None = None
        self._forked()
        register_at_fork(after_in_child=self._forked)

    def find(self) -> Interrupter:
        """Load it, once, in a thread of its own.

        Signal handlers run in the main thread and may raise: in an import that would leave files
        open, and a module half loaded.
        """
        while self.way is None:
            # Then once more: where a signal handler has forked meanwhile, nobody loads it.
            start(self._load).acquire(timeout=_LOAD_S)
        return self.way

    def _load(self, done: LockType) -> None:
        with self._finding:
            if self.way is None:
                self.way = make_interrupter(_blocks, (Budget.__exit__, Budget._settle))
        done.release()

    def _forked(self) -> None:
        self._finding = allocate_lock()


class Budget(Alarm):
    """The time until a deadline less a reserve, for one block. Made by `budget`."""

    __slots__ = (
        "_caught",
        "_entered",
        "_fired",
        "_known",
        "_reserve",
        "_timeout",
        "code",
        "interrupted",
        "outer",
        "thread",
    )

    title = "interrupting a budget"
    _timeout: Timeout
    # Where the synchronous block is: the function's code, and the identifier of the thread.
    code: CodeType
    thread: int

    def __init__(self, deadline: Deadline, *, reserve: float = DEFAULT_RESERVE) -> None:
        check_reserve(reserve)
        super().__init__(deadline.at - reserve, deadline.owner)
        self._reserve = reserve
        self._entered = False
        # The interrupt was asked for; and it was raised, or is not needed any more.
        self._fired = False
        self.interrupted = False
        # It was raised while the block was being left.
        self._caught = False
        self.outer: Budget | None = None
        self._known = 0

    def remaining(self) -> float:
        """Seconds left in this budget; 0.0 afterwards."""
        left = self.at - monotonic()
        return left if left > 0 else 0.0

    @property
    def expired(self) -> bool:
        """Whether it is used up."""
        return monotonic() >= self.at

    # --- synchronous --------------------------------------------------------------------------

    def __enter__(self) -> Budget:
        self._enter()
        way = _interrupts.way or _interrupts.find()
        caller = _getframe(1)
        frame = owner_of(caller)
        self.code = frame.f_code
        self.thread = get_ident()
        self.outer = outer = _blocks.top
        if outer is not None:
            self._known = outer.count_fired()
        try:
            _blocks.top = self
            # Where it comes blindly, it would come in the code of an ExitStack as well.
            if way.able and not (way.blind and frame is not caller):
                watchdog.watch(self)
        except BaseException as error:
            # An interrupt or a signal handler. Nothing is called between there and the claim.
            self.__exit__(None, error, None)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # No interrupt is raised before the first call. So the claim is taken whatever comes: from
        # then on the watchdog either never rings this budget, or has begun to.
        _blocks.top = self.outer
        try:
            if self.claim.setdefault(0, LEFT) is LEFT:
                watchdog.drop(self)
                if exc is None and monotonic() >= self.at:
                    raise self._exceeded()
                return
            self._settle()
        except BaseException as late:
            if self.claim[0] is LEFT:
                raise  # it is not ours: of an outer block, or of a signal handler
            self._settle()
            if not isinstance(late, BudgetInterrupt):
                if self._caught:
                    self._pass_on()
                raise
            self._caught = True
        self._end(exc)

    def _settle(self) -> None:
        """Wait until our interrupt was raised or cannot be any more; `_caught` if it was in here.

        No lock is waited for: an interrupt that arrives when it is taken would leave it locked.
        """
        try:
            self.interrupted = True
            while not self._fired:
                sleep(_POLL_S)
            _look()
        except BudgetInterrupt:
            self._caught = True
            self._settle()
        except BaseException:
            self._settle()  # a signal handler came first
            raise
        if _interrupts.way is not None:
            _interrupts.way.finish(self)

    def _end(self, exc: BaseException | None) -> None:
        """How a block ends that the watchdog has interrupted."""
        interrupted = isinstance(exc, BudgetInterrupt)
        if (interrupted or self._caught) and self._pass_on(raised=interrupted):
            return
        if exc is None or interrupted:
            where = without_ours(exc.__traceback__) if exc is not None else None
            raise self._exceeded().with_traceback(where) from None

    def _pass_on(self, *, raised: bool = False) -> bool:
        """Whether an outer block has run out meanwhile: one interrupt is for both, and goes on.

        The outer block's own is awaited in here, so that what cleans up does not get a second one.
        """
        outer = self.outer
        if outer is None or outer.count_rung() <= self._known:
            return False
        while outer is not None:
            if outer.claim.get(0) is RUNG:
                outer._settle()
            outer = outer.outer
        if not raised:
            raise BudgetInterrupt
        return True

    def count_fired(self) -> int:
        """How many of this block and those around it have been interrupted."""
        around = self.outer.count_fired() if self.outer is not None else 0
        return around + self._fired

    def count_rung(self) -> int:
        """The same, with those that are just about to be interrupted."""
        around = self.outer.count_rung() if self.outer is not None else 0
        return around + (self.claim.get(0) is RUNG)

    @property
    def is_due(self) -> bool:
        """Whether it is to be interrupted and was not yet."""
        return not self.interrupted and self.claim.get(0) is RUNG

    def ring(self) -> None:
        """Interrupt the thread of the block. Called by the watchdog, which has the claim."""
        try:
            if _interrupts.way is not None:
                _interrupts.way.interrupt(self)
        finally:
            self._fired = True

    def abandon(self) -> None:
        """The thread of the watchdog is gone: nobody is to wait for it."""
        self._fired = True

    # --- asynchronous -------------------------------------------------------------------------

    async def __aenter__(self) -> Budget:
        from asyncio import timeout

        check_async_owner(_getframe(1))
        self._enter()
        left = self.at - monotonic()
        self._timeout = timeout(None if left == INFINITE else left)
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(exc_type, exc, traceback)
        except TimeoutError:
            # It raises this only in place of a cancellation of its own.
            where = exc.__traceback__ if exc is not None else None
            raise self._exceeded().with_traceback(where) from None
        if exc is None and monotonic() >= self.at:
            raise self._exceeded()

    # --- both ---------------------------------------------------------------------------------

    def _enter(self) -> None:
        if self._entered:
            raise RuntimeError("a budget is for one block: make another one")
        self._entered = True
        if monotonic() >= self.at:
            raise self._exceeded()

    def _exceeded(self) -> DeadlineExceeded:
        left = self.at + self._reserve - monotonic()
        return DeadlineExceeded(
            f"the budget is used up: {left if left > 0 else 0.0:.3f} s are left until the deadline,"
            f" {self._reserve:.3f} s were to be kept"
        )


def budget(reserve: float = DEFAULT_RESERVE, *, deadline: Deadline | None = None) -> Budget:
    """A limit for a block: `with budget():` or `async with budget():`.

    `reserve` is in seconds, kept back from the deadline, by default that of the invocation that is
    running. Raises DeadlineExceeded (a TimeoutError) when the time is used up: at once if it is
    before the block, else at the end of the block, which is cut short. Without a deadline there is
    no limit.
    """
    return Budget(current_deadline() if deadline is None else deadline, reserve=reserve)


def _look() -> None:
    """Nothing; but where a Python function begins, CPython 3.11 looks for interrupts."""


_blocks = _Blocks()
_interrupts = _Interrupts()
