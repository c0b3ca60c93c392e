"""Our prompts as prompts of the MCP SDK, with their errors in words."""

from collections.abc import Mapping
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts import Prompt as SdkPrompt
from mcp.server.mcpserver.prompts.base import Message, PromptArgument, UserMessage
from pydantic import Field, SkipValidation

from wan_mcp.mcp_server.faults import as_request_error
from wan_mcp_tools.domain.errors import AppError, RequestRefusedError
from wan_mcp_tools.prompts import Prompt, Wishes

_ECHO = 60


class BoundPrompt(SdkPrompt):
    """One of our prompts, as the SDK lists and renders it."""

    prompt: SkipValidation[Prompt] = Field(exclude=True)

    async def render(self, arguments: dict[str, Any] | None, context: Context[Any, Any]) -> list[Message]:
        """
        Write the prompt's text.

        Raises:
            MCPError: an argument is missing, unknown, or none that can be ordered; in our words.
        """
        del context
        try:
            text = await self.prompt.write(read_wishes(self.prompt, arguments or {}))
        except AppError as error:
            raise as_request_error(error) from error
        return [UserMessage(text)]


def bind_prompt(prompt: Prompt) -> BoundPrompt:
    """Make one of our prompts known to the SDK."""
    return BoundPrompt(
        prompt=prompt,
        fn=prompt.write,
        name=prompt.name,
        title=prompt.title,
        description=prompt.description,
        arguments=[
            PromptArgument(name=each.name, description=each.description, required=each.required)
            for each in prompt.arguments
        ],
        context_kwarg=None,
    )


def read_wishes(prompt: Prompt, arguments: Mapping[str, Any]) -> Wishes:
    """
    Give what was filled in; hosts send an empty text for a field that was left empty.

    Raises:
        RequestRefusedError: an argument is unknown, or a required one is missing.
    """
    names = [argument.name for argument in prompt.arguments]
    advice = f"Its arguments are: {', '.join(names)}."
    for name in arguments:
        if name not in names:
            raise RequestRefusedError(f"The prompt {prompt.name} has no argument {name[:_ECHO]!r}.", advice)
    wishes = {name: str(value).strip() for name, value in arguments.items() if str(value).strip()}
    for argument in prompt.arguments:
        if argument.required and argument.name not in wishes:
            raise RequestRefusedError(f"The prompt {prompt.name} needs the argument {argument.name!r}.", advice)
    return wishes
