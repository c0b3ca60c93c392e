"""How each region is reached: where a key may go, and what is explained."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.settings import read_settings
from wan_mcp.settings.region_access import parse_base_url, region_of_host
from wan_mcp_tools.catalogue.regions import REGIONS
from wan_mcp_tools.domain.errors import SettingsError

KEY = "sk-0123456789abcdef"


def key_of(settings, region: str) -> str | None:
    secret = settings.regions[region].api_key
    return secret.get_secret_value() if secret else None


def test_the_key_of_every_region_may_stand_in_a_file(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(f"sk-{name}\n")
    files = {
        "DASHSCOPE_API_KEY_FILE": str(tmp_path / "one"),
        "DASHSCOPE_API_KEY_BEIJING_FILE": str(tmp_path / "two"),
        "DASHSCOPE_API_KEY_SANDBOX_FILE": str(tmp_path / "three"),
    }
    regions = read_settings(files).regions

    found = {name: regions[name].api_key.get_secret_value() for name in ("singapore", "beijing", "sandbox")}
    assert found == {"singapore": "sk-one", "beijing": "sk-two", "sandbox": "sk-three"}
    assert regions["beijing"].key_setting == "DASHSCOPE_API_KEY_BEIJING_FILE"
    assert regions["virginia"].api_key is None
    both = read_settings(files | {"DASHSCOPE_API_KEY_BEIJING": "sk-set"})
    assert both.regions["beijing"].api_key.get_secret_value() == "sk-set"
    problem = read_settings({"DASHSCOPE_API_KEY_BEIJING_FILE": "/nowhere/key"}).regions["beijing"].problem
    assert problem.startswith("DASHSCOPE_API_KEY_BEIJING_FILE names /nowhere/key, which cannot be read: ")


def test_every_region_is_listed_even_without_a_key() -> None:
    settings = read_settings({})
    assert list(settings.regions) == [region.name for region in REGIONS]
    assert [name for name, access in settings.regions.items() if access.api_key] == ["sandbox"]


# --- keys ---------------------------------------------------------------------------------------------------


def test_the_plain_key_belongs_to_the_default_region_only() -> None:
    settings = read_settings({"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_REGION": "beijing"})
    assert key_of(settings, "beijing") == KEY
    assert [key_of(settings, name) for name in ("singapore", "virginia", "frankfurt")] == [None, None, None]
    assert settings.regions["beijing"].key_setting == "DASHSCOPE_API_KEY"
    assert settings.regions["singapore"].key_setting == "DASHSCOPE_API_KEY_SINGAPORE"


def test_a_key_with_a_suffix_belongs_to_its_region_and_wins_over_the_plain_one() -> None:
    settings = read_settings(
        {"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_API_KEY_SINGAPORE": "sk-own", "DASHSCOPE_API_KEY_BEIJING": "sk-cn"}
    )
    assert key_of(settings, "singapore") == "sk-own"
    assert settings.regions["singapore"].key_setting == "DASHSCOPE_API_KEY_SINGAPORE"
    assert key_of(settings, "beijing") == "sk-cn"


def test_a_missing_key_names_the_plain_variable_for_the_default_region() -> None:
    assert read_settings({}).regions["singapore"].key_setting == "DASHSCOPE_API_KEY"
    assert read_settings({}).regions["tokyo"].key_setting == "DASHSCOPE_API_KEY_TOKYO"


@pytest.mark.parametrize("text", ["", "   ", "${DASHSCOPE_API_KEY}", "{env:DASHSCOPE_API_KEY}", "op://vault/wan/key"])
def test_what_stands_for_a_key_is_none(text: str) -> None:
    settings = read_settings({"DASHSCOPE_API_KEY": text})
    assert key_of(settings, "singapore") is None


def test_a_placeholder_of_the_environment_leaves_the_word_to_the_settings_file(tmp_path: Path) -> None:
    path = tmp_path / "wan.env"
    path.write_text(f"DASHSCOPE_API_KEY={KEY}\n", encoding="utf-8")
    settings = read_settings({"DASHSCOPE_API_KEY": "{env:DASHSCOPE_API_KEY}"}, env_file=path)
    assert key_of(settings, "singapore") == KEY
    assert settings.regions["singapore"].problem is None


def test_a_placeholder_is_mentioned_so_that_nobody_looks_for_the_fault_elsewhere() -> None:
    problem = read_settings({"DASHSCOPE_API_KEY": "${DASHSCOPE_API_KEY}"}).regions["singapore"].problem
    assert "DASHSCOPE_API_KEY still holds a placeholder" in problem
    assert read_settings({"DASHSCOPE_API_KEY": "  "}).regions["singapore"].problem is None


def test_a_plan_key_is_explained_for_the_hosts_where_it_cannot_work() -> None:
    access = read_settings({"DASHSCOPE_API_KEY": "sk-sp-secret1"}).regions["singapore"]
    assert "plan" in access.problem
    assert "pay-as-you-go" in access.problem
    assert "secret1" not in access.problem
    own = {"DASHSCOPE_API_KEY": "sk-sp-1", "DASHSCOPE_HTTP_BASE_URL": "https://gateway.example.com/api/v1"}
    assert read_settings(own).regions["singapore"].problem is None


@pytest.mark.parametrize("text", ["Bearer sk-abcdef123", '"sk-abcdef123"', "sk-abc def", "sk-abc\x07", "sk-kéy"])
def test_a_key_that_no_header_could_carry_is_explained_and_not_repeated(text: str) -> None:
    problem = read_settings({"DASHSCOPE_API_KEY": text}).regions["singapore"].problem
    assert problem.startswith("DASHSCOPE_API_KEY holds more than a key")
    assert "sk-" not in problem


def test_a_placeholder_in_the_name_of_the_key_file_is_mentioned_as_well() -> None:
    problem = read_settings({"DASHSCOPE_API_KEY_FILE_PATH": "{file:~/.dashscope/key}"}).regions["singapore"].problem
    assert problem.startswith("DASHSCOPE_API_KEY_FILE_PATH still holds a placeholder")


def test_blanks_around_a_key_do_not_count() -> None:
    assert key_of(read_settings({"DASHSCOPE_API_KEY": f" {KEY}\r\n"}), "singapore") == KEY


def test_a_key_is_never_in_the_text_of_the_settings() -> None:
    settings = read_settings({"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_API_KEY_BEIJING": "sk-second-secret"})
    assert KEY not in repr(settings)
    assert "second-secret" not in f"{settings} {settings!r} {settings.regions}"


def test_a_key_file_stands_in_for_a_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n", encoding="utf-8")
    settings = read_settings({"DASHSCOPE_API_KEY_FILE_PATH": str(path)})
    assert key_of(settings, "singapore") == KEY
    assert settings.regions["singapore"].key_setting == "DASHSCOPE_API_KEY_FILE_PATH"
    both = read_settings({"DASHSCOPE_API_KEY_FILE_PATH": str(path), "DASHSCOPE_API_KEY": "sk-set"})
    assert key_of(both, "singapore") == "sk-set"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b"\xff\xfe", "no UTF-8 text"),
        (b"<your key>\n", "holds a placeholder"),
        (b"sk-" + b"1" * 5000, "larger than 4096 bytes"),
    ],
)
def test_a_key_file_that_cannot_be_read_is_a_missing_key_with_a_reason(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    settings = read_settings({"DASHSCOPE_API_KEY_FILE_PATH": str(path)})
    assert key_of(settings, "singapore") is None
    assert reason in settings.regions["singapore"].problem


def test_a_key_file_with_more_than_the_key_is_explained_and_its_key_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"DASHSCOPE_API_KEY={KEY}\n", encoding="utf-8")
    problem = read_settings({"DASHSCOPE_API_KEY_FILE_PATH": str(path)}).regions["singapore"].problem
    assert problem.startswith("DASHSCOPE_API_KEY_FILE_PATH holds more than a key: a name before it.")
    assert KEY not in problem


# --- addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"), [("beijing", "beijing"), ("CN-Beijing", "beijing"), (" eu-central-1 ", "frankfurt")]
)
def test_a_region_is_named_by_its_name_or_its_id(text: str, name: str) -> None:
    assert read_settings({"DASHSCOPE_REGION": text}).default_region == name


def test_a_region_is_reached_at_its_shared_host_without_a_workspace() -> None:
    regions = read_settings({}).regions
    assert regions["singapore"].base_url == "https://dashscope-intl.aliyuncs.com/api/v1"
    assert regions["beijing"].base_url == "https://dashscope.aliyuncs.com/api/v1"


def test_a_workspace_has_a_host_of_its_own() -> None:
    settings = read_settings({"DASHSCOPE_WORKSPACE_ID": "llm-1", "DASHSCOPE_WORKSPACE_ID_FRANKFURT": "ws_2"})
    assert settings.regions["singapore"].base_url == "https://llm-1.ap-southeast-1.maas.aliyuncs.com/api/v1"
    assert settings.regions["singapore"].workspace_id == "llm-1"
    assert settings.regions["frankfurt"].base_url == "https://ws_2.eu-central-1.maas.aliyuncs.com/api/v1"
    assert settings.regions["frankfurt"].problem is None
    assert settings.regions["beijing"].workspace_id is None


def test_a_region_without_a_shared_host_asks_for_a_workspace() -> None:
    access = read_settings({}).regions["frankfurt"]
    assert access.base_url is None
    assert access.problem.endswith("set DASHSCOPE_WORKSPACE_ID_FRANKFURT.")
    default = read_settings({"DASHSCOPE_REGION": "frankfurt"}).regions["frankfurt"]
    assert default.problem.endswith("set DASHSCOPE_WORKSPACE_ID.")


@pytest.mark.parametrize("text", ["evil.example/", "a.b", "w" * 65, "-a", "https://llm-1.example", "a@b", "a:1"])
def test_a_workspace_id_cannot_lead_the_key_to_another_host(text: str) -> None:
    with pytest.raises(SettingsError, match="DASHSCOPE_WORKSPACE_ID is"):
        read_settings({"DASHSCOPE_WORKSPACE_ID": text})


@given(st.text(min_size=1))
def test_whatever_the_workspace_id_the_host_stays_the_services_own(text: str) -> None:
    try:
        access = read_settings({"DASHSCOPE_WORKSPACE_ID": text}).regions["singapore"]
    except SettingsError:
        return
    host = access.base_url.removeprefix("https://").removesuffix("/api/v1")
    assert host.endswith(".aliyuncs.com")
    assert not set(host) & set("/@:?#\\ ")


def test_a_base_url_replaces_the_address_of_its_region_and_keeps_the_workspace() -> None:
    settings = read_settings(
        {
            "DASHSCOPE_HTTP_BASE_URL": "https://proxy.example.com/dash/api/v1/",
            "DASHSCOPE_HTTP_BASE_URL_BEIJING": "http://127.0.0.1:9000/api/v1",
            "DASHSCOPE_WORKSPACE_ID": "llm-1",
        }
    )
    assert settings.regions["singapore"].base_url == "https://proxy.example.com/dash/api/v1"
    assert settings.regions["singapore"].workspace_id == "llm-1"
    assert settings.regions["beijing"].base_url == "http://127.0.0.1:9000/api/v1"
    assert settings.regions["virginia"].base_url == "https://dashscope-us.aliyuncs.com/api/v1"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8:80", "[::1]:9000"])
def test_plain_http_is_accepted_to_this_machine(host: str) -> None:
    assert parse_base_url(f"http://{host}/api/v1/") == f"http://{host}/api/v1"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://proxy.example.com/api/v1", "plain http"),
        ("http://127.0.0.1.example.com/api/v1", "plain http"),
        ("http://localhost.example.com/api/v1", "plain http"),
        ("http://10.0.0.1/api/v1", "plain http"),
        ("https://proxy.example.com", "does not end in /api/v1"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "does not end in /api/v1"),
        ("https://proxy.example.com/api/v1?x=1", "does not end in /api/v1"),
        ("https://me:pass@proxy.example.com/api/v1", "holds a user name or a password"),
        ("proxy.example.com/api/v1", "no web address"),
        ("ftp://proxy.example.com/api/v1", "no web address"),
        ("https:///api/v1", "no web address"),
        ("https://host:port/api/v1", "is no URL"),
        ("https://[::1/api/v1", "is no URL"),
    ],
)
def test_an_address_that_is_unfit_is_refused_with_its_reason(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        read_settings({"DASHSCOPE_HTTP_BASE_URL": url})
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://dashscope.aliyuncs.com/api/v1", "https://llm-1.cn-beijing.maas.aliyuncs.com/api/v1"]
)
def test_a_key_is_not_sent_to_the_host_of_another_region(url: str) -> None:
    access = read_settings({"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_HTTP_BASE_URL": url}).regions["singapore"]
    assert access.base_url is None
    assert "is an address of China (Beijing)" in access.problem
    assert "DASHSCOPE_REGION=beijing" in access.problem


def test_the_own_host_of_a_region_may_be_named_outright() -> None:
    settings = read_settings({"DASHSCOPE_HTTP_BASE_URL": "https://dashscope-intl.aliyuncs.com/api/v1"})
    assert settings.regions["singapore"].problem is None


# --- sandbox ------------------------------------------------------------------------------------------------


def test_the_sandbox_lives_in_this_process_and_needs_nothing() -> None:
    access = read_settings({"DASHSCOPE_REGION": "sandbox"}).regions["sandbox"]
    assert (access.in_process, access.base_url, access.problem) == (True, "http://sandbox.invalid/api/v1", None)
    assert access.api_key.get_secret_value() == "sk-sandbox"


def test_a_key_of_the_service_is_not_taken_for_the_sandbox_in_this_process() -> None:
    settings = read_settings({"DASHSCOPE_REGION": "sandbox", "DASHSCOPE_API_KEY": KEY})
    assert key_of(settings, "sandbox") == "sk-sandbox"
    own = read_settings({"DASHSCOPE_API_KEY_SANDBOX": "sk-mine"})
    assert key_of(own, "sandbox") == "sk-mine"


def test_a_sandbox_with_an_address_is_reached_over_http() -> None:
    environment = {"DASHSCOPE_HTTP_BASE_URL_SANDBOX": "http://127.0.0.1:8765/api/v1"}
    access = read_settings(environment).regions["sandbox"]
    assert (access.in_process, access.base_url) == (False, "http://127.0.0.1:8765/api/v1")
    assert access.api_key.get_secret_value() == "sk-sandbox"


def test_a_default_sandbox_with_an_address_takes_the_plain_key() -> None:
    environment = {
        "DASHSCOPE_REGION": "sandbox",
        "DASHSCOPE_HTTP_BASE_URL": "http://127.0.0.1:8765/api/v1",
        "DASHSCOPE_API_KEY": KEY,
    }
    settings = read_settings(environment)
    assert key_of(settings, "sandbox") == KEY
    assert settings.regions["singapore"].base_url == "https://dashscope-intl.aliyuncs.com/api/v1"


def test_the_sandbox_never_stands_for_the_real_service() -> None:
    environment = {
        "DASHSCOPE_REGION": "sandbox",
        "DASHSCOPE_HTTP_BASE_URL": "https://dashscope-intl.aliyuncs.com/api/v1",
        "DASHSCOPE_API_KEY": KEY,
    }
    access = read_settings(environment).regions["sandbox"]
    assert (access.base_url, access.in_process) == (None, False)
    assert "DASHSCOPE_REGION=singapore" in access.problem
    assert access.api_key.get_secret_value() == "sk-sandbox"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("maas.qwencloudapi.com", "singapore"),
        ("ws-1.maas.qwencloudapi.com", "singapore"),
        ("maas.qianwenaiapi.com", "beijing"),
        ("notmaas.qwencloudapi.com", None),
        ("maas.qwencloudapi.com.example.com", None),
    ],
)
def test_the_services_brand_hosts_belong_to_their_region(host, region):
    owner = region_of_host(f"https://{host}/api/v1")
    assert (owner and owner.name) == region


def test_a_brand_host_is_used_only_where_a_setting_names_it_and_for_its_own_region():
    url = "https://maas.qwencloudapi.com/api/v1"
    assert all("maas.q" not in (access.base_url or "") for access in read_settings({}).regions.values())
    assert read_settings({"DASHSCOPE_HTTP_BASE_URL": url}).regions["singapore"].base_url == url
    elsewhere = read_settings({"DASHSCOPE_HTTP_BASE_URL_BEIJING": url}).regions["beijing"]
    assert "address of Singapore" in (elsewhere.problem or "")
