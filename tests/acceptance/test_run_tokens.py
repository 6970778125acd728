"""Token storms: revoked and expired under full load, shared by two processes, refused keys. Counted at the server."""

import json
import stat
from collections.abc import Callable
from typing import Any

import pytest
from harness import Place, calls_of, images_of, now, until

from batchrec.emulator import Emulator, FaultPlan

BEARER = "bce-v3/acceptance-wrong/0123456789abcdef"
DAY, MONTH = 86_400, 2_592_000


def plan(*faults: dict[str, Any]) -> FaultPlan:
    """A fault plan of these."""
    return FaultPlan.parse({"faults": faults})


def late(seconds: float, service: str = "advanced_general", **which: Any) -> dict[str, Any]:
    """A fault: the service looks at a call so many seconds after it arrived, at its token too."""
    return {"kind": "latency", "seconds": seconds, "before": True, "service": service, **which}


# -- a token that ends in the middle of 200 calls

ENDS: dict[str, Callable[[Emulator], object]] = {
    "110": lambda emulator: emulator.revoke_tokens(),
    "111": lambda emulator: emulator.configure(clock_offset=MONTH + 1.0),
}


@pytest.mark.parametrize("code", ENDS)
def test_a_token_that_ends_amid_200_calls_is_replaced_once(place: Place, emulator: Emulator, code: str) -> None:
    """Revoked (110) or expired (111) under 200 calls: one refresh, all asked again, no attempt and no count spent."""
    keys = place.pictures(300)
    place.job(limits={"qps": 500, "attempts": 1, "daily": 300})
    emulator.plan = plan(late(3, **{"from": 2}))
    running = place.start_run()
    until(lambda: emulator.counters.in_flight >= 200)
    ENDS[code](emulator)
    emulator.plan = plan()
    assert running.wait().code == 0
    assert images_of(place.rows()) == keys
    assert {row["attempts"] for row in place.rows()} == {1}
    assert emulator.counters.outcomes["advanced_general"][code] >= 200
    assert (place.summary()["token_refreshes"], emulator.counters.tokens_issued) == (1, 2)
    assert place.counted() == 300


def test_a_kept_token_is_renewed_a_day_or_a_tenth_early(place: Place, emulator: Emulator) -> None:
    """A run that finds a token with less left than a day or a tenth of its life, the lesser, fetches another."""
    place.job()
    place.pictures(1)
    assert place.run().code == 0
    (kept,) = (place.state / "tokens").glob("*.json")
    cases = [(MONTH, DAY + 60, 0), (MONTH, DAY - 60, 1), (DAY, DAY / 10 + 60, 0), (DAY, DAY / 10 - 60, 1)]
    for number, (life, left, fetched) in enumerate(cases, 1):
        ends = now() + left
        kept.write_text(json.dumps(json.loads(kept.read_bytes()) | {"obtained": ends - life, "expires": ends}))
        before = emulator.counters.tokens_issued
        place.pictures(1, start=number)
        assert place.run().code == 0
        assert (life, left, emulator.counters.tokens_issued - before) == (life, left, fetched)


# -- two processes, one token file


class Watch:
    """Reads the one token file again and again; what it held, and with which rights."""

    def __init__(self, place: Place) -> None:
        self.folder = place.state / "tokens"
        self.tokens: list[str] = []
        self.rights: set[str] = set()
        self.looks = 0

    def look(self) -> None:
        """Every file of the folder, now; a token file that is not whole JSON raises."""
        for path in self.folder.iterdir() if self.folder.exists() else ():
            try:
                self.rights.add(oct(stat.S_IMODE(path.stat().st_mode)))
                content = path.read_bytes()
            except FileNotFoundError:  # a file on its way to its place
                continue
            if path.suffix == ".json":
                self.looks += 1
                token = json.loads(content)["access_token"]
                if token not in self.tokens:
                    self.tokens.append(token)


def two_runs(place: Place, emulator: Emulator, watch: Watch, *, revoked_at: tuple[int, ...] = ()) -> None:
    """Run the job and its twin at once, to their ends; revoke all tokens each time so many calls were answered."""
    both = [
        place.start_run(),
        place.start_run("--set", 'name="twin"', "--set", 'output.directory="results/twin"', "--no-reuse"),
    ]
    to_come = list(revoked_at)

    def over() -> bool:
        watch.look()
        if to_come and emulator.counters.outcomes.get("advanced_general", {}).get("ok", 0) >= to_come[0]:
            to_come.pop(0)
            emulator.revoke_tokens()
        return all(run.process.poll() is not None for run in both)

    until(over, 40)
    assert [run.wait().code for run in both] == [0, 0]
    assert to_come == []


