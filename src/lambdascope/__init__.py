"""lambdascope: an observable Python runtime for AWS Lambda.

This file is imported by the runtime and by the extension before anything else, so it imports
nothing: public names are loaded when they are asked for.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.messages import process_messages
    from lambdascope.runtime.deadline import DeadlineExceeded
    from lambdascope.runtime.streaming import HttpPrelude, StreamBroken

__all__ = ["DeadlineExceeded", "HttpPrelude", "StreamBroken", "__version__", "process_messages"]

_HOMES = {
    "DeadlineExceeded": "lambdascope.runtime.deadline",
    "HttpPrelude": "lambdascope.runtime.streaming",
    "StreamBroken": "lambdascope.runtime.streaming",
    "process_messages": "lambdascope.messages",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'lambdascope' has no attribute {name!r}")
    import sys

    __import__(home)
    value: object = getattr(sys.modules[home], name)
    globals()[name] = value
    return value
