"""What the tests of the command line share: a function in a folder, and ways to run the command."""

from __future__ import annotations

import os
import subprocess
import sys

APP = """
import json, os, sys, time

def handler(event, context):
    print("saw", json.dumps(event), "pid", os.getpid())
    return {"got": event, "left": context.get_remaining_time_in_millis() > 0}

def boom(event, context):
    raise ValueError("no such order")

def slow(event, context):
    print("sleeping, pid", os.getpid())
    time.sleep(60)

def crash(event, context):
    os._exit(7)

def eat(event, context):
    kept = []
    while True:
        kept.append(bytearray(8_000_000))

def odd(event, context):
    return {1, 2}

def moody(event, context):
    if event == "bad":
        raise ValueError("bad")
    return None
"""


def function_in(folder):
    """The folder, with a function in it."""
    (folder / "app.py").write_text(APP)
    return folder


def environ_of_user(**variables):
    """The variables of a user without any of ours, and `variables`."""
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**known, "PYTHONIOENCODING": "utf-8", **variables}


def command_line(*arguments):
    """The command with its arguments."""
    return [sys.executable, "-m", "lambdascope.cli.main", *arguments]


def run_command(folder, *arguments, stdin=b"", **variables):
    """Run the command in the folder to its end."""
    return subprocess.run(
        command_line(*arguments),
        cwd=folder,
        input=stdin,
        capture_output=True,
        timeout=50,
        env=environ_of_user(**variables),
    )


def lines_of(done):
    """What it said on standard error in its own name."""
    return [line for line in done.stderr.decode().splitlines() if line.startswith("lambdascope: ")]
