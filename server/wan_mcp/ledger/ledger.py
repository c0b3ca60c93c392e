"""What survives a restart: every order, its task and its images."""

from anyio import Event

from wan_mcp.ledger.database import Database
from wan_mcp.ledger.leases import Leases
from wan_mcp.ledger.limits import Limits
from wan_mcp.ledger.listings import Listings
from wan_mcp.ledger.orders import Orders
from wan_mcp.ledger.quotas import Quotas
from wan_mcp.ledger.reports import Reports
from wan_mcp.ledger.search import Search
from wan_mcp.ledger.totals import Totals
from wan_mcp.ledger.uploads import Uploads
from wan_mcp.ledger.used_names import UsedNames


class Ledger:
    """
    The record of orders, on a database.

    Every method raises `LedgerError` when the ledger cannot be used: locked for longer than a few seconds, damaged,
    unwritable, or written by a newer release. A write has reached the disk when its method returns.
    `volatile_database` keeps what may be forgotten in a power cut: how fast questions may be asked, and
    what was read of the service's lists.
    """

    def __init__(self, database: Database, volatile_database: Database) -> None:
        self._databases = (database, volatile_database)
        self._database = database
        self.orders = Orders(database)
        self.leases = Leases(database)
        self.limits = Limits(database, volatile_database)
        self.listings = Listings(volatile_database)
        self.quotas = Quotas(database)
        self.reports = Reports(database)
        self.search = Search(database)
        self.used_names = UsedNames(database)
        self.totals = Totals(database)
        self.uploads = Uploads(database)

    async def exists(self) -> bool:
        """Say whether there is anything to read, without making it."""
        return await self._database.exists()

    async def version(self) -> object:
        """Give a value that differs after any process has written, None if nothing is there. Reads no rows."""
        return await self._database.version()

    def next_change(self, topic: str) -> Event:
        """
        Give an event that is set when another process has told of a topic: `FREE_ORDERS`, an order, a slot it freed.

        Not every database tells of it, and none for certain: whoever waits for it also looks every now and then.
        """
        return self._database.next_change(topic)

    async def close(self) -> None:
        """Close the ledger; the next call opens it again."""
        for database in self._databases:
            await database.close()
