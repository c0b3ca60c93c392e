"""Copies in another format or smaller: their pixels, and what they go on saying of themselves."""

import re
import struct
import tracemalloc
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from wan_mcp.images.check import inspect_image
from wan_mcp.images.copies import convert_image
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.service import Conversion, ImageFormat
from wan_mcp_tools.domain.tasks import CopyRemark

FORMATS = list(ImageFormat)
LABEL = '{"Label":"1","ContentProducer":"001191330106MA","ProduceID":"a<b&c"}'
MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
THEIRS = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<r:Description r:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:format>kept as it is</dc:format>'
    "</r:Description></r:RDF></x:xmpmeta>"
)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def convert(data, form=None, max_side=None):
    return convert_image(data, inspect_image(data), "fox.png", Conversion(form, max_side))


def opened(data):
    image = Image.open(BytesIO(data))
    image.load()
    return image


def packet_of(data):
    """Give the XMP of a file as another reader sees it."""
    image = opened(data)
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return found.decode() if isinstance(found, bytes) else found


def read_xmp(data):
    from xml.etree import ElementTree as ET

    tree = ET.fromstring(re.sub(r"<\?xpacket.*?\?>", "", packet_of(data)))
    return {element.tag: element.text for element in tree.iter()}


def source_type_of(data):
    return read_xmp(data).get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")


@pytest.fixture
def labelled(paint):
    """A picture as the service may give it: with its label, other texts, EXIF, XMP and a colour profile."""

    def make(form="PNG", size=(40, 30), mode="RGB", packet=THEIRS, **options):
        exif = Image.Exif()
        exif[0x010E] = "what is on it"
        given = {"exif": exif.tobytes(), "icc_profile": PROFILE} | options
        if form == "PNG":
            texts = PngInfo()
            texts.add_text("AIGC", LABEL)
            texts.add_itxt("Title", "早晨 & more", zip=True)
            if packet:
                texts.add_itxt("XML:com.adobe.xmp", packet)
            return paint(form, size, mode, pnginfo=texts, noisy=True, **given)
        return paint(form, size, mode, noisy=True, **given | ({"xmp": packet.encode()} if packet else {}))

    return make


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("side", [None, 20])
def test_a_copy_is_of_the_format_and_keeps_what_the_picture_says_of_itself(labelled, form, target, side):
    data = labelled(form)
    made = convert(data, target, side)
    facts = inspect_image(made.data)

    assert facts.mime_type == f"image/{target}"
    assert (facts.width, facts.height) == ((40, 30) if side is None else (20, 15))
    image = opened(made.data)
    assert image.info["icc_profile"] == PROFILE
    assert image.getexif()[0x010E] == "what is on it"
    assert source_type_of(made.data) == MADE
    assert "kept as it is" in packet_of(made.data)
    assert made.remarks == ()


@pytest.mark.parametrize("target", [ImageFormat.JPEG, ImageFormat.WEBP])
def test_the_services_label_of_a_png_goes_where_the_rules_look_for_it_in_other_formats(labelled, target):
    found = read_xmp(convert(labelled(), target).data)

    assert found["{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"] == LABEL
    assert "Title: 早晨 & more" in found.values()


@pytest.mark.parametrize("side", [None, 20])
def test_the_texts_of_a_png_stay_as_they_are_in_a_png(labelled, side):
    image = opened(convert(labelled(), ImageFormat.PNG, side).data)

    assert image.text["AIGC"] == LABEL
    assert image.text["Title"] == "早晨 & more"
    assert list(image.text).count("XML:com.adobe.xmp") == 1


@pytest.mark.parametrize("target", FORMATS)
def test_a_source_type_that_is_there_already_stays_the_only_one(labelled, target):
    theirs = THEIRS.replace(
        "<dc:format>",
        '<e:DigitalSourceType xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">composite</e:DigitalSourceType>'
        "<dc:format>",
    )
    made = convert(labelled(packet=theirs), target, 20).data

    assert packet_of(made).count("<e:DigitalSourceType") == packet_of(made).count("DigitalSourceType>") == 1
    assert MADE not in packet_of(made)


@pytest.mark.parametrize("target", FORMATS)
def test_a_packet_that_is_none_is_replaced(labelled, target):
    made = convert(labelled(packet="no XML at all"), target, 20).data

    assert source_type_of(made) == MADE


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_what_needs_no_other_pixels_keeps_those_it_has(labelled, form):
    data = labelled(form, packet=None)
    made = convert(data, ImageFormat(form.lower()), 4096).data

    assert opened(made).tobytes() == opened(data).tobytes()
    assert len(made) < len(data) + 900
    assert source_type_of(made) == MADE
    assert convert(made, ImageFormat(form.lower())).data == made


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_plain_webp_without_any_extension_gets_the_label_and_keeps_its_alpha(paint, lossless, mode):
    data = paint("WEBP", (33, 21), mode, noisy=True, lossless=lossless)
    made = convert(data, ImageFormat.WEBP).data

    assert source_type_of(made) == MADE
    assert opened(made).mode == opened(data).mode
    assert opened(made).tobytes() == opened(data).tobytes()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pixels_are_resampled_exactly(paint, mode):
    data = paint("PNG", (400, 300), mode, noisy=True)
    made = opened(convert(data, ImageFormat.PNG, 100).data)

    assert made.mode == mode
    assert made.tobytes() == opened(data).resize((100, 75), Image.Resampling.LANCZOS).tobytes()


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((400, 300), 200, (200, 150)),
        ((300, 400), 200, (150, 200)),
        ((40, 30), 200, (40, 30)),
        ((900, 2), 16, (16, 1)),
    ],
)
def test_the_longest_side_is_that_and_nothing_is_enlarged(paint, size, side, expected):
    assert opened(convert(paint(size=size), ImageFormat.WEBP, side).data).size == expected


