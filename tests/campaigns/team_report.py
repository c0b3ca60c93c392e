"""What a campaign against a team's server came to: the service, the database and the bucket, which must agree."""

import hashlib
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.report import Report, count
from campaigns.state_reader import Picture, StateReader, decodes
from fakes import tiny_png
from fakes.dashscope import FakeService
from fakes.s3 import Bucket

_DIGITS = 32
"""Of the digest, in a key."""


class BucketReader(StateReader):
    """Reads the ledger from its database, and pictures from their bucket."""

    def __init__(self, folder: Path, ledger_url: str, bucket: Bucket) -> None:
        super().__init__(folder, ledger_url)
        self._bucket = bucket

    def pictures(self) -> Iterator[Picture]:
        """
        Give every picture that lies in the bucket, by the place that the ledger has for it.

        Where the store refuses just after a picture the facts beside it are missing: they are tried once.
        """
        for key in self._bucket.list_keys():
            path = self._bucket.folder / key
            if path.suffix == ".png":
                note = path.with_suffix(".json")
                sidecar = json.loads(note.read_text()) if note.exists() else None
                place = Path(f"/s3:/{self._bucket.name}/{key}")
                yield Picture(place, tiny_png.read_texts(path.read_bytes()), sidecar, decodes(path))

    def find(self, place: Path) -> Path:
        """Give the file in which the store keeps an object."""
        return self._bucket.folder.parent / place.relative_to("/s3:")

    def leftovers(self) -> list[Path]:
        """Give what lies in the bucket and is neither a picture nor the note beside one."""
        keys = set(self._bucket.list_keys())
        pictures = {key.removesuffix(".png") for key in keys if key.endswith(".png")}
        return [Path(key) for key in sorted(keys) if key.rpartition(".")[0] not in pictures]


@dataclass
class TeamReport(Report):
    """The figures of a campaign against a team's server."""

    refusals: int = 0
    refused: int = 0
    worst_second: int = 0
    without_facts: int = 0
    spooled: int = 0
    wrong_digests: list[str] = field(default_factory=list)
    wrong_principals: list[str] = field(default_factory=list)
    seen_by_others: list[str] = field(default_factory=list)

    @property
    def promises(self) -> Mapping[str, list[str]]:
        """Each promise with what breaks it."""
        return {
            **super().promises,
            "pictures with another digest": self.wrong_digests,
            "pictures under another principal": self.wrong_principals,
            "tasks that others see": self.seen_by_others,
        }

    @property
    def rows(self) -> list[tuple[str, object]]:
        """The figures by their names."""
        return [
            *super().rows,
            ("times the object store refused", self.refusals),
            ("requests that it refused", self.refused),
            ("images without the facts beside them", self.without_facts),
            ("most queries in a second", self.worst_second),
            ("parts of images of killed replicas left", self.spooled),
        ]


def count_team(report: TeamReport, dashscope: FakeService, reader: BucketReader, people: Mapping[str, str]) -> None:
    """
    Compare what the service billed with the ledger and the bucket.

    `people` gives the principal of each person, whose name each prompt begins with.
    """
    count(report, dashscope, reader)
    rows = reader.orders()
    report.worst_second = count_worst_second(dashscope)
    folders: dict[str, set[str]] = defaultdict(set)
    for row in rows.values():
        expected = people.get(str(row["prompt"]).partition(" ")[0])
        if row["principal"] != expected:
            report.wrong_principals.append(f"{row['local_id']} ({row['prompt']}) is of {row['principal']}")
    digests = {image["path"]: image["sha256"] for row in rows.values() for image in row["images"]}
    for picture in reader.pictures():
        # Who ordered it stands in the picture itself, as the service has written it.
        report.without_facts += picture.sidecar is None
        folders[str(picture.path.parent)].add(picture.texts["prompt"].partition(" ")[0])
        digest = hashlib.sha256(reader.find(picture.path).read_bytes()).hexdigest()
        if digest != digests.get(str(picture.path)) or not picture.path.stem.endswith(digest[:_DIGITS]):
            report.wrong_digests.append(f"{picture.path}: {digest}")
    for folder, names in folders.items():
        if len(names) != 1 or not Path(folder).name.startswith(f"token-{next(iter(names))}-"):
            report.wrong_principals.append(f"{folder} holds pictures of {', '.join(sorted(names))}")


def count_worst_second(dashscope: FakeService) -> int:
    """Give the most queries and pages of the list that came within any second."""
    times = sorted(each.time for each in dashscope.requests if each.place in ("query", "list"))
    return max((bisect_left(times, time + 1) - first for first, time in enumerate(times)), default=0)


def own_ids(rows: Mapping[str, dict[str, Any]], principal: str) -> set[str]:
    """Give the ids by which a principal's tasks are known."""
    return {
        value for row in rows.values() if row["principal"] == principal for value in (row["task_id"], row["local_id"])
    } - {None}
