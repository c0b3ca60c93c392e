"""What the operator chose, and the reading of it: from the environment to `Settings`."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import cast

from pydantic import SecretStr

from wan_mcp.log import redact
from wan_mcp.settings.files import full_path, read_env_file
from wan_mcp.settings.region_access import BASE_URL, KEY, WORKSPACE, RegionAccess, read_regions
from wan_mcp.settings.sign_in import TOKENS_FILE, read_audience, read_issuer, read_public_url, read_secret_key
from wan_mcp.settings.storage_access import StorageAccess, read_storage
from wan_mcp.settings.table import SETTING_ROWS, expand_name
from wan_mcp.settings.values import ProblemCode, Values
from wan_mcp_tools.catalogue.regions import find_region
from wan_mcp_tools.domain.errors import RequestRefusedError, SettingsError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.usage import Quota

ENV_FILE = "WAN_MCP_ENV_FILE"
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
OUTPUT_DIR, STATE_DIR = "WAN_MCP_OUTPUT_DIR", "WAN_MCP_STATE_DIR"
_NOWHERE = Path(os.devnull, "no home folder")
"""Stands for a folder in the home of a user who has none: nothing can be there."""
_MOST_BYTES = 1 << 30
_MOST_IMAGES = 1_000_000
_MOST_CALLS = 1_000_000


class Settings(Record):
    """
    Everything that the operator may choose, read once and checked.

    A server starts and lists its tools even where this user has no home folder for `output_dir` or `state_dir`.
    `warnings` are sentences for the log: names that look like settings and are none. `env_file` is the settings file
    that was read beside the environment, if one was. `input_files` are files that may be read as input wherever they
    lie: what a person at a terminal has named, absolute and with links resolved. `ledger_url` is the database of the
    ledger where that is no file, `storage` the object store of the images where they lie in no folder. `quota` is how
    much all together may order, `user_quota` how much each principal. `public_url` is the address of the server as
    clients know it, without a slash at its end; `tokens_file` and `auth_issuer` say whose tokens are taken over HTTP.
    """

    regions: Mapping[str, RegionAccess]
    default_region: str
    model: str
    edit_model: str
    output_dir: Path
    state_dir: Path
    allowed_dirs: tuple[Path, ...] = ()
    wait_seconds: float = 45.0
    quota: Quota = field(default_factory=lambda: Quota(daily_images=100))
    user_quota: Quota = field(default_factory=Quota)
    user_calls_per_minute: int = 0
    image_hosts: tuple[str, ...] = ()
    max_image_bytes: int = 67_108_864
    file_mode: int = 0o600
    prefer_sync: bool = False
    extra_models: tuple[Mapping[str, object], ...] = field(default=())
    log_level: str = "WARNING"
    collect_in_background: bool = False
    ledger_url: SecretStr | None = None
    exports_metrics: bool = False
    exports_traces: bool = False
    storage: StorageAccess | None = None
    public_url: str | None = None
    tokens_file: Path | None = None
    auth_issuer: str | None = None
    auth_audience: str | None = None
    secret_key: SecretStr | None = None
    env_file: Path | None = None
    input_files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def daily_image_limit(self) -> int:
        """How many images all together may order in 24 hours; 0 is no limit."""
        return self.quota.daily_images

    @property
    def ledger_path(self) -> Path:
        """The file of the ledger."""
        return self.state_dir / "ledger.sqlite3"

    @property
    def folders_to_set(self) -> tuple[str, ...]:
        """The names of the settings of folders that have no place by default."""
        folders = ((OUTPUT_DIR, self.output_dir), (STATE_DIR, self.state_dir))
        needed = folders if self.storage is None else folders[1:]
        return tuple(name for name, folder in needed if folder == _NOWHERE)

    @property
    def has_sign_in(self) -> bool:
        """Whether people sign in over HTTP."""
        return self.tokens_file is not None or self.auth_issuer is not None

    @property
    def is_shared(self) -> bool:
        """Whether a server over HTTP is one of several, or is there for several people."""
        return self.has_sign_in or self.ledger_url is not None

    def list_places(self) -> tuple[Path | str, ...]:
        """Give the folders and the object store that are named here: nobody but the local user is told them."""
        named = (self.output_dir, *self.allowed_dirs, self.state_dir, self.ledger_path.parent)
        files = tuple(file.parent for file in (self.env_file, self.tokens_file) if file is not None)
        return (*named, *files, *(() if self.storage is None else (f"s3://{self.storage.bucket}",)))

    def require_folders(self) -> None:
        """
        Make sure that there are folders for pictures and for the ledger.

        Raises:
            SettingsError: this user has no home folder, and they are not set.
        """
        if self.folders_to_set:
            raise SettingsError(
                "This user has no home folder in which pictures and the ledger could lie.",
                f"Set {' and '.join(self.folders_to_set)} to full paths.",
            )


def read_settings(environ: Mapping[str, str], *, env_file: Path | None = None) -> Settings:
    """
    Read every setting; nothing else in the program looks into the environment.

    A settings file is read only if `env_file` or WAN_MCP_ENV_FILE names it; the environment wins over it. A
    missing key is no error: the region's access has none, and an order there says so.

    Raises:
        SettingsError: settings that cannot be used, all of them in one message with what is allowed.
    """
    path = find_env_file(environ, env_file)
    values = read_values(environ, path)
    settings = check_values(values, path)
    if values.problems:
        # A key written into the wrong variable must not be read out.
        problems = tuple(redact(str(problem)) for problem in values.problems)
        raise SettingsError(" ".join(problems), "Correct the environment or the settings file.", problems=problems)
    return settings


def find_env_file(environ: Mapping[str, str], env_file: Path | None) -> Path | None:
    """Find the settings file that is named, if one is."""
    named = Values(environ, {}).text(ENV_FILE)
    return env_file or (Path(named) if named else None)


def read_values(environ: Mapping[str, str], path: Path | None) -> Values:
    """
    Take up the values of the environment and of the settings file, if there is one.

    Raises:
        SettingsError: the file cannot be read.
    """
    if path is None:
        return Values(environ, {})
    return Values(environ, read_env_file(path))


def check_values(values: Values, path: Path | None) -> Settings:
    """Check every value. What is wrong stands in `values.problems` then; here the defaults stand in for it."""
    default_region = _read_default_region(values)
    return Settings(
        regions=read_regions(values, default_region),
        default_region=default_region,
        model=values.text("WAN_MCP_MODEL") or "wan2.6-t2i",
        edit_model=values.text("WAN_MCP_EDIT_MODEL") or "wan2.7-image",
        output_dir=values.folder(OUTPUT_DIR) or _pictures_dir(),
        state_dir=values.folder(STATE_DIR) or _platform_state_dir(),
        allowed_dirs=values.folders("WAN_MCP_ALLOWED_DIRS"),
        wait_seconds=values.number("WAN_MCP_WAIT_SECONDS", 45.0, 0, 3600, "seconds"),
        quota=_read_quota(values, "WAN_MCP_", daily_images=100),
        user_quota=_read_quota(values, "WAN_MCP_USER_", daily_images=0),
        user_calls_per_minute=values.whole("WAN_MCP_USER_CALLS_PER_MINUTE", 0, 0, _MOST_CALLS, "calls"),
        image_hosts=values.hosts("WAN_MCP_IMAGE_HOSTS"),
        max_image_bytes=values.whole("WAN_MCP_MAX_IMAGE_BYTES", 67_108_864, 1, _MOST_BYTES, "bytes"),
        file_mode=values.mode("WAN_MCP_FILE_MODE", 0o600),
        prefer_sync=values.choice("WAN_MCP_PROTOCOL", "async", ("async", "sync")) == "sync",
        extra_models=_read_extra_models(values),
        log_level=values.choice("WAN_MCP_LOG_LEVEL", "WARNING", _LOG_LEVELS),
        collect_in_background=values.switch("WAN_MCP_KEEPER"),
        ledger_url=_read_ledger_url(values),
        exports_metrics=_is_exported(values, "METRICS"),
        exports_traces=_is_exported(values, "TRACES"),
        storage=read_storage(values),
        public_url=read_public_url(values),
        tokens_file=values.folder(TOKENS_FILE),
        auth_issuer=read_issuer(values),
        auth_audience=read_audience(values),
        secret_key=read_secret_key(values),
        env_file=full_path(path) if path else None,
        warnings=tuple(_warn_of_misspelt_names(values.names)),
    )


def _read_default_region(values: Values) -> str:
    name = "DASHSCOPE_REGION"
    text = values.text(name) or "singapore"
    try:
        return find_region(text).name
    except RequestRefusedError as error:
        values.refuse(name, ProblemCode.REGION, f"is {text!r}, which is no region", error.advice)
        return "singapore"


def _read_ledger_url(values: Values) -> SecretStr | None:
    name = "WAN_MCP_LEDGER_URL"
    text = values.secret(name)
    if text is None:
        return None
    if not text.startswith(("postgresql://", "postgres://")):
        # What it holds instead may be a password.
        values.refuse(
            name, ProblemCode.URL, "is no address of a database", "Use postgresql://USER:PASSWORD@HOST/NAME."
        )
        return None
    return SecretStr(text)


def _read_quota(values: Values, prefix: str, *, daily_images: int) -> Quota:
    return Quota(
        daily_images=values.whole(f"{prefix}DAILY_IMAGE_LIMIT", daily_images, 0, _MOST_IMAGES, "images"),
        daily_cost=values.amounts(f"{prefix}DAILY_COST_LIMIT"),
        monthly_cost=values.amounts(f"{prefix}MONTHLY_COST_LIMIT"),
        open_orders=values.whole(f"{prefix}OPEN_LIMIT", 0, 0, _MOST_IMAGES, "orders"),
    )


def _read_extra_models(values: Values) -> tuple[Mapping[str, object], ...]:
    name = "WAN_MCP_EXTRA_MODELS"
    text = values.text(name)
    if text is None:
        return ()
    advice = "Use a list of objects, each with an id and a protocol."
    try:
        rows: object = json.loads(text)
    except ValueError as error:
        values.refuse(name, ProblemCode.JSON, f"is no JSON ({error})", advice)
        return ()
    # What a row may hold is the catalogue's business; here only its shape is known.
    found = cast("list[object]", rows) if isinstance(rows, list) else [rows]
    models = tuple(cast("dict[str, object]", row) for row in found if isinstance(row, dict))
    if not isinstance(rows, list) or len(models) < len(found):
        values.refuse(name, ProblemCode.JSON, "is JSON of another shape", advice)
        return ()
    return models


def _is_exported(values: Values, signal: str) -> bool:
    """
    Say whether a signal, `METRICS` or `TRACES`, has an address to go to and is not switched off.

    These are the standard variables, which the libraries that export read as well; they read no settings file.

    Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """

    def find(name: str) -> str:
        return (values.text(name) or "").lower() if 0 in values.sources(name) else ""

    if find("OTEL_SDK_DISABLED") == "true":
        return False
    if find(f"OTEL_{signal}_EXPORTER") not in ("", "otlp"):
        return False
    return bool(find("OTEL_EXPORTER_OTLP_ENDPOINT") or find(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))


def _warn_of_misspelt_names(names: frozenset[str]) -> list[str]:
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


def _pictures_dir() -> Path:
    import platformdirs  # noqa: PLC0415 - not needed where the folders are set

    try:
        return platformdirs.user_pictures_path() / "wan-mcp"
    except RuntimeError:
        return _NOWHERE


def _platform_state_dir() -> Path:
    import platformdirs  # noqa: PLC0415 - the same

    try:
        return platformdirs.user_state_path("wan-mcp", appauthor=False)
    except RuntimeError:
        return _NOWHERE
