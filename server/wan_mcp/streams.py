"""
The standard streams of the process: all three there, and standard output kept free for the protocol.

A client reads every line of standard output as a message. Until the transport takes over, whatever libraries print
while they are imported, and whatever their C code writes, goes to stderr.

A command has remarks and results. A remark that cannot be written is lost, and the work goes on. A result that cannot
be written is told at the end, and the work counts as failed, although it was done; a reader that has gone away still
ends a listing. Imports nothing that is not loaded already.
"""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_kept: list[int] = []
_missing: set[int] = set()


def open_missing() -> None:
    """
    Open the null device in the place of each stream that the process was started without.

    Else the next file that is opened would have its number, and what is meant for the stream would go into it.
    """
    for number, name, mode in ((_STDIN, "stdin", "r"), (_STDOUT, "stdout", "w"), (_STDERR, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            _missing.add(number)
            # It gets the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - lives as the process does


def can_serve() -> bool:
    """Say whether the process was started with the two streams of a conversation."""
    return _missing.isdisjoint({_STDIN, _STDOUT})


def divert() -> None:
    """
    Point descriptor 1 at stderr and keep the real one aside.

    Does nothing where it is done already, or where one of these descriptors is missing.
    """
    if _kept:
        return
    _flush()
    try:
        real = os.dup(_STDOUT)
    except OSError:
        return
    if real <= _STDERR:
        # One of the three is closed: a duplicate in its place would only confuse.
        os.close(real)
        return
    os.dup2(_STDERR, _STDOUT)
    _kept.append(real)


def restore() -> None:
    """Give descriptor 1 back, after what was printed meanwhile has gone to stderr."""
    if not _kept:
        return
    _flush()
    real = _kept.pop()
    os.dup2(real, _STDOUT)
    os.close(real)


def _flush() -> None:
    # Without a stdout, or with nobody at the other end of stderr, there is nothing to be saved.
    with suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()


class RemarkStream(io.TextIOWrapper):
    """Writes what may be lost."""

    def write(self, text: str, /) -> int:
        """Write, if that is possible."""
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written, if that is possible."""
        with suppress(OSError):
            super().flush()


class ResultStream(io.TextIOWrapper):
    """Writes results; `failure` is the first error that kept some from being written."""

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        """
        Write, or note why not.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        try:
            return super().write(text)
        except OSError as error:
            self._note(error)
            return len(text)

    def flush(self) -> None:
        """
        Hand on what was written, or note why not.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        try:
            super().flush()
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        is_first, self.failure = self.failure is None, self.failure or error
        if is_first and error.errno == errno.EPIPE:
            raise error


_replaced: list[TextIO] = []
"""Kept, because a stream that nobody knows any more closes what it shares with its successor."""


def guard_stderr() -> None:
    """Let remarks be lost that cannot be written."""
    _replaced.append(sys.stderr)
    sys.stderr = RemarkStream(sys.stderr.buffer, sys.stderr.encoding, "backslashreplace", line_buffering=True)


def guard_stdout() -> ResultStream:
    """Let the work go on if results cannot be written; give the stream that knows it."""
    _replaced.append(sys.stdout)
    # A prompt in Chinese must not end a listing on a terminal that has no such letters.
    results = ResultStream(
        sys.stdout.buffer, sys.stdout.encoding, "backslashreplace", line_buffering=sys.stdout.isatty()
    )
    sys.stdout = results
    return results
