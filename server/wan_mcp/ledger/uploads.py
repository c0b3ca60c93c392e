"""The pictures that people have uploaded to order with: whose each is, where it lies, and until when."""

from collections.abc import Sequence

from wan_mcp.ledger.database import Repository, Row, Transaction, reads, writes
from wan_mcp.ledger.records import DAY, Stage, Upload
from wan_mcp.ledger.rows import read_request
from wan_mcp_tools.domain.errors import CallLimitError
from wan_mcp_tools.domain.requests import InputSource

_STORING_SECONDS = 600.0
"""For which an upload that is not stored yet counts as one: after that its storing has failed."""
_COLUMNS = "id, principal, path, width, height, bytes, created_at, expires_at"


class Uploads(Repository):
    """
    Keeps a row for each upload, from before its bytes are stored until after they are removed.

    So whatever a process that was killed has left in the storage is found by its row.
    """

    @writes
    def reserve(self, tx: Transaction, upload: Upload, *, lifetime: float, most: int, most_bytes: int) -> Upload:
        """
        Write an upload down that is to be stored now; give it with its times, of which `lifetime` is in seconds.

        Raises:
            CallLimitError: its principal has uploaded `most` pictures, or `most_bytes`, in the last 24 hours. What
                could not be stored counts for ten minutes.
        """
        found = tx.execute(
            "SELECT COUNT(*) AS uploads, CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS total, "
            "MIN(CASE WHEN is_stored = 1 THEN created_at END) AS oldest, "
            "MIN(CASE WHEN is_stored = 0 THEN created_at END) AS oldest_unstored "
            "FROM uploads WHERE principal = $1 AND created_at > $2 AND (is_stored = 1 OR created_at > $3)",
            upload.principal,
            tx.now - DAY,
            tx.now - _STORING_SECONDS,
        )[0]
        if found["uploads"] >= most or found["total"] + upload.bytes > most_bytes:
            raise CallLimitError(
                f"At most {most} pictures and {most_bytes // 1_000_000} MB are taken from each in 24 hours.",
                "Use an earlier upload again: its id holds for 24 hours.",
                retry_after=max(1.0, _find_next_end(found, tx.now) - tx.now),
            )
        tx.execute(
            "INSERT INTO uploads (id, principal, path, width, height, bytes, created_at, expires_at, is_stored) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)",
            upload.id,
            upload.principal,
            upload.path,
            upload.width,
            upload.height,
            upload.bytes,
            tx.now,
            tx.now + lifetime,
        )
        return Upload(
            upload.id,
            upload.principal,
            upload.path,
            width=upload.width,
            height=upload.height,
            bytes=upload.bytes,
            expires_at=tx.now + lifetime,
        )

    @writes
    def confirm(self, tx: Transaction, upload_id: str) -> None:
        """Note that an upload is stored: from now on it can be ordered with."""
        tx.execute("UPDATE uploads SET is_stored = 1 WHERE id = $1", upload_id)

    @reads
    def find(self, tx: Transaction, upload_id: str, *, principal: str) -> Upload | None:
        """Give an upload of a principal that is stored and not over yet."""
        rows = tx.execute(
            f"SELECT {_COLUMNS} FROM uploads "  # noqa: S608 - a constant
            "WHERE id = $1 AND principal = $2 AND is_stored = 1 AND expires_at > $3",
            upload_id,
            principal,
            tx.now,
        )
        return _read(rows[0]) if rows else None

    @reads
    def list_over(self, tx: Transaction, *, since: float, limit: int, skipped: int = 0) -> Sequence[Upload]:
        """
        Give some uploads, stored or not, that have been over for so many seconds, the oldest first.

        So many of the oldest are skipped: those that could not be removed.
        """
        rows = tx.execute(
            f"SELECT {_COLUMNS} FROM uploads "  # noqa: S608 - a constant
            "WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 OFFSET $3",
            tx.now - since,
            limit,
            skipped,
        )
        return [_read(row) for row in rows]

    @reads
    def find_awaited(self, tx: Transaction) -> frozenset[str]:
        """Give the ids of the uploads that orders, of whomever, have still to be sent with."""
        rows = tx.execute(
            f"SELECT request FROM orders WHERE stage <> '{Stage.CLOSED}' AND stage IN ($1, $2)",  # noqa: S608 - a constant
            Stage.QUEUED.value,
            Stage.SENDING.value,
        )
        requests = [request for row in rows if (request := read_request(row["request"])) is not None]
        images = (image for request in requests for image in request.images)
        return frozenset(image.reference for image in images if image.source is InputSource.UPLOAD)

    @writes
    def remove(self, tx: Transaction, upload_id: str) -> None:
        """Forget an upload, once nothing of it is stored."""
        tx.execute("DELETE FROM uploads WHERE id = $1", upload_id)


def _find_next_end(found: Row, now: float) -> float:
    """Give when the next of the uploads that count counts no more."""
    stored, unstored = found["oldest"], found["oldest_unstored"]
    ends = [*([] if stored is None else [stored + DAY]), *([] if unstored is None else [unstored + _STORING_SECONDS])]
    return min(ends, default=now + DAY)


def _read(row: Row) -> Upload:
    return Upload(
        row["id"],
        row["principal"],
        row["path"],
        width=row["width"],
        height=row["height"],
        bytes=row["bytes"],
        expires_at=float(row["expires_at"]),
    )
