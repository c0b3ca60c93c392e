"""What is found on this machine: the program, its settings, the folders and the ledger."""

import errno
import os
import re
import sqlite3
import sys
from contextlib import closing
from importlib import metadata
from pathlib import Path

import pytest

from fakes.orders import accepted, place, save
from fakes.s3 import KEY
from wan_mcp.doctor import Verdict
from wan_mcp.doctor.local_checks import check_program, check_versions
from wan_mcp.ledger.backends.sqlite import open_sqlite_ledger
from wan_mcp.ledger.migrations import MIGRATIONS
from wan_mcp.storage.disk import Disk

GIB = 1 << 30
HOUR = 3600.0


def versions(requires, **installed):
    def version_of(name):
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    return check_versions(version_of, lambda name: requires)


ALL = {"mcp": "2.3.0", "httpx": "0.28.1", "pydantic": "2.14.3", "anyio": "4.16.0"}


def test_the_parts_are_named_with_their_versions():
    (finding,) = check_versions()
    for name in ("Python 3.", "wan-mcp ", "mcp ", "httpx ", "pydantic ", "anyio ", "SQLite 3."):
        assert name in finding.found
    assert finding.verdict is Verdict.OK


def test_versions_that_fit_are_in_order():
    assert len(versions(["mcp<3,>=2.3", "httpx<1,>=0.28", "anyio>=4.10", "pytest>=9; extra == 'dev'"], **ALL)) == 1


@pytest.mark.parametrize(
    ("requirement", "found"),
    [
        ("mcp<3,>=2.4", "version 2.3.0, and wan-mcp needs <3,>=2.4"),
        ("anyio<4.16,>=4.10", "version 4.16.0, and wan-mcp needs <4.16,>=4.10"),
        ("pillow>=11", "not installed"),
    ],
)
def test_a_part_that_does_not_fit_is_a_problem(requirement, found):
    _, finding = versions([requirement], **ALL)
    assert (finding.verdict, finding.found) == (Verdict.PROBLEM, found)
    assert "Install wan-mcp again" in finding.remedy


def test_a_program_that_was_never_installed_lists_no_requirements():
    def never(name):
        raise metadata.PackageNotFoundError(name)

    (finding,) = check_versions(never, never)
    assert "mcp missing" in finding.found


def test_the_command_off_the_path_tells_its_full_path():
    (finding,) = check_program("/opt/wan/bin/wan-mcp", lambda name: None)
    assert finding.found == f"not on the PATH: clients need the full path, {Path('/opt/wan/bin/wan-mcp').absolute()}"
    assert finding.verdict is Verdict.OK


def test_the_command_on_the_path_is_in_order():
    (finding,) = check_program("/opt/wan/bin/wan-mcp", lambda name: "/opt/wan/bin/wan-mcp")
    assert finding.verdict is Verdict.OK


def test_another_command_of_the_name_on_the_path_is_worth_a_note():
    (finding,) = check_program("/opt/wan/bin/wan-mcp", lambda name: "/usr/bin/wan-mcp")
    assert finding.verdict is Verdict.NOTE
    assert "/usr/bin/wan-mcp" in finding.found


def test_a_module_is_told_by_its_python():
    (finding,) = check_program("/somewhere/wan_mcp/__main__.py", lambda name: None)
    assert sys.executable in finding.found


async def test_every_setting_that_is_set_tells_where_it_came_from(doctor, tmp_path):
    path = tmp_path / "settings.env"
    path.write_text("WAN_MCP_MODEL=wan2.5-t2i-preview\nDASHSCOPE_REGION=beijing\n")

    report = await doctor.run(
        parts={"env_file": path}, DASHSCOPE_REGION="sandbox", DASHSCOPE_API_KEY="${DASHSCOPE_API_KEY}"
    )

    found = {finding.looked_at: finding.found for finding in report.of("settings")}
    assert found["DASHSCOPE_REGION"] == f"sandbox, from the environment, which wins over {path}"
    assert found["WAN_MCP_MODEL"] == f"wan2.5-t2i-preview, from {path}"
    assert "DASHSCOPE_API_KEY" not in found
    [others] = [looked_at for looked_at in found if re.fullmatch(r"[0-9]+ other settings", looked_at)]
    assert found[others] == "not set, so their defaults hold"


