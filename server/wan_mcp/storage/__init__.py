"""Image files: confined, named, verified, written once, previewed."""

from wan_mcp.storage.draft import Draft
from wan_mcp.storage.local import LocalStorage
from wan_mcp.storage.picture import ImageFacts

__all__ = ["Draft", "ImageFacts", "LocalStorage"]
