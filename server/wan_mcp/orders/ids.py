"""The ids that orders have here, before the service has named them and after."""

import secrets

_OURS = "local-"


def new_local_id() -> str:
    """Give an id that nobody can guess: it is all that a client needs to reach the order."""
    return f"{_OURS}{secrets.token_hex(16)}"


def is_local_id(any_id: str) -> bool:
    """Say whether an id is one of ours, which no service knows."""
    return any_id.startswith(_OURS)
