"""Pictures that are given as input: which are taken, and what is sent of them."""

import gzip
import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from wan_mcp.images.inputs import prepare_image, prepare_upload
from wan_mcp_tools.catalogue.model import InputLimits
from wan_mcp_tools.domain.errors import InputChangedError, RequestRefusedError
from wan_mcp_tools.domain.requests import InputChange

WAN = InputLimits(0, 9, 20_000_000, 240, 8000, 8.0, ("JPEG", "PNG", "BMP", "WEBP"), has_alpha=False)
QWEN = InputLimits(1, 3, 10_000_000, 384, 3072, 8.0, ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF"))
QWEN_SMALL = InputLimits(1, 3, 10_000_000, 240, 3072, 8.0, QWEN.formats)
SMALL = InputLimits(1, 3, 10_000_000, 240, 600, 8.0, QWEN.formats)
HOME = "48 51 29.6"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_of(orientation=1):
    """Give EXIF that tells where a picture was taken, by whom, and how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x013B] = f"taken at {HOME}"
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.6)
    return exif


def halves(size=(400, 300), mode="RGB"):
    """Paint the upper half red and the lower one blue, so that a turn shows."""
    image = Image.new(mode, size, (250, 0, 0, 255)[: len(mode)])
    image.paste((0, 0, 250, 255)[: len(mode)], (0, size[1] // 2, size[0], size[1]))
    return image


def encode(image, form, **options):
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def read(prepared):
    image = Image.open(BytesIO(prepared.data))
    image.load()
    assert image.size == (prepared.width, prepared.height)
    assert Image.MIME[image.format] == prepared.mime_type
    return image


def prepare(data, limits=WAN, *, expected=None):
    return prepare_image(data, "thing.png", limits, expected=expected)


# --- what is told of a picture ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_only_the_pixels_and_the_colour_profile_are_sent(form):
    options = {"exif": exif_of(), "icc_profile": PROFILE}
    match form:
        case "PNG":
            texts = PngImagePlugin.PngInfo()
            texts.add_text("Author", HOME)
            texts.add_itxt("XML:com.adobe.xmp", HOME)
            options["pnginfo"] = texts
        case "JPEG":
            options |= {"comment": HOME.encode(), "xmp": HOME.encode()}
        case _:
            options |= {"xmp": HOME.encode(), "lossless": True}
    original = encode(halves(), form, **options) + b"behind the end: " + HOME.encode()
    assert HOME.encode() in original

    prepared = prepare(original)
    sent = read(prepared)

    assert HOME.encode() not in prepared.data
    assert b"Exif" not in prepared.data
    assert not sent.getexif()
    assert sent.info["icc_profile"] == PROFILE
    assert prepared.changes == ()
    assert sent.tobytes() == Image.open(BytesIO(original)).tobytes()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_sent_upright_whatever_says_how_the_camera_was_held(form, orientation):
    prepared = prepare(encode(halves(), form, exif=exif_of(orientation), icc_profile=PROFILE), QWEN_SMALL)
    sent = read(prepared)

    upright = {1: "upper", 2: "upper", 3: "lower", 4: "lower", 5: "left", 6: "right", 7: "right", 8: "left"}
    assert sent.size == ((400, 300) if orientation < 5 else (300, 400))
    width, height = sent.size
    places = {
        "upper": (width // 2, 8),
        "lower": (width // 2, height - 8),
        "left": (8, height // 2),
        "right": (width - 8, height // 2),
    }
    red = sent.convert("RGB").getpixel(places[upright[orientation]])
    assert red[0] > 200
    assert red[2] < 60
    assert not sent.getexif()
    assert sent.info["icc_profile"] == PROFILE
    assert HOME.encode() not in prepared.data


@pytest.mark.parametrize("end", [b"", b"\0"], ids=["a marker", "a byte of the pixels"])
def test_any_number_of_bytes_that_fill_a_jpeg_up_are_read_in_one_go(end):
    plain = encode(halves(), "JPEG", comment=HOME.encode())
    filling = b"\xff" * 1_000_000
    prepared = prepare(plain[:2] + filling + plain[2:-2] + filling + end + plain[-2:])

    assert HOME.encode() not in prepared.data
    assert read(prepared).tobytes() == Image.open(BytesIO(plain)).tobytes()


def test_a_large_turned_photograph_is_sent_with_fewer_pixels_and_kept_with_all_of_them_as_an_upload():
    data = encode(halves((5000, 4000)), "JPEG", exif=exif_of(6))
    sent, kept = prepare(data), prepare_upload(data)

    assert (sent.width, sent.height, sent.scale) == (2000, 2500, 0.5)
    assert InputChange.SCALED in sent.changes
    assert (kept.width, kept.height, kept.scale) == (4000, 5000, 1.0)
    assert InputChange.SCALED not in kept.changes


def test_broken_exif_keeps_no_picture_from_being_sent():
    data = encode(halves(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + HOME.encode())
    prepared = prepare(data)
    assert read(prepared).size == (400, 300)
    assert HOME.encode() not in prepared.data


def test_a_thumbnail_that_shows_what_was_cut_off_is_not_sent():
    data = encode(halves(), "JPEG")
    thumbnail = b"\xff\xe0" + struct.pack(">H", 16 + 3 * 4) + b"JFIF\0\1\2\0\0\1\0\1\2\2" + b"secretpixels"
    prepared = prepare(thumbnail.join([data[:2], data[20:]]))
    assert b"secretpixels" not in prepared.data
    assert read(prepared).size == (400, 300)


# --- what is changed so that a model takes it ------------------------------------------------------------------------


def moving(form):
    frames = [halves(), Image.new("RGB", (400, 300), "green")]
    return encode(frames[0], form, save_all=True, append_images=frames[1:], duration=100)


def transparent(form="PNG"):
    image = halves(mode="RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return encode(image, form)


@pytest.mark.parametrize(
    ("data", "limits", "form", "changes"),
    [
        (encode(halves(), "JPEG"), WAN, "JPEG", ()),
        (encode(halves(), "BMP"), WAN, "BMP", ()),
        (encode(halves(), "TIFF"), WAN, "PNG", (InputChange.FORMAT,)),
        (encode(halves(), "GIF"), WAN, "PNG", (InputChange.FORMAT,)),
        (moving("GIF"), WAN, "PNG", (InputChange.FIRST_FRAME, InputChange.FORMAT)),
        (moving("WEBP"), WAN, "PNG", (InputChange.FIRST_FRAME, InputChange.FORMAT)),
        (moving("PNG"), WAN, "PNG", (InputChange.FIRST_FRAME,)),
        (transparent(), WAN, "PNG", (InputChange.FLATTENED,)),
        (transparent("WEBP"), WAN, "PNG", (InputChange.FORMAT, InputChange.FLATTENED)),
        # Transparent in no place: nothing is lost, and nothing is said.
        (encode(halves(mode="RGBA"), "PNG"), WAN, "PNG", ()),
        (transparent(), QWEN_SMALL, "PNG", ()),
        (encode(halves((1300, 700)), "JPEG"), SMALL, "JPEG", (InputChange.SCALED,)),
        (encode(halves((900, 700)), "PNG"), SMALL, "PNG", (InputChange.SCALED,)),
        (encode(halves().convert("CMYK"), "TIFF"), WAN, "JPEG", (InputChange.FORMAT,)),
        (encode(halves().quantize(2), "PNG", transparency=0), WAN, "PNG", (InputChange.FLATTENED,)),
        (encode(halves().convert("L").convert("I;16"), "TIFF"), WAN, "PNG", (InputChange.FORMAT,)),
        (encode(halves().convert("1"), "PNG"), WAN, "PNG", ()),
    ],
)
def test_what_a_model_does_not_take_is_sent_changed_and_that_is_told(data, limits, form, changes):
    prepared = prepare(data, limits)
    sent = read(prepared)

    assert (sent.format, prepared.changes) == (form, changes)
    assert len(prepared.data) <= limits.max_bytes
    assert max(sent.size) <= limits.max_side
    assert limits.has_alpha or not sent.has_transparency_data
    assert not getattr(sent, "is_animated", False)
    assert prepared.scale == (max(sent.size) / max(Image.open(BytesIO(data)).size))
    # What was found at the order is what is found at the sending.
    assert prepare(data, limits, expected=prepared.sha256) == prepared


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_picture_with_too_many_bytes_is_sent_in_fewer(paint, form, mode):
    if (form, mode) == ("JPEG", "RGBA"):
        pytest.skip("there is no such file")
    options = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "JPEG" else {}
    data = paint(form, (500, 400), mode, noisy=True, **options)
    limits = InputLimits(1, 3, 100_000, 64, 3072, 8.0, QWEN.formats)

    prepared = prepare(data, limits)
    sent = read(prepared)

    assert len(prepared.data) <= 100_000 < len(data)
    assert InputChange.COMPRESSED in prepared.changes
    assert sent.has_transparency_data == (mode == "RGBA")
    assert min(sent.size) >= 64


@pytest.mark.parametrize(("side", "sent"), [(4000, 4000), (4200, 2100)])
def test_a_photograph_that_is_drawn_anew_has_no_more_pixels_than_models_can_use(side, sent):
    prepared = prepare(encode(halves((side, side)), "JPEG", exif=exif_of(6)))

    assert read(prepared).size == (sent, sent)
    assert (InputChange.SCALED in prepared.changes) is (sent < side)
    assert prepared.scale == sent / side
    upright = prepare(encode(halves((side, side)), "JPEG"))
    assert upright.width == side


def test_metadata_alone_makes_no_picture_too_large():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw", "x" * 400_000)
    limits = InputLimits(1, 3, 100_000, 64, 3072, 8.0, QWEN.formats)
    prepared = prepare(encode(halves(), "PNG", pnginfo=texts), limits)
    assert prepared.changes == ()
    assert len(prepared.data) < 100_000


# --- what is refused ------------------------------------------------------------------------------------------------


def cut(data):
    return data[: len(data) * 2 // 3]


def bomb_png(png_chunk, width, height, rows=10):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0" * (rows * (1 + width * 3)), 9))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND", b"")


SVG = b'<?xml version="1.0"?><!-- drawn by hand --><svg xmlns="http://www.w3.org/2000/svg"/>'
HOSTILE = {
    "an SVG": (lambda _: SVG, "SVG"),
    "a bare SVG": (lambda _: SVG[41:], "SVG"),
    "an HTML page": (lambda _: b"<!doctype html><p>secret words</p>", "an HTML page"),
    "a text": (lambda _: b"So begins a text, secret words", "plain text"),
    "an empty file": (lambda _: b"", "an empty file"),
    "a packed picture": (lambda _: gzip.compress(encode(halves(), "PNG")), "gzip"),
    "an iPhone's picture": (lambda _: b"\0\0\0\x18ftypheic\0\0\0\0" + b"\0" * 99, "HEIC"),
    "sides of sixty thousand": (lambda chunk: bomb_png(chunk, 60_000, 60_000), "60000 x 60000 pixels, too many"),
    "too many pixels": (lambda chunk: bomb_png(chunk, 15_000, 15_000), "15000 x 15000 pixels, too many"),
    "a bomb of zeros": (lambda chunk: bomb_png(chunk, 19_000, 19_000, rows=900), "19000 x 19000 pixels, too many"),
    "fewer pixels than it says": (lambda chunk: bomb_png(chunk, 400, 400), "cannot be used"),
    "a GIF of nothing": (lambda _: b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + b"\0\0\0;", "damaged|too many"),
    "a BMP of nothing": (
        lambda _: b"BM" + struct.pack("<IIIIiiHH", 99, 0, 54, 40, 60_000, 60_000, 1, 24) + b"\0" * 40,
        "too many",
    ),
    "a cut PNG": (lambda _: cut(encode(halves(), "PNG")), "cut PNG"),
    "a cut JPEG": (lambda _: cut(encode(halves(), "JPEG")), "cut JPEG"),
    "a cut WebP": (lambda _: cut(encode(halves(), "WEBP")), "cut WebP"),
    "a cut GIF": (lambda _: cut(encode(halves(), "GIF"))[:40], "damaged"),
    "a cut TIFF": (lambda _: cut(encode(halves(), "TIFF")), "damaged"),
    "a cut BMP": (lambda _: cut(encode(halves(), "BMP")), "damaged"),
    "too small a side": (lambda _: encode(halves((400, 200)), "PNG"), "400 x 200 pixels.*sides of 240 to 8000"),
    "too long for its width": (lambda _: encode(halves((2400, 240)), "PNG"), "8 times as long as wide"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_picture_that_a_model_takes_is_refused_in_words(png_chunk, what):
    make, words = HOSTILE[what]
    with pytest.raises(RequestRefusedError, match=words) as caught:
        prepare(make(png_chunk))
    assert caught.value.advice
    assert caught.value.nothing_created
    assert "thing.png" in caught.value.message
    assert "secret words" not in str(caught.value)


def test_a_profile_that_unpacks_without_end_is_not_sent(png_chunk):
    data = encode(halves(), "PNG")
    profile = png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"\0" * 50_000_000, 9))
    prepared = prepare(data[:33] + profile + data[33:])
    assert len(prepared.data) == len(data)


def test_a_file_that_was_changed_since_is_not_sent():
    prepared = prepare(encode(halves(), "PNG"))
    with pytest.raises(InputChangedError, match="has been changed since"):
        prepare(encode(halves(), "PNG") + b"\0", expected=prepared.sha256)
