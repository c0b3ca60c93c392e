"""Whether an order that names nothing but a prompt can be made."""

KEY = "sk-0123456789abcdef0123456789abcdef"
SINGAPORE = "dashscope-intl.aliyuncs.com"
BEIJING = "dashscope.aliyuncs.com"


async def test_the_default_model_is_offered_in_the_default_region(clinic, service):
    service.keys, service.models = {SINGAPORE: KEY}, ("wan2.6-t2i", "wan2.5-t2i-preview")

    finding = (await clinic.examine(DASHSCOPE_API_KEY=KEY)).one("model")

    assert finding.found == "offered in Singapore, also to this key"


async def test_a_model_that_the_service_does_not_list_for_the_key_is_worth_a_note(clinic, service):
    service.keys, service.models = {SINGAPORE: KEY}, ("wan2.5-t2i-preview",)

    report = await clinic.examine(DASHSCOPE_API_KEY=KEY)

    assert report.problems == []
    assert "not among the 1 models that the service lists" in report.notes[0].found


async def test_a_region_spells_a_model_in_its_own_way(clinic, service):
    service.keys, service.models = {BEIJING: KEY}, ("wanx2.1-t2i-plus",)

    report = await clinic.examine(DASHSCOPE_API_KEY=KEY, DASHSCOPE_REGION="beijing", WAN_MCP_MODEL="wan2.1-t2i-plus")

    assert report.one("model").found == "offered in China (Beijing), also to this key"


async def test_a_service_that_lists_nothing_is_no_reason_for_doubt(clinic, service):
    service.keys = {SINGAPORE: KEY}

    assert (await clinic.examine(DASHSCOPE_API_KEY=KEY)).one("model").found == "offered in Singapore"


async def test_a_model_that_the_default_region_lacks_goes_to_another_with_a_key(clinic, service):
    service.keys = {BEIJING: KEY, "dashscope-us.aliyuncs.com": KEY}

    report = await clinic.examine(
        DASHSCOPE_REGION="virginia",
        DASHSCOPE_API_KEY=KEY,
        DASHSCOPE_API_KEY_BEIJING=KEY,
        WAN_MCP_MODEL="wan2.7-image",
    )

    assert (
        report.notes[0].found == "not offered in US (Virginia); an order that names no region goes to China (Beijing)"
    )


async def test_a_model_that_no_region_with_a_key_offers_is_a_problem(clinic, service):
    service.keys = {"dashscope-us.aliyuncs.com": KEY}

    report = await clinic.examine(DASHSCOPE_REGION="virginia", DASHSCOPE_API_KEY=KEY, WAN_MCP_MODEL="wan2.7-image")

    finding = report.problem_of("model")
    assert finding.looked_at == "the default model wan2.7-image"
    assert "is not offered in virginia" in finding.found
    assert "DASHSCOPE_API_KEY_SINGAPORE" in finding.remedy


async def test_an_unknown_model_is_a_problem(clinic):
    finding = (await clinic.examine(DASHSCOPE_REGION="sandbox", WAN_MCP_MODEL="wan9")).problem_of("model")

    assert "There is no model 'wan9'" in finding.found
    assert "wan2.6-t2i" in finding.remedy


async def test_a_faulty_row_of_extra_models_is_a_problem_and_stops_nothing(clinic):
    report = await clinic.examine(DASHSCOPE_REGION="sandbox", WAN_MCP_EXTRA_MODELS='[{"id": "x"}]')

    assert "WAN_MCP_EXTRA_MODELS" in report.problem_of("model").found
    assert report.of("folder")
