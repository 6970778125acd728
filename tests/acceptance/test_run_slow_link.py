"""Runs through a slow uplink: no call is paid twice because of it, and the link is used."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Place, images_of, picture

from batchrec.emulator import Emulator
from tests.support.slow_link import slow_link

RATE = 2_000_000.0
"""Bytes per second of the link: 16 Mbit/s."""

SIDE = 360
"""Pixels a side of noise, of which a PNG has 390 KB: 0.27 s of the link for each body."""


LINK_BODY = len(picture(99, "PNG", (SIDE, SIDE))) * 17 / 12
"""Bytes of the body of one of them."""


def prepared(place: Place, count: int) -> list[str]:
    """So many images, each too large for the link to carry more than a few within the timeout."""
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda number: picture(number, "PNG", (SIDE, SIDE)), range(count))
        return [place.put(f"家居/{number:02d}.png", data) for number, data in enumerate(found)]


def limits_told(place: Place) -> str:
    """The limit of the same job, as `plan` says it from the measurement of the last run."""
    place.put("家居/more.png", picture(99, "PNG", (SIDE, SIDE)))
    done = place.batchrec("plan", "furniture.toml", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["bytes"] == pytest.approx(LINK_BODY, rel=0.05)
    assert said["uplink"]["mbit_per_s"] == pytest.approx(RATE * 8e-6, rel=0.3)
    assert said["uplink"]["seconds"] == pytest.approx(said["bytes"] / RATE, rel=0.3)
    told = place.batchrec("plan", "furniture.toml").out
    assert "by the uplink (" in told
    assert f"limited by the {said['limited_by']}" in told
    return str(said["limited_by"])


@pytest.mark.parametrize("qps", [10, 1000])
def test_no_call_of_a_slow_link_is_paid_twice(place: Place, emulator: Emulator, qps: int) -> None:
    """All bodies together take twice the timeout; each is sent once, by either transport."""
    keys = prepared(place, 20)
    with slow_link(emulator.url, RATE) as link:
        place.endpoint = link.url
        place.job(limits={"qps": qps, "timeout": 3, "attempts": 5})
        done = place.run(env={"BATCHREC_ENDPOINT": link.url})
        used = link.carried / (link.last - link.first) / RATE
    assert done.code == 0, done.err
    assert sorted(images_of(place.rows())) == keys
    assert emulator.counters.outcomes["advanced_general"] == {"ok": 20}
    assert place.summary()["retries"] == 0
    assert used > 0.5
    assert limits_told(place) == "uplink"


def test_no_call_is_paid_twice_where_a_proxy_takes_all(place: Place, emulator: Emulator) -> None:
    """Nothing is seen to wait, since the proxy acknowledges at once what waits before the link."""
    keys = prepared(place, 24)
    with slow_link(emulator.url, RATE, greedy=True) as link:
        place.endpoint = link.url
        place.job(limits={"qps": 100, "timeout": 4, "attempts": 5})
        done = place.run(env={"BATCHREC_ENDPOINT": link.url})
        used = link.carried / (link.last - link.first) / RATE
    assert done.code == 0, done.err
    assert sorted(images_of(place.rows())) == keys
    assert emulator.counters.outcomes["advanced_general"] == {"ok": 24}
    assert place.summary()["retries"] == 0
    assert used > 0.8
