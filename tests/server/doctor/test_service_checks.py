"""What the service makes of the settings: its regions, the clocks, the keys and the default model."""

import anyio
import pytest

from wan_mcp.doctor import Verdict

KEY = "sk-0123456789abcdef0123456789abcdef"
OTHER = "sk-fedcba9876543210fedcba9876543210"
SINGAPORE = "dashscope-intl.aliyuncs.com"
BEIJING = "dashscope.aliyuncs.com"
VIRGINIA = "dashscope-us.aliyuncs.com"
HONGKONG = "cn-hongkong.dashscope.aliyuncs.com"


async def test_a_key_that_its_region_takes_is_in_order(doctor, service):
    service.keys = {SINGAPORE: KEY}

    report = await doctor.run(DASHSCOPE_API_KEY=KEY)

    assert (report.problems, report.notes) == ([], [])
    assert report.one("key").found == f"taken at {SINGAPORE} (sk-…, 35 characters, a general key)"


async def test_a_key_that_is_taken_is_shown_to_no_other_region(doctor, service):
    service.keys = {SINGAPORE: KEY}

    await doctor.run(DASHSCOPE_API_KEY=KEY)

    assert service.hosts_with_key == {SINGAPORE}


async def test_a_beijing_key_in_a_singapore_setting_comes_first_with_its_remedy(doctor, service):
    service.keys = {BEIJING: KEY}

    report = await doctor.run(DASHSCOPE_API_KEY=KEY)

    first = report.findings[0]
    assert first.verdict is Verdict.PROBLEM
    assert (first.check, first.looked_at) == ("key", "DASHSCOPE_API_KEY in Singapore")
    assert f"refused at {SINGAPORE}, and taken at {BEIJING}: it is a key of China (Beijing)" in first.found
    assert "DASHSCOPE_REGION=beijing" in first.remedy
    assert "DASHSCOPE_API_KEY_BEIJING" in first.remedy
    assert len(report.problems) == 1


async def test_a_refused_key_is_tried_at_the_services_own_shared_hosts_and_nowhere_else(doctor, service):
    await doctor.run(DASHSCOPE_API_KEY=KEY)

    assert service.hosts_with_key == {SINGAPORE, BEIJING, VIRGINIA, HONGKONG}
    assert {path for _, path, key in service.asked if key} == {"/api/v1/tasks/00000000-0000-0000-0000-000000000000"}


async def test_a_key_that_no_region_takes_is_wrong(doctor, service):
    finding = (await doctor.run(DASHSCOPE_API_KEY=KEY)).problem_of("key")

    assert all(host in finding.found for host in (SINGAPORE, BEIJING, VIRGINIA, HONGKONG))
    assert "wrong, deleted" in finding.remedy
    assert "Frankfurt, Tokyo" in finding.remedy


async def test_a_region_that_does_not_answer_is_not_said_to_refuse(doctor, service):
    service.dead = {VIRGINIA}

    finding = (await doctor.run(DASHSCOPE_API_KEY=KEY)).problem_of("key")

    assert f"{VIRGINIA} told nothing" in finding.found
    assert f"also at {BEIJING}, {HONGKONG}" in finding.found


async def test_a_key_in_a_setting_with_a_region_in_its_name_is_to_be_moved(doctor, service):
    service.keys = {SINGAPORE: OTHER, BEIJING: KEY}

    report = await doctor.run(DASHSCOPE_API_KEY=OTHER, DASHSCOPE_API_KEY_VIRGINIA=KEY)

    finding = report.problem_of("key")
    assert finding.looked_at == "DASHSCOPE_API_KEY_VIRGINIA in US (Virginia)"
    assert "Move this key to DASHSCOPE_API_KEY_BEIJING" in finding.remedy


