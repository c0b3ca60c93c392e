"""What a campaign came to: counted at the service, in the ledger and on the disk, which must agree."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from campaigns.state_reader import StateReader
from campaigns.tally import format_report
from fakes.dashscope import FakeService

_FOUND_AGAIN = "found again"


@dataclass
class Report:
    """The figures of one campaign; `broken` names the promises that were not kept."""

    title: str
    orders: int = 0
    seconds: float = 0.0
    kills: int = 0
    kills_in_a_submit: int = 0
    stops: int = 0
    cuts: int | None = None
    restarts: int | None = None
    repeated_calls: int = 0
    answers_cut_off: int = 0
    creates: int = 0
    tasks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    paid_images: int = 0
    files: int = 0
    recovered: int = 0
    unclear: int = 0
    foreign_saved: int = 0
    duplicates: list[str] = field(default_factory=list)
    without_file: list[str] = field(default_factory=list)
    more_than_once: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def promises(self) -> Mapping[str, list[str]]:
        """Each promise with what breaks it."""
        return {
            "prompts ordered twice": self.duplicates,
            "paid images without a file": self.without_file,
            "paid images with two files": self.more_than_once,
            "files under the wrong order": self.misplaced,
            "files that are damaged": self.damaged,
            "unfinished rows": self.unfinished,
            "temporary files left": self.leftovers,
            "orders without an end": self.unanswered,
            "other broken promises": self.others,
        }

    @property
    def broken(self) -> dict[str, list[str]]:
        """The promises that were not kept."""
        return {name: cases for name, cases in self.promises.items() if cases}

    @property
    def rows(self) -> list[tuple[str, object]]:
        """The figures by their names."""
        return [
            ("orders (each a prompt of its own)", self.orders),
            ("kill -9", self.kills),
            ("of them inside a submit", self.kills_in_a_submit),
            ("processes held still past their lease", self.stops),
            *(
                (name, count)
                for name, count in (
                    ("times all connections were cut", self.cuts),
                    ("restarts of the database", self.restarts),
                )
                if count is not None
            ),
            ("calls that were repeated", self.repeated_calls),
            ("answers cut off after delivery", self.answers_cut_off),
            ("creating requests", self.creates),
            ("tasks created", self.tasks),
            ("faults of the service", sum(self.faults.values())),
            ("paid images", self.paid_images),
            ("image files", self.files),
            ("orders found again after a lost answer", self.recovered),
            ("tasks saved as 'whose is unclear'", self.unclear),
            ("images of other programs saved", self.foreign_saved),
            ("seconds", round(self.seconds)),
        ]

    def __str__(self) -> str:
        ends = ", ".join(f"{name} {count}" for name, count in sorted(self.ends.items()))
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        rows = [*self.rows, *((name, len(cases)) for name, cases in self.promises.items())]
        remarks = [f"ends: {ends or 'none'}", f"faults: {faults or 'none'}"]
        return format_report(self.title, rows, self.broken, remarks=remarks, number_width=6)


def count(report: Report, dashscope: FakeService, reader: StateReader) -> None:
    """Compare what the service billed with the ledger and the files."""
    rows = reader.orders()
    _count_service(report, dashscope)
    _count_rows(report, rows)
    _compare_files(report, dashscope, rows, reader)
    report.leftovers = [str(path) for path in reader.leftovers()]


def _count_service(report: Report, dashscope: FakeService) -> None:
    ours = [task for task in dashscope.tasks if task["who"] == "client"]
    prompts = Counter(task["prompt"] for task in ours)
    report.creates, report.tasks = len(dashscope.creates), len(ours)
    report.faults = Counter(f"{place} {kind}" for place, kind in dashscope.faults.taken)
    report.paid_images = dashscope.paid_images()
    report.duplicates = [f"{prompt}: {times} tasks" for prompt, times in prompts.items() if times > 1]
    if dashscope.authorization_at_image_host:
        report.others.append("the key was shown to the image host")


def _count_rows(report: Report, rows: Mapping[str, dict[str, Any]]) -> None:
    for row in rows.values():
        is_ours = row["origin"] == "ordered"
        report.recovered += is_ours and any(_FOUND_AGAIN in note for note in row["notes"])
        report.unclear += row["origin"] == "recovered"
        if is_ours:
            code = f"/{row['error_code']}" if row["error_code"] else ""
            report.ends[f"{row['status']}{code}"] += 1
        if row["stage"] != "CLOSED":
            report.unfinished.append(f"{row['local_id']} {row['stage']} {row['status']} {row['error_message'] or ''}")
        elif row["task_id"] is None and row["status"] == "SUCCEEDED":
            report.others.append(f"{row['local_id']} succeeded without a task")


def _compare_files(
    report: Report, dashscope: FakeService, rows: Mapping[str, dict[str, Any]], reader: StateReader
) -> None:
    by_path = {image["path"]: (row, image) for row in rows.values() for image in row["images"] if image["path"]}
    tasks = {task["id"]: task for task in dashscope.tasks}
    found: Counter[tuple[str, int]] = Counter()
    for picture in reader.pictures():
        report.files += 1
        found[picture.image] += 1
        task_id, index = picture.image
        report.foreign_saved += tasks.get(task_id, {}).get("who") == "foreign"
        row, image = by_path.pop(str(picture.path), (None, None))
        if not picture.is_whole:
            report.damaged.append(str(picture.path))
        if row is None or image["state"] != "SAVED":
            report.misplaced.append(f"{picture.path}: no row of the ledger says that it is saved")
            continue
        facts = {
            "the row's task": (row["task_id"], task_id),
            "the row's image": (image["index"], index),
        }
        if picture.sidecar is not None:
            facts["the sidecar's task"] = (picture.sidecar.get("task_id"), task_id)
            facts["the sidecar's image"] = (picture.sidecar.get("index"), index)
        if row["origin"] == "ordered":
            facts["the row's prompt"] = (row["prompt"], picture.texts["prompt"])
            if picture.sidecar is not None:
                facts["the sidecar's prompt"] = (picture.sidecar.get("prompt"), picture.texts["prompt"])
        wrong = [f"{what} is {says}, the file's {is_}" for what, (says, is_) in facts.items() if says != is_]
        if wrong:
            report.misplaced.append(f"{picture.path}: {'; '.join(wrong)}")
    gone = [path for path, (_, image) in by_path.items() if image["state"] == "SAVED"]
    report.others += [f"{path} is saved, says the ledger, and is not there" for path in gone]
    report.more_than_once = [f"{image}: {files} files" for image, files in found.items() if files > 1]
    report.without_file = [
        f"{task['id']} image {index} ({task['prompt']})"
        for task in tasks.values()
        if task["who"] == "client"
        for index in range(1, task["paid_images"] + 1)
        if not found[(task["id"], index)]
    ]
