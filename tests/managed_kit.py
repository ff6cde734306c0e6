"""What the tests of several invocations at a time share: functions and runtimes in that mode."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from emulator_kit import Lines, Stage
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment
from lambdascope.wire import names

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.emulator.records import InvocationRecord

CONCURRENCY = 16
MANAGED: dict[str, Any] = {"init_type": names.INIT_MANAGED_INSTANCES}

# A runtime of several workers, each with the ordinary loop. `take` is what a worker does.
WORKERS = """
from raw import *
import threading
COUNT = int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"])
def work():
    while True:
        request_id, headers, body = next_event()
        take(request_id, headers, json.loads(body))
def run():
    threads = [threading.Thread(target=work) for _ in range(COUNT)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


class Managed:
    """A function of ours, or of another runtime, in this mode."""

    def __init__(self, folder: Path, code: str, **settings: Any) -> None:
        (folder / "app.py").write_text(code)
        self.lines = Lines()
        chosen: dict[str, Any] = {
            "handler": "app.handler",
            "task_root": str(folder),
            "own_extension": False,
            "timeout_ms": 10_000,
            "max_concurrency": CONCURRENCY,
            **MANAGED,
            **settings,
        }
        self.environment = ExecutionEnvironment(FunctionConfig(**chosen), on_log=self.lines)

    def __enter__(self) -> Managed:
        return self

    def __exit__(self, *_: object) -> None:
        self.environment.shutdown()

    def many(self, total: int) -> list[InvocationRecord]:
        """`total` invocations by as many threads as may run at a time."""
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            return list(pool.map(self._one, range(total)))

    def _one(self, number: int) -> InvocationRecord:
        return self.environment.invoke(json.dumps({"n": number}).encode())


def workers(folder: Path, take: str, *, concurrency: int, timeout_ms: int, **more: Any) -> Stage:
    """A stage whose runtime is made of `WORKERS`."""
    script = f"{WORKERS}\n{take}\nrun()\n"
    return Stage(folder, script, **more).configure(
        **MANAGED, max_concurrency=concurrency, timeout_ms=timeout_ms
    )
