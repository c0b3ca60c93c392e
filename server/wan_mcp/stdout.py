"""
Standard output, kept free for the protocol.

A client reads every line of it as a message. Until the transport takes over, whatever libraries print while they
are imported, and whatever their C code writes, goes to stderr. Imports nothing that is not loaded already.
"""

import os
import sys
from contextlib import suppress

_STDOUT, _STDERR = 1, 2
_kept: list[int] = []


def divert() -> None:
    """
    Point descriptor 1 at stderr and keep the real one aside.

    Does nothing where it is done already, and where the process was started without these descriptors.
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
