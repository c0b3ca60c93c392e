"""Image files: confined, named, verified, written once, previewed."""

from wan_mcp.storage.base import Draft, Storage
from wan_mcp.storage.local import LocalStorage

__all__ = ["Draft", "LocalStorage", "Storage"]