async def test_an_address_that_would_contradict_the_remedy_is_part_of_it(doctor, service):
    service.keys = {BEIJING: KEY}

    report = await doctor.run(DASHSCOPE_API_KEY=KEY, DASHSCOPE_HTTP_BASE_URL=f"https://{SINGAPORE}/api/v1")

    assert "DASHSCOPE_REGION=beijing and remove DASHSCOPE_HTTP_BASE_URL" in report.problem_of("key").remedy


async def test_a_key_for_somebody_elses_address_is_never_shown_to_the_service(doctor, service):
    report = await doctor.run(DASHSCOPE_API_KEY=KEY, DASHSCOPE_HTTP_BASE_URL="https://gate.example.com/api/v1")

    assert {host for host, _, _ in service.asked} == {"gate.example.com"}
    finding = report.problem_of("key")
    assert "tried nowhere else, because that is no address of the service" in finding.found
    assert "DASHSCOPE_HTTP_BASE_URL" in finding.remedy


async def test_a_key_of_another_workspace_is_told_from_one_of_another_region(doctor, service):
    service.keys = {SINGAPORE: KEY}

    report = await doctor.run(DASHSCOPE_API_KEY=KEY, DASHSCOPE_WORKSPACE_ID="llm-abc")

    finding = report.problem_of("key")
    assert "refused at llm-abc.ap-southeast-1.maas.aliyuncs.com" in finding.found
    assert "a key of Singapore and of another workspace" in finding.found
    assert "DASHSCOPE_WORKSPACE_ID" in finding.remedy


async def test_a_missing_key_names_its_setting_and_the_sandbox(doctor, service):
    finding = (await doctor.run()).problem_of("key")

    assert finding.found == "no key for Singapore, the default region"
    assert "Set DASHSCOPE_API_KEY to a key of Singapore" in finding.remedy
    assert "DASHSCOPE_REGION=sandbox" in finding.remedy
    assert service.hosts_with_key == set()


async def test_where_another_region_has_a_key_the_default_may_be_wrong(doctor, service):
    service.keys = {BEIJING: KEY}

    report = await doctor.run(DASHSCOPE_API_KEY_BEIJING=KEY)

    assert "DASHSCOPE_REGION=beijing, where there is a key" in report.problem_of("key").remedy


async def test_a_plan_key_is_told_by_its_shape_and_shown_to_nobody(doctor, service):
    report = await doctor.run(DASHSCOPE_API_KEY="sk-sp-0123456789abcdef")

    assert "token or coding plan" in report.problem_of("key").remedy
    assert service.hosts_with_key == set()
    shown = [finding.found for finding in report.of("settings") if finding.looked_at == "DASHSCOPE_API_KEY"]
    assert shown == ["sk-sp-…, 22 characters, a plan key, which orders no images, from the environment"]


async def test_a_placeholder_is_no_key(doctor, service):
    report = await doctor.run(DASHSCOPE_API_KEY="sk-your-api-key")

    assert "still holds a placeholder" in report.problem_of("key").remedy
    assert service.hosts_with_key == set()


async def test_a_region_without_a_shared_address_needs_a_workspace(doctor, service):
    report = await doctor.run(DASHSCOPE_API_KEY=KEY, DASHSCOPE_REGION="frankfurt")

    assert "set DASHSCOPE_WORKSPACE_ID" in report.problem_of("key").remedy
    assert service.hosts_with_key == set()


async def test_a_key_is_not_tried_where_nothing_was_reached(doctor, service):
    service.dead = {SINGAPORE}

    report = await doctor.run(DASHSCOPE_API_KEY=KEY)

    assert f"not tried, because {SINGAPORE} was not reached" in report.one("key").found
    assert service.hosts_with_key == set()


@pytest.mark.parametrize(
    "settings",
    [{"DASHSCOPE_REGION": "bejing"}, {"DASHSCOPE_HTTP_BASE_URL": "ftp://x"}, {"DASHSCOPE_WORKSPACE_ID": "a/b"}],
)
async def test_with_a_faulty_region_or_address_no_key_goes_anywhere(doctor, service, settings):
    report = await doctor.run(DASHSCOPE_API_KEY=KEY, **settings)

    assert service.asked == []
    assert report.problem_of("settings").looked_at == next(iter(settings))
    assert "not looked at" in report.one("network").found


