"""
Write `server.json` and build the MCP bundle.

Run `python release/bundle.py` in the development environment; it prints the path of the bundle. The bundle holds the
sources and the list of locked packages, and uv installs those on the user's machine, hash by hash.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from metadata import START, bundle_manifest, registry_entry

from wan_mcp import __version__

ROOT = Path(__file__).resolve().parents[1]
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build(folder: Path) -> Path:
    """Build the bundle in a folder and give its path. The same sources give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"wan-mcp-{__version__}.mcpb"
    manifest = json.dumps(bundle_manifest(), indent=2, ensure_ascii=False) + "\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        _write(bundle, "manifest.json", manifest.encode())
        _write(bundle, START, (ROOT / "release" / START).read_bytes())
        for file in _files():
            _write(bundle, file.relative_to(ROOT).as_posix(), file.read_bytes())
    return path


def write_registry_entry() -> None:
    """Write `server.json`."""
    text = json.dumps(registry_entry(), indent=2, ensure_ascii=False) + "\n"
    (ROOT / "server.json").write_text(text, encoding="utf-8")


def _write(bundle: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o100644 << 16
    bundle.writestr(entry, data)


def _files() -> Iterator[Path]:
    for name in ("LICENSE", "README.md", "pyproject.toml", "requirements.lock"):
        yield ROOT / name
    for folder in ("server", "tools"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


if __name__ == "__main__":
    write_registry_entry()
    print(build(ROOT / "dist"))
