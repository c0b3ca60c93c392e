"""Image files: confined, named, verified, written once, previewed."""

from wan_mcp.gallery.draft import Draft
from wan_mcp.gallery.gallery import Gallery
from wan_mcp.gallery.picture import ImageFacts

__all__ = ["Draft", "Gallery", "ImageFacts"]
