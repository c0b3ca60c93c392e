"""
An offline look-alike of the service: no key, no network, no cost.

It speaks the protocols of all families, the task calls and the temporary upload as they are documented, with their
checks and error bodies; its tasks take time, its links expire, and it paints a picture of the ordered size that shows
the pictures it came from. It is written from the documentation alone and shares nothing with the client of the real
service, so that a misreading of either shows. The words of a prompt that make it misbehave stand in `tasks`.
"""

from wan_mcp.sandbox.app import IN_PROCESS_UPLOAD_URL, IN_PROCESS_URL, create_app, in_process_app, serve
from wan_mcp.sandbox.file_store import FileStore
from wan_mcp.sandbox.service import SandboxOptions
from wan_mcp.sandbox.stores import MemoryStore, SandboxStore

__all__ = [
    "IN_PROCESS_UPLOAD_URL",
    "IN_PROCESS_URL",
    "FileStore",
    "MemoryStore",
    "SandboxOptions",
    "SandboxStore",
    "create_app",
    "in_process_app",
    "serve",
]
