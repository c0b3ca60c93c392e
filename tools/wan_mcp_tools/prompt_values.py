"""
What a person filled into a prompt's form, or typed behind a slash command.

Some hosts have a form. Others split the command line at blanks and hand its words to the arguments by position, so
that `/picture a red fox in the snow` arrives as subject=a, style=red, size=fox, model=in and region=the; yet others
send `$1` to `$5`, and put the words there once they have the text. So nothing is refused here: what is no size, model
or region goes back to the other words.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.regions import SANDBOX, find_region
from wan_mcp_tools.catalogue.sizes import is_size
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.tool import is_nothing

PromptValues = Mapping[str, str]
"""What a person filled in, by argument and in the order of the form; what was left empty is absent."""

_CHOICES = ("size", "model", "region")
"""The arguments that take nothing but one of some values."""
_PLACEHOLDER = re.compile(r"\$(?:[0-9]{1,2}|ARGUMENTS|@)")
_LONGEST_WORDS, _LONGEST_NAME = 4_000, 60
"""Characters that are read of a value, and of a name that no prompt has."""


def read_values(names: Sequence[str], given: Mapping[str, object], *, words: str) -> dict[str, str]:
    """
    Give what was filled in, by argument and in the order of the form.

    What is blank is absent. A value of a name that the form does not have is still somebody's wish: it goes behind
    `words`, the argument that takes any.
    """
    texts = {name: text for name, value in given.items() if value is not None and (text := _read(value))}
    others = [f"{name[:_LONGEST_NAME]}: {text}" for name, text in texts.items() if name not in names]
    if others:
        first = [texts[words]] if words in texts else []
        texts[words] = ", ".join([*first, *others])[:_LONGEST_WORDS]
    return {name: texts[name] for name in names if name in texts}


def find_placeholders(values: PromptValues) -> str | None:
    """Give all values as the one line that a host fills in afterwards, or None if it does not work so."""
    if any(_PLACEHOLDER.fullmatch(value) for value in values.values()):
        return " ".join(values.values())
    return None


def sort_words(
    values: PromptValues, catalogue: Catalogue, *, words: str, misfits: Collection[str] = ()
) -> dict[str, str]:
    """
    Give the values with each word where it belongs; `words` is the argument that takes any.

    `misfits` are arguments that are known to hold none of their values, besides those found here. If there is one,
    and no value but the last has a blank in it, a command line was split: all words but a size, a model and a region
    are those of `words`, in their order, and a region that may be meant as a place is one of them too. Otherwise a
    form was filled in, and only what does not fit goes there. In a form "none" and the like stand for nothing.
    """
    meant = {name: value for name, value in values.items() if not is_nothing(value)}
    misfits = {*misfits, *(name for name, value in meant.items() if not _belongs(name, value, catalogue))}
    if not misfits:
        return meant
    is_line = not any(" " in value for value in [*values.values()][:-1])
    kept: dict[str, str] = {}
    loose: list[str] = []
    for name, value in (values if is_line else meant).items():
        if name in _CHOICES and name not in misfits and name in meant:
            kept[name] = value
            if is_line and name == "region" and _is_place(value):
                loose.append(value)
        elif is_line:
            loose += value.split()
        elif name == words or name in misfits:
            loose.append(value)
        else:
            kept[name] = value
    if is_line and not _is_usable(kept.get("region"), catalogue):
        del kept["region"]
    for name in ("size", "model"):
        found = next((word for word in loose if _fits(name, word, catalogue)), None)
        if found is not None and name not in kept:
            kept[name] = found
            loose.remove(found)
    return ({words: (" " if is_line else ", ").join(loose)} if loose else {}) | kept


def _read(value: object) -> str:
    """Give a value as one line of well-formed text."""
    return " ".join(str(value)[:_LONGEST_WORDS].encode(errors="replace").decode().split())


def _belongs(name: str, value: str, catalogue: Catalogue) -> bool:
    """Say whether an argument may hold a value: a choice one of its own, any other what is no choice."""
    if name in _CHOICES:
        return _fits(name, value, catalogue)
    return not _fits("size", value, catalogue) and not _fits("model", value, catalogue)


def _fits(name: str, text: str, catalogue: Catalogue) -> bool:
    """Say whether a text is a size, a model or a region, of whatever kind."""
    if name == "size":
        return is_size(text)
    try:
        if name == "model":
            catalogue.find(text)
        else:
            find_region(text)
    except RequestRefusedError:
        return False
    return True


def _is_place(region: str) -> bool:
    return find_region(region) is not SANDBOX and find_region(region).name == region.lower()


def _is_usable(region: str | None, catalogue: Catalogue) -> bool:
    """Say whether an order can go to a region, or none is named."""
    if region is None:
        return True
    name = find_region(region).name
    return name in (SANDBOX.name, catalogue.default_region) or name in catalogue.keyed_regions
