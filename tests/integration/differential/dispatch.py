"""Every other handler of the suite behind one, so that one environment serves them all."""

import importlib


def handler(event, context):
    if not isinstance(event, dict) or "handler" not in event:
        return event
    module, _, name = event["handler"].rpartition(".")
    return getattr(importlib.import_module(module), name)(event["event"], context)
