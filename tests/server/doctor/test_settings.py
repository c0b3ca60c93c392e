"""The settings: where each came from, what is wrong with them, and that nothing wrong stops the rest."""

from wan_mcp.doctor import Verdict


async def test_every_setting_that_is_set_tells_where_it_came_from(clinic, tmp_path):
    path = tmp_path / "settings.env"
    path.write_text("WAN_MCP_MODEL=wan2.5-t2i-preview\nDASHSCOPE_REGION=beijing\n")

    report = await clinic.examine(
        words={"env_file": path}, DASHSCOPE_REGION="sandbox", DASHSCOPE_API_KEY="${DASHSCOPE_API_KEY}"
    )

    found = {finding.looked_at: finding.found for finding in report.of("settings")}
    assert found["DASHSCOPE_REGION"] == f"sandbox, from the environment, which wins over {path}"
    assert found["WAN_MCP_MODEL"] == f"wan2.5-t2i-preview, from {path}"
    assert "DASHSCOPE_API_KEY" not in found
    assert found["17 other settings"] == "not set, so their defaults hold"


async def test_every_fault_is_a_finding_with_what_is_allowed_and_the_rest_goes_on(clinic):
    report = await clinic.examine(
        DASHSCOPE_REGION="sandbox", WAN_MCP_WAIT_SECONDS="long", WAN_MCP_DAILY_IMAGE_LIMIT="-1"
    )

    first, second = report.problems
    assert (first.looked_at, first.found) == ("WAN_MCP_WAIT_SECONDS", "is 'long'")
    assert first.remedy == "Use a number of seconds from 0 to 3600."
    assert second.looked_at == "WAN_MCP_DAILY_IMAGE_LIMIT"
    assert {"key", "model", "folder", "ledger"} <= {finding.check for finding in report.findings}


async def test_a_settings_file_that_cannot_be_read_is_a_finding(clinic, tmp_path):
    report = await clinic.examine(WAN_MCP_ENV_FILE=str(tmp_path / "none"), DASHSCOPE_API_KEY="sk-0123456789")

    assert "cannot be read: No such file" in report.problem_of("settings").found
    assert report.of("versions")
    assert report.of("key") == []


async def test_a_misspelt_setting_is_worth_a_note(clinic):
    (note,) = (await clinic.examine(DASHSCOPE_REGION="sandbox", WAN_MCP_WAIT="5")).notes

    assert note.verdict is Verdict.NOTE
    assert "WAN_MCP_WAIT is no setting and is ignored" in note.found


async def test_a_password_in_an_address_is_not_told(clinic):
    report = await clinic.examine(DASHSCOPE_HTTP_BASE_URL="https://user:password@example.com/api/v1")

    assert "holds a user name or a password" in report.problem_of("settings").found
    assert "user:password" not in report.text
