"""
What a picture file says of itself: its XMP packet and its texts, read out of one file and written into another.

Of a picture that a model has made this is above all the label that says so. China's rules have the service write one
(`AIGC`), as a text of a PNG or in the packet; everybody else reads the digital source type of the IPTC. Whatever
becomes of a picture here, the first is kept and the second is added if it has none.

Packets are extended as text: to take XML apart and put it together again would change what others have written in it.

Sources:
    https://developer.adobe.com/xmp/docs/XMPSpecifications/
    https://www.iptc.org/std/photometadata/documentation/userguide/
    https://www.w3.org/TR/png-3/#11textinfo
    https://developers.google.com/speed/webp/docs/riff_container
    GB 45438-2025 (China's rules for the labels of generated content in files)
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress

from wan_mcp.images.format import find_png_chunks, read_webp_size
from wan_mcp_tools.domain.record import Record

MADE_BY_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""The digital source type of what a trained model has made."""

MOST_JPEG_SEGMENT_BYTES = 65_533
"""Of the content of a segment; a packet and its head are in one."""

_MOST_TEXT_BYTES = 256 * 1024
_MOST_PACKET_BYTES = 4 * 1024 * 1024
_MOST_TEXTS = 100

_LABEL = "AIGC"
_LABEL_SPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"
_IPTC_SPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_RDF_SPACE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TEXT_SPACE = "urn:wan-mcp:png-text:1.0:"
_SOURCE_TYPE = re.compile(r"\bDigitalSourceType\b")
_PACKET_END = re.compile(r"</\s*(?:[\w.-]+:)?RDF\s*>")
_ABOUT = re.compile(r"""\brdf:about\s*=\s*("[^"<]*"|'[^'<]*')""")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EMPTY_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{_RDF_SPACE}"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_END = 33
_PNG_PACKET = b"XML:com.adobe.xmp"
_PNG_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_PNG_LOOK = frozenset({b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs"})
"""What colours mean and how large a pixel is, whatever their kind."""

_JPEG_PACKET = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_EXIF = b"Exif\0"
_APP0, _APP1, _COMMENT, _SCAN, _END = 0xE0, 0xE1, 0xFE, 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})

_WEBP_HAS_PACKET, _WEBP_HAS_ALPHA = 0x04, 0x10

Text = tuple[str, str]
"""A keyword and what stands under it."""


class Labels(Record):
    """
    What a file says of itself beside its pixels, its colour profile and its EXIF.

    `packet` is its XMP; None for none, and for one that nobody can read. `texts` are those of a PNG, or the comment
    of a JPEG. `is_complete` says that nothing was too long or too damaged to be read.
    """

    packet: str | None = None
    texts: tuple[Text, ...] = ()
    is_complete: bool = True


def read_labels(data: bytes) -> Labels:
    """
    Read what a whole PNG, JPEG or WebP says of itself.

    Raises:
        ValueError: its parts cannot be told from one another.
    """
    raw: bytes | None = None
    texts: list[Text] = []
    is_complete = True
    for keyword, content in _find_labels(data):
        if keyword is None:
            raw = content
        elif content is None or len(content) > _MOST_TEXT_BYTES or len(texts) >= _MOST_TEXTS:
            is_complete = False
        else:
            texts.append((keyword, _decode(content)))
    packet = None
    if raw is not None:
        with suppress(UnicodeDecodeError):
            packet = raw.decode()
        if packet is None or not _PACKET_END.search(packet):
            packet, is_complete = None, False
    return Labels(packet, tuple(texts), is_complete)


def make_packet(labels: Labels, *, with_texts: bool, most_bytes: int | None) -> tuple[str, bool]:
    """
    Give an XMP packet of at most `most_bytes` with the digital source type, and say whether nothing was left out.

    It is the file's own, unless that has become too long. `with_texts` puts the texts into it, for a format that has
    no place of its own for them; the service's label is kept the longest.
    """
    texts = labels.texts if with_texts else ()
    label = tuple(text for text in texts if text[0] == _LABEL)
    for packet, kept in ((labels.packet, texts), (labels.packet, label), (None, label), (None, ())):
        made = _extend(packet, kept)
        if most_bytes is None or len(made.encode()) <= most_bytes:
            is_whole = packet == labels.packet and kept == texts
            return made, is_whole and (labels.is_complete or not with_texts)
    raise AssertionError("the source type alone fits")


