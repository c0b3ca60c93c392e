"""How many images were ordered, and what became of them, by day, region and model."""

import sqlite3
from collections.abc import Sequence
from datetime import date

from wan_mcp.ledger.records import ImageState, Origin, Stage
from wan_mcp_tools.catalogue.prices import ImageCount
from wan_mcp_tools.domain.tasks import TaskStatus

# The service charges the images that it makes, and these have a row with a link or a file. One that it did not make
# is FAILED with the service's code; one whose link died before it was saved is FAILED with ours, and was charged.
# Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference
_ORDERS = """
    SELECT date(created_at, 'unixepoch', 'localtime') AS day, region, model, stage, status, images_ordered,
        origin = :ordered AS ours,
        (SELECT count(*) FROM images WHERE images.local_id = orders.local_id) AS told,
        (SELECT count(*) FROM images WHERE images.local_id = orders.local_id
            AND (state <> :failed OR code = 'Expired')) AS made
    FROM orders WHERE created_at >= :since
"""
_IS_LOST = "status = :lost OR (stage = :closed AND status IN (:expired, :unknown))"
_SUMS = f"""
    SELECT day, region, model,
        sum(ours * made) AS charged,
        sum(ours * (told = 0 AND stage <> :closed AND status <> :lost) * images_ordered) AS open,
        sum(ours * (told = 0 AND ({_IS_LOST})) * images_ordered) AS unclear,
        sum((1 - ours) * made) AS found
    FROM ({_ORDERS}) GROUP BY day, region, model
    HAVING charged + open + unclear + found > 0
    ORDER BY day DESC, region, model
"""  # noqa: S608 - put together of constants


def count_images(database: sqlite3.Connection, *, since: float) -> Sequence[ImageCount]:
    """Count the images of the orders placed since a moment, newest day first; what was never made counts nowhere."""
    values = {
        "since": since,
        "ordered": Origin.ORDERED,
        "failed": ImageState.FAILED,
        "closed": Stage.CLOSED,
        "lost": TaskStatus.SUBMIT_UNKNOWN,
        "expired": TaskStatus.EXPIRED,
        "unknown": TaskStatus.UNKNOWN,
    }
    return [
        ImageCount(
            date.fromisoformat(row["day"]),
            row["region"],
            row["model"],
            charged=row["charged"],
            open=row["open"],
            unclear=row["unclear"],
            found=row["found"],
        )
        for row in database.execute(_SUMS, values)
    ]
