"""
What a key looks like, told without telling the key.

Source: https://www.alibabacloud.com/help/en/model-studio/get-api-key
"""

PLAN_KEY = "sk-sp-"
"""How the keys of token and coding plans begin. They order no images."""

_KINDS = (
    (PLAN_KEY, "a plan key, which orders no images"),
    ("sk-ws-", "a workspace key"),
    ("sk-", "a general key"),
    ("st-", "a temporary key, which ends within half an hour"),
)


def describe_key(key: str) -> str:
    """Say how a key begins, of what kind it is, and how long it is."""
    for beginning, kind in _KINDS:
        if key.startswith(beginning):
            return f"{beginning}…, {len(key)} characters, {kind}"
    return f"{len(key)} characters that do not begin with sk-, as keys do"