def write_packet(data: bytes, packet: str) -> bytes:
    """
    Give a whole PNG, JPEG or WebP with an XMP packet in the place of the one that it has.

    Raises:
        ValueError: its parts cannot be told from one another, or the packet has no room.
    """
    raw = packet.encode()
    if data.startswith(_PNG_START):
        return _write_into_png(data, raw)
    return _write_into_webp(data, raw) if data.startswith(b"RIFF") else _write_into_jpeg(data, raw)


def most_packet_bytes(mime_type: str) -> int | None:
    """Give how long a packet may be in a format; None for as long as it likes."""
    return MOST_JPEG_SEGMENT_BYTES - len(_JPEG_PACKET) if mime_type == "image/jpeg" else None


def read_png_profile(data: bytes) -> bytes | None:
    """Give the colour profile of a whole PNG."""
    for kind, start, end in find_png_chunks(data):
        if kind == b"iCCP":
            _, _, packed = data[start + 8 : end - 4].partition(b"\0")
            return _unpack(packed[1:], _MOST_PACKET_BYTES)
    return None


def copy_png_texts(source: bytes, target: bytes) -> bytes:
    """Give a PNG with the texts of another, and with what that says of its look, each as it is."""
    kept = [
        source[start:end]
        for kind, start, end in find_png_chunks(source)
        if kind in _PNG_LOOK or (kind in _PNG_TEXTS and not source.startswith(_PNG_PACKET, start + 8))
    ]
    return b"".join((target[:_PNG_HEADER_END], *kept, target[_PNG_HEADER_END:]))


def _extend(packet: str | None, texts: Sequence[Text]) -> str:
    packet = _EMPTY_PACKET if packet is None else packet
    properties: list[str] = []
    if not _SOURCE_TYPE.search(packet):
        properties.append(
            f'<Iptc4xmpExt:DigitalSourceType xmlns:Iptc4xmpExt="{_IPTC_SPACE}">{MADE_BY_MODEL}'
            "</Iptc4xmpExt:DigitalSourceType>"
        )
    for keyword, text in texts:
        if keyword == _LABEL and _LABEL_SPACE not in packet:
            properties.append(f'<TC260:AIGC xmlns:TC260="{_LABEL_SPACE}">{_to_xml(text)}</TC260:AIGC>')
    others = [f"<rdf:li>{_to_xml(f'{keyword}: {text}')}</rdf:li>" for keyword, text in texts if keyword != _LABEL]
    if others:
        items = "".join(others)
        properties.append(f'<t:Texts xmlns:t="{_TEXT_SPACE}"><rdf:Bag>{items}</rdf:Bag></t:Texts>')
    if not properties:
        return packet
    # All parts of a packet are about the same thing, by the same name.
    about = _ABOUT.search(packet)
    head = f'<rdf:Description xmlns:rdf="{_RDF_SPACE}" rdf:about={about[1] if about else chr(34) * 2}>'
    *_, end = _PACKET_END.finditer(packet)
    return f"{packet[: end.start()]}{head}{''.join(properties)}</rdf:Description>{packet[end.start() :]}"


