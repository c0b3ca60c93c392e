"""Foreign text made harmless: what the service writes may hold links, keys and signs that steer a terminal."""

import re
import unicodedata

LONGEST = 200
_ADDRESS = re.compile(r"\S*://\S*|\bwww\.\S*", re.IGNORECASE)
_KEY = re.compile(r"\b(?:sk|st)-[\w*.-]{4,}")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9._ -]{0,63}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,80}")


def clean(text: str | None, *, secret: str = "") -> str:
    """Give at most 200 characters of a text on one line, without links, keys and control characters."""
    if not text:
        return ""
    if secret:
        text = text.replace(secret, "…")
    text = _KEY.sub("…", _ADDRESS.sub("…", text[: LONGEST * 20]))
    visible = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in text)
    line = " ".join(visible.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


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
