"""
The gate before every file of settings or of another program's configuration.

What is no plain file is refused before it is opened: a named pipe would wait for ever, a device may never end.
"""

import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "it is a folder"),
    (stat.S_ISFIFO, "it is a pipe, not a file"),
    (stat.S_ISSOCK, "it is a socket, not a file"),
    (stat.S_ISCHR, "it is a device, not a file"),
    (stat.S_ISBLK, "it is a device, not a file"),
)
# Between the look and the opening a pipe may take the place of the file: then this does not wait for a writer.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_MIB = 1 << 20


def read_plain_file(path: Path, most: int) -> bytes:
    """
    Read a plain file of at most `most` bytes; symbolic links are followed.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read, is no plain file, or is larger; `strerror` says it without a full stop.
    """
    try:
        _check_kind(path.stat())
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name holds a null character") from error
    with os.fdopen(descriptor, "rb") as file:
        _check_kind(os.fstat(descriptor))
        data = file.read(most + 1)
    if len(data) > most:
        size = f"{most // _MIB} MiB" if most >= _MIB else f"{most} bytes"
        raise OSError(errno.EFBIG, f"it is larger than {size}")
    return data


def _check_kind(found: os.stat_result) -> None:
    for is_kind, reason in _KINDS:
        if is_kind(found.st_mode):
            raise OSError(errno.EINVAL, reason)
