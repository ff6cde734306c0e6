"""`python -m lambdascope app.handler`: the runtime as an entry point.

The first thing it does is to read the clocks: what comes before is the interpreter's start, what
comes after is ours. The command line for people is `lambdascope` (see lambdascope.cli).
"""

from __future__ import annotations

from time import monotonic_ns, process_time_ns

_entered_ns, _cpu_ns = monotonic_ns(), process_time_ns()

if __name__ == "__main__":
    from lambdascope.runtime.bootstrap import main

    main(_entered_ns, _cpu_ns)
