"""
Foreign text made harmless.

What a service, a file or another program has written may hold line breaks, signs that steer a terminal, letters that
nobody sees, or instructions. Before a model reads it, it becomes one short line of visible characters.
"""

import re
import unicodedata

_TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b.?"
)
"""The commands of terminals: control sequences, control strings, and what else follows an escape."""
_ADDRESS = re.compile(r"\S*://\S*|\bwww\.\S*", re.IGNORECASE)
_KEY = re.compile(r"\b(?:sk|st)-[\w*.-]{4,}")
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_CUT = " … "
_MOST_READ = 20_000
"""Characters of a text that are looked at; what is kept is far shorter."""


def well_formed(text: str) -> str:
    """
    Give a text that every encoding and every database takes.

    Halves of characters (unpaired surrogates) and zeros become U+FFFD; two halves that belong together become their
    character.
    """
    if text.isascii():
        return text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\ufffd")


def one_line(text: str, most: int) -> str:
    """
    Give a text as one line of at most `most` visible characters.

    Control characters, line breaks, marks of writing direction, characters without width, private ones, variation
    selectors and the commands of terminals are left out; a cut is shown by an ellipsis.
    """
    visible = "".join(map(_show, _TERMINAL.sub(" ", text[:_MOST_READ])))
    line = " ".join(visible.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def cut_middle(text: str, most_bytes: int) -> str:
    """
    Give a text that takes at most `most_bytes` in UTF-8, well-formed in any case.

    What is too long loses its middle, shown by an ellipsis: an error begins with what is wrong, and ends with what
    helps.
    """
    data = text.encode(errors="replace")
    if len(data) <= most_bytes:
        return data.decode()
    ends = most_bytes - len(_CUT.encode())
    head = ends * 2 // 3
    return data[:head].decode(errors="ignore").rstrip() + _CUT + data[head - ends :].decode(errors="ignore").lstrip()


def leave_out_links(text: str) -> str:
    """Put an ellipsis in the place of web addresses and of what looks like a key."""
    return _KEY.sub("…", _ADDRESS.sub("…", text[:_MOST_READ]))


def _show(sign: str) -> str:
    if unicodedata.category(sign)[0] in "CZ":
        return " "
    return "" if _is_blank(sign) else sign


def _is_blank(sign: str) -> bool:
    """Say whether a sign counts as a letter or a mark and shows nothing: hidden words can be spelled with such."""
    return (
        sign in _BLANK_LETTERS
        or "\ufe00" <= sign <= "\ufe0f"
        or "\u180b" <= sign <= "\u180f"
        or "\U000e0100" <= sign <= "\U000e01ef"
    )
