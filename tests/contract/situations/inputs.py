"""What is wrong with a picture that is given as input: refused before any money, or before the order is sent."""

from PIL import Image

from contract.situations.situation import Situation, Workspace

_ABOUT = "input pictures"
_MODEL = "wan2.7-image"


def _order_with(title: str, reference: str, content: bytes | tuple[int, int] | None = None) -> Situation:
    async def bring_about(workspace: Workspace):
        async with workspace.server() as call:
            call.settings.output_dir.mkdir(exist_ok=True)
            path = call.settings.output_dir / reference
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content is not None:
                Image.new("RGB", content, "red").save(path)
            return await call("generate_image", prompt="make it blue", model=_MODEL, images=[reference])

    return Situation(_ABOUT, title, "no", "no", bring_about)


async def _is_large(workspace: Workspace):
    async with workspace.server() as call:
        call.settings.output_dir.mkdir(exist_ok=True)
        with (call.settings.output_dir / "huge.png").open("wb") as file:
            file.truncate(200_000_000)
        return await call("generate_image", prompt="make it blue", model=_MODEL, images=["huge.png"])


INPUTS = (
    _order_with("the picture is not there", "fox.png"),
    _order_with("the picture lies outside the allowed folders", "/etc/fox.png"),
    _order_with("what is given as a picture is none", "fox.png", b"<!doctype html><p>fox</p>"),
    _order_with("what is given as a picture is a drawing", "fox.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    _order_with("the picture is smaller than the model takes", "fox.png", (200, 200)),
    _order_with("the picture is too long for its width", "fox.png", (3000, 300)),
    Situation(_ABOUT, "the file is larger than any picture", "no", "no", _is_large),
    _order_with("the address leads into a private network", "http://192.168.0.1/fox.png"),
    _order_with("the address has a password in it", "https://me:secret@example.com/fox.png"),
)
