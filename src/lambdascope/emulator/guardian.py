"""Kills what an emulator started when the emulator itself dies without a word.

A shell waits at the other end of a pipe. It is told every process group; when the pipe ends without
a goodbye, because the emulator was killed, it kills the groups and removes the private directory.
No signal handler and no exit hook can do that after a SIGKILL, and stopped processes would stay for
ever. A shell costs about a millisecond and a megabyte.
"""

from __future__ import annotations

import subprocess

# Words on standard input: a process group to add, `clear` for none any more, `bye`.
_SCRIPT = """
trap '' HUP INT TERM
groups=
while read -r word; do
  case $word in
    bye) exit 0;;
    clear) groups=;;
    *) groups="$groups -$word";;
  esac
done
[ -n "$groups" ] && kill -s KILL -- $groups 2>/dev/null
# What was started in the very moment of the emulator's death, or has left its group.
for environ in $(grep -lsF -- "$2" /proc/[0-9]*/environ 2>/dev/null); do
  process=${environ#/proc/}
  kill -s KILL "${process%/environ}" 2>/dev/null
done
rm -rf -- "$1"
"""


class Guardian:
    """One guard for one execution environment. Methods are called from its thread only.

    `marker` is a NAME=value that stands in the environment of every process of ours.
    """

    def __init__(self, directory: str, *, marker: str) -> None:
        # A session of its own, so that Ctrl-C at the terminal does not reach it.
        self._shell = subprocess.Popen(
            ("/bin/sh", "-c", _SCRIPT, "lambdascope-guardian", directory, marker),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        """A process group was started."""
        self._say(str(group))

    def clear(self) -> None:
        """All groups named so far are gone; their numbers may be given to others."""
        self._say("clear")

    def close(self) -> None:
        """Nothing is left to guard. Idempotent."""
        self._say("bye")
        stdin = self._shell.stdin
        if stdin is not None and not stdin.closed:
            stdin.close()
        self._shell.wait()

    def _say(self, word: str) -> None:
        stdin = self._shell.stdin
        if stdin is None or stdin.closed:
            return
        try:
            stdin.write(f"{word}\n".encode())
            stdin.flush()
        except OSError:
            pass  # somebody killed the guard: only the case of our own death is uncovered then