def test_two_processes_that_start_at_once_fetch_one_token(place: Place, emulator: Emulator) -> None:
    """No token yet, and an endpoint that takes its time: one process fetches, the other takes what it wrote."""
    place.pictures(40)
    place.job()
    emulator.plan = plan(late(1.0, "token"))
    two_runs(place, emulator, watch := Watch(place))
    assert (emulator.counters.calls["token"], len(watch.tokens)) == (1, 1)
    assert watch.rights == {"0o600"}


def test_two_processes_replace_a_refused_token_once(place: Place, emulator: Emulator) -> None:
    """Their kept token is refused, and revoked twice again while both call: one fetch each time, the file whole."""
    place.pictures(1)
    place.job(limits={"qps": 80})
    assert place.run().code == 0
    place.pictures(150, start=1)
    emulator.revoke_tokens()
    emulator.plan = plan(late(0.5, "token"))
    two_runs(place, emulator, watch := Watch(place), revoked_at=(60, 180))
    assert (emulator.counters.calls["token"], len(watch.tokens)) == (4, 4)
    assert watch.rights == {"0o600"}
    assert watch.looks > 100
    twin = json.loads((place.root / "results/twin/summary.json").read_bytes())
    assert place.summary()["token_refreshes"] + twin["token_refreshes"] == 3


# -- a key that is refused


def crowd(place: Place, pictures: int = 1000, **more: Any) -> None:
    """A thousand pictures, and as many calls in flight as there may be."""
    place.pictures(pictures)
    place.job(limits={"qps": 1000, "concurrency": 256, **more})


def test_77_a_key_that_the_token_endpoint_refuses_makes_no_call(place: Place, emulator: Emulator) -> None:
    """invalid_client: one token call, no recognition call, though 256 workers stand ready."""
    crowd(place)
    emulator.configure(secret_key="another", latency=0.3)
    done = place.run()
    assert (done.code, dict(emulator.counters.calls)) == (77, {"token": 1})
    assert "invalid_client" in done.err
    assert (place.rows(), place.failures()) == ([], [])


def test_77_a_key_that_the_service_refuses_makes_one_call(place: Place, emulator: Emulator) -> None:
    """14 to the first call: it is the only one, and does not count."""
    crowd(place)
    emulator.configure(latency=0.3)
    emulator.plan = plan({"kind": "code", "code": 14})
    done = place.run()
    assert (done.code, dict(emulator.counters.calls)) == (77, {"token": 1, "advanced_general": 1})
    assert "(14)" in done.err
    assert (place.rows(), place.failures(), place.counted()) == ([], [], 0)


def test_77_a_bearer_key_that_is_refused_makes_one_call(place: Place, emulator: Emulator) -> None:
    """23 to the first call: it is the only one, and the key is not repeated."""
    crowd(place)
    emulator.configure(bearer="bce-v3/right", latency=0.3)
    place.credentials(default={"bearer": BEARER})
    done = place.run()
    assert (done.code, dict(emulator.counters.calls)) == (77, {"advanced_general": 1})
    assert "(23)" in done.err
    assert BEARER not in done.err


def test_77_a_key_that_is_refused_later_stops_the_calls_that_have_not_left(place: Place, emulator: Emulator) -> None:
    """14 in the middle of a run: no call leaves after it, and what was answered is saved."""
    crowd(place, 600, qps=200)
    emulator.configure(latency=0.3)
    emulator.plan = plan({"kind": "code", "code": 14, "from": 101})
    done = place.run()
    outcomes = emulator.counters.outcomes["advanced_general"]
    assert (done.code, len(place.rows()), outcomes["ok"]) == (77, 100, 100)
    assert outcomes["14"] <= 256  # as many as may be in flight on a busy machine; 500 if nothing stopped them
    assert calls_of(emulator) == 101 + outcomes["14"]


# -- tokens that are refused, however fresh


def test_77_three_fresh_tokens_take_one_call_each(place: Place, emulator: Emulator) -> None:
    """A service that takes no token: three tokens, one call with each, then 77."""
    crowd(place)
    emulator.configure(latency=0.2)
    emulator.plan = plan({"kind": "code", "code": 110})
    done = place.run()
    assert (done.code, dict(emulator.counters.calls)) == (77, {"token": 3, "advanced_general": 3})
    assert "3 fresh tokens" in done.err
    assert (place.failures(), place.counted(), place.summary()["token_refreshes"]) == ([], 0, 2)


def test_77_three_tokens_refused_amid_a_run(place: Place, emulator: Emulator) -> None:
    """From the 101st call on every token is refused: three tokens in all, a crowd of refusals of each is one."""
    crowd(place, 300, qps=300)
    emulator.configure(latency=0.2)
    emulator.plan = plan({"kind": "code", "code": 111, "from": 101})
    done = place.run()
    assert (done.code, emulator.counters.tokens_issued) == (77, 3)
    assert (len(place.rows()), place.failures(), place.counted()) == (100, [], 100)
    emulator.plan = plan()
    assert place.run("--set", "limits.qps=1000").code == 0
    assert len(place.rows()) == 300