async def test_every_fault_is_a_finding_with_what_is_allowed_and_the_rest_goes_on(doctor):
    report = await doctor.run(DASHSCOPE_REGION="sandbox", WAN_MCP_WAIT_SECONDS="long", WAN_MCP_DAILY_IMAGE_LIMIT="-1")

    first, second = report.problems
    assert (first.looked_at, first.found) == ("WAN_MCP_WAIT_SECONDS", "is 'long'")
    assert first.remedy == "Use a number of seconds from 0 to 3600."
    assert second.looked_at == "WAN_MCP_DAILY_IMAGE_LIMIT"
    assert {"key", "model", "folder", "ledger"} <= {finding.check for finding in report.findings}


async def test_a_settings_file_that_cannot_be_read_is_a_finding(doctor, tmp_path):
    report = await doctor.run(WAN_MCP_ENV_FILE=str(tmp_path / "none"), DASHSCOPE_API_KEY="sk-0123456789")

    assert "cannot be read: No such file" in report.problem_of("settings").found
    assert report.of("versions")
    assert report.of("key") == []


async def test_a_misspelt_setting_is_worth_a_note(doctor):
    (note,) = (await doctor.run(DASHSCOPE_REGION="sandbox", WAN_MCP_WAIT="5")).notes

    assert note.verdict is Verdict.NOTE
    assert "WAN_MCP_WAIT is no setting and is ignored" in note.found


async def test_a_password_in_an_address_is_not_told(doctor):
    report = await doctor.run(DASHSCOPE_HTTP_BASE_URL="https://user:password@example.com/api/v1")

    assert "holds a user name or a password" in report.problem_of("settings").found
    assert "user:password" not in report.text


def list_files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refuse(directory, name, mode):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


async def run(doctor, *, free=50 * GIB, network_drive=None, create_new=None, **environ):
    disk = Disk(count_free_bytes=lambda folder: free)
    if create_new:
        disk = Disk(count_free_bytes=lambda folder: free, create_new=create_new)
    parts = {"disk": disk, "find_network_drive": lambda folder: network_drive}
    return await doctor.run(parts=parts, DASHSCOPE_REGION="sandbox", **environ)


async def test_folders_that_are_not_there_yet_are_not_made(doctor, tmp_path):
    report = await run(doctor)

    assert [finding.found for finding in report.of("folder")] == [
        f"not there yet, and can be made in {tmp_path}, 50 GiB free"
    ] * 2
    assert list_files(tmp_path) == []


async def test_folders_are_written_to_and_left_as_they_were(doctor, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "state").mkdir()

    report = await run(doctor)

    assert [finding.found for finding in report.of("folder")] == ["can be written to, 50 GiB free"] * 2
    assert list_files(tmp_path) == ["pictures", "state"]


@pytest.mark.parametrize(("name", "setting"), [("pictures", "WAN_MCP_OUTPUT_DIR"), ("state", "WAN_MCP_STATE_DIR")])
async def test_a_folder_that_refuses_names_its_setting(doctor, tmp_path, name, setting):
    (tmp_path / name).mkdir()

    finding = (await run(doctor, create_new=refuse)).problem_of("folder")

    assert str(tmp_path / name) in finding.looked_at
    assert "does not permit" in finding.found
    assert setting in finding.remedy


async def test_a_file_in_the_place_of_a_folder_is_a_problem(doctor, tmp_path):
    (tmp_path / "pictures").write_text("no folder")

    finding = (await run(doctor)).problem_of("folder")

    assert finding.found == f"{tmp_path / 'pictures'} is a plain file, and a folder is needed there"
    assert finding.remedy == f"Move {tmp_path / 'pictures'} away, or name another folder in WAN_MCP_OUTPUT_DIR."


@pytest.mark.parametrize("below", [".", "state", "deep/state"])
async def test_a_state_folder_below_a_plain_file_is_one_problem_told_as_what_it_is(doctor, tmp_path, below):
    (tmp_path / "file").write_text("no folder")

    report = await run(doctor, WAN_MCP_STATE_DIR=str(tmp_path / "file" / below))

    finding = report.problem_of("folder")
    assert finding.found == f"{tmp_path / 'file'} is a plain file, and a folder is needed there"
    assert "WAN_MCP_STATE_DIR" in finding.remedy
    assert report.one("ledger").found == f"not there, and cannot be made: {tmp_path / 'file'} is no folder"
    assert len(report.problems) == 1


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing keeps root out")
async def test_a_folder_that_cannot_be_made_is_a_problem(doctor, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)

    finding = (await run(doctor, WAN_MCP_OUTPUT_DIR=str(closed / "pictures"))).problem_of("folder")

    assert f"{closed}, where it would be made, cannot be written to" in finding.found