@pytest.mark.parametrize("target", [ImageFormat.PNG, ImageFormat.WEBP])
@pytest.mark.parametrize("side", [None, 16])
def test_transparency_is_kept_where_the_format_has_it(paint, target, side):
    made = convert(paint("PNG", mode="RGBA"), target, side)

    assert opened(made.data).getchannel("A").getextrema() == (128, 128)
    assert made.remarks == ()


def test_transparent_parts_become_white_in_a_jpeg_and_that_is_told(paint):
    image = Image.new("RGBA", (40, 30), (200, 30, 30, 255))
    image.paste((0, 0, 0, 0), (0, 0, 20, 30))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    made = convert(buffer.getvalue(), ImageFormat.JPEG)

    assert min(opened(made.data).getpixel((4, 4))) > 250
    assert made.remarks == (CopyRemark.WHITE_BACKGROUND,)
    assert convert(paint(mode="RGB"), ImageFormat.JPEG).remarks == ()
    opaque = BytesIO()
    Image.new("RGBA", (40, 30), (200, 30, 30, 255)).save(opaque, "PNG")
    assert convert(opaque.getvalue(), ImageFormat.JPEG).remarks == ()


def test_transparency_by_a_palette_is_transparency(paint):
    palette = Image.new("P", (40, 30), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    buffer = BytesIO()
    palette.save(buffer, "PNG", transparency=0)

    assert convert(buffer.getvalue(), ImageFormat.JPEG).remarks == (CopyRemark.WHITE_BACKGROUND,)
    assert opened(convert(buffer.getvalue(), ImageFormat.WEBP).data).getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize("target", [ImageFormat.PNG, ImageFormat.WEBP])
def test_a_picture_that_was_held_askew_is_turned_once(paint, target):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = opened(convert(paint("JPEG", (40, 30), exif=exif.tobytes()), target).data)

    assert image.size == (30, 40)
    assert image.getexif().get(0x0112, 1) == 1


def test_a_profile_of_other_colours_is_not_put_on_the_copy(paint):
    data = paint("JPEG", mode="CMYK", icc_profile=PROFILE[:16] + b"CMYK" + PROFILE[20:])
    image = opened(convert(data, ImageFormat.PNG).data)

    assert image.mode == "RGB"
    assert "icc_profile" not in image.info


def test_what_a_jpeg_has_no_room_for_is_left_out_and_told_and_the_label_stays(paint):
    texts = PngInfo()
    texts.add_text("AIGC", LABEL)
    texts.add_itxt("Long", "x" * 100_000, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", THEIRS)
    data = paint(pnginfo=texts)
    made = convert(data, ImageFormat.JPEG)

    assert made.remarks == (CopyRemark.TEXTS_LEFT_OUT,)
    assert read_xmp(made.data)["{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"] == LABEL
    assert "kept as it is" in packet_of(made.data)
    assert convert(data, ImageFormat.WEBP).remarks == ()


def test_a_text_that_is_a_bomb_is_not_unpacked_to_its_end(paint, png_chunk):
    bomb = png_chunk(b"zTXt", b"Bomb\0\0" + zlib.compress(b"\0" * 60_000_000))
    data = paint(size=(64, 64))
    data = data[:33] + bomb + data[33:]
    tracemalloc.start()
    made = convert(data, ImageFormat.WEBP, 32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert made.remarks == (CopyRemark.TEXTS_LEFT_OUT,)
    assert peak < 20_000_000
    assert convert(data, ImageFormat.PNG, 32).remarks == ()


def test_what_cannot_be_decoded_or_claims_too_much_is_refused_in_words(claimed_png, paint):
    with pytest.raises(RequestRefusedError, match="too many to be decoded"):
        convert(claimed_png(20_000, 20_000), ImageFormat.WEBP, 100)
    with pytest.raises(RequestRefusedError, match="cannot be decoded"):
        convert(claimed_png(100, 100), ImageFormat.WEBP)
    with pytest.raises(RequestRefusedError, match="at most 16383 pixels a side"):
        convert(paint(size=(17_000, 2)), ImageFormat.WEBP)
    assert opened(convert(paint(size=(17_000, 2)), ImageFormat.WEBP, 4096).data).size == (4096, 1)


@pytest.mark.parametrize("target", FORMATS)
def test_the_same_wish_gives_the_same_bytes(labelled, target):
    data = labelled(size=(200, 100), mode="RGBA")

    assert convert(data, target, 64) == convert(data, target, 64)


def test_the_parts_of_a_jpeg_stay_in_their_order(paint):
    data = paint("JPEG", exif=Image.Exif().tobytes() or b"Exif\0\0II*\0\x08\0\0\0\0\0", comment="by hand")
    made = convert(data, ImageFormat.JPEG).data
    markers, at = [], 2
    while made[at + 1] != 0xDA:
        markers.append(made[at + 1])
        at += 2 + struct.unpack(">H", made[at + 2 : at + 4])[0]

    assert markers[0] == 0xE0
    assert made.endswith(data[-200:])
    assert opened(made).info["comment"] == b"by hand"