@pytest.mark.parametrize(
    ("keys", "environ"),
    [
        ({SINGAPORE: KEY}, {"DASHSCOPE_API_KEY": KEY}),
        ({BEIJING: KEY}, {"DASHSCOPE_API_KEY": KEY}),
        ({}, {"DASHSCOPE_API_KEY": "plainly-no-usual-key"}),
        ({}, {"DASHSCOPE_API_KEY": "sk-ws-" + "x7" * 40, "DASHSCOPE_REGION": "frankfurt"}),
        ({}, {"DASHSCOPE_API_KEY": KEY, "WAN_MCP_MODEL": KEY, "WAN_MCP_OUTPUT_DIR": KEY, "DASHSCOPE_REGION": KEY}),
        ({}, {"DASHSCOPE_API_KEY": "st-0123456789", "WAN_MCP_STATE_DIR": "/nowhere/st-0123456789"}),
    ],
)
async def test_no_key_is_ever_told(doctor, service, keys, environ):
    service.keys = keys

    report = await doctor.run(**environ)

    assert environ["DASHSCOPE_API_KEY"] not in report.text
    assert environ["DASHSCOPE_API_KEY"][6:] not in report.text


async def test_a_key_from_a_file_is_not_told_either(doctor, service, tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY)

    report = await doctor.run(DASHSCOPE_API_KEY_FILE_PATH=str(path), WAN_MCP_MODEL=f"x{KEY}")

    assert "DASHSCOPE_API_KEY_FILE_PATH in Singapore" in report.problem_of("key").looked_at
    assert KEY not in report.text


async def test_where_no_name_is_found_a_refused_key_is_not_tried(doctor, service):
    asked = []

    async def resolve_name(host, port):
        asked.append(host)
        if host == BEIJING and asked.count(host) > 1:
            raise OSError("no name service")
        return ["192.0.2.1"]

    report = await doctor.run(parts={"resolve_name": resolve_name}, DASHSCOPE_API_KEY=KEY)

    assert service.hosts_with_key == {SINGAPORE, VIRGINIA, HONGKONG}
    assert f"{BEIJING} told nothing" in report.problem_of("key").found


async def test_a_name_service_that_hangs_is_not_waited_for_by_a_refused_key(doctor, service):
    asked = []

    async def resolve_name(host, port):
        asked.append(host)
        if host == BEIJING:
            await anyio.sleep_forever()
        return ["192.0.2.1"]

    report = await doctor.run(
        parts={"resolve_name": resolve_name, "reach_seconds": 0.2, "question_seconds": 1.0}, DASHSCOPE_API_KEY=KEY
    )

    assert asked.count(BEIJING) == 2
    assert service.hosts_with_key == {SINGAPORE, VIRGINIA, HONGKONG}
    assert f"{BEIJING} told nothing" in report.problem_of("key").found


async def test_regions_of_which_the_same_is_found_share_a_finding(doctor, service):
    service.keys = {SINGAPORE: KEY}

    reached, skipped = (await doctor.run(DASHSCOPE_API_KEY=KEY)).of("network")

    assert reached.looked_at.count(" at ") == 4
    assert reached.found == "reached directly, with a certificate that this system trusts"
    assert skipped.looked_at == "Germany (Frankfurt) and Japan (Tokyo)"
    assert "workspace" in skipped.found


async def test_no_key_is_sent_to_find_out_whether_a_host_is_reached(doctor, service):
    await doctor.run()

    assert len(service.asked) == 4
    assert service.hosts_with_key == set()


async def test_a_region_that_nobody_uses_and_nobody_reaches_is_worth_a_note(doctor, service):
    service.keys, service.dead = {SINGAPORE: KEY}, {"dashscope-us.aliyuncs.com"}

    report = await doctor.run(DASHSCOPE_API_KEY=KEY)

    assert report.problems == []
    assert "US (Virginia)" in report.notes[0].looked_at


