"""
What people see in a browser: plain HTML, CSS and JavaScript modules, served as they lie here.

The elements (`<wan-card>`, `<wan-order>`, ...) are given data and tell of presses by events; they know neither the
Model Context Protocol nor an address. A page puts them together. Nothing is built or fetched from elsewhere.
"""

from wan_mcp.web.assembly import PageError, assemble, read_source

__all__ = ["PageError", "assemble", "read_source"]
