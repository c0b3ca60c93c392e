"""Which account an order belongs to, without the key."""

import hashlib

from pydantic import SecretStr


def fingerprint(key: SecretStr | None) -> str:
    """
    Give a short name for a key that tells accounts apart and cannot be turned back.

    A key has far more than 100 bits of chance, so a one-way digest of it reveals nothing.
    """
    if key is None:
        return "none"
    return hashlib.blake2b(key.get_secret_value().encode(), digest_size=6, person=b"wan-mcp/account").hexdigest()