def _to_xml(text: str) -> str:
    # The library's own escape() brings a parser along that a start of the server would pay for.
    return _NOT_XML.sub("\ufffd", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _decode(content: bytes) -> str:
    """Read a text; the older kinds of PNG texts are Latin-1 by the standard, and UTF-8 by habit."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _unpack(packed: bytes, most_bytes: int) -> bytes | None:
    """Give compressed data; None for what is damaged or longer than allowed."""
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, most_bytes)
    except zlib.error:
        return None
    return data if unpacker.eof else None


def _find_labels(data: bytes) -> Iterator[tuple[str | None, bytes | None]]:
    """Give each text with its keyword, and the packet with None; a content of None cannot be read."""
    if data.startswith(_PNG_START):
        for kind, start, end in find_png_chunks(data):
            if kind in _PNG_TEXTS:
                yield _read_png_text(kind, data[start + 8 : end - 4])
    elif data.startswith(b"RIFF"):
        yield from ((None, content) for kind, content in _find_webp_chunks(data) if kind == b"XMP ")
    else:
        for marker, start, end in _find_jpeg_segments(data):
            if marker == _APP1 and data.startswith(_JPEG_PACKET, start + 4):
                yield None, data[start + 4 + len(_JPEG_PACKET) : end]
            elif marker == _COMMENT:
                yield "Comment", data[start + 4 : end].rstrip(b"\0")


def _read_png_text(kind: bytes, content: bytes) -> tuple[str | None, bytes | None]:
    word, _, rest = content.partition(b"\0")
    is_packed = kind == b"zTXt"
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        is_packed = rest[:1] == b"\1"
        # A language and a translated keyword.
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    is_packet = word == _PNG_PACKET
    text = _unpack(rest, _MOST_PACKET_BYTES if is_packet else _MOST_TEXT_BYTES) if is_packed else rest
    # A packet that cannot be unpacked is one that cannot be read.
    return (None, text or b"") if is_packet else (word.decode("latin-1"), text)


def _write_into_png(data: bytes, packet: bytes) -> bytes:
    content = b"iTXt" + _PNG_PACKET + b"\0\0\0\0\0" + packet
    chunk = (len(content) - 4).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)
    kept = [
        data[start:end]
        for kind, start, end in find_png_chunks(data)
        if not (kind == b"iTXt" and data.startswith(_PNG_PACKET, start + 8))
    ]
    return b"".join((_PNG_START, kept[0], chunk, *kept[1:]))


def _write_into_jpeg(data: bytes, packet: bytes) -> bytes:
    length = 2 + len(_JPEG_PACKET) + len(packet)
    segment = bytes((0xFF, _APP1)) + length.to_bytes(2) + _JPEG_PACKET + packet
    first: list[bytes] = []
    rest: list[bytes] = []
    is_first, reached = True, 2
    for marker, start, end in _find_jpeg_segments(data):
        reached = end
        is_exif = marker == _APP1 and data.startswith(_JPEG_EXIF, start + 4)
        is_first = is_first and (marker == _APP0 or is_exif)
        if not (marker == _APP1 and data.startswith(_JPEG_PACKET, start + 4)):
            (first if is_first else rest).append(data[start:end])
    return b"".join((data[:2], *first, segment, *rest, data[reached:]))


def _find_jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """
    Give the marker, the start and the end of every segment before the pixels.

    Raises:
        ValueError: something else stands there.
    """
    start = 2
    while start + 4 <= len(data):
        if data[start] != 0xFF:  # noqa: PLR2004 - what every marker begins with
            raise ValueError("a segment begins with a marker")
        marker = data[start + 1]
        if marker == 0xFF:  # noqa: PLR2004 - any number of these may stand before a marker
            start += 1
            continue
        if marker in (_SCAN, _END):
            return
        end = start + 2 if marker in _WITHOUT_LENGTH else start + 2 + int.from_bytes(data[start + 2 : start + 4])
        yield marker, start, end
        start = end
    raise ValueError("there are no pixels")


def _write_into_webp(data: bytes, packet: bytes) -> bytes:
    chunks = [(kind, content) for kind, content in _find_webp_chunks(data) if kind != b"XMP "]
    kind, content = chunks[0]
    if kind == b"VP8X":
        chunks[0] = (kind, bytes((content[0] | _WEBP_HAS_PACKET,)) + content[1:])
    else:
        width, height = read_webp_size(data)
        # The bit behind the two sides says that a lossless picture is transparent somewhere.
        has_alpha = kind == b"VP8L" and bool(content[4] & 0x10)
        flags = _WEBP_HAS_PACKET | (_WEBP_HAS_ALPHA if has_alpha else 0)
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks.insert(0, (b"VP8X", bytes((flags, 0, 0, 0)) + sides))
    chunks.append((b"XMP ", packet))
    body = b"".join(
        name + len(inner).to_bytes(4, "little") + inner + b"\0" * (len(inner) % 2) for name, inner in chunks
    )
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def _find_webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the kind and the content of every chunk."""
    start, last = 12, min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while start + 8 <= last:
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        yield data[start : start + 4], data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2
