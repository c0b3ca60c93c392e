"""What is visibly no key counts as none, and what is more than a key is named; neither is ever sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.settings import read_settings
from wan_mcp.settings.key_format import find_fault, is_placeholder, is_sample, is_unfilled

GENERAL = "sk-0123456789abcdef0123456789abcdef"
REFERENCES = [
    "{env:DASHSCOPE_API_KEY}",
    "{file:~/.dashscope/key}",
    "{secret:wan}",
    "${DASHSCOPE_API_KEY}",
    "${env:DASHSCOPE_API_KEY}",
    "${input:dashscope_key}",
    "${KEY:-none}",
    "${{ secrets.KEY }}",
    "{{ .Values.key }}",
    "#{KEY}",
    "$DASHSCOPE_API_KEY",
    "$env:DASHSCOPE_API_KEY",
    "$(cat key)",
    "%DASHSCOPE_API_KEY%",
    "!KEY!",
    "__KEY__",
    "op://vault/wan/key",
    "file:///run/secrets/key",
    "vault:secret/wan#key",
    "env:KEY",
    "process.env.KEY",
    'os.environ["KEY"]',
    "@key.txt",
    "/run/secrets/key",
    "~/.dashscope/key",
    "C:\\keys\\wan",
    "DASHSCOPE_API_KEY",
    "DASHSCOPE_API_KEY=",
    '{"key": "sk-abc"}',
    "sk-${REST}",
    "Bearer <your key>",
]
SAMPLES = [
    "<your key>",
    "[your key]",
    "YOUR_API_KEY",
    "your-api-key",
    "sk-your-key",
    "sk-your-dashscope-key-here",
    "Put your API key here!",
    "insert-key",
    "changeme",
    "replace_me",
    "TODO",
    "placeholder",
    "sk-xxxxxxxx",
    "sk-...",
    "sk-…",
    "sk-****",
    "sk-",
    "***",
    "-",
    "您的密钥",
]
NOTHING = ["null", "NULL", "None", "nil", "undefined", "[object Object]", '""', "''", "sk-undefined"]
MORE = {
    "DASHSCOPE_API_KEY=sk-abcdef": "a name before it",
    "export KEY=sk-abcdef": "a name before it",
    "--api-key=sk-abcdef": "a name before it",
    "api_key: sk-abcdef": "a name before it",
    "Bearer sk-abcdef": "the word Bearer",
    "Authorization: Bearer sk-abcdef": "the word Bearer",
    '"sk-abcdef"': "quotes",
    "'sk-abcdef'": "quotes",
    "“sk-abcdef”": "quotes",
    'sk-abcdef"': "quotes",
    "sk-abcdef,": "a comma at its end",
    "sk-abcdef;": "a semicolon at its end",
    "sk-abcdef\\n": "a backslash, as in \\n",
    "sk-abcdef\\r\\n": "a backslash, as in \\n",
    "sk-abc def": "blanks or line ends",
    "sk-abc\nsk-def": "blanks or line ends",
    "sk-abc\u200b": "characters that cannot be seen",
    "\ufeffsk-abc": "characters that cannot be seen",
    "sk-kéy": "characters that no key has",
    "sk-abc,sk-def": "characters that no key has",
    "sk-abc>": "characters that no key has",
}


@pytest.mark.parametrize("text", [*REFERENCES, *SAMPLES, *NOTHING])
def test_what_is_visibly_no_key_is_a_placeholder(text: str) -> None:
    assert is_placeholder(text)
    access = read_settings({"DASHSCOPE_API_KEY": text}).regions["singapore"]
    assert access.api_key is None
    assert "DASHSCOPE_API_KEY still holds a placeholder" in access.problem


@pytest.mark.parametrize("text", MORE)
def test_what_is_more_than_a_key_is_named_and_the_key_is_not(text: str) -> None:
    problem = read_settings({"DASHSCOPE_API_KEY": text}).regions["singapore"].problem
    assert problem.startswith(f"DASHSCOPE_API_KEY holds more than a key: {MORE[text]}.")
    assert "sk-" not in problem


@pytest.mark.parametrize("text", ["sk-ab****yz", "sk-abc...xyz", "sk-abc…xyz", "sk-abc•••xyz"])
def test_a_key_as_a_console_shows_it_was_shortened(text: str) -> None:
    assert "shortened" in read_settings({"DASHSCOPE_API_KEY": text}).regions["singapore"].problem


@pytest.mark.parametrize(
    ("text", "owner"), [("LTAI5tAbCdEf", "AccessKey"), ("sk-ant-api03-abc", "Anthropic"), ("sk-proj-abc", "OpenAI")]
)
def test_the_key_of_somebody_else_is_not_sent_to_the_service(text: str, owner: str) -> None:
    assert owner in read_settings({"DASHSCOPE_API_KEY": text}).regions["singapore"].problem


@pytest.mark.parametrize("text", ["test", "dummy", "0", "true", "12345678"])
def test_a_word_or_a_number_is_no_key_of_the_service_and_may_be_one_of_a_gateway(text: str) -> None:
    assert "no key" in read_settings({"DASHSCOPE_API_KEY": text}).regions["singapore"].problem
    gateway = {"DASHSCOPE_API_KEY": text, "DASHSCOPE_HTTP_BASE_URL": "http://127.0.0.1:9000/api/v1"}
    assert read_settings(gateway).regions["singapore"].problem is None


@pytest.mark.parametrize(
    "key",
    [GENERAL, "sk-ws-H.ABCD.xyz_-12", "st-0123456789abcdef", "sk-1", "sk-the-right-key", "abc+/def==", "sk-x9..z"],
)
def test_what_looks_like_a_key_is_one(key: str) -> None:
    assert not is_placeholder(key)
    assert find_fault(key, own_host=True) is None


@given(st.text(st.sampled_from("0123456789abcdefABCDEFGHxyz"), min_size=16, max_size=64))
def test_no_key_of_letters_and_digits_is_taken_for_a_placeholder(body: str) -> None:
    assert not is_placeholder(f"sk-{body}x1")
    assert find_fault(f"sk-{body}", own_host=True) is None


@pytest.mark.parametrize("text", ["{env:REGION}", "${REGION}", "undefined", "null", "'${REGION}'", "%REGION%"])
def test_any_setting_that_nobody_filled_in_counts_as_not_set(text: str) -> None:
    assert is_unfilled(text)
    assert read_settings({"DASHSCOPE_REGION": text, "WAN_MCP_OUTPUT_DIR": text}) == read_settings({})


def test_a_sample_of_an_id_counts_as_not_set_and_an_address_does_not() -> None:
    assert is_sample("llm-your-workspace")
    assert not is_sample("https://llm-1.example")
