"""The arguments of an order, shared by the two tools that place one."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from wan_mcp_tools.shared import parameters as p
from wan_mcp_tools.shared.offer import Offer
from wan_mcp_tools.shared.requests import ImageRequest
from wan_mcp_tools.shared.tool import Arguments


def _false_for_null(value: object) -> object:
    return False if value is None else value


Fresh = Annotated[
    bool,
    BeforeValidator(_false_for_null),
    Field(description="Order and pay anew, e.g. when asked for a new one."),
]


class OrderArguments(Arguments):
    """What can be said of a picture that is wanted."""

    prompt: p.Prompt
    negative_prompt: p.NegativePrompt = None
    model: p.ModelId = None
    size: p.Size = None
    n: p.Count = 1
    seed: p.Seed = None
    prompt_extend: p.PromptExtend = None
    watermark: p.Watermark = False
    region: p.RegionName = None
    output_dir: p.OutputDir = None
    filename: p.Filename = None
    fresh: Fresh = False

    def request(self, offer: Offer) -> ImageRequest:
        """
        Check the order against what is offered.

        Raises:
            RequestRefusedError: an argument is not one that the model or the region takes.
        """
        return offer.request(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            model=self.model,
            size=self.size,
            n=self.n,
            seed=self.seed,
            prompt_extend=self.prompt_extend,
            watermark=self.watermark,
            region=self.region,
            output_dir=self.output_dir,
            filename=self.filename,
        )