async def test_further_folders_are_looked_at_too(doctor, tmp_path):
    (tmp_path / "further").write_text("no folder")

    finding = (await run(doctor, WAN_MCP_ALLOWED_DIRS=str(tmp_path / "further"))).problem_of("folder")

    assert "WAN_MCP_ALLOWED_DIRS" in finding.remedy


@pytest.mark.parametrize(
    ("free", "verdict"), [(10_000_000, Verdict.PROBLEM), (500_000_000, Verdict.NOTE), (None, Verdict.OK)]
)
async def test_a_disk_that_is_nearly_full_is_told(doctor, free, verdict):
    findings = (await run(doctor, free=free)).of("folder")

    assert {finding.verdict for finding in findings} == {verdict}
    assert all(("Free some space" in finding.remedy) == (verdict is not Verdict.OK) for finding in findings)


async def test_a_network_drive_is_worth_a_note_for_the_ledger_only(doctor, tmp_path):
    report = await run(doctor, network_drive="nfs4")

    (note,) = report.notes
    assert str(tmp_path / "state") in note.looked_at
    assert "on a network drive (nfs4)" in note.found
    assert "WAN_MCP_STATE_DIR" in note.remedy
    assert sum("on a network drive" in finding.found for finding in report.of("folder")) == 2


async def test_a_folder_whose_setting_is_faulty_is_not_replaced_by_another(doctor, tmp_path):
    report = await run(doctor, WAN_MCP_OUTPUT_DIR="relative/folder", WAN_MCP_STATE_DIR="also/relative")

    assert report.of("folder") == []
    assert report.of("ledger") == []
    assert {finding.looked_at for finding in report.problems} == {"WAN_MCP_OUTPUT_DIR", "WAN_MCP_STATE_DIR"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "ledger.sqlite3"


@pytest.fixture
async def ledger(path, clock):
    ledger = open_sqlite_ledger(path, clock)
    yield ledger
    await ledger.close()


def execute(path, statement):
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(statement)


async def test_a_ledger_that_is_not_there_is_not_made(doctor, path):
    report = await run(doctor)

    assert report.one("ledger").found == "not there yet; the first order makes it"
    assert report.one("limit").found == "0 of 100"
    assert not path.parent.exists()


async def test_a_sound_ledger_tells_its_version_and_orders(doctor, ledger):
    await place(ledger, images_ordered=3)

    report = await run(doctor)

    assert report.one("ledger").found == f"version {max(MIGRATIONS)}, sound, 1 order"
    assert report.one("limit").found == "3 of 100"


async def test_looking_at_a_ledger_changes_no_byte_of_it(doctor, ledger, path):
    await place(ledger)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    await run(doctor)

    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


async def test_an_older_ledger_is_in_order_and_stays_old(doctor, path):
    path.parent.mkdir()
    execute(path, "PRAGMA user_version = 0")

    report = await run(doctor)

    assert (report.problems, report.notes) == ([], [])
    assert "brings it up to date" in report.one("ledger").found
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (0,)


async def test_a_ledger_of_a_newer_release_is_a_problem(doctor, ledger, path):
    await place(ledger)
    execute(path, f"PRAGMA user_version = {max(MIGRATIONS) + 1}")

    finding = (await run(doctor)).problem_of("ledger")

    assert "written by a newer release" in finding.found
    assert "Update wan-mcp" in finding.remedy


async def test_a_file_that_is_no_ledger_is_a_problem(doctor, path):
    path.parent.mkdir()
    path.write_bytes(b"no ledger at all" * 1000)

    finding = (await run(doctor)).problem_of("ledger")

    assert "is damaged" in finding.found
    assert "Move the file away" in finding.remedy


async def test_a_damaged_ledger_is_a_problem(doctor, ledger, path):
    for _ in range(200):
        await place(ledger)
    await ledger.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xa5" * 8192
    path.write_bytes(content)

    finding = (await run(doctor)).problem_of("ledger")

    assert "damaged" in finding.found
    assert "Move the file away" in finding.remedy


async def test_rows_that_no_list_shows_are_named(doctor, ledger, path):
    for number in range(5):
        await place(ledger, fingerprint=str(number))
    execute(path, "UPDATE orders SET stage = 'FRAMED' WHERE fingerprint > '0'")

    findings = (await run(doctor)).of("ledger")

    [finding] = [each for each in findings if each.verdict is Verdict.PROBLEM]
    assert finding.found.startswith("4 orders left out of every list. The order local-")
    assert finding.found.endswith("its stage is 'FRAMED'. And 1 more")
    assert "update this one" in finding.remedy
    assert any("sound, 5 orders" in each.found for each in findings)


async def test_a_ledger_that_another_program_holds_is_told(doctor, ledger, path):
    await place(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        report = await run(doctor)

    assert "locked by another program" in report.one("ledger").found


@pytest.mark.parametrize(("ordered", "verdict"), [(3, Verdict.OK), (4, Verdict.NOTE), (5, Verdict.PROBLEM)])
async def test_the_daily_limit_is_told_before_it_is_met(doctor, ledger, ordered, verdict):
    await place(ledger, images_ordered=ordered)

    finding = (await run(doctor, WAN_MCP_DAILY_IMAGE_LIMIT="5")).one("limit")

    assert finding.verdict is verdict
    assert finding.found.startswith(f"{ordered} of 5")
    assert ("WAN_MCP_DAILY_IMAGE_LIMIT" in finding.remedy) == (verdict is not Verdict.OK)


async def test_orders_of_yesterday_do_not_count(doctor, ledger, clock):
    await place(ledger, images_ordered=5)
    clock.advance(25 * HOUR)

    assert (await run(doctor, WAN_MCP_DAILY_IMAGE_LIMIT="5")).one("limit").verdict is Verdict.OK


async def test_without_a_limit_there_is_none_to_meet(doctor, ledger):
    await place(ledger, images_ordered=400)

    assert (await run(doctor, WAN_MCP_DAILY_IMAGE_LIMIT="0")).one("limit").found == "400, and no limit is set"


async def open_task(ledger, clock):
    order = await accepted(ledger, "task-1")
    return await save(ledger, order, expires_at=clock.now() + 24 * HOUR)


async def test_a_task_that_a_living_process_works_on_is_in_order(doctor, ledger, clock):
    await open_task(ledger, clock)

    assert (await run(doctor)).one("tasks").found == "1, and a running wan-mcp works on them"


async def test_a_task_that_nobody_works_on_is_worth_a_note(doctor, ledger, clock):
    await open_task(ledger, clock)
    clock.advance(HOUR)

    finding = (await run(doctor)).one("tasks")

    assert finding.verdict is Verdict.NOTE
    assert finding.found == "1 task that nobody works on: task-1 (23 h 00 min left)"
    assert "wan-mcp collect" in finding.remedy


async def test_a_task_near_its_24_hours_is_a_problem(doctor, ledger, clock):
    await open_task(ledger, clock)
    clock.advance(22.5 * HOUR)

    finding = (await run(doctor)).problem_of("tasks")

    assert "task-1 (1 h 30 min left)" in finding.found
    assert "Run wan-mcp collect now" in finding.remedy


async def test_a_task_near_its_24_hours_that_is_worked_on_is_worth_a_note(doctor, ledger, clock):
    await open_task(ledger, clock)
    clock.advance(22.5 * HOUR)
    await ledger.leases.renew("me", lease=30.0)

    assert (await run(doctor)).one("tasks").verdict is Verdict.NOTE


# --- words --------------------------------------------------------------------------------------------------

_OF_THE_TOOLS = re.compile(
    r"\b(?:generate_image|submit_task|get_task|download_image|cancel_task|list_tasks|view_image"
    r"|task_id|output_dir|wait_seconds|fresh=|remote=)\b"
)


def _damage_ledger(folder):
    (folder / "state").mkdir()
    (folder / "state" / "ledger.sqlite3").write_bytes(b"no ledger" * 1000)


def _put_a_folder_for_the_ledger(folder):
    (folder / "state" / "ledger.sqlite3").mkdir(parents=True)


def _put_files_for_the_folders(folder):
    (folder / "state").touch()
    (folder / "pictures").touch()


@pytest.mark.parametrize(
    ("spoil", "environ"),
    [
        (_damage_ledger, {}),
        (_put_a_folder_for_the_ledger, {}),
        (_put_files_for_the_folders, {}),
        (None, {"WAN_MCP_MODEL": "wan9"}),
        (None, {"WAN_MCP_MODEL": "wanx2.0-t2i-turbo", "DASHSCOPE_REGION": "frankfurt"}),
        (None, {"WAN_MCP_EXTRA_MODELS": '[{"id": "x"}]'}),
        (None, {"DASHSCOPE_REGION": "singapore"}),
        (None, {"DASHSCOPE_REGION": "tokyo", "DASHSCOPE_API_KEY": "sk-0123456789"}),
        (None, {"DASHSCOPE_REGION": "beijing", "DASHSCOPE_API_KEY": "sk-0123456789"}),
        (None, {"WAN_MCP_DAILY_IMAGE_LIMIT": "many", "WAN_MCP_ALLOWED_DIRS": "here"}),
    ],
)
async def test_the_words_are_those_of_the_terminal(doctor, tmp_path, spoil, environ):
    if spoil is not None:
        spoil(tmp_path)

    report = await doctor.run(**environ)

    assert report.problems
    for finding in report.findings:
        assert not _OF_THE_TOOLS.search(f"{finding.found} {finding.remedy}"), finding


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
@pytest.mark.parametrize(("mode", "who"), [(0o777, "everybody"), (0o770, "its group"), (0o1777, "everybody")])
async def test_a_folder_or_a_ledger_that_others_may_write_to_is_worth_a_note(doctor, tmp_path, mode, who):
    for name in ("pictures", "state", "more"):
        (tmp_path / name).mkdir()
    ledger = open_sqlite_ledger(tmp_path / "state" / "ledger.sqlite3", doctor.clock)
    await place(ledger)
    await ledger.close()
    for name in ("pictures", "state", "more", "state/ledger.sqlite3"):
        (tmp_path / name).chmod(mode)

    report = await run(doctor, WAN_MCP_ALLOWED_DIRS=str(tmp_path / "more"))

    found = [each for each in report.notes if each.found == f"can be written to by {who}"]
    assert [each.looked_at.rpartition("/")[2] for each in found] == ["pictures", "state", "ledger.sqlite3"]
    assert all("chmod go-w" in each.remedy for each in found)


async def test_folders_and_a_ledger_that_nobody_else_may_write_to_are_no_note(doctor, tmp_path):
    (tmp_path / "pictures").mkdir(mode=0o755)
    ledger = open_sqlite_ledger(tmp_path / "state" / "ledger.sqlite3", doctor.clock)
    await place(ledger)
    await ledger.close()

    report = await run(doctor)

    assert "can be written to by" not in report.text


# --- the ledger of several servers -------------------------------------------------------------------------------


async def test_the_database_of_the_ledger_is_asked_whether_it_answers(doctor, postgres_url):
    report = await doctor.run(WAN_MCP_LEDGER_URL=postgres_url)

    assert (report.one("ledger").found, report.one("ledger").verdict) == ("answers", Verdict.OK)


async def test_a_database_that_does_not_answer_is_a_problem_with_a_remedy_and_without_its_password(doctor):
    report = await doctor.run(WAN_MCP_LEDGER_URL="postgresql://wan:secret-password@127.0.0.1:1/ledger")

    finding = report.one("ledger")
    assert finding.verdict is Verdict.PROBLEM
    assert "WAN_MCP_LEDGER_URL" in finding.remedy
    assert not any("secret-password" in f"{each.looked_at} {each.found} {each.remedy}" for each in report.findings)


# --- the object store of images ----------------------------------------------------------------------------------


async def test_the_object_store_is_asked_whether_it_takes_images_in_the_place_of_the_folder(doctor, bucket):
    report = await doctor.run(**bucket.environ())

    finding = report.one("storage")
    assert (finding.found, finding.verdict) == ("can be written to", Verdict.OK)
    assert finding.looked_at == f"images in s3://{bucket.name}/pictures"
    assert not any(each.looked_at.startswith("images in /") for each in report.findings)


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"WAN_MCP_STORAGE_URL": "s3://no-such-bucket/x"}, "WAN_MCP_STORAGE_URL"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret-access-key"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS_ENDPOINT_URL"),
    ],
)
async def test_an_object_store_that_takes_nothing_is_a_problem_with_a_remedy_and_without_its_key(
    doctor, bucket, changes, remedy
):
    report = await doctor.run(**bucket.environ(**changes))

    finding = report.one("storage")
    assert finding.verdict is Verdict.PROBLEM
    assert remedy in finding.remedy
    texts = [f"{each.looked_at} {each.found} {each.remedy}" for each in report.findings]
    assert not any(secret in text for text in texts for secret in (KEY, "wrong-secret-access-key"))
