"""Edits of TOML: a new table at the end, a known one where it stands."""

import tomllib

import pytest

from wan_mcp.clients.formats import MISSING, InvalidConfigError
from wan_mcp.clients.toml import drop, find, put

OURS = {"command": "/bin/wan-mcp", "args": [], "env": {"A": "1"}}
PATH = ("mcp_servers", "wan")

DIFFICULT = """\
# mine
model = "o3"   # the model

[mcp_servers.other]  # not ours
  command = 'npx'
args = [
  "-y", # yes
]

[projects."/home/me/mcp_servers"]
trust_level = "trusted"

[mcp_servers.last]
command = "x"
"""

TABLE = """
[mcp_servers.wan]
command = "/bin/wan-mcp"
args = []

[mcp_servers.wan.env]
A = "1"
"""


def test_a_new_table_goes_to_the_end_and_nothing_else_changes() -> None:
    assert put(DIFFICULT, PATH, OURS) == DIFFICULT + TABLE
    assert put(DIFFICULT + TABLE, PATH, OURS) == DIFFICULT + TABLE


@pytest.mark.parametrize(
    ("before", "gap"), [("", ""), ("a = 1\n", "\n"), ("a = 1", "\n\n"), ("# only words\n", "\n"), ("\n", "")]
)
def test_a_new_table_is_set_off_by_an_empty_line(before: str, gap: str) -> None:
    assert put(before, PATH, OURS) == before + gap + TABLE[1:]


def test_a_file_with_windows_line_ends_keeps_them() -> None:
    text = DIFFICULT.replace("\n", "\r\n")
    done = put(text, PATH, OURS)
    assert done == (DIFFICULT + TABLE).replace("\n", "\r\n")
    changed = put(done, PATH, {**OURS, "command": "/new", "env": {"A": "1", "B": "2"}})
    assert "\n" not in changed.replace("\r\n", "")
    assert changed.startswith(text)


def test_of_an_older_table_only_what_differs_changes() -> None:
    before = """\
[mcp_servers.wan] # ours
command = "/old" # moved
startup_timeout_sec = 20
env = { A = "0", MINE = "kept" }

[other] # theirs
x   =   1
"""
    after = before.replace('"/old" # moved', '"/bin/wan-mcp" # moved').replace('A = "0"', 'A = "1"')
    done = put(before, PATH, OURS)
    assert done.replace("args = []\n", "") == after
    assert tomllib.loads(done)["mcp_servers"]["wan"]["args"] == []


def test_a_table_in_another_form_is_filled_in_that_form() -> None:
    text = 'mcp_servers = { other = { command = "x" } }\nz = 1\n'
    done = put(text, PATH, OURS)
    assert tomllib.loads(done) == {"mcp_servers": {"other": {"command": "x"}, "wan": OURS}, "z": 1}
    assert done.endswith("\nz = 1\n")


def test_a_table_without_variables_gains_them_in_its_own_place() -> None:
    before = '[mcp_servers.wan]\ncommand = "/bin/wan-mcp"\nargs = []\n\n[other]\nx = 1\n'
    done = put(before, PATH, OURS)
    assert tomllib.loads(done) == {"mcp_servers": {"wan": OURS}, "other": {"x": 1}}
    assert done.endswith("[other]\nx = 1\n")


def test_the_last_table_may_be_removed() -> None:
    assert drop(TABLE, PATH).strip() == ""


def test_a_removed_table_leaves_everything_else() -> None:
    assert drop(DIFFICULT + TABLE, PATH) == DIFFICULT + "\n"
    middle = DIFFICULT.replace("[projects", TABLE + "\n[projects")
    assert drop(middle, PATH).replace("\n", "") == DIFFICULT.replace("\n", "")
    assert drop(DIFFICULT, PATH) == DIFFICULT


def test_a_missing_table_is_missing() -> None:
    assert find(DIFFICULT, PATH) is MISSING
    assert find(DIFFICULT, ("model", "x")) is MISSING
    assert find(DIFFICULT, ("mcp_servers", "last")) == {"command": "x"}


@pytest.mark.parametrize("text", ["[", "a = ", "a = 1\na = 2\n", '"'])
def test_what_is_no_toml_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfigError):
        put(text, PATH, OURS)


def test_what_has_no_place_for_us_is_refused() -> None:
    with pytest.raises(InvalidConfigError):
        put("mcp_servers = 3\n", PATH, OURS)
    with pytest.raises(InvalidConfigError):
        put("[[mcp_servers]]\na = 1\n", PATH, OURS)
