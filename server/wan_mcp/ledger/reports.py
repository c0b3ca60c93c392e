"""What was learned of orders: how long tasks take, and what images were made and charged, day by day."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date

from wan_mcp.ledger.database import Repository, Transaction, reads, reads_apart
from wan_mcp.ledger.quotas import count_images_since
from wan_mcp.ledger.records import DAY, ImageState, Origin
from wan_mcp.ledger.rows import IS_CLOSED, IS_COUNTABLE, is_name, read_request
from wan_mcp_tools.catalogue.prices import ImageCount, PricedImages
from wan_mcp_tools.domain.tasks import TaskStatus

_DURATIONS = 50
_DAYS_AT_ONCE = 14

# The service charges the images that it makes, and these have a row with a link or a file. One that it did not make
# is FAILED with the service's code; one whose link died before it was saved is FAILED with ours, and was charged.
# Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference
_COUNTED = f"""
    SELECT region, model, request, stage, status, images_ordered,
        CASE WHEN origin = '{Origin.ORDERED}' THEN 1 ELSE 0 END AS ours,
        (SELECT COUNT(*) FROM images WHERE images.local_id = orders.local_id) AS told,
        (SELECT COUNT(*) FROM images WHERE images.local_id = orders.local_id
            AND (state <> '{ImageState.FAILED}' OR code = 'Expired')) AS made
    FROM orders WHERE created_at >= $1 AND created_at < $2 AND {IS_COUNTABLE}
"""  # noqa: S608 - put together of constants
_COUNTED_OWN = f"{_COUNTED} AND principal = $3"
_IS_LOST = (
    f"(status = '{TaskStatus.SUBMIT_UNKNOWN}' "
    f"OR ({IS_CLOSED} AND status IN ('{TaskStatus.EXPIRED}', '{TaskStatus.UNKNOWN}')))"
)
_IS_OPEN = f"(told = 0 AND NOT {IS_CLOSED} AND status <> '{TaskStatus.SUBMIT_UNKNOWN}')"
_SUMS = f"""
    SELECT region, model,
        CAST(SUM(ours * made) AS BIGINT) AS charged,
        CAST(SUM(CASE WHEN {_IS_OPEN} THEN ours * images_ordered ELSE 0 END) AS BIGINT) AS open,
        CAST(SUM(CASE WHEN told = 0 AND {_IS_LOST} THEN ours * images_ordered ELSE 0 END) AS BIGINT) AS unclear,
        CAST(SUM((1 - ours) * made) AS BIGINT) AS found
"""
_BY_KIND = "GROUP BY region, model ORDER BY region, model"
_SUMMED = f"{_SUMS} FROM ({_COUNTED}) AS counted {_BY_KIND}"
_SUMMED_OWN = f"{_SUMS} FROM ({_COUNTED_OWN}) AS counted {_BY_KIND}"
_KINDS = f"""
    SELECT region, model, request, ours * made AS charged,
        CASE WHEN {_IS_OPEN} THEN ours * images_ordered ELSE 0 END AS open
"""
_LISTED = f"{_KINDS} FROM ({_COUNTED}) AS counted WHERE model = $3"
_LISTED_OWN = f"{_KINDS} FROM ({_COUNTED_OWN}) AS counted WHERE model = $4"


class Reports(Repository):
    """
    Sums up orders; a row that cannot be read is left out.

    With `principal` a method knows the orders of a principal alone, and finds them by an index of their own.
    """

    @reads
    def list_durations(self, tx: Transaction, region: str, model: str, images: int) -> Sequence[float]:
        """Give the running times in seconds of the last tasks of this kind, newest first."""
        rows = tx.execute(
            "SELECT duration FROM orders WHERE region = $1 AND model = $2 AND images_ordered = $3 "
            "AND duration IS NOT NULL AND duration BETWEEN 0 AND $4 ORDER BY created_at DESC, local_id DESC LIMIT $5",
            region,
            model,
            images,
            DAY,
            _DURATIONS,
        )
        return [float(row["duration"]) for row in rows]

    @reads
    def count_images_since(self, tx: Transaction, moment: float) -> int:
        """Count the images ordered since a moment; refused and unsent orders do not count."""
        return count_images_since(tx, moment)

    @reads
    def find_first_order(self, tx: Transaction, *, principal: str | None = None) -> float | None:
        """Give the time of the first order; None if there is none."""
        first = f"SELECT MIN(created_at) AS first FROM orders WHERE {IS_COUNTABLE}"  # noqa: S608 - ours
        if principal is None:
            return tx.execute(first)[0]["first"]
        return tx.execute(f"{first} AND principal = $1", principal)[0]["first"]

    async def count_images(
        self,
        days: Sequence[tuple[date, float, float]],
        *,
        graded: Collection[str] = (),
        principal: str | None = None,
    ) -> Sequence[ImageCount]:
        """
        Count the images of the orders placed on each day by region and model; what was never made counts nowhere.

        `days` have their date, their first moment, and the first moment that is too late. Of the models that are
        `graded` it is also told what the price of an image depends on.
        """
        counts: list[ImageCount] = []
        for first in range(0, len(days), _DAYS_AT_ONCE):
            counts += await self._count_images(days[first : first + _DAYS_AT_ONCE], graded, principal)
        return counts

    @reads_apart
    def _count_images(
        self,
        tx: Transaction,
        days: Sequence[tuple[date, float, float]],
        graded: Collection[str],
        principal: str | None,
    ) -> Sequence[ImageCount]:
        whose = () if principal is None else (principal,)
        summed = _SUMMED_OWN if whose else _SUMMED
        counts = [
            ImageCount(
                day,
                row["region"],
                row["model"],
                charged=row["charged"],
                open=row["open"],
                unclear=row["unclear"],
                found=row["found"],
                priced=(
                    _list_priced(tx, row["region"], row["model"], days=(start, end), whose=whose)
                    if row["model"] in graded
                    else ()
                ),
            )
            for day, start, end in days
            for row in tx.execute(summed, start, end, *whose)
            if is_name(row["region"]) and (row["model"] is None or is_name(row["model"]))
        ]
        return [count for count in counts if count.charged + count.open + count.unclear + count.found]


def _list_priced(
    tx: Transaction, region: str, model: object, *, days: tuple[float, float], whose: Sequence[str]
) -> tuple[PricedImages, ...]:
    """Add up the orders of a model that are alike in what their price depends on; `whose` is a principal or none."""
    sums: defaultdict[tuple[str | None, bool], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in tx.execute(_LISTED_OWN if whose else _LISTED, *days, *whose, model):
        request = read_request(row["request"])
        if request is None or row["region"] != region:
            continue
        found = sums[request.size, request.prompt_extend is True]
        inputs = len(request.images)
        added = (row["charged"], row["open"], inputs * (row["charged"] > 0), inputs * (row["open"] > 0))
        found[:] = [one + other for one, other in zip(found, added, strict=True)]
    return tuple(PricedImages(size, is_extended, *numbers) for (size, is_extended), numbers in sums.items())
