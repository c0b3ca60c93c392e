"""The key that links and the state of requests are signed with: the operator's, or one of this machine's own."""

import hashlib
import hmac
import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

from wan_mcp.settings.files import read_secret_file
from wan_mcp.settings.sign_in import LEAST_SECRET_CHARACTERS
from wan_mcp_tools.domain.errors import SettingsError

_FILE = "secret-key"
_RANDOM_BYTES = 32

_log = logging.getLogger(__name__)


def load_secret_key(chosen: str | None, state_dir: Path) -> bytes:
    """
    Give the operator's key, or else the one in the state folder, which is made if there is none.

    Where nothing can be written the key is of this process alone: what it signs ends with the process.

    Raises:
        SettingsError: the file in the state folder holds no such key.
    """
    if chosen is not None:
        return chosen.encode()
    path = state_dir / _FILE
    try:
        if not path.exists():
            _make(path)
        found = read_secret_file(str(path))
    except OSError as error:
        _log.warning("Links end with this server: no key can be kept in %s (%s).", path, error.strerror)
        return secrets.token_bytes(_RANDOM_BYTES)
    if len(found) < LEAST_SECRET_CHARACTERS:
        raise SettingsError(f"{path} holds no key.", "Remove it: the next start makes another. Links end then.")
    return found.encode()


def derive_key(secret: bytes, purpose: str) -> bytes:
    """Make a key for one purpose, so that what is signed for it is worth nothing for another."""
    return hmac.digest(secret, f"wan-mcp/{purpose}".encode(), hashlib.sha256)


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temp = path.with_name(f".{_FILE}-{secrets.token_hex(8)}")
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_RANDOM_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Of several that start at once the first one's holds. Where there are no links, the last one's does.
        try:
            os.link(temp, path)
        except FileExistsError:
            pass
        except OSError:
            temp.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temp.unlink()
