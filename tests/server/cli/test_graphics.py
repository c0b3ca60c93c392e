"""Pictures as a terminal's codes: each is decoded again as the terminal would."""

import base64
import io
import re

import PIL.Image
import pytest

from wan_mcp.cli.graphics import Graphics, Screen, encode_picture


def painted(width: int = 300, height: int = 200) -> PIL.Image.Image:
    """Four quarters in four colours."""
    picture = PIL.Image.new("RGB", (width, height), (255, 0, 0))
    picture.paste((0, 255, 0), (width // 2, 0, width, height // 2))
    picture.paste((0, 0, 255), (0, height // 2, width // 2, height))
    picture.paste((255, 255, 255), (width // 2, height // 2, width, height))
    return picture


def encoded(picture: PIL.Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def corners(picture: PIL.Image.Image) -> list[tuple[int, ...]]:
    right, bottom = picture.width - 3, picture.height - 3
    return [picture.getpixel(at) for at in ((2, 2), (right, 2), (2, bottom), (right, bottom))]


COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]


def test_kitty_gets_a_png_in_pieces_and_answers_nothing() -> None:
    noise = PIL.Image.effect_noise((400, 300), 80).convert("RGB")
    codes = encode_picture(encoded(noise), Screen(Graphics.KITTY))
    commands = re.findall("\x1b_G([^;]*);([^\x1b]*)\x1b\\\\", codes)
    assert len(commands) > 2
    assert "".join(f"\x1b_G{control};{data}\x1b\\" for control, data in commands) == codes
    assert commands[0][0] == "a=T,f=100,q=2,m=1"
    assert {control for control, _ in commands[1:-1]} == {"q=2,m=1"}
    assert commands[-1][0] == "q=2,m=0"
    assert all(len(data) <= 4096 and len(data) % 4 == 0 for _, data in commands)
    shown = PIL.Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in commands))))
    assert (shown.format, shown.size) == ("PNG", (400, 300))


def test_a_small_picture_is_one_command() -> None:
    codes = encode_picture(encoded(painted(20, 20)), Screen(Graphics.KITTY))
    assert codes.startswith("\x1b_Ga=T,f=100,q=2,m=0;")
    assert codes.count("\x1b_G") == 1


def test_iterm2_gets_a_png_with_its_length_and_width() -> None:
    codes = encode_picture(encoded(painted()), Screen(Graphics.ITERM2))
    found = re.fullmatch("\x1b]1337;File=inline=1;size=(\\d+);width=(\\d+)px;preserveAspectRatio=1:(.*)\x07", codes)
    data = base64.b64decode(found[3])
    assert len(data) == int(found[1])
    shown = PIL.Image.open(io.BytesIO(data))
    assert (shown.width, corners(shown)) == (int(found[2]), COLOURS)


def decode_sixel(codes: str) -> PIL.Image.Image:
    """Draw sixels as a VT340 does."""
    body = re.fullmatch('\x1bP0;1q"1;1;(\\d+);(\\d+)(.*)\x1b\\\\', codes)
    picture = PIL.Image.new("RGB", (int(body[1]), int(body[2])), (1, 2, 3))
    palette: dict[int, tuple[int, ...]] = {}
    colour, column, top = 0, 0, 0
    for token in re.findall(r"#\d+(?:;\d+)*|!\d+[?-~]|[?-~]|\$|-", body[3]):
        if token[0] == "#":
            numbers = [int(each) for each in token[1:].split(";")]
            colour = numbers[0]
            if len(numbers) > 1:
                palette[colour] = tuple(round(part * 255 / 100) for part in numbers[2:])
        elif token == "$":
            column = 0
        elif token == "-":
            column, top = 0, top + 6
        else:
            count = int(token[1:-1]) if token[0] == "!" else 1
            bits = ord(token[-1]) - 63
            for row in range(6):
                if bits >> row & 1:
                    picture.paste(palette[colour], (column, top + row, column + count, top + row + 1))
            column += count
    return picture


@pytest.mark.parametrize("size", [(300, 200), (299, 197), (8, 5), (400, 1)])
def test_sixels_draw_every_pixel_of_the_picture(size: tuple[int, int]) -> None:
    codes = encode_picture(encoded(painted(*size)), Screen(Graphics.SIXEL))
    shown = decode_sixel(codes)
    assert shown.size == size
    assert (1, 2, 3) not in {colour for _, colour in shown.getcolors(1 << 20)}
    if min(size) > 5:
        assert corners(shown) == COLOURS


def test_sixels_are_close_to_a_picture_of_many_colours() -> None:
    source = PIL.Image.radial_gradient("L").resize((200, 200))
    picture = PIL.Image.merge("RGB", (source, source.rotate(90), source.transpose(PIL.Image.Transpose.TRANSPOSE)))
    shown = decode_sixel(encode_picture(encoded(picture), Screen(Graphics.SIXEL)))
    difference = sum(abs(a - b) for a, b in zip(picture.tobytes(), shown.tobytes(), strict=True))
    assert difference / len(picture.tobytes()) < 6


@pytest.mark.parametrize(
    ("screen", "size"), [(Screen(Graphics.SIXEL), (320, 320)), (Screen(Graphics.SIXEL, 4, 8), (128, 128))]
)
def test_a_picture_takes_a_few_rows_of_the_terminal(screen: Screen, size: tuple[int, int]) -> None:
    shown = decode_sixel(encode_picture(encoded(painted(1024, 1024)), screen))
    assert shown.size == size


def test_a_small_picture_is_not_made_larger() -> None:
    shown = decode_sixel(encode_picture(encoded(painted(30, 20)), Screen(Graphics.SIXEL)))
    assert shown.size == (30, 20)
