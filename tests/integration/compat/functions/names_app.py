"""What Datadog's, Lumigo's and New Relic's libraries look up, in our own words."""

import logging
import os
import sys

# A log correlation library gives the root logger's handler another formatter (Datadog).
for log_handler in logging.getLogger().handlers:
    is_lambdas = type(log_handler).__name__ == "LambdaLoggerHandler"
    if is_lambdas and type(log_handler.formatter) is logging.Formatter:
        log_handler.setFormatter(
            logging.Formatter("[%(levelname)s]\t%(aws_request_id)s\t[id=7]\t%(message)s\n")
        )

# An import tracer wraps the finders, and through them the loaders (Datadog).
imported = []
wrapped = set()


def wrap_loader(loader):
    original = loader.exec_module

    def exec_module(module):
        imported.append(module.__name__)
        return original(module)

    loader.exec_module = exec_module
    wrapped.add(loader)


def wrap_finder(finder):
    original = finder.find_spec

    def find_spec(*args, **kwargs):
        spec = original(*args, **kwargs)
        if spec is not None and hasattr(spec.loader, "exec_module") and spec.loader not in wrapped:
            try:
                wrap_loader(spec.loader)
            except AttributeError:
                pass
        return spec

    finder.find_spec = find_spec


def watch_imports():
    for finder in sys.meta_path:
        try:
            wrap_finder(finder)
        except (AttributeError, TypeError):
            pass


def echo(event, context):
    logging.getLogger().warning("hello")
    context.iopipe = object()  # New Relic hangs things on the context
    return {"event": event, "marked": hasattr(context, "iopipe"), "id": context.aws_request_id}


def redirected(event, context):
    # Lumigo, and others: the handler is a wrapper, which finds the real one as the runtime does.
    from awslambdaric.bootstrap import _get_handler

    return _get_handler(os.environ["ORIGINAL_HANDLER"])(event, context)


def traced_imports(event, context):
    watch_imports()
    import colorsys

    return {"module": colorsys.__name__, "seen": imported}
