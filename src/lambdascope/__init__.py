"""lambdascope: an observable Python runtime for AWS Lambda.

This file is imported by the runtime and by the extension before anything else, so it imports
nothing.
"""

__version__ = "0.1.0"
