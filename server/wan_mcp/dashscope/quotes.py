"""What the service writes, made harmless: it may hold links, keys, and words that give orders."""

import re

from wan_mcp_tools.domain.text import leave_out_links, one_line

LONGEST = 200
_KEY = re.compile(r"\b(?:sk|st)-")
_QUOTES = re.compile(r"[\"\u201c-\u201f\u00ab\u00bb\u300c-\u300f\uff02]")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,80}")
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def clean(text: str | None, *, secret: str = "") -> str:
    """Give at most 200 characters of a text on one line, without links, keys, control characters and quote marks."""
    if not text:
        return ""
    if secret:
        text = text.replace(secret, "…")
    # Inside our quote marks there are none, so that nothing can pretend to stand outside of them.
    return one_line(_QUOTES.sub("'", leave_out_links(text)), LONGEST)


def clean_code(code: str | None, *, secret: str = "") -> str | None:
    """Give a code that looks like one; None for anything else."""
    if not code or (secret and secret in code) or not _CODE.fullmatch(code.strip()):
        return None
    return None if _KEY.search(code) else code.strip()


def clean_request_id(value: str | None, *, secret: str = "") -> str | None:
    """Give a request id that looks like one; None for anything else."""
    if not value or (secret and secret in value) or not _REQUEST_ID.fullmatch(value):
        return None
    return None if _KEY.search(value) else value


def clean_model_id(value: str | None) -> str | None:
    """Give a model's id that looks like one; None for anything else."""
    return value if value and _MODEL_ID.fullmatch(value) and not _KEY.search(value) else None
