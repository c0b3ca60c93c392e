"""
What people see in a browser: plain HTML, CSS and JavaScript modules, served as they lie here.

The elements (`<wan-card>`, `<wan-order>`, ...) are given data and dispatch events when a button is pressed; they know
neither the Model Context Protocol nor an address. A page puts them together. Nothing is built, and nothing is fetched
from elsewhere.
"""

from wan_mcp.web.assets import AssetError, inline_page, read_source

__all__ = ["AssetError", "inline_page", "read_source"]
