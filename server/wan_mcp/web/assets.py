"""
The files of the pages: as they lie here, JavaScript modules as one, or a page as one document.

One document is for hosts that show a page without a server behind it. The sources keep to a small part of the
language, so that bundling needs no tool: a module imports by `import { a, b } from "./other.js";` at the start of a
line, exports by `export` before a declaration, renames nothing and shares no top-level name with another module.
What cannot be bundled is refused.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import PurePosixPath

_STYLE = re.compile(r'<link rel="stylesheet" href="\./([\w-]+\.css)">')
_SCRIPT = re.compile(r'<script type="module" src="\./([\w-]+\.js)"></script>')
_IMPORT = re.compile(r'^import (?:\{[^{}]*\} from )?"\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const)\b)", re.MULTILINE)
_UNREAD = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_DECLARED = re.compile(r"^(?:async )?(?:function\*?|class|const|let|var) +(\w+)", re.MULTILINE)
_KINDS = frozenset({".html", ".css", ".js"})


class AssetError(ValueError):
    """Raised when a source does not exist or cannot be bundled with the others."""


def read_source(name: str) -> str:
    """
    Read a source of this folder by its file name. Reads a file: not for the event loop.

    Raises:
        AssetError: there is no such source.
    """
    path = PurePosixPath(name)
    if path.name != name or path.suffix not in _KINDS:
        raise AssetError(f"{name!r} is no source of a page.")
    try:
        return files("wan_mcp.web").joinpath("static", name).read_text(encoding="utf-8")
    except OSError as error:
        raise AssetError(f"There is no source {name!r}.") from error


def inline_page(page: str) -> str:
    """
    Give an HTML source with its styles and scripts inside it. Reads files: not for the event loop.

    Raises:
        AssetError: a source is missing, or cannot be bundled.
    """
    html = _STYLE.sub(
        lambda found: f"<style>\n{_check_end(read_source(found[1]), '</style')}</style>", read_source(page)
    )
    return _SCRIPT.sub(lambda found: f'<script type="module">\n{bundle_modules(found[1])}</script>', html)


def bundle_modules(entry: str, read: Callable[[str], str] = read_source) -> str:
    """
    Give a module and all that it imports as one, what is imported first; `read` gives a source by its name.

    Raises:
        AssetError: a module is missing, imports or exports in another form, or declares a name twice.
    """
    modules = {name: _EXPORT.sub("", _IMPORT.sub("", source)) for name, source in _walk(entry, read, set())}
    for name, source in modules.items():
        if left := _UNREAD.search(source):
            raise AssetError(f"{name} cannot be bundled: {left[0]}")
    counts = Counter(declared for source in modules.values() for declared in _DECLARED.findall(source))
    if twice := [declared for declared, count in counts.items() if count > 1]:
        raise AssetError(f"More than one declaration in {', '.join(modules)}: {', '.join(twice)}")
    return _check_end("\n".join(modules.values()), "</script")


def _walk(name: str, read: Callable[[str], str], seen: set[str]) -> Iterator[tuple[str, str]]:
    seen.add(name)
    source = read(name)
    for imported in _IMPORT.findall(source):
        if imported not in seen:
            yield from _walk(imported, read, seen)
    yield name, source


def _check_end(source: str, end: str) -> str:
    if end in source.lower():
        raise AssetError(f"A source holds {end!r}, which would end it inside a document.")
    return source
