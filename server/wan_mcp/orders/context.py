"""What ordering stands on: the ledger, the service, the image files, and time."""

from dataclasses import dataclass

from wan_mcp.clock import Clock
from wan_mcp.dashscope import DashScope
from wan_mcp.ledger import Ledger
from wan_mcp.storage import Storage


@dataclass(frozen=True, slots=True)
class Context:
    """The adapters that orders are placed, followed and collected with."""

    ledger: Ledger
    dashscope: DashScope
    storage: Storage
    clock: Clock
