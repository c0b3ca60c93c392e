"""Resources, prompts and completions of the real server process, as hosts meet them, in both protocol eras."""

import base64
import json

import anyio
import pytest
from mcp import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from fakes.stdio_client import ERAS, environment, facts, open_client


@pytest.mark.parametrize("era", ERAS)
async def test_a_host_reads_completes_and_prompts_beside_the_tools(tmp_path, era):
    async with open_client(environment(tmp_path), era) as client:
        capabilities = client.server_capabilities
        assert capabilities.resources is not None
        assert capabilities.prompts is not None
        assert capabilities.completions is not None

        addresses = {resource.uri for resource in (await client.list_resources()).resources}
        templates = {each.uri_template for each in (await client.list_resource_templates()).resource_templates}
        assert "wan://models" in addresses
        assert {"wan://models/{id}", "wan://tasks/{task_id}", "wan://images/{id}"} <= templates

        models = json.loads((await client.read_resource("wan://models")).contents[0].text)
        cheapest = models["cheapest_first"]["singapore"][0].split()[0]
        model = json.loads((await client.read_resource(f"wan://models/{cheapest}")).contents[0].text)
        assert model["id"] == cheapest

        text = (await client.get_prompt("wallpaper", {"subject": "花店 💐"})).messages[0].content.text
        assert "花店 💐" in text
        assert 'size="9:16"' in text

        made = facts(await client.call_tool("generate_image", {"prompt": "花店 💐", "size": "9:16"}))
        ref = ResourceTemplateReference(uri="wan://images/{id}")
        (name,) = (await client.complete(ref, {"name": "id", "value": made["task_id"][:4]})).completion.values
        image = (await client.read_resource(f"wan://images/{name}")).contents[0]
        saved = await anyio.Path(made["images"][0]["path"]).read_bytes()
        assert image.meta["path"] == made["images"][0]["path"]
        if not image.meta["reduced"]:
            assert base64.b64decode(image.blob) == saved
        assert image.meta["bytes"] == len(saved)

        task = json.loads((await client.read_resource(f"wan://tasks/{made['task_id']}")).contents[0].text)
        assert task["images"] == made["images"]

        sizes = (await client.complete(PromptReference(name="picture"), {"name": "size", "value": "16"})).completion
        assert sizes.values[0] == "16:9"


@pytest.mark.parametrize("era", ERAS)
async def test_a_host_is_told_in_words_what_does_not_exist(tmp_path, era):
    async with open_client(environment(tmp_path), era) as client:
        for uri in ("wan://models/wan9", "wan://images/local-0000-1", "wan://tasks/local-0000", "wan://nothing"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert caught.value.code == -32602
            assert caught.value.data == {"uri": uri}
        for call in (
            client.get_prompt("poster"),
            client.complete(PromptReference(name="poster"), {"name": "model", "value": ""}),
        ):
            with pytest.raises(MCPError) as caught:
                await call
            assert caught.value.code == -32602
            assert "There " in caught.value.message
