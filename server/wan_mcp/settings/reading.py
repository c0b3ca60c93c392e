"""From the environment to settings."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from wan_mcp.log import mask
from wan_mcp.settings.access import BASE_URL, KEY, WORKSPACE, read_regions
from wan_mcp.settings.record import Settings
from wan_mcp.settings.table import SETTING_ROWS
from wan_mcp.settings.values import Values
from wan_mcp_tools.catalogue.regions import REGIONS, find_region
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError

ENV_FILE = "WAN_MCP_ENV_FILE"
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_MOST_BYTES = 1 << 30
_MOST_IMAGES = 1_000_000


def read_settings(environ: Mapping[str, str], *, env_file: Path | None = None) -> Settings:
    """
    Read every setting; nothing else in the program looks into the environment.

    A settings file is read only if `env_file` or WAN_MCP_ENV_FILE names it; the environment wins over it. A
    missing key is no error: the region's access has none, and an order there says so.

    Raises:
        SettingsError: settings that cannot be used, all of them in one message with what is allowed.
    """
    path = find_file(environ, env_file)
    values, settings = read_all(environ, path, read_file(path))
    if values.problems:
        # A key written into the wrong variable must not be read out.
        problems = tuple(mask(problem) for problem in values.problems)
        raise SettingsError(" ".join(problems), "Correct the environment or the settings file.", problems=problems)
    return settings


def read_all(environ: Mapping[str, str], path: Path | None, file: Mapping[str, str]) -> tuple[Values, Settings]:
    """
    Read the settings of the environment and of a file that was found at `path`.

    What was complained of stands in the values; in the settings the defaults stand in for it.
    """
    values = Values(environ, file)
    default_region = _read_default_region(values)
    settings = Settings(
        regions=read_regions(values, default_region),
        default_region=default_region,
        model=values.text("WAN_MCP_MODEL") or "wan2.6-t2i",
        output_dir=values.folder("WAN_MCP_OUTPUT_DIR") or _pictures_dir(),
        state_dir=values.folder("WAN_MCP_STATE_DIR") or _platform_state_dir(),
        allowed_dirs=values.folders("WAN_MCP_ALLOWED_DIRS"),
        wait_seconds=values.number("WAN_MCP_WAIT_SECONDS", 45.0, 0, 3600, "seconds"),
        daily_image_limit=values.whole("WAN_MCP_DAILY_IMAGE_LIMIT", 100, 0, _MOST_IMAGES, "images"),
        image_hosts=values.hosts("WAN_MCP_IMAGE_HOSTS"),
        max_image_bytes=values.whole("WAN_MCP_MAX_IMAGE_BYTES", 67_108_864, 1, _MOST_BYTES, "bytes"),
        prefer_sync=values.choice("WAN_MCP_PROTOCOL", "async", ("async", "sync")) == "sync",
        extra_models=_read_extra_models(values),
        log_level=values.choice("WAN_MCP_LOG_LEVEL", "WARNING", _LOG_LEVELS),
        keeper=values.switch("WAN_MCP_KEEPER"),
        env_file=path.absolute() if path else None,
        warnings=tuple(_find_misspelt([*environ, *file])),
    )
    return values, settings


def find_file(environ: Mapping[str, str], env_file: Path | None) -> Path | None:
    """Find the settings file that is named, if one is."""
    named = Values(environ, {}).text(ENV_FILE)
    return env_file or (Path(named) if named else None)


def read_file(path: Path | None) -> Mapping[str, str]:
    """
    Read the settings file, if there is one.

    Raises:
        SettingsError: it cannot be read.
    """
    if path is None:
        return {}
    from wan_mcp.settings.dotenv import read_env_file  # noqa: PLC0415 - most starts name no file

    return read_env_file(path)


def _read_default_region(values: Values) -> str:
    text = values.text("DASHSCOPE_REGION") or "singapore"
    try:
        return find_region(text).name
    except RequestRefusedError as error:
        values.refuse("DASHSCOPE_REGION", f"is {text!r}, which is no region. {error.advice}")
        return "singapore"


def _read_extra_models(values: Values) -> tuple[Mapping[str, object], ...]:
    name = "WAN_MCP_EXTRA_MODELS"
    text = values.text(name)
    if text is None:
        return ()
    try:
        rows: object = json.loads(text)
    except ValueError as error:
        values.refuse(name, f"is no JSON ({error}). Use a list of objects, each with an id and a protocol.")
        return ()
    # What a row may hold is the catalogue's business; here only its shape is known.
    found = cast("list[object]", rows) if isinstance(rows, list) else [rows]
    models = tuple(cast("dict[str, object]", row) for row in found if isinstance(row, dict))
    if not isinstance(rows, list) or len(models) < len(found):
        values.refuse(name, "is JSON of another shape. Use a list of objects, each with an id and a protocol.")
        return ()
    return models


def _find_misspelt(names: list[str]) -> list[str]:
    """Find names that were surely meant as settings; other programs' variables are none of our business."""
    known = {name for row in SETTING_ROWS for name in expand_name(row.name)}
    ours = re.compile(f"WAN_MCP_.*|(?:{KEY}|{WORKSPACE}|{BASE_URL})_.*")
    strange = sorted({name for name in names if ours.fullmatch(name)} - known)
    if not strange:
        return []
    from difflib import get_close_matches  # noqa: PLC0415 - only the mistaken need it

    sentences: list[str] = []
    for name in strange:
        similar = get_close_matches(name, known, n=1, cutoff=0.85)
        if similar:
            sentences.append(f"{name} is no setting and is ignored. Did you mean {similar[0]}?")
        elif name.startswith("WAN_MCP_"):
            sentences.append(f"{name} is no setting and is ignored.")
    return sentences


def expand_name(name: str) -> tuple[str, ...]:
    """Give the variables that a row of the table stands for: one, or one for each region."""
    return tuple(dict.fromkeys(name.replace("<REGION>", region.name.upper()) for region in REGIONS))


def _pictures_dir() -> Path:
    import platformdirs  # noqa: PLC0415 - not needed where the folders are set

    return platformdirs.user_pictures_path() / "wan-mcp"


def _platform_state_dir() -> Path:
    import platformdirs  # noqa: PLC0415 - the same

    return platformdirs.user_state_path("wan-mcp", appauthor=False)
