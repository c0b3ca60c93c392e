"""Links to images, as they are written."""

from urllib.parse import parse_qs, urlsplit

import pytest

from fakes.clock import FakeClock
from wan_mcp.orders.files.links import ImageLinkSigner, LinkSignature
from wan_mcp.storage.local import LocalStorage
from wan_mcp_tools.domain.principals import LOCAL_ID
from wan_mcp_tools.domain.tasks import SavedImage

DIGEST = "0123456789abcdef"


@pytest.mark.parametrize("owner", [LOCAL_ID, "token:ada"])
async def test_a_link_to_a_copy_in_an_object_store_names_the_folders_below_the_stores_own(tmp_path, owner):
    links = ImageLinkSigner(LocalStorage(tmp_path), FakeClock(), key=b"key", base_url="https://pictures.example.com")
    saved = SavedImage(1, f"s3://bucket/pictures/{DIGEST}/fox.webp", 10, 10, 100)
    linked = await links.link_saved(saved, None, owner=owner)
    query = {name: values[0] for name, values in parse_qs(urlsplit(linked.url).query).items()}

    *above, folder = query["owner"].split("/")
    assert folder == DIGEST
    assert "" not in above
    assert len(above) == (owner != LOCAL_ID)
    signature = LinkSignature(int(query["expires"]), query["signature"])
    assert links.is_ours("fox.webp", query["owner"], signature)
