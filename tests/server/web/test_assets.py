"""The files of the pages, and one document of many."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from wan_mcp.web import AssetError, inline_page, read_source
from wan_mcp.web.assets import bundle_modules

SOURCES = sorted(path.name for path in files("wan_mcp.web").joinpath("static").iterdir())


class Reader(HTMLParser):
    """Collects what a browser would fetch, and the text of scripts and styles."""

    def __init__(self):
        super().__init__()
        self.fetched = []
        self.texts = {"script": [], "style": []}
        self._inside = None

    def handle_starttag(self, tag, attrs):
        self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self._inside = tag if tag in self.texts else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.texts[self._inside].append(data)


@pytest.fixture(scope="module")
def view():
    reader = Reader()
    reader.feed(inline_page("view.html"))
    return reader


def test_the_view_is_one_document_that_fetches_nothing(view):
    assert view.fetched == []
    assert len(view.texts["script"]) == 1
    assert len(view.texts["style"]) == 2


def test_the_script_of_the_view_holds_every_module_once_with_no_import_left(view):
    (script,) = view.texts["script"]

    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    defined = re.findall(r'customElements\.define\("(wan-[a-z]+)"', script)
    assert sorted(defined) == sorted(set(defined))
    assert {
        "wan-card",
        "wan-lightbox",
        "wan-order",
        "wan-status",
        "wan-prompt",
        "wan-copy",
        "wan-confirm",
        "wan-edit",
    } == set(defined)


def test_a_module_stands_behind_all_that_it_imports():
    script = bundle_modules("lightbox.js")

    places = [script.index(f"class {name} ") for name in ("WanCopy", "WanOrder", "WanLightbox")]
    assert places == sorted(places)
    assert script.index("function make(") < places[0]


@pytest.mark.parametrize("name", [name for name in SOURCES if name.endswith(".js")])
def test_dates_and_numbers_are_written_in_the_language_of_the_page(name):
    source = read_source(name)

    assert not re.search(r"toLocale\w*String\(\)|Format\((?:undefined|\))", source)


@pytest.mark.parametrize("name", [name for name in SOURCES if name.endswith(".js")])
def test_no_module_makes_elements_of_text_or_reaches_out(name):
    source = read_source(name)

    forbidden = (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    )
    # One module asks, and only the gallery has it: what a host shows has no network at all.
    own = () if name == "api.js" else ("fetch(",)
    network = (*own, "XMLHttpRequest", "WebSocket", "EventSource", "sendBeacon", "import(", "https://fonts")
    assert [word for word in (*forbidden, *network) if word in source] == []


@pytest.mark.parametrize("name", ["buttons.js", "dom.js", "format.js", "lightbox.js", "order.js"])
def test_no_element_knows_a_host_or_a_tool(name):
    source = read_source(name)

    assert not re.search(r"postMessage|tools/call|callTool|jsonrpc|view_image|generate_image", source)
    assert "host.js" not in source


def test_the_view_has_nothing_of_the_gallery(view):
    (script,) = view.texts["script"]

    assert "fetch(" not in script
    assert "fetch(" in bundle_modules("gallery.js")


@pytest.mark.parametrize("name", [name for name in SOURCES if name.endswith(".css")])
def test_no_style_fetches_anything(name):
    assert not re.search(r"url\(|@import|@font-face", read_source(name))


@pytest.mark.parametrize("name", ["../app.py", "assets.py", "view.html/../view.js", "/etc/passwd", "nothing.js", ""])
def test_only_the_sources_of_pages_are_read(name):
    with pytest.raises(AssetError):
        read_source(name)


@pytest.mark.parametrize(
    ("sources", "complaint"),
    [
        ({"a.js": "export default 1;\n"}, "export default"),
        ({"a.js": 'import * as b from "./b.js";\n'}, "import \\*"),
        ({"a.js": 'import { x } from "./b.js";\nconst y = x;\n', "b.js": "export const x = 1;\nconst y = 2;\n"}, "y"),
        ({"a.js": 'const x = "</script>";\n'}, "</script"),
    ],
)
def test_what_cannot_be_bundled_is_refused(sources, complaint):
    with pytest.raises(AssetError, match=complaint):
        bundle_modules("a.js", sources.__getitem__)


def test_modules_that_import_each_other_are_bundled_once():
    sources = {
        "a.js": 'import { b } from "./b.js";\nexport const a = 1;\n',
        "b.js": 'import { a } from "./a.js";\nexport function b() {}\n',
    }

    assert bundle_modules("a.js", sources.__getitem__) == "function b() {}\n\nconst a = 1;\n"


def test_importing_the_pages_reads_no_source():
    script = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import wan_mcp.web
print([path for path in opened if path.endswith((".html", ".css", ".js"))])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
