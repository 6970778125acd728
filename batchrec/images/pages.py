"""The page of a TIFF that holds the image, and the raw files of cameras, many of which are TIFFs.

The first page of a file may be a preview: so it is in raw files, and in scans and maps with overviews. Its full size is
in a page below it (SubIFDs, tag 330) or in a later one. Format: TIFF 6.0 and BigTIFF, DNG 1.7 for the types of pages.
"""

import contextlib
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from .jpeg import Size, segments

Values = tuple[int, ...]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
FILL_ORDER, STRIPS, ORIENTATION, SAMPLES, ROWS, STRIP_BYTES = 266, 273, 274, 277, 278, 279
PLANAR, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 284, 317, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, NO_DATA = 338, 339, 42113
_NEW_TYPE, _OLD_TYPE, _SUB_PAGES = 254, 255, 330
_JPEG_AT, _JPEG_BYTES, _CANON_SLICES = 513, 514, 50752

_KEPT = (
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIPS, ORIENTATION, SAMPLES, ROWS, STRIP_BYTES),
    *(292, 293, PLANAR, PREDICTOR, 320, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, 332, EXTRA_SAMPLES, SAMPLE_FORMAT),
    *(347, 512, _JPEG_AT, _JPEG_BYTES, 515, 519, 520, 521, 530, 531, 34675),
)
"""Tags that a page keeps when it is written alone: whatever says how its pixels are coded, and its colour profile."""

_REDUCED = 1  # bit of NewSubfileType
_OTHERS = ~3  # its bits that are neither "reduced" nor "page of a document": masks, depth maps
_OLD_REDUCED = 2  # SubfileType of TIFF 5
_MASK = 4  # photometric interpretation
_SENSOR = frozenset((32803, 34892))
"""Photometric interpretations of a sensor's data: CFA, and LinearRaw, whose colours are those of one camera."""

_FRAMES = frozenset((*range(0xC0, 0xD0),)) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG frames of every kind, lossless ones among them."""

_OLD_JPEG = 6  # compression
_MOST_PAGES, _MOST_TAGS = 64, 1000
"""Pages looked at and tags read of each: raw files have up to 10 pages and 100 tags."""

_PREVIEW_SIDE, _PREVIEW_SCALE, _SAME_SHAPE = 512, 4, 1.03
"""A first page that nothing marks as a preview is one where it is at most so long, and a later page of the same shape,
within 3 %, has at least four times its sides."""

_MOST_CUT = 0.88
"""A camera's JPEG is the full image from this share of the sensor's sides on: sensors have a dark border."""

RAW = "a camera's raw file; export it as JPEG"
"""Reason for which a raw file is not sent."""

_RAW_STARTS = re.compile(
    rb"FUJIFILMCCD-RAW|FOVb|\0MRM|II(?:RO|RS|U\0)|MMOR|.{4}ftypcrx |II\x1a\0\0\0HEAPCCDR"
    rb"|II\*\0\x10\0\0\0CR|II\*\0.{4}IIII.waR|MM\0\*.{4}MMMMRaw",
    re.DOTALL,
)
"""First bytes of RAF, X3F, MRW, ORF, RW2, CR3, CRW, CR2 and IIQ. The last two are TIFFs."""

_LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q", 2: "B"}
"""Types of tags by number that hold whole numbers or text, as letters of `struct`."""


def is_raw(data: bytes) -> bool:
    """Whether the first bytes are those of a camera's raw file."""
    return _RAW_STARTS.match(data) is not None


