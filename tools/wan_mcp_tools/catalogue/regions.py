"""
The service's regions. A key, a task and a model belong to one region.

Which models a region has is said with the models: each has a `ModelRegion` for it.
"""

from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.record import Record


class Region(Record):
    """
    One region: the name that callers use, the service's id, and its hosts.

    `workspace_host` has the place `{workspace}`; a region without `shared_host` answers only there. `brand_hosts` are
    names of the same service that only a setting chooses.
    Source: https://www.alibabacloud.com/help/en/model-studio/base-url
    """

    name: str
    id: str
    title: str
    shared_host: str | None
    workspace_host: str | None
    brand_hosts: tuple[str, ...] = ()


def _region(
    name: str, region_id: str, title: str, shared_host: str | None, brand_hosts: tuple[str, ...] = ()
) -> Region:
    return Region(name, region_id, title, shared_host, f"{{workspace}}.{region_id}.maas.aliyuncs.com", brand_hosts)


SANDBOX = Region("sandbox", "sandbox", "Sandbox (offline, free)", None, None)
"""Our own look-alike of the service: needs no key and no network."""

REGIONS: tuple[Region, ...] = (
    _region(
        "singapore",
        "ap-southeast-1",
        "Singapore",
        "dashscope-intl.aliyuncs.com",
        # QwenCloud, and in China Qianwen: seen in many programs of others, in no page of the service.
        ("maas.qwencloudapi.com",),
    ),
    _region("beijing", "cn-beijing", "China (Beijing)", "dashscope.aliyuncs.com", ("maas.qianwenaiapi.com",)),
    _region("virginia", "us-east-1", "US (Virginia)", "dashscope-us.aliyuncs.com"),
    _region("frankfurt", "eu-central-1", "Germany (Frankfurt)", None),
    _region("tokyo", "ap-northeast-1", "Japan (Tokyo)", None),
    _region("hongkong", "cn-hongkong", "China (Hong Kong)", "cn-hongkong.dashscope.aliyuncs.com"),
    SANDBOX,
)


_LONGEST_ECHO = 60


def find_region(text: str) -> Region:
    """
    Find a region by its name or its id, in any case.

    Raises:
        RequestRefusedError: no region has this name; the message lists those that exist.
    """
    wanted = text.strip().lower()
    for region in REGIONS:
        if wanted in (region.name, region.id):
            return region
    names = ", ".join(region.name for region in REGIONS)
    raise RequestRefusedError(f"There is no region {text[:_LONGEST_ECHO]!r}.", f"Use one of: {names}.")
