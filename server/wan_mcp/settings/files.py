r"""
Files that a person or another program wrote: the gate before each, and the settings file.

What is no plain file is refused before it is opened: a named pipe would wait for ever, a device may never end.

The settings file is a small part of what `.env` files are elsewhere: one `NAME=value` a line, with or without
`export` before it. Empty lines and lines that begin with `#` say nothing. A value without quotes ends at the end of
the line or before ` #`. In single quotes everything stands for itself; in double quotes `\"` is a quote and `\\` a
backslash. Nothing is expanded and no value goes over several lines.
"""

import errno
import os
import re
import stat
from pathlib import Path

from wan_mcp_tools.domain.errors import SettingsError

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
_LONGEST_SECRET_FILE = 4096


def full_path(path: Path) -> Path:
    """
    Give the full path that a person means: `~` is a home folder, and a relative path begins in the working folder.

    Raises:
        SettingsError: there is no such home folder, or no working folder any more.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(f"{path} names a home folder that is not known.", "Give a full path.") from error
    except OSError as error:
        raise SettingsError(f"{path} leads nowhere: the working folder is gone.", "Give a full path.") from error


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


def read_secret_file(path: str) -> str:
    """
    Read a file that holds one secret and nothing else, without the blanks around it; `path` is as somebody wrote it.

    Raises:
        SettingsError: the path leads nowhere.
        OSError: it cannot be read, or is no text; `strerror` says it without a full stop.
    """
    return _read_text(full_path(Path(path)), _LONGEST_SECRET_FILE).strip()


def _read_text(path: Path, most: int) -> str:
    data = read_plain_file(path, most)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OSError(errno.EINVAL, "it is no UTF-8 text") from error


def _check_kind(found: os.stat_result) -> None:
    for is_kind, reason in _KINDS:
        if is_kind(found.st_mode):
            raise OSError(errno.EINVAL, reason)


_MOST_BYTES = 1 << 20
_NAME = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)\"""")
_ESCAPE = re.compile(r'\\(["\\])')
_COMMENT = re.compile(r"(?:^|\s)#.*")


def read_env_file(path: Path) -> dict[str, str]:
    """
    Read a settings file.

    Raises:
        SettingsError: the file cannot be read, or a line of it; the message names the lines and never quotes
            them, for they may hold a key.
    """
    try:
        text = _read_text(full_path(path), _MOST_BYTES)
    except OSError as error:
        raise SettingsError(
            f"The settings file {path} cannot be read: {error.strerror}.", "Correct WAN_MCP_ENV_FILE or --env-file."
        ) from error
    return parse_env(text, source=str(path))


def parse_env(text: str, *, source: str) -> dict[str, str]:
    """
    Parse the text of a settings file; a name given twice keeps its last value.

    Raises:
        SettingsError: lines that cannot be understood, all of them at once.
    """
    values: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            entry = _parse_line(line.strip())
        except ValueError as error:
            problems.append(f"{source}, line {number}: {error}.")
            continue
        if entry is not None:
            values[entry[0]] = entry[1]
    if problems:
        advice = "Write each setting as NAME=value on a line of its own."
        raise SettingsError(" ".join(problems), advice, problems=tuple(problems))
    return values


def _parse_line(line: str) -> tuple[str, str] | None:
    if not line or line.startswith("#"):
        return None
    match = _NAME.fullmatch(line)
    if match is None:
        raise ValueError("this is not NAME=value")
    name, value = match.group(1), match.group(2)
    if value[:1] not in ("'", '"'):
        return name, _COMMENT.sub("", value).strip()
    quoted = _QUOTED.match(value)
    if quoted is None:
        raise ValueError(f"the quote around the value of {name} is never closed")
    rest = value[quoted.end() :]
    if _COMMENT.sub("", rest).strip():
        raise ValueError(f"more text follows the closing quote of {name}")
    if quoted.group(1) is not None:
        return name, quoted.group(1)
    return name, _ESCAPE.sub(r"\1", quoted.group(2))
