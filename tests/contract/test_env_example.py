"""The settings that are documented are the settings that exist."""

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from wan_mcp.settings import SETTING_ROWS, expand_name, read_settings
from wan_mcp.settings.files import parse_env
from wan_mcp_tools.catalogue.regions import REGIONS

EXAMPLE = Path(__file__).parents[2] / ".env.example"
ENTRY = re.compile(r"# ([A-Z][A-Z0-9_]*=.*)")
SUFFIX = re.compile(r"_(?:" + "|".join(region.name.upper() for region in REGIONS) + ")(?=$|_FILE$)")


class WatchedEnvironment(Mapping[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, **values: str) -> None:
        self.values_by_name = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


def example_entries() -> list[tuple[str, str]]:
    """Give each commented setting with the comment line above it."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    return [(match.group(1), above) for above, line in itertools.pairwise(lines) if (match := ENTRY.fullmatch(line))]


def test_the_example_lists_every_setting_once_in_the_order_of_the_table() -> None:
    names = [SUFFIX.sub("_<REGION>", entry.split("=")[0]) for entry, _ in example_entries()]
    assert names == [row.name for row in SETTING_ROWS]


def test_the_example_explains_each_setting_in_the_words_of_the_table() -> None:
    assert [above for _, above in example_entries()] == [f"# {row.meaning}" for row in SETTING_ROWS]


def test_nothing_in_the_example_is_switched_on() -> None:
    assert parse_env(EXAMPLE.read_text(encoding="utf-8"), source="example") == {}


def test_the_values_of_the_example_are_accepted_and_its_secrets_count_as_not_set() -> None:
    values = parse_env("\n".join(entry for entry, _ in example_entries()), source="example")
    for name in [name for name in values if name.startswith("DASHSCOPE_API_KEY_") and "FILE" in name]:
        values[name] = ""
    settings = read_settings(values)
    assert settings.extra_models == ({"id": "wan9-t2i", "protocol": "async"},)
    assert [name for name, access in settings.regions.items() if access.api_key] == ["sandbox"]


def test_the_example_shows_the_defaults_that_hold_without_it() -> None:
    shown = parse_env("\n".join(entry for entry, _ in example_entries()), source="example")
    literal = [row for row in SETTING_ROWS if row.default and " " not in row.default]
    assert [shown[row.name] for row in literal] == [row.default for row in literal]
    assert read_settings({row.name: row.default for row in literal}) == read_settings({})


def test_the_settings_that_are_read_are_exactly_those_of_the_table() -> None:
    # A key file is looked for only where no key is set, and a region is asked for only by its own name.
    asked: set[str] = set()
    for region in REGIONS:
        environment = WatchedEnvironment(DASHSCOPE_REGION=region.name, WAN_MCP_STORAGE_URL="s3://pictures")
        read_settings(environment)
        asked |= environment.asked
    # Those of the libraries for metrics and traces are theirs, whoever looks at them.
    ours = {name for name in asked if not name.startswith("OTEL_")}
    assert ours == {name for row in SETTING_ROWS for name in expand_name(row.name)}


@pytest.mark.parametrize("row", SETTING_ROWS, ids=lambda row: row.name)
def test_each_meaning_is_one_sentence(row) -> None:
    assert row.meaning.endswith(".")
    assert not re.search(r"\. [A-Z]", row.meaning)


def test_exactly_the_keys_are_marked_as_secret() -> None:
    assert [row.name for row in SETTING_ROWS if row.secret] == [
        "DASHSCOPE_API_KEY",
        "DASHSCOPE_API_KEY_<REGION>",
        "WAN_MCP_LEDGER_URL",
        "AWS_SECRET_ACCESS_KEY",
        "WAN_MCP_SECRET_KEY",
    ]
