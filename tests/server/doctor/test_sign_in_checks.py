"""What the doctor says of signing in: each fault with its remedy, and no token."""

import sys

import pytest
from anyio import to_thread

from fakes.issuer import FakeIssuer
from wan_mcp.auth.tokens import add_token
from wan_mcp.doctor import Verdict
from wan_mcp_tools.domain.principals import Scope

PUBLIC = "https://pictures.example.com"


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    add_token(path, "ada", frozenset({Scope.READ}))
    return path


async def test_where_nobody_signs_in_nothing_is_said_of_it(doctor):
    assert (await doctor.run(DASHSCOPE_REGION="sandbox")).of("sign-in") == []


async def test_the_tokens_of_a_file_are_counted(doctor, tokens):
    finding = (await doctor.run(DASHSCOPE_REGION="sandbox", WAN_MCP_TOKENS_FILE=str(tokens))).one("sign-in")

    assert (finding.found, finding.verdict) == ("1 token", Verdict.OK)


async def test_a_file_that_is_wrong_or_not_there_is_a_problem(doctor, tokens, tmp_path):
    await to_thread.run_sync(tokens.write_text, "wanmcp_secret\n")
    for path, words in ((tokens, "line 1 is no name"), (tmp_path / "gone", "is not there")):
        report = await doctor.run(DASHSCOPE_REGION="sandbox", WAN_MCP_TOKENS_FILE=str(path))
        assert words in report.problem_of("sign-in").found
        assert report.problem_of("sign-in").remedy
        assert "secret" not in report.problem_of("sign-in").found


@pytest.mark.skipif(sys.platform == "win32", reason="rights are others there")
async def test_a_file_that_others_may_write_to_is_a_problem(doctor, tokens):
    await to_thread.run_sync(tokens.chmod, 0o666)

    report = await doctor.run(DASHSCOPE_REGION="sandbox", WAN_MCP_TOKENS_FILE=str(tokens))

    assert "can be written to by" in report.problem_of("sign-in").found


async def test_an_issuer_that_answers_is_told_with_its_keys_and_the_audience(doctor):
    with FakeIssuer() as issuer:
        settings = {"WAN_MCP_AUTH_ISSUER": issuer.url, "WAN_MCP_PUBLIC_URL": PUBLIC}
        report = await doctor.run(DASHSCOPE_REGION="sandbox", **settings)

    assert [finding.found for finding in report.of("sign-in")] == [
        "answers, with 1 key",
        f"tokens are for {PUBLIC}/mcp",
    ]


async def test_an_issuer_that_is_down_called_otherwise_or_has_no_keys_is_a_problem(doctor):
    with FakeIssuer() as issuer:
        settings = {"WAN_MCP_AUTH_ISSUER": issuer.url, "WAN_MCP_PUBLIC_URL": PUBLIC, "DASHSCOPE_REGION": "sandbox"}
        lonely = await doctor.run(**(settings | {"WAN_MCP_PUBLIC_URL": ""}))
        slashed = await doctor.run(**(settings | {"WAN_MCP_AUTH_ISSUER": f"{issuer.url}/"}))
        issuer.keys.clear()
        empty = await doctor.run(**settings)
        issuer.stop()
        down = await doctor.run(**settings)
        issuer.start()

    assert "WAN_MCP_AUTH_ISSUER needs it" in lonely.problem_of("sign-in").found
    assert f"is called {settings['WAN_MCP_AUTH_ISSUER']} by its own" in slashed.problem_of("sign-in").found
    assert "tells no key" in empty.problem_of("sign-in").found
    assert "cannot be reached" in down.problem_of("sign-in").found
