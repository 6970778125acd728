"""Large photographs among small ones: what is ready to be sent does not wait for what is still decoded."""

from io import BytesIO
from itertools import pairwise

from harness import Place, images_of
from PIL import Image

from batchrec.emulator import Emulator

QPS = 10
WORKERS = 40
"""That a lane has at this rate, to begin with."""


def encoded(image: Image.Image, format: str) -> bytes:
    file = BytesIO()
    image.save(file, format, quality=95)
    return file.getvalue()


def large(place: Place, count: int) -> list[str]:
    """So many different photographs before all others: too heavy by their bytes, or too wide and light to read."""
    noise = Image.effect_noise((1700, 1300), 100).convert("RGB")
    wide = Image.radial_gradient("L").resize((4200, 2100)).convert("RGB")
    heavy, light = encoded(noise, "PNG"), encoded(wide, "PNG")
    pictures = [(light if number % 2 else heavy) + bytes(number) for number in range(count)]
    return [place.put(f"家居/0_{number:03d}.png", data) for number, data in enumerate(pictures)]


def test_calls_go_on_while_more_large_pictures_are_repaired_than_there_are_workers(
    place: Place, emulator: Emulator
) -> None:
    """Every worker would wait for a repair: pictures that need none are sent meanwhile, at the rate."""
    huge = large(place, WORKERS + 10)
    small = place.pictures(WORKERS)
    place.job(limits={"qps": QPS, "timeout": 30})
    assert place.run().code == 0
    rows = place.rows()
    assert images_of(rows) == sorted(huge + small)
    assert [bool(row["repaired"]) for row in rows if row["image"] in huge] == [True] * len(huge)
    arrivals = list(emulator.counters.arrivals["advanced_general"])
    assert arrivals[WORKERS - 1] - arrivals[0] < 1.5 * WORKERS / QPS
    assert max(later - earlier for earlier, later in pairwise(arrivals)) < (arrivals[-1] - arrivals[0]) / 4
