"""The lists of locked packages: names, versions and hashes of what pyproject.toml asks for, and nobody's addresses."""

import hashlib
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
CHECKS = [Requirement(text) for text in PROJECT["dependency-groups"]["dev"]]
ENTRY = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\\n]+?))?(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)"
)
SKIPPED = {".git", ".venv", "node_modules", "dist", "build", "__pycache__", ".environment"}
# In parts, so that this file does not name them either.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("npmmirror", "com"),
        ("yarnpkg", "com"),
        ("mirrors", "aliyun", "com"),
        ("pypi", "tuna"),
        ("jfrog", "io"),
    )
]


def read_lock(name: str) -> dict[str, list[str]]:
    """Give the versions of each package; there are several where platforms differ."""
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    found: dict[str, list[str]] = {}
    for match in ENTRY.finditer(entries):
        found.setdefault(match["name"], []).append(match["version"])
    assert ENTRY.sub("", entries).strip() == "", "every line is a name, a version and its hashes"
    return found


@pytest.mark.parametrize(
    ("name", "asked"), [("requirements.lock", RUNTIME), ("requirements-dev.lock", RUNTIME + CHECKS)]
)
def test_a_list_holds_a_fitting_version_of_everything_that_is_asked_for(name, asked):
    locked = read_lock(name)
    for requirement in asked:
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{name} lacks {requirement.name}: run bash .ci/lock"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), requirement


def test_what_runs_has_the_versions_that_are_checked():
    runs, checked = read_lock("requirements.lock"), read_lock("requirements-dev.lock")
    assert {name: checked.get(name) for name in runs} == runs


def files_of_the_project():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.endswith(("_cache", ".egg-info"))]
        folders[:] = [name for name in folders if name != ".hypothesis"]
        for name in names:
            if name not in ("uv.lock", ".git") and not name.startswith(".coverage"):
                yield Path(folder) / name


def test_no_file_names_the_host_of_a_registry():
    hosts = re.compile("|".join(re.escape(host) for host in REGISTRIES).encode(), re.IGNORECASE)
    naming = [str(path.relative_to(ROOT)) for path in files_of_the_project() if hosts.search(path.read_bytes())]
    assert naming == []


# --- the start of a bundle ----------------------------------------------------------------------------------

UV = """#!{python}
import json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(folder, "calls"), "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
print("what uv says")
if sys.argv[1] == "venv":
    python = os.path.join(sys.argv[-1], "bin", "python")
    os.makedirs(os.path.dirname(python), exist_ok=True)
    if not os.path.exists(python):
        os.symlink(sys.executable, python)
elif os.path.exists(os.path.join(folder, "refuse")):
    sys.exit("error: Hash mismatch")
"""


@pytest.fixture
def bundle(tmp_path):
    """A bundle of almost nothing, and something in the place of uv beside it."""
    folder = tmp_path / "bundle"
    (folder / "server" / "wan_mcp").mkdir(parents=True)
    (folder / "tools").mkdir()
    (folder / "requirements.lock").write_bytes((ROOT / "requirements.lock").read_bytes())
    (folder / "start.py").write_bytes((ROOT / "release" / "start.py").read_bytes())
    (folder / "server" / "wan_mcp" / "__init__.py").touch()
    program = "import sys\nprint('running', sys.argv[1:], sys.stdin.read())\nsys.exit(3)\n"
    (folder / "server" / "wan_mcp" / "__main__.py").write_text(program, encoding="utf-8")
    uv = tmp_path / "uv"
    uv.write_text(UV.format(python=sys.executable), encoding="utf-8")
    uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
    return folder


def start(bundle):
    environ = {**os.environ, "UV": str(bundle.parent / "uv")}
    command = [sys.executable, str(bundle / "start.py"), "tasks"]
    return subprocess.run(
        command, env=environ, input="hello", capture_output=True, text=True, check=False, timeout=30
    )


def steps_of(bundle):
    path = bundle.parent / "calls"
    return path.read_text().splitlines() if path.exists() else []


posix = pytest.mark.skipif(os.name != "posix", reason="a script stands in for uv")


@posix
def test_a_bundle_installs_its_list_by_hash_once_and_keeps_stdout_for_the_program(bundle):
    first, second = start(bundle), start(bundle)
    for done in (first, second):
        assert (done.returncode, done.stdout) == (3, "running ['tasks'] hello\n"), done.stderr
    venv, sync = steps_of(bundle)
    assert '"venv"' in venv
    assert '"pip", "sync"' in sync
    assert '"--require-hashes"' in sync
    assert str(bundle / "requirements.lock") in sync


@posix
def test_a_bundle_with_another_list_installs_it_anew(bundle):
    start(bundle)
    with (bundle / "requirements.lock").open("a", encoding="utf-8") as file:
        file.write("# newer\n")
    start(bundle)
    assert len(steps_of(bundle)) == 4
    digest = hashlib.sha256((bundle / "requirements.lock").read_bytes()).hexdigest()
    assert (bundle / ".environment" / "installed-lock").read_text() == digest


@posix
def test_what_uv_refuses_to_install_is_not_run_and_tried_again_the_next_time(bundle):
    refuse = bundle.parent / "refuse"
    refuse.touch()
    done = start(bundle)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "could not be installed from its bundle" in done.stderr
    assert "Hash mismatch" in done.stderr
    refuse.unlink()
    assert start(bundle).returncode == 3
