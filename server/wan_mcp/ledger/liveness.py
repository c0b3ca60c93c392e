"""Who owns what: a token for each process, and whether that process is known to be gone."""

import os
import secrets
import socket

_HOST = socket.gethostname()


def new_owner() -> str:
    """Give this run of the program a token of its own: host, process id, chance."""
    return f"{_HOST}/{os.getpid()}/{secrets.token_hex(4)}"


def is_gone(owner: str | None) -> bool:
    """
    Say whether the process of a token is certainly gone.

    Certain only for a process of this host on POSIX; everything else counts as living. Used where a wrong "gone"
    costs nothing; leases are never judged by it.
    """
    if owner is None:
        return True
    host, _, rest = owner.rpartition("/")[0].rpartition("/")
    if host != _HOST or os.name != "posix" or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
