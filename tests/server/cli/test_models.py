"""`wan-mcp models`: what can be ordered, where, and what it costs."""

import json

from click.testing import CliRunner

from wan_mcp.cli.command import CommandContext
from wan_mcp.cli.main import cli

KEY = "sk-0123456789abcdef0123456789abcdef"


def run(tmp_path, *arguments, **environ):
    places = {"WAN_MCP_STATE_DIR": str(tmp_path / "state"), "WAN_MCP_OUTPUT_DIR": str(tmp_path / "images")}
    return CliRunner().invoke(cli, ["models", *arguments], obj=CommandContext(places | environ))


def test_every_model_is_a_line_that_fits_a_narrow_terminal(tmp_path):
    done = run(tmp_path, DASHSCOPE_API_KEY=KEY, DASHSCOPE_API_KEY_BEIJING=KEY)

    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "wan2.7-image          text, images  singapore  0.03 USD (2026-05)        80 s" in lines
    assert "                                    beijing    0.25-0.50 CNY (2026-10)" in lines
    assert any(line.startswith("qwen-image-edit       images ") for line in lines)
    assert "wan2.6-t2i; with images: wan2.7-image" in done.stderr


def test_a_region_without_a_key_is_in_brackets(tmp_path):
    done = run(tmp_path, DASHSCOPE_API_KEY=KEY)

    assert "wanx-v1               text          [beijing]  0.16 CNY (2026-05)        60 s" in done.stdout.splitlines()


def test_a_program_gets_json(tmp_path):
    facts = json.loads(run(tmp_path, "--json", WAN_MCP_EDIT_MODEL="qwen-image-3.0").stdout)

    assert facts["default_model_with_images"] == "qwen-image-3.0"
    model = next(model for model in facts["models"] if model["id"] == "qwen-image-3.0")
    assert (model["draws_from"], model["usual_seconds"]) == ("text, images", 150)
    assert not (tmp_path / "state").exists()
