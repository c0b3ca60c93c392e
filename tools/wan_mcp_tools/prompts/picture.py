"""The prompt for one picture of anything."""

from wan_mcp_tools.shared import prompt as p
from wan_mcp_tools.shared.ports import Studio

SUBJECT = p.PromptArgument("subject", "What it shows, e.g. a flower shop in spring, morning light.", required=True)

_WRITE = (
    "Write the prompt: one paragraph in the language of the subject, with every detail given above, and with "
    "setting, light, composition and style where they were left open."
)


def picture(studio: Studio) -> p.Prompt:
    """Build the prompt on a studio."""

    async def write(wishes: p.Wishes) -> str:
        request = p.check_wishes(studio.offer, wishes, wishes["subject"])
        call = p.write_call("generate_image", p.keep_choices(wishes))
        cost = p.tell_cost(studio.offer, request, 1)
        return p.write_steps(
            "Make a picture with the tools of the server wan.",
            {"Subject": wishes["subject"], "Style": wishes.get("style")},
            [
                _WRITE,
                f"Call {call}. Leave every other argument out. {cost}",
                p.COLLECT,
                p.HAND_OVER,
            ],
        )

    return p.Prompt(
        name="picture",
        title="Make a picture",
        description="Describe a picture; it is drawn, saved as a file, and you get its path.",
        arguments=(SUBJECT, p.STYLE, p.SIZE, p.MODEL, p.REGION),
        write=write,
    )
