"""TIFF files of any layout, written byte by byte: Pillow writes few of the kinds that cameras and science write."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from PIL import Image

Value = Iterable[int] | bytes

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, SAMPLES, ROWS, STRIP_BYTES = (
    *(256, 257, 258, 259, 262, 273, 277, 278, 279),
)
SUB_PAGES = 330


@dataclass
class Page:
    """One page: size, strips of pixels (one, or one for each plane), tags by number, pages below it."""

    size: tuple[int, int]
    strips: list[bytes]
    bits: tuple[int, ...] = (8, 8, 8)
    photometric: int = 2
    tags: Mapping[int, Value] = field(default_factory=dict)
    below: list["Page"] = field(default_factory=list)


def rgb_page(image: Image.Image, tags: Mapping[int, Value] | None = None, below: list[Page] | None = None) -> Page:
    """A page of 8-bit colours."""
    return Page(image.size, [image.convert("RGB").tobytes()], tags=tags or {}, below=below or [])


def grey_page(size: tuple[int, int], data: bytes, bits: int, **tags: Value) -> Page:
    """A page of one channel; further tags as `t339=[3]`."""
    numbers = {int(name[1:]): value for name, value in tags.items()}
    photometric = next(iter(numbers.pop(PHOTOMETRIC, (1,))))
    return Page(size, [data], (bits,), photometric, numbers)


def tiff(*pages: Page, order: str = "<", big: bool = False) -> bytes:
    """A file of these pages."""
    return _Writer(order, big=big).file(pages)


class _Writer:
    def __init__(self, order: str, *, big: bool) -> None:
        self.order, self.big = order, big
        self.place, self.count = ("Q", "Q") if big else ("I", "H")
        mark = b"II" if order == "<" else b"MM"
        head = struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
        self.out = bytearray(mark + head)
        self.link = len(self.out)
        self.out += bytes(struct.calcsize(self.place))

    def file(self, pages: Iterable[Page]) -> bytes:
        for page in pages:
            at, following = self.directory(page)
            struct.pack_into(self.order + self.place, self.out, self.link, at)
            self.link = following
        return bytes(self.out)

    def put(self, data: bytes) -> int:
        self.out += bytes(len(self.out) % 2) + data
        return len(self.out) - len(data)

    def directory(self, page: Page) -> tuple[int, int]:
        """Place of the directory, and of its link to the next one."""
        (width, height), samples = page.size, len(page.bits)
        tags: dict[int, Value] = {
            WIDTH: [width],
            HEIGHT: [height],
            BITS: page.bits,
            COMPRESSION: [1],
            PHOTOMETRIC: [page.photometric],
            STRIPS: [self.put(strip) for strip in page.strips],
            SAMPLES: [samples],
            ROWS: [height],
            STRIP_BYTES: [len(strip) for strip in page.strips],
        }
        if page.below:
            tags[SUB_PAGES] = [self.directory(child)[0] for child in page.below]
        tags |= dict(page.tags)
        if tags[COMPRESSION] == [6]:  # a JPEG, whose place has tags of its own
            tags[513], tags[514] = tags.pop(STRIPS), tags.pop(STRIP_BYTES)
        entries = b"".join(self.entry(tag, value) for tag, value in sorted(tags.items()) if value != [])
        count = sum(value != [] for value in tags.values())
        at = self.put(struct.pack(self.order + self.count, count) + entries + bytes(8 if self.big else 4))
        return at, at + struct.calcsize(self.order + self.count) + len(entries)

    def entry(self, tag: int, value: Value) -> bytes:
        if isinstance(value, bytes):
            kind, count, raw = 2, len(value), value
        else:
            values = list(value)
            kind, count = (4 if tag in (STRIPS, STRIP_BYTES, SUB_PAGES, 513, 514) else 3), len(values)
            raw = struct.pack(f"{self.order}{count}{'I' if kind == 4 else 'H'}", *values)
        room = 8 if self.big else 4
        held = raw.ljust(room, b"\0") if len(raw) <= room else struct.pack(self.order + self.place, self.put(raw))
        return struct.pack(self.order + ("HHQ" if self.big else "HHI"), tag, kind, count) + held
