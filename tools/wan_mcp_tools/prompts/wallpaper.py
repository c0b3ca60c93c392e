"""The prompt for a wallpaper."""

from dataclasses import replace

from wan_mcp_tools.prompts.picture import SUBJECT
from wan_mcp_tools.shared import prompt as p
from wan_mcp_tools.shared.ports import Studio

_PHONE = "9:16"
SCREEN = replace(p.SIZE, description="9:16 for a phone, 16:9 for a desktop, 3:4 or 4:3 for a tablet. Empty: 9:16.")

_WRITE = (
    "Write the prompt: one paragraph in the language of the subject, with every detail given above. Let the motif "
    "fill the picture to its edges, with a calm area where clock and icons lie (the upper third of an upright "
    "screen, the left third of a wide one), and without text, frame or border."
)


def wallpaper(studio: Studio) -> p.Prompt:
    """Build the prompt on a studio."""

    async def write(wishes: p.Wishes) -> str:
        chosen = {"size": _PHONE} | dict(wishes)
        request = p.check_wishes(studio.offer, chosen, wishes["subject"])
        call = p.write_call("generate_image", p.keep_choices(chosen))
        cost = p.tell_cost(studio.offer, request, 1)
        return p.write_steps(
            "Make a wallpaper for a screen with the tools of the server wan.",
            {"Subject": wishes["subject"], "Style": wishes.get("style"), "Screen": chosen["size"]},
            [
                _WRITE,
                f"Call {call}. Leave every other argument out. {cost}",
                p.COLLECT,
                p.HAND_OVER,
            ],
        )

    return p.Prompt(
        name="wallpaper",
        title="Wallpaper for a screen",
        description="A picture in the shape of your screen, with calm room for icons, saved as a file.",
        arguments=(SUBJECT, SCREEN, p.STYLE, p.MODEL, p.REGION),
        write=write,
    )
