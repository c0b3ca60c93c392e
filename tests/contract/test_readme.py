"""The tables of the documentation agree with the code. With WAN_MCP_REWRITE=1 they are written anew."""

import os
import re
from pathlib import Path

import pytest

from wan_mcp.app import build_service
from wan_mcp.settings import SETTING_ROWS, read_settings
from wan_mcp_tools import TOOLS
from wan_mcp_tools.catalogue.catalogue import MODELS
from wan_mcp_tools.catalogue.description import describe_input_kind, format_price
from wan_mcp_tools.catalogue.regions import SANDBOX

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"


def _tools_table() -> str:
    settings = read_settings(
        {"DASHSCOPE_REGION": "sandbox", "WAN_MCP_STATE_DIR": "/nowhere", "WAN_MCP_OUTPUT_DIR": "/nowhere"}
    )
    rows = ["| tool | does |", "|---|---|"]
    for make in TOOLS:
        tool = make(build_service(settings))
        first = re.split(r"(?<=[.:])\s", tool.description, maxsplit=1)[0]
        rows.append(f"| `{tool.name}` | {first.rstrip('.:')} |")
    return "\n".join(rows)


def _settings_table() -> str:
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    rows.extend(f"| `{row.name}` | {row.default or '–'} | {row.meaning} |" for row in SETTING_ROWS)
    return "\n".join(rows)


def _models_table() -> str:
    rows = ["| model | draws from | regions, price of one image | usual time |", "|---|---|---|---|"]
    for model in MODELS:
        regions = (region for region in model.regions if region.name != SANDBOX.name)
        prices = ", ".join(f"{region.name} {format_price(region.price, region.name)}" for region in regions)
        rows.append(f"| `{model.id}` | {describe_input_kind(model)} | {prices} | {model.usual_seconds:.0f} s |")
    return "\n".join(rows)


def _options_table() -> str:
    rows = ["| option | models | takes | does |", "|---|---|---|---|"]
    options = {option.name: option for model in MODELS for option in model.options}
    for name, option in options.items():
        models = ", ".join(f"`{model.id}`" for model in MODELS if option in model.options)
        bounds = f"; {option.describe_bounds()}" if option.describe_bounds() else ""
        takes = f"{option.describe()}{bounds}".replace("|", "\\|")
        rows.append(f"| `{name}` | {models} | {takes} | {option.about} |")
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("page", "name", "make"),
    [
        ("README.md", "tools", _tools_table),
        ("docs/settings.md", "settings", _settings_table),
        ("docs/models.md", "models", _models_table),
        ("docs/models.md", "options", _options_table),
    ],
)
def test_a_table_says_what_the_code_does(page, name, make):
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    start, end = f"<!-- table: {name} -->\n", "<!-- end -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    expected = f"{before}{start}{make()}\n{end}{after}"
    if os.environ.get("WAN_MCP_REWRITE"):
        path.write_text(expected, encoding="utf-8")

    assert path.read_text(encoding="utf-8") == expected


def test_every_command_of_the_readme_exists():
    from wan_mcp.cli.main import cli

    named = set(re.findall(r"^wan-mcp (\w+)", README.read_text(encoding="utf-8"), re.MULTILINE))

    assert named == set(cli.commands)


def test_the_readme_has_the_two_commands_that_do_all_the_set_up():
    text = README.read_text(encoding="utf-8")

    assert re.findall(r"<!-- command: (\w+) -->\n```sh\n.+\n```", text) == ["try", "test"]
