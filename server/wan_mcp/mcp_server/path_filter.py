"""
Keeps places of the server out of answers: whoever has no part in its disk is told none.

Answers have links for such callers, and messages are made without places where that can be. This stands
behind all of it: what still names a folder of the settings, as an error of the disk does, is told without.
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from anyio.to_thread import run_sync
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.types import ErrorData
from pydantic import BaseModel

from wan_mcp_tools.domain.principals import current_principal

HIDDEN = "(a place on the server)"
_REST = r"""(?:[/\\](?:[^"'<>|\r\n]{0,300}?\.(?:png|jpe?g|webp|json|sqlite3|part)(?![\w.])|[^\s"'<>|,;:]*))?"""
"""What may follow a folder: the name of a file of ours, which may have blanks, or what goes on without any."""
_ANY_PATH = re.compile(
    r"""(?<![\w./:~#<-])(?:/[\w.+@%~-]+(?:/[\w.+@%~-]*)+|[A-Za-z]:\\[^\s"'<>|,;]+)|s3://[^\s"',;]+"""
)
"""What looks like an absolute path, or like the address of an object; no link of the web."""
_BEGIN = r"(?:(?<![\w./~-])|(?<=file://)|(?<=\\[nrt]))"
"""Where a folder may begin: not within a link or another path, but behind what JSON writes for a new line."""
_LEFT_OUT = frozenset({"blob", "data", "url", "prompt", "actual_prompt", "negative_prompt"})
"""Texts that are handed on as they are: bytes, links, and words for a picture."""


class PathFilter:
    """Takes the places of a server out of texts; `folders` are those that its settings name."""

    def __init__(self, folders: Iterable[Path | str]) -> None:
        self._folders = tuple(folders)
        self._pattern: re.Pattern[str] | None = None

    def hide(self, text: str) -> str:
        """Give a text without these folders and what lies in them."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def hide_from_caller(self, text: str) -> str:
        """Give a text in our words as the current principal may read it."""
        return text if current_principal().is_local else self.hide_all(text)

    def find(self) -> None:
        """Find out where the links of the folders lead, once. Call it in a thread, before anything is hidden."""
        if self._pattern is None:
            shown = dict.fromkeys(each for folder in self._folders for each in _spell(str(folder)))
            roots = sorted((each for each in shown if len(each) > 1), key=len, reverse=True)
            # The last alternative is never met: there may be no folder but the root.
            self._pattern = re.compile(f"{_BEGIN}(?:{'|'.join([*map(re.escape, roots), '(?!)'])}){_REST}")

    def hide_all(self, text: str) -> str:
        """Give an error in our words without anything that looks like a path."""
        return _ANY_PATH.sub(HIDDEN, self.hide(text))

    def hide_in(self, value: Any, *, is_error: bool = False) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Give a value of JSON with all of its texts without places."""
        match value:
            case str():
                return self.hide_all(value) if is_error else self.hide(value)
            case list():
                return [self.hide_in(each, is_error=is_error) for each in cast("list[Any]", value)]
            case dict():
                members = cast("dict[str, Any]", value)
                return {
                    name: each
                    if name in _LEFT_OUT and isinstance(each, str)
                    else self.hide_in(each, is_error=is_error)
                    for name, each in members.items()
                }
            case _:
                return value


def make_path_filter(paths: PathFilter) -> ServerMiddleware[Any]:
    """Make what is around every request: its answer, and its error, name no place where no disk is shared."""

    async def filter_paths(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if current_principal().is_local:
            return await call_next(ctx)
        await run_sync(paths.find)
        try:
            result = await call_next(ctx)
        except MCPError as error:
            told = error.error
            shown = ErrorData(
                code=told.code,
                message=paths.hide_all(told.message),
                data=paths.hide_in(told.data, is_error=True),
            )
            if shown == told:
                raise
            raise MCPError.from_error_data(shown) from error
        if isinstance(result, BaseModel):
            result = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        if result is None:
            return None
        is_error = bool(result.get("isError")) and "structuredContent" not in result
        return paths.hide_in(result, is_error=is_error)

    return filter_paths


def _spell(folder: str) -> list[str]:
    """Give a folder as it may be written: as it is, with its links resolved, and both within JSON."""
    # One that is relative is written so nowhere else.
    is_named = "://" in folder or Path(folder).is_absolute()
    named = [folder] * is_named + [os.path.realpath(folder)] * ("://" not in folder)
    plain = [each.rstrip("/\\") for each in named]
    return [each for text in plain for each in (text, json.dumps(text, ensure_ascii=False)[1:-1])]
