"""What every part of the service needs."""

from dataclasses import dataclass

from wan_mcp.clock import Clock
from wan_mcp.dashscope import DashScope
from wan_mcp.ledger import Ledger
from wan_mcp.orders.news import News
from wan_mcp.orders.timings import Timings
from wan_mcp.settings import Settings
from wan_mcp.storage import Storage
from wan_mcp_tools.catalogue.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Parts:
    """The adapters and facts that the service orders about; `owner` is this process's name in the ledger."""

    settings: Settings
    catalogue: Catalogue
    ledger: Ledger
    dashscope: DashScope
    storage: Storage
    clock: Clock
    timings: Timings
    news: News
    owner: str
