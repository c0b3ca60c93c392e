"""What may be done once by all processes on the ledger together: names that are used up."""

from wan_mcp.ledger.database import Repository, Transaction, reads, writes

_OWNER = "used"
"""Who has the rows of used names, which are slots that are never left."""


class UsedNames(Repository):
    """
    Notes which names were used, for as long as somebody could use them again.

    A name says by its beginning what it is for.
    """

    @writes
    def use(self, tx: Transaction, name: str, *, seconds: float) -> bool:
        """Use a name up for some seconds from now on; say whether this is the first time."""
        tx.execute("DELETE FROM slots WHERE owner = $1 AND until <= $2", _OWNER, tx.now)
        if tx.execute("SELECT until FROM slots WHERE name = $1 {for_update}", name):
            return False
        tx.execute("INSERT INTO slots (name, owner, until) VALUES ($1, $2, $3)", name, _OWNER, tx.now + seconds)
        return True

    @reads
    def is_used(self, tx: Transaction, name: str) -> bool:
        """Say whether a name is used up."""
        return bool(tx.execute("SELECT until FROM slots WHERE name = $1", name))
