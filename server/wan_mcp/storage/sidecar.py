"""The facts of an image, for people: a JSON file beside it. The ledger is the truth."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import cast

from wan_mcp.storage.disk import Disk, write_all
from wan_mcp.storage.parts import make_part_path


def write(image: Path, facts: Mapping[str, object], disk: Disk, *, order_id: str) -> None:
    """
    Write `name.json` beside `name.png`, whole or not at all; leave one that exists as it is.

    Raises:
        OSError: the disk refuses.
    """
    target = image.with_suffix(".json")
    if os.path.lexists(target):
        return
    part = make_part_path(image.parent, order_id=order_id, index=0, owner="sidecar")
    try:
        _write_synced(part, _encode(facts), disk)
        if disk.claim(part, target):
            disk.sync_folder(target.parent)
    finally:
        with suppress(OSError):
            # What cannot be removed now is swept later by its name and age.
            part.unlink(missing_ok=True)


def _write_synced(part: Path, data: bytes, disk: Disk) -> None:
    descriptor = disk.create_new(part)
    try:
        write_all(descriptor, data)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def _encode(facts: Mapping[str, object]) -> bytes:
    text = json.dumps(dict(facts), ensure_ascii=False, indent=2, default=_spell)
    # Half a surrogate pair has no UTF-8; its escape is the JSON for it.
    return f"{text}\n".encode("utf-8", "backslashreplace")


def _spell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    return str(value)
