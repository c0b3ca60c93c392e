"""
Names of files that Windows, macOS and Linux accept, from words in any script; and places in an object store.

The ledger and the port of storage know places as absolute paths. One in an object store is `/s3:/bucket/prefix/key`,
which no folder of a machine is called; people see and give it as `s3://bucket/prefix/key`.

Source of the Windows rules: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
"""

import os
import re
import sys
import unicodedata
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path, PurePath

from wan_mcp.images.format import EXTENSIONS
from wan_mcp.storage.disk import LONGEST_PATH
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.principals import LOCAL_ID
from wan_mcp_tools.domain.tasks import NameChange, NameReason

SCHEME = "s3://"
_OBJECTS = "/s3:/"

_SLUG_CHARACTERS = 40
_SLUG_BYTES = 100
_FILENAME_BYTES = 200
"""File systems allow 255: the rest is for an index, a counter and an extension."""

_SHORTEST_STEM = 8
_OWNER_CHARACTERS, _OWNER_DIGITS = 24, 16

_PICTURE_ENDINGS = (*EXTENSIONS, ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".svg")
"""Of these somebody who wants one thinks that it says what the file is."""

_FORBIDDEN = frozenset('<>:"/\\|?*')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)
_JOINERS = frozenset("\u200c\u200d")
"""Format characters that spelling needs: Persian and Indic scripts, composed emoji."""

_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")
_ALLOWED = (
    f"Give a plain name of at most {_FILENAME_BYTES} bytes without folders: letters, digits, spaces, '-', '_' "
    "and inner dots. The extension is added to fit the picture."
)


def check_filename(filename: str | None) -> str | None:
    """
    Give the name that a caller wants for a file, without an image extension; None for none.

    Raises:
        RequestRefusedError: the name is not legal on all three systems, or is no plain name.
    """
    if filename is None or not filename.strip():
        return None
    name = _drop_extensions(unicodedata.normalize("NFC", filename))
    reason = _find_fault(name)
    if reason:
        raise RequestRefusedError(f"The filename {_shown(filename)} {reason}.", _ALLOWED)
    return name


def make_stem(
    *, prompt: str, created_at: datetime, order_id: str, index: int, count: int, filename: str | None
) -> str:
    """
    Name an image, without its extension.

    Without `filename` the name is the UTC day, the prompt's first words, eight characters of the order's id and
    the index: `20261122-a-flower-shop-0385dc79-1`. With it the name is `filename`, and `filename-1`, `filename-2`
    where the order has several images.

    Raises:
        RequestRefusedError: `filename` is not legal.
    """
    wanted = check_filename(filename)
    if wanted is not None:
        return wanted if count == 1 else f"{wanted}-{index}"
    return f"{created_at.astimezone(UTC):%Y%m%d}-{make_slug(prompt)}-{_shorten_id(order_id)}-{index}"


def find_name_change(filename: str | None, given: str, *, index: int, count: int) -> NameChange | None:
    """
    Say why a file whose name was to be `filename` is called `given`; None if it has its name.

    `index` and `count` are those of the image in its order. A name that was not made of the wanted one says nothing:
    somebody has given it since.
    """
    try:
        stem = check_filename(filename)
    except RequestRefusedError:
        return None
    if filename is None or stem is None:
        return None
    wanted = stem if count == 1 else f"{stem}-{index}"
    reasons = _explain_stem(PurePath(given).stem, wanted)
    if reasons is None:
        return None
    ending = PurePath(filename.strip()).suffix.lower()
    if ending in _PICTURE_ENDINGS and ending.replace("jpeg", "jpg") != PurePath(given).suffix.replace("jpeg", "jpg"):
        reasons = (*reasons, NameReason.ENDING)
    # Any other ending has become a part of the stem.
    return NameChange(f"{wanted}{ending if ending in EXTENSIONS else ''}", reasons) if reasons else None


def _explain_stem(given: str, wanted: str) -> tuple[NameReason, ...] | None:
    """Say why a stem is not the wanted one: nothing if it is; None if it was not made of that."""
    if given == wanted:
        return ()
    written = keep_writable(wanted)
    bases: tuple[tuple[str, tuple[NameReason, ...]], ...] = (
        (given, ()),
        (re.sub(r"-[0-9]+$", "", given), (NameReason.TAKEN,)),
    )
    for base, reasons in bases:
        if base == wanted:
            return reasons
        is_cut = LONGEST_PATH is not None and len(base) >= _SHORTEST_STEM and written.startswith(base)
        if base == written or is_cut:
            return (*reasons, NameReason.LETTERS)
    return None


def make_slug(text: str) -> str:
    """Join the first words of a text with hyphens: letters and digits of any script, at most 40 characters."""
    kept: list[str] = []
    for character in unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()):
        category = unicodedata.category(character)
        if category[0] in "LN" and character not in _INVISIBLE_LETTERS:
            kept.append(character)
        elif category in ("Mn", "Mc"):
            # A mark belongs to the letter before it and is nothing without one.
            if kept and kept[-1] != "-" and not _selects_variant(character):
                kept.append(character)
        elif category[0] != "C" or category == "Cc":
            # Joiners and marks of direction have no width and vanish; all other characters part words.
            kept.append("-")
    words = re.sub(r"-+", "-", "".join(kept)).strip("-")
    return _cut(words) or "image"


