"""
The streams of a command, so that what is behind them is no accident of the program.

A remark that cannot be written is lost, and the work goes on. A result that cannot be written is told at the end, and
the work counts as failed, although it was done. A reader that has gone away still ends a listing. Imports nothing
that is not loaded already.
"""

import errno
import io
import sys
from contextlib import suppress
from typing import TextIO


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
