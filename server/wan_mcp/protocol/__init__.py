"""Where the tools meet MCP."""

from wan_mcp.protocol.tools import bind

__all__ = ["bind"]
