"""What registries, bundles, images and workflows say of wan-mcp is what the code does."""

import base64
import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from wan_mcp import __version__
from wan_mcp.cli.main import cli as commands
from wan_mcp.settings import SETTING_ROWS, expand_name

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "release"))

import bundle  # noqa: E402 - found by the line above
import metadata  # noqa: E402 - the same


def test_the_registry_entry_is_what_the_code_says():
    written = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))

    assert written == metadata.registry_entry(), "run python release/bundle.py"


def test_the_registry_entry_describes_every_setting_and_marks_the_secrets():
    (package,) = metadata.registry_entry()["packages"]
    variables = {variable["name"]: variable for variable in package["environmentVariables"]}
    names = {name for row in SETTING_ROWS for name in expand_name(row.name) if not name.endswith("_SANDBOX")}

    assert set(variables) == names
    assert all(variable["description"] for variable in variables.values())
    secrets = {name for name, variable in variables.items() if variable["isSecret"]}
    assert secrets == {
        name
        for name in names
        if re.fullmatch(
            r"DASHSCOPE_API_KEY(_(?!FILE)[A-Z]+)?|WAN_MCP_(LEDGER_URL|SECRET_KEY)|AWS_SECRET_ACCESS_KEY", name
        )
    }


def test_the_registry_entry_keeps_the_limits_of_the_registry():
    entry = metadata.registry_entry()

    assert len(entry["description"]) <= 100
    assert len(entry["title"]) <= 100
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", entry["name"])
    assert entry["version"] == entry["packages"][0]["version"] == __version__
    formats = {variable.get("format", "string") for variable in entry["packages"][0]["environmentVariables"]}
    assert formats <= {"string", "number", "boolean", "filepath"}


def test_the_readme_names_the_registry_entry_so_that_the_registry_can_check_its_owner():
    assert f"<!-- mcp-name: {metadata.NAME} -->" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_bundle_asks_only_for_settings_that_exist_and_hides_the_key():
    manifest = metadata.bundle_manifest()
    asked, env = manifest["user_config"], manifest["server"]["mcp_config"]["env"]
    known = {row.name: row for row in SETTING_ROWS}

    assert set(env) <= set(known)
    assert {f"${{user_config.{key}}}" for key in asked} == set(env.values())
    for name, value in env.items():
        question = asked[re.fullmatch(r"\$\{user_config\.(\w+)\}", value)[1]]
        assert question.get("sensitive", False) is known[name].secret
        # Without a default a host would pass the placeholder itself.
        assert "default" in question


def test_the_same_sources_give_the_same_bundle_without_caches(tmp_path):
    import zipfile

    first, second = bundle.build(tmp_path / "a"), bundle.build(tmp_path / "b")

    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["server"]["entry_point"] in names
    assert {"pyproject.toml", "requirements.lock", "README.md", "LICENSE", "tools/wan_mcp_tools/__init__.py"} <= set(
        names
    )
    assert not any("__pycache__" in name for name in names)


def test_the_image_runs_a_command_that_exists_as_a_user_without_rights():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    (check,) = [json.loads(line.partition("CMD ")[2]) for line in lines if line.startswith("HEALTHCHECK")]

    assert check[0] == "wan-mcp"
    assert check[1] in commands.commands
    assert json.loads(next(line for line in lines if line.startswith("ENTRYPOINT")).partition(" ")[2]) == ["wan-mcp"]
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users
    assert users[-1] not in ("root", "0")
    assert any(metadata.NAME in line for line in lines if "io.modelcontextprotocol.server.name" in line)


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name)
def test_every_action_of_a_workflow_is_pinned_to_a_commit(path):
    text = path.read_text(encoding="utf-8")
    actions = re.findall(r"uses: (\S+) ?(.*)", text)

    assert actions
    for action, comment in actions:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"# v[\d.]+", comment), action
    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name)
def test_every_script_that_a_workflow_runs_exists(path):
    scripts = re.findall(r"bash (\.ci/\w+)", path.read_text(encoding="utf-8"))

    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)


def test_the_install_links_are_what_the_code_says():
    page = ROOT / "docs/getting.md"
    start, end = "<!-- links -->\n", "<!-- end -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    expected = before + start + metadata.install_links() + "\n" + end + rest.partition(end)[2]
    if os.environ.get("WAN_MCP_REWRITE"):
        page.write_text(expected, encoding="utf-8")

    assert page.read_text(encoding="utf-8") == expected


def test_an_install_link_holds_a_server_that_starts_without_a_key():
    cursor, code = (urlsplit(link) for link in re.findall(r"\((https:[^)]+)\)", metadata.install_links()))
    entry = {"command": "uvx", "args": ["wan-mcp"], "env": {"DASHSCOPE_REGION": "sandbox"}}

    assert json.loads(base64.b64decode(parse_qs(cursor.query)["config"][0])) == entry
    scheme, _, text = parse_qs(code.query)["url"][0].partition("?")
    assert scheme == "vscode:mcp/install"
    assert json.loads(unquote(text)) == {"name": "wan"} | entry
