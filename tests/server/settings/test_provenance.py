"""What is wrong with the settings is data: which one, in which way, and what is allowed."""

from pathlib import Path

import pytest

from wan_mcp.settings.provenance import SettingOrigin, examine_settings
from wan_mcp.settings.values import ProblemCode

WORDS = {
    (
        "DASHSCOPE_REGION",
        "mars",
    ): "is 'mars', which is no region. Use one of: singapore, beijing, virginia, frankfurt,"
    " tokyo, hongkong, sandbox.",
    ("DASHSCOPE_WORKSPACE_ID", "a/b"): "is 'a/b'. Use the workspace's id, such as llm-… or ws-…, not its address.",
    ("DASHSCOPE_HTTP_BASE_URL", "ftp://x/api/v1"): "is 'ftp://x/api/v1', which is no web address."
    " Use https://HOST/api/v1, or http only for this machine (localhost, 127.0.0.1, [::1]).",
    ("WAN_MCP_OUTPUT_DIR", "images"): "is 'images', which is not a full path. Begin it at the root or with ~.",
    ("WAN_MCP_WAIT_SECONDS", "soon"): "is 'soon'. Use a number of seconds from 0 to 3600.",
    ("WAN_MCP_DAILY_IMAGE_LIMIT", "-1"): "is '-1'. Use a whole number of images from 0 to 1000000.",
    ("WAN_MCP_IMAGE_HOSTS", "*.a.example"): "holds '*.a.example'. Use names such as images.example.com or"
    " 127.0.0.1:8080.",
    ("WAN_MCP_PROTOCOL", "http"): "is 'http'. Use one of: async, sync.",
    (
        "WAN_MCP_EXTRA_MODELS",
        "{}",
    ): "is JSON of another shape. Use a list of objects, each with an id and a protocol.",
    ("WAN_MCP_FILE_MODE", "844"): "is '844'. Use three octal digits, such as 600 or 644; the first is 4, 5, 6 or 7.",
    ("WAN_MCP_OUTPUT_DIR", "/caf\udce9"): r"is '/caf\udce9', whose bytes are not UTF-8. Rename that folder, or name"
    " another one.",
    ("WAN_MCP_KEEPER", "maybe"): "is 'maybe'. Use 1 to switch it on or 0 to switch it off.",
}
"""What is said of each kind of mistake, word by word."""


@pytest.mark.parametrize(("name", "text"), WORDS)
def test_a_mistake_is_told_in_these_words(name: str, text: str) -> None:
    assert str(examine_settings({name: text}).problems[0]) == f"{name} {WORDS[name, text]}"


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("DASHSCOPE_REGION", "mars", ProblemCode.REGION),
        ("DASHSCOPE_WORKSPACE_ID", "a/b", ProblemCode.WORKSPACE),
        ("DASHSCOPE_HTTP_BASE_URL", "ftp://x", ProblemCode.BASE_URL),
        ("WAN_MCP_OUTPUT_DIR", "images", ProblemCode.PATH),
        ("WAN_MCP_STATE_DIR", "~nobody-of-this-name/images", ProblemCode.PATH),
        ("WAN_MCP_ALLOWED_DIRS", "images", ProblemCode.PATH),
        ("WAN_MCP_WAIT_SECONDS", "soon", ProblemCode.NUMBER),
        ("WAN_MCP_WAIT_SECONDS", "nan", ProblemCode.NUMBER),
        ("WAN_MCP_WAIT_SECONDS", "-1", ProblemCode.NUMBER),
        ("WAN_MCP_WAIT_SECONDS", "3601", ProblemCode.NUMBER),
        ("WAN_MCP_DAILY_IMAGE_LIMIT", "-1", ProblemCode.NUMBER),
        ("WAN_MCP_DAILY_IMAGE_LIMIT", "1.5", ProblemCode.NUMBER),
        ("WAN_MCP_MAX_IMAGE_BYTES", "0", ProblemCode.NUMBER),
        ("WAN_MCP_MAX_IMAGE_BYTES", "64M", ProblemCode.NUMBER),
        ("WAN_MCP_PROTOCOL", "http", ProblemCode.CHOICE),
        ("WAN_MCP_LOG_LEVEL", "loud", ProblemCode.CHOICE),
        ("WAN_MCP_KEEPER", "maybe", ProblemCode.SWITCH),
        *(
            ("WAN_MCP_FILE_MODE", text, ProblemCode.MODE)
            for text in ("rw", "0", "66", "999", "1777", "044", "-600", "6e2")
        ),
        ("WAN_MCP_OUTPUT_DIR", "/caf\udce9", ProblemCode.PATH),
        ("WAN_MCP_STATE_DIR", "/caf\udce9", ProblemCode.PATH),
        ("WAN_MCP_ALLOWED_DIRS", "/caf\udce9", ProblemCode.PATH),
        ("WAN_MCP_IMAGE_HOSTS", "https://a.example/", ProblemCode.HOST),
        ("WAN_MCP_IMAGE_HOSTS", "*.example.com", ProblemCode.HOST),
        ("WAN_MCP_EXTRA_MODELS", "wan9", ProblemCode.JSON),
        ("WAN_MCP_EXTRA_MODELS", '{"id": "wan9"}', ProblemCode.JSON),
        ("WAN_MCP_EXTRA_MODELS", '[{"id": "wan9"}, 3]', ProblemCode.JSON),
    ],
)
def test_a_wrong_value_is_a_problem_of_its_setting_and_the_default_holds(
    name: str, text: str, code: ProblemCode
) -> None:
    report = examine_settings({name: text, "WAN_MCP_MODEL": "wan2.7-image"})
    assert [(problem.name, problem.code) for problem in report.problems] == [(name, code)]
    assert report.settings is not None
    assert [origin.name for origin in report.origins] == ["WAN_MCP_MODEL"]


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), (b"\xff\xfe\x00", "no UTF-8 text"), (b"words\n", "line 1: ")]
)
def test_a_settings_file_that_cannot_be_read_is_a_problem_without_a_name(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "settings"
    if content is not None:
        path.write_bytes(content)
    report = examine_settings({"DASHSCOPE_API_KEY": "sk-0123456789"}, env_file=path)
    (problem,) = report.problems
    assert (problem.name, problem.code) == (None, ProblemCode.FILE)
    assert words in problem.statement
    assert report.settings is None
    assert report.secrets == ("sk-0123456789",)


def test_each_setting_tells_where_it_came_from_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("WAN_MCP_MODEL=wan2.5-t2i-preview\nDASHSCOPE_API_KEY=sk-from-file\n", encoding="utf-8")
    environment = {
        "DASHSCOPE_API_KEY": "sk-0123456789",
        "DASHSCOPE_API_KEY_BEIJING": "YOUR_API_KEY",
        "DASHSCOPE_HTTP_BASE_URL_TOKYO": "https://gateway.example/" + "x" * 80 + "/api/v1",
    }
    report = examine_settings(environment, env_file=path)
    assert report.origins[:2] == (
        SettingOrigin(
            "DASHSCOPE_API_KEY",
            "sk-…, 13 characters, a general key",
            f"from the environment, which wins over {path}",
        ),
        SettingOrigin("DASHSCOPE_API_KEY_BEIJING", "a placeholder", "from the environment"),
    )
    assert report.origins[2].shown.endswith("x…")
    assert report.origins[3] == SettingOrigin("WAN_MCP_MODEL", "wan2.5-t2i-preview", f"from {path}")
    assert "0123456789" not in repr(report)
