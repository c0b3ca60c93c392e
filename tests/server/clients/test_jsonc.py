"""Edits of JSON with comments: only our characters change."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.clients.formats import MISSING, InvalidConfigError
from wan_mcp.clients.jsonc import append, drop, drop_element, find, load, look_up, parse, put

OURS = {"command": "/bin/wan-mcp", "args": [], "env": {"A": "1"}}
PATH = ("mcpServers", "wan")


DIFFICULT = """\
// settings of mine
{
\t"theme": "dark", // "mcpServers": {
\t/* a block
\t   { of words } */
\t"projects": {"mcpServers": {"wan": {"command": "not this one"}}},
\t"mcpServers": {
\t\t\t"other": {
\t\t\t  "command": "npx", "args": ["-y", "x"], // odd
\t\t\t},
\t\t\t// the end
\t},
\t"url": "http://x/y", // no comment in a text
}
"""

DIFFICULT_AFTER = """\
// settings of mine
{
\t"theme": "dark", // "mcpServers": {
\t/* a block
\t   { of words } */
\t"projects": {"mcpServers": {"wan": {"command": "not this one"}}},
\t"mcpServers": {
\t\t\t"other": {
\t\t\t  "command": "npx", "args": ["-y", "x"], // odd
\t\t\t},
\t\t\t// the end
\t\t\t"wan": {
\t\t\t\t\t"command": "/bin/wan-mcp",
\t\t\t\t\t"args": [],
\t\t\t\t\t"env": {
\t\t\t\t\t\t\t"A": "1"
\t\t\t\t\t}
\t\t\t},
\t},
\t"url": "http://x/y", // no comment in a text
}
"""


def test_a_difficult_file_gains_our_entry_once_and_nothing_else() -> None:
    assert put(DIFFICULT, PATH, OURS) == DIFFICULT_AFTER
    assert put(DIFFICULT_AFTER, PATH, OURS) == DIFFICULT_AFTER
    assert drop(DIFFICULT_AFTER, PATH) == DIFFICULT


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "s": {\n    "w": 1\n  }\n}\n'),
        ("  \n", '{\n  "s": {\n    "w": 1\n  }\n}\n'),
        ("// mine", '// mine\n{\n  "s": {\n    "w": 1\n  }\n}\n'),
        ("{}", '{\n  "s": {\n    "w": 1\n  }\n}'),
        ("{ }\n", '{\n  "s": {\n    "w": 1\n  }\n}\n'),
        ("{\n}\n", '{\n  "s": {\n    "w": 1\n  }\n}\n'),
        ('{"a": 1}', '{"a": 1, "s": {"w": 1}}'),
        ('{"a": 1,}', '{"a": 1, "s": {"w": 1},}'),
        ('{"a": 1 /* x */ }', '{"a": 1, /* x */ "s": {"w": 1} }'),
        ('{"s": {"b": 2}}', '{"s": {"b": 2, "w": 1}}'),
        ('{\n    "a": 1\n}', '{\n    "a": 1,\n    "s": {\n        "w": 1\n    }\n}'),
        ('{\n "a": 1 // last\n}', '{\n "a": 1, // last\n "s": {\n  "w": 1\n }\n}'),
        ('{\r\n\t"a": 1\r\n}\r\n', '{\r\n\t"a": 1,\r\n\t"s": {\r\n\t\t"w": 1\r\n\t}\r\n}\r\n'),
        ("{ // none yet\n}", '{ // none yet\n  "s": {\n    "w": 1\n  }\n}'),
        ("{ /* none */ }", '{ /* none */\n  "s": {\n    "w": 1\n  }\n }'),
        ('{"a": [\n1]}', '{"a": [\n1],\n  "s": {\n    "w": 1\n  }\n}'),
        ('{\n  "s": {}\n}', '{\n  "s": {\n    "w": 1\n  }\n}'),
    ],
)
def test_a_new_entry_is_laid_out_as_its_file_is(before: str, after: str) -> None:
    done = put(before, ("s", "w"), 1)
    assert done == after
    assert find(done, ("s", "w")) == 1
    assert put(done, ("s", "w"), 1) == done


def test_of_an_older_entry_only_what_differs_changes() -> None:
    before = """{
  "mcpServers": {
    // pictures
    "wan": { // ours
      "command": "/old/wan-mcp", // moved
      "disabled": false,
      "env": {"A": "0", "MINE": "kept"},
    },
    "b": {}
  }
}"""
    after = """{
  "mcpServers": {
    // pictures
    "wan": { // ours
      "command": "/bin/wan-mcp", // moved
      "disabled": false,
      "env": {"A": "1", "MINE": "kept"},
      "args": [],
    },
    "b": {}
  }
}"""
    assert put(before, PATH, OURS) == after


def test_an_escaped_name_is_the_same_name() -> None:
    text = '{"mcp\\u0053ervers": {"w\\u0061n": 1}}'
    assert put(text, PATH, 2) == '{"mcp\\u0053ervers": {"w\\u0061n": 2}}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"s": {"w": 1}}', '{"s": {}}'),
        ('{"s": {"a": 1, "w": 1}}', '{"s": {"a": 1}}'),
        ('{"s": {"w": 1, "a": 1}}', '{"s": {"a": 1}}'),
        ('{"s": {"a": 1, "w": 1,}}', '{"s": {"a": 1,}}'),
        ('{"s": {\n  "w": 1, // ours\n  "a": 1\n}}', '{"s": {\n  // ours\n  "a": 1\n}}'),
        ('{"s": {\r\n  "a": 1,\r\n  "w": 1\r\n}}', '{"s": {\r\n  "a": 1\r\n}}'),
        ('{"s": {\n  "a": 1, // a\n  "w": 1\n}}', '{"s": {\n  "a": 1 // a\n}}'),
        ('{"s": {"x": 1}}', '{"s": {"x": 1}}'),
        ("{}", "{}"),
        ("", ""),
    ],
)
def test_a_removed_entry_leaves_everything_else(before: str, after: str) -> None:
    assert drop(before, ("s", "w")) == after


def test_elements_come_and_go_in_arrays() -> None:
    text = '{\n  "inputs": [\n    {"id": "a"}\n  ]\n}'
    longer = append(text, ("inputs",), {"id": "b"})
    assert load(longer) == {"inputs": [{"id": "a"}, {"id": "b"}]}
    assert drop_element(longer, ("inputs",), 1) == text
    assert load(append("{}", ("inputs",), 1)) == {"inputs": [1]}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{'a': 1}",
        "{a: 1}",
        '{"a" 1}',
        '{"a": 1 "b": 2}',
        '{"a": 01}',
        '{"a": NaN}',
        '{"a": 1}}',
        '{"a": True}',
        '{"a": "\n"}',
        '{"a": "\\x"}',
        "{,}",
        "[1,,2]",
        "/* open",
        '{"a": 1} x',
        "[" * 200 + "]" * 200,
    ],
)
def test_what_is_no_json_is_refused_with_the_place(text: str) -> None:
    with pytest.raises(InvalidConfigError, match=r"^line \d+, column \d+: "):
        put(text, PATH, OURS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "does not begin with an object"),
        ("3", "does not begin with an object"),
        ('{"mcpServers": []}', "mcpServers is no object"),
        ('{"mcpServers": null}', "mcpServers is no object"),
        ('{"mcpServers": {}, "mcpServers": {}}', "names 'mcpServers' twice"),
    ],
)
def test_what_has_no_place_for_us_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidConfigError, match=reason):
        put(text, PATH, OURS)


# --- any file -----------------------------------------------------------------------------------------------

BLANKS = st.sampled_from(["", " ", "\n", "\t", "  ", "\r\n", "/* c */", '// {"x": [\n', " /* , */ ", "\n    "])
NAMES = st.sampled_from(["a", "b", "wan2", "ключ", 'with "quotes"', "x/y", "mcpServers2"])
LEAVES = st.one_of(
    st.booleans(), st.none(), st.integers(), st.text(max_size=6), st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


def write(draw, value) -> str:
    """Write a value as some person might: any blanks, comments, trailing commas."""

    def gap() -> str:
        return draw(BLANKS)

    if isinstance(value, dict):
        parts = [
            f"{gap()}{json.dumps(name, ensure_ascii=draw(st.booleans()))}{gap()}:{gap()}{write(draw, each)}{gap()}"
            for name, each in value.items()
        ]
        opening, closing = "{", "}"
    elif isinstance(value, list):
        parts = [f"{gap()}{write(draw, each)}{gap()}" for each in value]
        opening, closing = "[", "]"
    else:
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    trailing = "," + gap() if parts and draw(st.booleans()) else ""
    return opening + ",".join(parts) + trailing + (gap() if not parts else "") + closing


@st.composite
def files(draw) -> tuple[object, str]:
    data = draw(st.dictionaries(NAMES, VALUES, max_size=4))
    if draw(st.booleans()):
        data["mcpServers"] = draw(st.dictionaries(NAMES, VALUES, max_size=3))
    return data, draw(BLANKS) + write(draw, data) + draw(BLANKS)


def common(one: str, other: str) -> int:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return length


@given(files())
def test_any_file_means_the_same_with_our_entry_added(file) -> None:
    data, text = file
    assert load(text) == data
    done = put(text, PATH, OURS)
    data["mcpServers"] = {**data.get("mcpServers", {}), "wan": OURS}
    assert load(done) == data
    assert put(done, PATH, OURS) == done


@given(files())
def test_in_any_file_what_is_outside_our_entry_keeps_its_bytes(file) -> None:
    _, text = file
    done = put(text, PATH, OURS)
    start = common(text, done)
    end = common(text[start:][::-1], done[start:][::-1])
    # Between the first and the last difference lie at most blanks and comments, behind the comma that we add.
    left = text[start : len(text) - end]
    assert not left.strip() or done[start:].startswith("," + left)


@given(files())
def test_what_was_added_to_any_file_can_be_taken_out_again(file) -> None:
    data, text = file
    back = drop(put(text, PATH, OURS), PATH)
    data.setdefault("mcpServers", {})
    assert load(back) == data


@given(files(), st.dictionaries(NAMES, VALUES, max_size=3))
def test_an_entry_of_ours_changes_inside_its_own_bounds(file, older) -> None:
    _, text = file
    before = put(text, PATH, {"command": "old", **older})
    after = put(before, PATH, OURS)
    bounds = [each.find('"wan"') for each in (before, after)]
    assert before[: bounds[0]] == after[: bounds[1]]
    old, new = (span_of(each) for each in (before, after))
    assert before[old[1] :] == after[new[1] :]
    assert find(after, PATH) == {"command": "old", **older, **OURS}


def span_of(text: str) -> tuple[int, int]:
    node = look_up(parse(text).root, PATH)
    return node.start, node.end


def test_a_missing_value_is_told_from_a_null() -> None:
    assert find('{"a": null}', ("a",)) is None
    assert find('{"a": null}', ("b",)) is MISSING
    assert find('{"a": null}', ("a", "b")) is MISSING
