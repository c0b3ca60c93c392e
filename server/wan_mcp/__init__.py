"""The server: how wan-mcp runs, reaches out and remembers."""

__version__ = "0.1.0"
