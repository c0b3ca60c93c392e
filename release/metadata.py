"""What registries and bundles are told of wan-mcp, built from the code so that it cannot drift from it."""

import base64
import json
from typing import Any
from urllib.parse import quote

from wan_mcp import __version__
from wan_mcp.app import build_service
from wan_mcp.settings import SETTING_ROWS, expand_name, read_settings
from wan_mcp.settings.table import SettingRow
from wan_mcp_tools import TOOLS
from wan_mcp_tools.catalogue.regions import REGIONS

NAME = "io.github.wan-mcp/wan-mcp"
REPOSITORY = "https://github.com/wan-mcp/wan-mcp"
DESCRIPTION = "Text-to-image with Alibaba Cloud Wan models: agents order pictures and get file paths."
_FILES = (
    "DASHSCOPE_API_KEY_FILE_PATH",
    "WAN_MCP_OUTPUT_DIR",
    "WAN_MCP_STATE_DIR",
    "WAN_MCP_LEDGER_URL_FILE",
    "AWS_SECRET_ACCESS_KEY_FILE",
    "WAN_MCP_ENV_FILE",
)
_NUMBERS = ("WAN_MCP_WAIT_SECONDS", "WAN_MCP_DAILY_IMAGE_LIMIT", "WAN_MCP_MAX_IMAGE_BYTES")
_CHOICES = {
    "DASHSCOPE_REGION": [region.name for region in REGIONS],
    "WAN_MCP_PROTOCOL": ["async", "sync"],
    "WAN_MCP_KEEPER": ["0", "1"],
    "WAN_MCP_LOG_LEVEL": ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
}
START = "start.py"
"""The program that a bundle starts with: `release/start.py`, at the top of the bundle."""
Json = dict[str, Any]


def registry_entry() -> Json:
    """Give `server.json`, as https://modelcontextprotocol.io/registry says."""
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": NAME,
        "title": "Wan text-to-image",
        "description": DESCRIPTION,
        "version": __version__,
        "repository": {"url": REPOSITORY, "source": "github"},
        "packages": [
            {
                "registryType": "pypi",
                "identifier": "wan-mcp",
                "version": __version__,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "environmentVariables": [
                    _variable(row, name)
                    for row in SETTING_ROWS
                    for name in expand_name(row.name)
                    if not name.endswith("_SANDBOX")
                ],
            }
        ],
    }


def bundle_manifest() -> Json:
    """Give the `manifest.json` of a bundle that uv runs, see https://github.com/modelcontextprotocol/mcpb."""
    service = build_service(read_settings({"DASHSCOPE_REGION": "sandbox"}))
    tools = [make(service) for make in TOOLS]
    return {
        "manifest_version": "0.4",
        "name": "wan-mcp",
        "display_name": "Wan text-to-image",
        "version": __version__,
        "description": DESCRIPTION,
        "author": {"name": "The wan-mcp developers", "url": REPOSITORY},
        "repository": {"type": "git", "url": REPOSITORY},
        "license": "Apache-2.0",
        "privacy_policies": [f"{REPOSITORY}/blob/main/docs/privacy.md"],
        "server": {
            "type": "uv",
            "entry_point": START,
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--no-project", "--python", ">=3.11", f"${{__dirname}}/{START}"],
                "env": {name: f"${{user_config.{key}}}" for name, key in _ASKED.items()},
            },
        },
        "tools": [{"name": tool.name, "description": tool.title} for tool in tools],
        "compatibility": {"platforms": ["darwin", "linux", "win32"], "runtimes": {"python": ">=3.11"}},
        "user_config": {key: _question(name) for name, key in _ASKED.items()},
    }


def install_links() -> str:
    """Give links that put wan-mcp into a client: https://cursor.com/docs, https://code.visualstudio.com/docs."""
    entry = {"command": "uvx", "args": ["wan-mcp"], "env": {"DASHSCOPE_REGION": "sandbox"}}
    cursor = base64.b64encode(_compact(entry).encode()).decode()
    code = quote(quote(_compact({"name": "wan"} | entry), safe=""), safe="")
    return (
        f"- [Cursor](https://cursor.com/en/install-mcp?name=wan&config={quote(cursor, safe='')})\n"
        f"- [VS Code](https://insiders.vscode.dev/redirect?url=vscode%3Amcp%2Finstall%3F{code})"
    )


def _compact(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))


_ASKED = {
    "DASHSCOPE_API_KEY": "api_key",
    "DASHSCOPE_REGION": "region",
    "DASHSCOPE_WORKSPACE_ID": "workspace_id",
    "WAN_MCP_OUTPUT_DIR": "output_dir",
    "WAN_MCP_DAILY_IMAGE_LIMIT": "daily_image_limit",
}
"""The settings that a bundle's host asks for; whoever needs the others writes a configuration by hand."""

_TITLES = {
    "api_key": "API key",
    "region": "Region",
    "workspace_id": "Workspace",
    "output_dir": "Folder for the pictures",
    "daily_image_limit": "Images in 24 hours",
}


def _question(name: str) -> Json:
    row = next(row for row in SETTING_ROWS if row.name == name)
    question: Json = {"type": "string", "title": _TITLES[_ASKED[name]], "description": row.meaning, "required": False}
    if row.secret:
        # A host passes an optional answer that nobody gave as it is written here: empty means not set.
        return question | {"sensitive": True, "default": ""}
    if name == "WAN_MCP_OUTPUT_DIR":
        return question | {"type": "directory", "default": "${HOME}/Pictures/wan-mcp"}
    if name in _NUMBERS:
        return question | {"type": "number", "default": int(row.default), "min": 0}
    return question | {"default": row.default}


def _tell_meaning(row: SettingRow, name: str) -> str:
    """Say what a setting means; of one that each region has, which region it is for."""
    for region in REGIONS:
        if name != row.name and name.endswith(f"_{region.name.upper()}"):
            return (
                row.meaning.partition(", for example")[0]
                .rstrip(".")
                .replace("a further region", region.name.capitalize())
                + "."
            )
    return row.meaning


def _variable(row: SettingRow, name: str) -> Json:
    variable: Json = {
        "name": name,
        "description": _tell_meaning(row, name),
        "isRequired": False,
        "isSecret": row.secret,
    }
    if row.name in _FILES:
        variable["format"] = "filepath"
    elif row.name in _NUMBERS:
        variable["format"] = "number"
    if row.name in _CHOICES:
        variable["choices"] = _CHOICES[row.name]
    if row.default and " " not in row.default:
        variable["default"] = row.default
    elif row.default:
        variable["placeholder"] = row.default
    return variable