def fit_stem(stem: str, folder: PurePath, extension: str, longest_path: int | None) -> str | None:
    """
    Cut a name so that its whole path has at most `longest_path` UTF-16 units; None if there is no room.

    Room for the longer ending `.json` and a counter is kept.
    """
    if longest_path is None:
        return stem
    room = longest_path - _count_units(str(folder)) - 1 - max(len(extension), len(".json")) - len("-9999")
    if _count_units(stem) <= room:
        return stem
    while _count_units(stem) > max(room, 0):
        stem = stem[:-1]
    stem = stem.rstrip(" .-")
    return stem if room >= _SHORTEST_STEM and stem and not _is_device(stem) else None


def keep_writable(stem: str) -> str:
    """Leave out the letters that this system cannot write in a file name: where its encoding is not Unicode, many."""
    try:
        os.fsencode(stem)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        return stem.encode(encoding, "ignore").decode(encoding).strip(" .-") or "image"
    return stem


def make_owner_folder(owner: str) -> str | None:
    """
    Name the folder of a principal by its id, so that no two have the same; None for the local user, who has none.

    It is plain ASCII in small letters: some file systems take names as equal that differ in more than their bytes.
    """
    if owner == LOCAL_ID:
        return None
    readable = re.sub(r"[^a-z0-9]+", "-", owner.lower().removeprefix("https://")).strip("-")[:_OWNER_CHARACTERS]
    digest = sha256(owner.encode("utf-8", "backslashreplace")).hexdigest()[:_OWNER_DIGITS]
    return f"{readable.strip('-')}-{digest}".lstrip("-")


UPLOAD_FOLDER = "uploads"
_UPLOAD = re.compile(r"upload-[0-9a-f]{32}\.(png|jpg|webp)")


def is_upload(path: PurePath) -> bool:
    """Say whether a path is that of an upload, by its folder and its name: of nothing else it may be removed."""
    return path.parent.name == UPLOAD_FOLDER and _UPLOAD.fullmatch(path.name) is not None


def is_relative(path: str) -> bool:
    """Say whether a path of a caller begins in the image folder: it has no root, is no address, and names no home."""
    path = path.strip()
    return bool(path) and not PurePath(path).is_absolute() and not path.lower().startswith(("~", "file:/"))


def _count_units(text: str) -> int:
    """Count as Windows does: in UTF-16."""
    return len(text.encode("utf-16-le")) // 2


def _drop_extensions(name: str) -> str:
    name = name.strip()
    for extension in EXTENSIONS:
        if name.lower().endswith(extension):
            return _drop_extensions(name[: -len(extension)])
    return name


def _find_fault(name: str) -> str | None:
    """Say why a name is no file name everywhere, or None."""
    if not name:
        return "has nothing before its extension"
    if any(character in _FORBIDDEN for character in name):
        return 'has one of the characters / \\ < > : " | ? *'
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "has bytes that are not UTF-8"
    if any(not is_plain(character) for character in name):
        return "has a control character or an invisible one"
    if name.startswith(".") or name.endswith("."):
        return "starts or ends with a dot"
    if _is_device(name):
        return "is the name of a device on Windows"
    if len(name.encode()) > _FILENAME_BYTES:
        return f"is {len(name.encode())} bytes long"
    return None


def _is_device(name: str) -> bool:
    """Whether Windows would open a device instead of a file, whatever the extension."""
    return _DEVICES.fullmatch(name.partition(".")[0].rstrip()) is not None


def is_plain(character: str) -> bool:
    """Whether a character may stand in a name: neither control nor invisible nor outside Unicode text."""
    if character in _JOINERS:
        return True
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
        return False
    point = ord(character)
    return not (point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF)  # noqa: PLR2004 - noncharacters


def _selects_variant(character: str) -> bool:
    """Whether it only chooses a look, or glues: invisible by itself."""
    return character == "\u034f" or "\ufe00" <= character <= "\ufe0f" or character >= "\U000e0100"


def _cut(words: str) -> str:
    short = words[:_SLUG_CHARACTERS].encode()[:_SLUG_BYTES].decode("utf-8", "ignore")
    if short != words and words[len(short)] != "-":
        whole_words, _, _ = short.rpartition("-")
        # Scripts without spaces have no word to end with; there the cut falls where it falls.
        short = whole_words if len(whole_words) * 2 >= len(short) else short
    return short.strip("-")


def _shorten_id(order_id: str) -> str:
    short = re.sub(r"[^0-9a-z]", "", order_id.lower().removeprefix("local-"))[:8]
    return short or sha256(order_id.encode("utf-8", "replace")).hexdigest()[:8]


def _shown(filename: str) -> str:
    """Quote a caller's text for a message: short, and with its invisible characters made visible."""
    return repr(filename[:60])


def make_place(*parts: str) -> Path:
    """Give the place of an object by its bucket and the parts of its key."""
    return Path(_OBJECTS, *(part for part in parts if part))


def is_object(path: PurePath) -> bool:
    """Whether a place lies in an object store, and not in a folder."""
    return path.as_posix().startswith(_OBJECTS)


def show_path(path: PurePath | str) -> str:
    """Give a place as people see it: a path of this machine as it is, and one in an object store as its address."""
    text = PurePath(path).as_posix() if path else ""
    return f"{SCHEME}{text.removeprefix(_OBJECTS)}" if text.startswith(_OBJECTS) else str(path)


def read_address(text: str) -> Path | None:
    """Give the place that an address `s3://bucket/key` means; None for any other text."""
    if not text.lower().startswith(SCHEME):
        return None
    return make_place(*text[len(SCHEME) :].split("/"))
