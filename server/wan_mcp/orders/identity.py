"""What tells orders, accounts and requests apart."""

import hashlib
import json
import secrets
from dataclasses import replace

from pydantic import SecretStr

from wan_mcp_tools.domain.requests import ImageRequest

_LOCAL = "local-"


def new_local_id() -> str:
    """Give an id that nobody can guess: it is all that a client needs to reach the order."""
    return f"{_LOCAL}{secrets.token_hex(16)}"


def is_local_id(any_id: str) -> bool:
    """Say whether an id is one of ours, which no service knows."""
    return any_id.startswith(_LOCAL)


def fingerprint_account(key: SecretStr | None) -> str:
    """
    Give a short name for a key that tells accounts apart and cannot be turned back.

    A key has far more than 100 bits of chance, so a one-way digest of it reveals nothing.
    """
    if key is None:
        return "none"
    return hashlib.blake2b(key.get_secret_value().encode(), digest_size=6, person=b"wan-mcp/account").hexdigest()


def fingerprint_request(request: ImageRequest, account: str) -> str:
    """Give what is equal for equal requests of an account."""
    # Where the files shall lie makes no other picture of it, and a picture is not to be paid for twice.
    picture = replace(request, output_dir=None, filename=None)
    text = json.dumps(picture.to_dict(), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(f"{account}\n{text}".encode()).hexdigest()