@dataclass(frozen=True, slots=True)
class Page:
    """Directory of a TIFF.

    `order` of bytes, `at`: its place in the file, `tags`: type, number and place of the values, `parent` of a SubIFD.
    """

    data: bytes
    order: str
    at: int
    tags: Mapping[int, tuple[str, int, int]]
    parent: "Page | None" = None

    def get(self, tag: int, *default: int) -> Values:
        """Values of a tag of whole numbers; the default where it is missing or lies outside of the file."""
        letter, count, at = self.tags.get(tag, ("", 0, 0))
        if not letter or at + count * struct.calcsize(letter) > len(self.data):
            return default
        return struct.unpack_from(f"{self.order}{count}{letter}", self.data, at) or default

    def first(self, tag: int, default: int) -> int:
        """First value of a tag."""
        return self.get(tag, default)[0]

    def text(self, tag: int) -> bytes:
        """Bytes of a tag of text."""
        return bytes(value & 0xFF for value in self.get(tag)).rstrip(b"\0 ")

    @property
    def size(self) -> Size:
        """Width and height as stored, (0, 0) where the page holds no image."""
        if (jpeg := self.jpeg) and (size := _jpeg_size(jpeg)) is not None:
            return size
        return self.first(WIDTH, 0), self.first(HEIGHT, 0)

    @property
    def jpeg(self) -> bytes | None:
        """The JPEG that is this page, where it holds one from end to end, as the previews of cameras do."""
        if self.first(COMPRESSION, 1) != _OLD_JPEG:
            return None
        at, length = self.get(_JPEG_AT), self.get(_JPEG_BYTES)
        if not at or not length:
            at, length = self.get(STRIPS), self.get(STRIP_BYTES)
        if len(at) != 1 or len(length) != 1 or not self.data.startswith(b"\xff\xd8\xff", at[0]):
            return None
        return self.data[at[0] : at[0] + length[0]]

    @property
    def sensor(self) -> bool:
        """Whether the page holds what a camera's sensor has measured, which takes a raw converter to see."""
        return self.first(PHOTOMETRIC, -1) in _SENSOR or _CANON_SLICES in self.tags

    @property
    def picture(self) -> bool:
        """Whether the page holds an image that people look at, full or reduced."""
        held = self.jpeg is not None or STRIPS in self.tags or TILES in self.tags
        odd = self.first(_NEW_TYPE, 0) & _OTHERS or self.first(PHOTOMETRIC, -1) == _MASK
        return held and not odd and not self.sensor and min(self.size) > 0

    @property
    def reduced(self) -> bool:
        """Whether the page is marked as a smaller version of another."""
        return bool(self.first(_NEW_TYPE, 0) & _REDUCED) or self.first(_OLD_TYPE, 0) == _OLD_REDUCED

    @property
    def orientation(self) -> int:
        """Orientation, 1 to 8: its own, else that of the page above, as in raw files."""
        value = self.first(ORIENTATION, 0)
        if value == 0 and self.parent is not None:
            return self.parent.orientation
        return value if 1 <= value <= 8 else 1

    def written(self, changes: Mapping[int, Values], order: str = "") -> bytes:
        """The file as a TIFF of this page alone, with other values for some tags; pixels stay where they are."""
        order = order or self.order
        kept = {tag: self.get(tag) for tag in _KEPT} | {ORIENTATION: (self.orientation,), **changes}
        tags = {tag: values for tag, values in kept.items() if values}
        at = len(self.data) + len(self.data) % 2
        head, place = [], at + 2 + 12 * len(tags) + 4
        tail = b""
        for tag, values in sorted(tags.items()):
            kind = 7 if tag in (347, 34675) else 4 if max(values, default=0) > 0xFFFF else 3
            held = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
            if len(held) > 4:
                held, tail = struct.pack(order + "I", place + len(tail)), tail + held + bytes(len(held) % 2)
            head.append(struct.pack(order + "HHI", tag, kind, len(values)) + held.ljust(4, b"\0"))
        start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
        body = memoryview(self.data)[len(start) :]
        directory = struct.pack(order + "H", len(tags)) + b"".join(head) + bytes(4)
        return b"".join((start, body, bytes(len(self.data) % 2), directory, tail))


def pages(data: bytes) -> Iterator[Page]:
    """The pages of a TIFF in order, each followed by those below it, each once."""
    order = "<" if data.startswith(b"II") else ">"
    big = 43 in data[2:4]
    seen: set[int] = set()
    at = _number(data, order, "Q" if big else "I", 8 if big else 4)
    while at and at not in seen:
        seen.add(at)
        page, at = _page(data, order, at, big=big)
        if page is not None:
            yield page
            yield from _below(page, seen, big=big)


def _below(page: Page, seen: set[int], *, big: bool) -> Iterator[Page]:
    for at in page.get(_SUB_PAGES)[:_MOST_PAGES]:
        following = at
        while following and following not in seen:
            seen.add(following)
            child, following = _page(page.data, page.order, following, parent=page, big=big)
            if child is not None:
                yield child
                yield from _below(child, seen, big=big)


