"""The SDK's server with our resources, prompts and completions."""

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mcp import MCPError
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from mcp.types import (
    INVALID_PARAMS,
    CallToolResult,
    Completion,
    CompletionArgument,
    CompletionContext,
    GetPromptResult,
    InputRequiredResult,
    Prompt,
    PromptReference,
    Resource,
    ResourceTemplate,
    ResourceTemplateReference,
    TextContent,
    Tool,
)
from pydantic import AnyUrl

from wan_mcp.mcp_server.resources import RESOURCES, TEMPLATES, MakeGalleryLink, read_resource
from wan_mcp.mcp_server.tools import call_tool, describe_tool
from wan_mcp_tools import TOOLS
from wan_mcp_tools.domain.service import ImageService

if TYPE_CHECKING:
    from wan_mcp_tools.prompts import Prompt as OurPrompt


class WanServer(MCPServer[None]):
    """
    What hosts talk to. `options` are those of the SDK's server.

    `make_gallery_link` is there where people sign in. `hide` gives what is told of a call's progress as its caller
    may read it.

    Tools and resources are listed and answered here rather than registered: the SDK would tell a caller the words of
    any fault of a tool, and an image's MIME type is known only once it is read. Schemas and prompts are made when
    they are first asked for, to keep the start short.
    """

    def __init__(
        self,
        service: ImageService,
        name: str,
        *,
        make_gallery_link: MakeGalleryLink | None = None,
        hide: Callable[[str], str] = str,
        **options: Any,  # noqa: ANN401 - the SDK's own options
    ) -> None:
        with _without_rich():
            super().__init__(name, **options)
        self._service = service
        self._hide = hide
        self._tools = {tool.name: tool for tool in (make(service) for make in TOOLS)}
        self._make_gallery_link = make_gallery_link
        self._prompts: list[OurPrompt] = []
        self.completion()(self._complete)

    async def list_tools(self) -> list[Tool]:
        """List our tools, and those of extensions."""
        return [*map(describe_tool, self._tools.values()), *await super().list_tools()]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[None, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; that there is none of this name is an answer for the model, who can correct it."""
        if name in self._tools:
            return await call_tool(self._tools[name], arguments, context, hide=self._hide)
        known = [*self._tools, *(tool.name for tool in await super().list_tools())]
        if name not in known:
            text = f"Unknown tool: {name[:60]!r}. There are: {', '.join(known)}."
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
        return await super().call_tool(name, arguments, context)

    async def list_resources(self) -> list[Resource]:
        """List what can be read without an id, ours first: always the same, however many tasks there are."""
        return [*RESOURCES, *await super().list_resources()]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """List what can be read by an id, ours first."""
        return [*TEMPLATES, *await super().list_resource_templates()]

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[None, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """
        Read a resource.

        Raises:
            ResourceError: there is none of this URI, or it cannot be read; in our words.
        """
        contents = await read_resource(self._service, str(uri), self._make_gallery_link)
        if contents is not None:
            return [contents]
        try:
            return await super().read_resource(uri, context)
        except ResourceNotFoundError as error:
            known = [each.uri for each in await self.list_resources()]
            known += [each.uri_template for each in await self.list_resource_templates()]
            raise ResourceNotFoundError(f"{str(error)[:300]}. There are: {', '.join(known)}.") from error

    async def run_on_streams(self, read: Any, write: Any) -> None:  # noqa: ANN401 - the SDK's streams, of private types
        """Serve one client by a stream of its messages and one of ours."""
        server = self._lowlevel_server
        await server.run(read, write, server.create_initialization_options())

    async def list_prompts(self) -> list[Prompt]:
        """List the prompts in the order of the menu."""
        self._register_prompts()
        return await super().list_prompts()

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[None, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        """
        Give the text of a prompt.

        Raises:
            MCPError: there is no such prompt, or its arguments do not fit; in our words.
        """
        known = [prompt.name for prompt in await self.list_prompts()]
        if name not in known:
            raise MCPError(INVALID_PARAMS, f"There is no prompt {name[:60]!r}. There are: {', '.join(known)}.")
        return await super().get_prompt(name, arguments, context)

    async def _complete(
        self,
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        from wan_mcp.mcp_server.prompts import complete  # noqa: PLC0415 - a start does not need this

        return await complete(self._service, self._register_prompts(), ref, argument, context)

    def _register_prompts(self) -> "list[OurPrompt]":
        """Make the prompts, once."""
        from wan_mcp.mcp_server.prompts import bind_prompt  # noqa: PLC0415 - a start does not need these
        from wan_mcp_tools.prompts import PROMPTS  # noqa: PLC0415 - the same

        if not self._prompts:
            self._prompts = [make(self._service) for make in PROMPTS]
            for prompt in self._prompts:
                self.add_prompt(bind_prompt(prompt))
        return self._prompts


@contextmanager
def _without_rich() -> Generator[None]:
    """
    Keep Rich from being loaded: the SDK would do so for a handler of the log, and drop it where the log is set up.

    That is 25 ms of a start of 600. Source: https://docs.python.org/3/reference/import.html#the-module-cache
    """
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # pyright: ignore[reportArgumentType] - the way to say that there is no such module
    try:
        yield
    finally:
        del sys.modules["rich"]
