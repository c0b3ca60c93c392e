"""
The standard streams: all three there, and standard output kept free for the protocol.

A client reads every line of it as a message. Until the transport takes over, whatever libraries print while they
are imported, and whatever their C code writes, goes to stderr. Imports nothing that is not loaded already.
"""

import os
import sys
from contextlib import suppress

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
