"""What the operator chose, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class RegionAccess:
    """
    How one region is reached.

    `base_url` ends in `/api/v1`; it is None where the region has no shared host and no workspace was set.
    `in_process` says that the region is the sandbox inside this process. `key_setting` names the variable
    that holds the key, for messages. `problem` says why the region cannot be used as it is set, and what to
    change; it is None where nothing stands in the way but perhaps a missing key.
    """

    region: str
    base_url: str | None
    api_key: SecretStr | None
    workspace_id: str | None
    key_setting: str
    in_process: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """
    Everything that the operator may choose, read once and checked.

    `warnings` are sentences for the log: names that look like settings and are none. `env_file` is the settings file
    that was read beside the environment, if one was.
    """

    regions: Mapping[str, RegionAccess]
    default_region: str
    model: str
    output_dir: Path
    state_dir: Path
    allowed_dirs: tuple[Path, ...] = ()
    wait_seconds: float = 45.0
    daily_image_limit: int = 100
    image_hosts: tuple[str, ...] = ()
    max_image_bytes: int = 67_108_864
    prefer_sync: bool = False
    extra_models: tuple[Mapping[str, object], ...] = field(default=())
    log_level: str = "WARNING"
    keeper: bool = False
    env_file: Path | None = None
    warnings: tuple[str, ...] = ()
