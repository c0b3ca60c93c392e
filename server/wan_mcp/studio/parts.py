"""What every part of the studio needs."""

from dataclasses import dataclass

from wan_mcp.clock import Clock
from wan_mcp.gallery import Gallery
from wan_mcp.ledger import Ledger
from wan_mcp.remote import DashScope
from wan_mcp.settings import Settings
from wan_mcp.studio.news import News
from wan_mcp.studio.timings import Timings
from wan_mcp_tools.shared.offer import Offer


@dataclass(frozen=True, slots=True)
class Parts:
    """The adapters and facts that the studio orders about; `owner` is this process's name in the ledger."""

    settings: Settings
    offer: Offer
    ledger: Ledger
    service: DashScope
    gallery: Gallery
    clock: Clock
    timings: Timings
    news: News
    owner: str