def _page(data: bytes, order: str, at: int, *, big: bool, parent: Page | None = None) -> tuple[Page | None, int]:
    """The page there and the place of the next one; None where nothing can be read."""
    count = _number(data, order, "Q" if big else "H", at)
    start, length = at + (8 if big else 2), 20 if big else 12
    entry = struct.Struct(order + ("HHQ" if big else "HHI"))
    if not count or count > _MOST_TAGS or start + count * length > len(data):
        return None, 0
    tags = {}
    for each in range(start, start + count * length, length):
        tag, kind, number = entry.unpack_from(data, each)
        if (letter := _LETTERS.get(kind)) is not None:
            place = each + entry.size
            if number * struct.calcsize(letter) > length - entry.size:
                place = _number(data, order, "Q" if big else "I", place)
            tags[tag] = letter, number, place
    return Page(data, order, at, tags, parent), _number(data, order, "Q" if big else "I", start + count * length)


def _number(data: bytes, order: str, letter: str, at: int) -> int:
    """The number there, 0 outside of the file."""
    size = struct.calcsize(letter)
    value: int = struct.unpack_from(order + letter, data, at)[0] if at + size <= len(data) else 0
    return value


def main_page(data: bytes) -> Page | str:
    """The page that shows the image at its full size, or the reason for which there is none to send.

    Raises SyntaxError where the file is damaged.
    """
    found = list(islice(pages(data), _MOST_PAGES))
    pictures = [page for page in found if page.picture]
    sensors = [page for page in found if page.sensor]
    if sensors or is_raw(data):
        full = [page for page in pictures if _shows(page, sensors)]
        return max(full, key=_area) if full else RAW
    if not pictures:
        raise SyntaxError("no page of the TIFF holds an image")
    unmarked = [page for page in pictures if not page.reduced]
    if not unmarked:
        return max(pictures, key=_area)
    return _larger(unmarked[0], unmarked[1:])


def _area(page: Page) -> int:
    return page.size[0] * page.size[1]


def _shows(page: Page, sensors: Iterable[Page]) -> bool:
    """Whether the page shows all that the sensors have measured, and no less sharply."""
    sizes = [size for sensor in sensors if min(size := _sensor_size(sensor)) > 0]
    whole = max(sizes, key=lambda size: size[0] * size[1], default=None)
    # A camera may have turned its JPEG and not the sensor's data.
    return whole is not None and all(
        side >= _MOST_CUT * most for side, most in zip(sorted(page.size), sorted(whole), strict=True)
    )


def _sensor_size(page: Page) -> Size:
    """Size of a sensor's data; where no tag says it (CR2), that of the lossless JPEG that holds them."""
    size = page.first(WIDTH, 0), page.first(HEIGHT, 0)
    if min(size) > 0:
        return size
    jpeg = page.jpeg
    return (_jpeg_size(jpeg, columns=True) if jpeg else None) or (0, 0)


def _larger(page: Page, others: list[Page]) -> Page:
    """The page, or the one of which it is a preview that no tag marks as one."""
    below = [other for other in others if other.parent is page and _times(page, other) > 1]
    if not below and page.parent is None and max(page.size) <= _PREVIEW_SIDE:
        below = [other for other in others if _times(page, other) >= _PREVIEW_SCALE]
    return max(below, key=_area, default=page)


def _times(page: Page, other: Page) -> float:
    """Sides of the other page by those of the first; 0 where it is of another shape."""
    across, down = (large / small for small, large in zip(page.size, other.size, strict=True))
    return min(across, down) if max(across, down) <= _SAME_SHAPE * min(across, down) else 0


def _jpeg_size(data: bytes, *, columns: bool = False) -> Size | None:
    """Width and height in the header of a JPEG of any kind.

    `columns`: of a sensor, whose columns are coded as the 2 or 4 channels of one pixel.
    """
    with contextlib.suppress(ValueError, struct.error):
        for marker, body, _ in segments(data):
            if marker in _FRAMES:
                height, width, channels = struct.unpack_from(">HHB", data, body + 1)
                return width * (channels if columns and channels % 2 == 0 else 1), height
    return None