@pytest.mark.parametrize(
    ("offset", "verdict", "found"),
    [
        (20, Verdict.OK, "agrees with the service's"),
        (180, Verdict.NOTE, "3 min behind the service's"),
        (-7200, Verdict.PROBLEM, "120 min ahead of the service's"),
    ],
)
async def test_a_clock_that_is_wrong_is_told(doctor, service, offset, verdict, found):
    service.keys, service.offset = {SINGAPORE: KEY}, offset

    finding = (await doctor.run(DASHSCOPE_API_KEY=KEY)).one("clock")

    assert (finding.verdict, finding.found) == (verdict, found)


async def test_the_default_model_is_offered_in_the_default_region(doctor, service):
    service.keys, service.models = {SINGAPORE: KEY}, ("wan2.6-t2i", "wan2.5-t2i-preview")

    finding = (await doctor.run(DASHSCOPE_API_KEY=KEY)).one("model")

    assert finding.found == "offered in Singapore, also to this key"


async def test_a_model_that_the_service_does_not_list_for_the_key_is_worth_a_note(doctor, service):
    service.keys, service.models = {SINGAPORE: KEY}, ("wan2.5-t2i-preview",)

    report = await doctor.run(DASHSCOPE_API_KEY=KEY)

    assert report.problems == []
    assert "not among the 1 models that the service lists" in report.notes[0].found


async def test_a_region_spells_a_model_in_its_own_way(doctor, service):
    service.keys, service.models = {BEIJING: KEY}, ("wanx2.1-t2i-plus",)

    report = await doctor.run(DASHSCOPE_API_KEY=KEY, DASHSCOPE_REGION="beijing", WAN_MCP_MODEL="wan2.1-t2i-plus")

    assert report.one("model").found == "offered in China (Beijing), also to this key"


async def test_a_service_that_lists_nothing_is_no_reason_for_doubt(doctor, service):
    service.keys = {SINGAPORE: KEY}

    assert (await doctor.run(DASHSCOPE_API_KEY=KEY)).one("model").found == "offered in Singapore"


async def test_a_model_that_the_default_region_lacks_goes_to_another_with_a_key(doctor, service):
    service.keys = {BEIJING: KEY, "dashscope-us.aliyuncs.com": KEY}

    report = await doctor.run(
        DASHSCOPE_REGION="virginia",
        DASHSCOPE_API_KEY=KEY,
        DASHSCOPE_API_KEY_BEIJING=KEY,
        WAN_MCP_MODEL="wan2.7-image",
    )

    assert (
        report.notes[0].found == "not offered in US (Virginia); an order that names no region goes to China (Beijing)"
    )


async def test_a_model_that_no_region_with_a_key_offers_is_a_problem(doctor, service):
    service.keys = {"dashscope-us.aliyuncs.com": KEY}

    report = await doctor.run(DASHSCOPE_REGION="virginia", DASHSCOPE_API_KEY=KEY, WAN_MCP_MODEL="wan2.7-image")

    finding = report.problem_of("model")
    assert finding.looked_at == "the default model wan2.7-image"
    assert "is not offered in virginia" in finding.found
    assert "DASHSCOPE_API_KEY_SINGAPORE" in finding.remedy


async def test_an_unknown_model_is_a_problem(doctor):
    finding = (await doctor.run(DASHSCOPE_REGION="sandbox", WAN_MCP_MODEL="wan9")).problem_of("model")

    assert "There is no model 'wan9'" in finding.found
    assert "wan2.6-t2i" in finding.remedy


async def test_a_faulty_row_of_extra_models_is_a_problem_and_stops_nothing(doctor):
    report = await doctor.run(DASHSCOPE_REGION="sandbox", WAN_MCP_EXTRA_MODELS='[{"id": "x"}]')

    assert "WAN_MCP_EXTRA_MODELS" in report.problem_of("model").found
    assert report.of("folder")
