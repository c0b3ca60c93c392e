"""What PostgreSQL refuses, in our words: what is wrong with the ledger's database, and what helps."""

import logging

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from wan_mcp_tools.domain.errors import ErrorCode, LedgerError

_log = logging.getLogger(__name__)

_LOCKED = (errors.LockNotAvailable, errors.QueryCanceled)
_FULL = (errors.DiskFull, errors.TooManyConnections)
_REFUSED = (errors.InvalidAuthorizationSpecification, errors.InsufficientPrivilege, errors.InvalidCatalogName)
_DAMAGED = (errors.UndefinedTable, errors.UndefinedColumn, errors.DataCorrupted, errors.IndexCorrupted)
_LOOK = "Check WAN_MCP_LEDGER_URL and that the database runs."


def explain(error: Exception) -> LedgerError:
    """
    Say why the database could not be used, and what helps; the database's own words go to the log.

    Source of the names: https://www.postgresql.org/docs/current/errcodes-appendix.html
    """
    _log.warning("the ledger's database: %s: %s", type(error).__name__, str(error).partition("\n")[0])
    match error:
        case _ if isinstance(error, _LOCKED):
            return LedgerError(
                "The ledger's database is busy.", "Wait a moment and call again.", code=ErrorCode.LEDGER_LOCKED
            )
        case _ if isinstance(error, _FULL):
            return LedgerError(
                "The ledger's database has no room.",
                "Free some space or allow more connections there.",
                code=ErrorCode.LEDGER_DISK_FULL,
            )
        case _ if isinstance(error, _REFUSED):
            return LedgerError(
                "The ledger's database refuses the user or the name in WAN_MCP_LEDGER_URL.",
                "Check its user, password and database.",
                code=ErrorCode.LEDGER_UNAVAILABLE,
                retryable=False,
            )
        case _ if isinstance(error, _DAMAGED):
            return LedgerError(
                "The ledger's tables are not as wan-mcp made them.",
                "Restore the database from its backup, or name an empty one in WAN_MCP_LEDGER_URL.",
                code=ErrorCode.LEDGER_DAMAGED,
                retryable=False,
            )
        case psycopg.OperationalError() | PoolTimeout():
            return LedgerError("The ledger's database cannot be reached.", _LOOK, code=ErrorCode.LEDGER_UNAVAILABLE)
        case _:
            return LedgerError(
                f"The ledger's database cannot be used ({type(error).__name__}).",
                _LOOK,
                code=ErrorCode.LEDGER_UNAVAILABLE,
            )
