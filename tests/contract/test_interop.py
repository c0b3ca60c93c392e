"""What the checks in tests/interop rest on: pinned packages from anywhere, and baselines with a reason for each line."""

import json
import re
from pathlib import Path

import pytest

INTEROP = Path(__file__).resolve().parents[1] / "interop"
NAME = re.compile(r"  - ([a-z0-9-]+)(:[a-z0-9-]+)? # (.+)")
SUITES = ("conformance-2025-11-25.yml", "conformance-2026-07-28.yml")


def test_every_package_is_pinned_to_one_version():
    manifest = json.loads((INTEROP / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((INTEROP / "package-lock.json").read_text(encoding="utf-8"))["packages"]

    assert manifest["dependencies"] == lock[""]["dependencies"]
    for name, version in manifest["dependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+(-[a-z]+\.\d+)?", version), name
        assert lock[f"node_modules/{name}"]["version"] == version


def test_the_lock_names_no_address_and_the_digest_of_every_package():
    text = (INTEROP / "package-lock.json").read_text(encoding="utf-8")
    packages = {name: each for name, each in json.loads(text)["packages"].items() if name}

    assert "//" not in re.sub(r'"integrity": "[^"]+"', "", text)
    assert "resolved" not in text
    assert len(packages) > 100
    assert [name for name, each in packages.items() if not each["integrity"].startswith("sha512-")] == []


@pytest.mark.parametrize("name", SUITES)
def test_every_line_of_a_baseline_says_what_is_missing(name):
    lines = (INTEROP / name).read_text(encoding="utf-8").splitlines()
    entries = [NAME.fullmatch(line) for line in lines if line.startswith("  - ")]

    assert entries
    assert all(entries)
    assert len({entry[1] + (entry[2] or "") for entry in entries}) == len(entries)
    for entry in entries:
        # A tool, resource or prompt of the suite; or what the protocol itself leaves to the server.
        assert re.search(r"\b(test_[a-z0-9_]+|test://\S+)", entry[3]) or "optional" in entry[3], entry[0]


def test_a_baseline_excuses_nothing_that_every_server_must_pass():
    for_all = {
        "server-initialize", "ping", "tools-list", "tools-call-error", "resources-list", "prompts-list",
        "dns-rebinding-protection", "server-stateless", "caching", "sep-2164-resource-not-found",
    }  # fmt: skip
    for name in SUITES:
        entries = [NAME.fullmatch(line) for line in (INTEROP / name).read_text(encoding="utf-8").splitlines()]
        assert not for_all & {entry[1] for entry in entries if entry and not entry[2]}


def test_the_conversation_uses_every_tool():
    steps = json.loads((INTEROP / "conversation.json").read_text(encoding="utf-8"))
    called = {step["call"] for step in steps if "call" in step}

    assert called > {path.stem for path in (INTEROP.parent / "contract" / "tools").glob("*.json")}
