"""`batchrec dataset upload`: each image once with its label, whatever fails and however often it is killed."""

import hashlib
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from harness import Place, picture, until

from batchrec.emulator import Emulator, FaultPlan

IMAGES = int(os.environ.get("ACCEPTANCE_UPLOAD_IMAGES", "60"))
"""Images of the large upload; 500 is the figure to quote."""

EVERY_KIND = (
    {"kind": "code", "code": 406000},
    {"kind": "code", "code": 406004},
    {"kind": "code", "code": 18},
    {"kind": "code", "code": 110},
    {"kind": "latency", "seconds": 0.3},
    {"kind": "reset"},
    {"kind": "reset", "before": False},
    {"kind": "html_502"},
    {"kind": "torn"},
    {"kind": "not_json"},
    {"kind": "http", "status": 503},
)


def data_set(place: Place, count: int, labels: tuple[str, ...] = ("apple", "pear", "plum")) -> Counter[str]:
    """Make a data set; images by class."""
    for number in range(count):
        data = picture(number, "JPEG", (64, 48))
        place.put(f"fruit/{labels[number % len(labels)]}/{number}.jpg", data)
    return Counter(labels[number % len(labels)] for number in range(count))


def upload(place: Place, *more: str):
    """Start an upload."""
    place.env["BATCHREC_ENDPOINT"] = place.endpoint
    return place.start("dataset", "upload", "fruit", "--name", "fruit", "--qps", "100", *more)


def stored(emulator: Emulator) -> list:
    """Entities of the only data set."""
    (only,) = emulator.data_sets.sets.values()
    return list(only.entities.values())


def test_each_image_once_through_faults_and_kills(place: Place, emulator: Emulator) -> None:
    """Faults of every kind, two SIGKILLs, a lost answer to create: by the emulator's count all is there once."""
    counts = data_set(place, IMAGES)
    faults = [{**each, "share": 0.02, "service": "dataset_addentity"} for each in EVERY_KIND]
    lost = {"kind": "torn", "service": "dataset_create", "calls": [1]}
    busy = {"kind": "code", "code": 406004, "service": "label_list", "calls": [1]}
    emulator.plan = FaultPlan.parse({"seed": 5, "faults": [lost, busy, *faults]})
    for share in (1 / 3, 2 / 3):
        running = upload(place)
        until(lambda share=share: emulator.data_sets.sets and len(stored(emulator)) >= IMAGES * share, 60)
        running.kill()
    done = upload(place).wait(120)
    assert done.code == 0, done.err
    assert Counter(each["label_name"] for one in stored(emulator) for each in one.labels) == counts
    assert len({one.sha256 for one in stored(emulator)}) == IMAGES
    there = [line.split("\t") for line in done.out.splitlines()[1:]]
    assert there == [[label, str(count), str(count)] for label, count in sorted(counts.items())]
    assert emulator.counters.outcomes["dataset_create"]["torn"] == 1
    sent = emulator.counters.calls["dataset_addentity"]
    again = upload(place).wait()
    assert (again.code, emulator.counters.calls["dataset_addentity"]) == (0, sent)
    print(f"\n{IMAGES} images: {sent} calls, {dict(emulator.counters.outcomes['dataset_addentity'])}")


def test_a_signal_stops_and_the_next_upload_goes_on(place: Place, emulator: Emulator) -> None:
    """SIGTERM: images on their way are confirmed, exit code 143; the next upload sends the others only."""
    data_set(place, 40)
    emulator.configure(latency=0.05)
    running = upload(place)
    until(lambda: emulator.data_sets.sets and len(stored(emulator)) >= 5)
    running.send(signal.SIGTERM)
    done = running.wait()
    assert (done.code, len(stored(emulator)) < 40) == (143, True)
    assert "run again to go on" in done.err
    assert upload(place).wait().code == 0
    assert [one.sent for one in stored(emulator)] == [1] * 40


def test_boxes_are_sent_in_pixels(place: Place, emulator: Emulator) -> None:
    """A set for detection: an image has its boxes, and is made as OBJECT_DETECTION."""
    place.put("fruit/1.jpg", picture(1, "JPEG", (64, 48)))
    label = '{"name": "apple", "x1": 4, "y1": 5, "x2": 30, "y2": 25}'
    place.put("fruit/1.json", f'{{"labels": [{label}]}}'.encode())
    assert upload(place).wait().code == 0
    (only,) = emulator.data_sets.sets.values()
    assert only.type == "OBJECT_DETECTION"
    (entity,) = only.entities.values()
    assert entity.labels == [{"label_name": "apple", "left": 4, "top": 5, "width": 26, "height": 20}]


def test_the_same_warning_comes_once(place: Place, emulator: Emulator) -> None:
    """Two token requests that are reset are one line; the upload goes on with the third."""
    data_set(place, 3)
    emulator.plan = FaultPlan.parse({"faults": [{"kind": "reset", "service": "token", "calls": [1, 2]}]})
    done = upload(place).wait(120)
    assert (done.code, done.err.count("no token yet")) == (0, 1), done.err


def test_missing_images_are_told(place: Place, emulator: Emulator) -> None:
    """An image that the service has lost: exit code 1, its label, and --again sends all."""
    data_set(place, 9)
    emulator.plan = FaultPlan.parse({"faults": [{"kind": "no_result", "service": "dataset_addentity", "calls": [4]}]})
    done = upload(place).wait()
    assert (done.code, "--again" in done.err) == (1, True)
    assert upload(place, "--again").wait().code == 0
    assert len(stored(emulator)) == 9


@pytest.mark.parametrize(
    ("faults", "code", "word"),
    [
        ([{"kind": "code", "code": 406006, "service": "dataset_addentity"}], 77, "406006"),
        ([{"kind": "code", "code": 406002, "service": "dataset_addentity"}], 2, "was deleted"),
        ([{"kind": "code", "code": 216201, "service": "dataset_addentity", "calls": [2]}], 1, "216201"),
    ],
)
def test_refusals_end_with_their_code(place: Place, emulator: Emulator, faults, code: int, word: str) -> None:
    """Each kind of refusal has its exit code and says what to do."""
    data_set(place, 6)
    emulator.plan = FaultPlan.parse({"faults": faults})
    done = upload(place).wait()
    assert (done.code, word in done.err) == (code, True), done.err


def test_what_is_wrong_is_refused_before_anything_is_sent(place: Place, emulator: Emulator) -> None:
    """A torn image: exit code 2 and no call; --force sends the others."""
    data_set(place, 6)
    whole = Path(place.root / "fruit/apple/0.jpg").read_bytes()
    place.put("fruit/apple/torn.jpg", whole[:900])
    assert upload(place).wait().code == 2
    assert not emulator.counters.calls
    assert upload(place, "--force").wait().code == 0
    assert len(stored(emulator)) == 6


def test_an_image_of_another_class_is_named_until_it_is_gone(place: Place, emulator: Emulator) -> None:
    """The service keeps it under the old class: file, classes and cure, exit code 1; deleted there, all is right."""
    data_set(place, 6)
    first = upload(place).wait()
    assert (first.code, "bind the application" in first.err) == (0, True), first.err
    (place.root / "fruit/apple/0.jpg").rename(place.root / "fruit/pear/0.jpg")
    digest = hashlib.sha256((place.root / "fruit/pear/0.jpg").read_bytes()).hexdigest()
    old = f"apple_{digest[:16]}.jpg"
    for more in ((), ("--again",)):
        done = upload(place, *more).wait()
        assert (done.code, done.out.splitlines()[1:]) == (1, ["apple\t1\t2", "pear\t3\t2", "plum\t2\t2"])
        assert f"pear/0.jpg: is pear now, and was sent as apple earlier, named {old}" in done.err
        assert "delete it in the console" in done.err
        assert "--again" not in done.err
    (only,) = emulator.data_sets.sets.values()
    del only.entities[old]
    for sent in (1, 0):
        done = upload(place).wait()
        assert (done.code, f"{sent} image{'s' * (sent != 1)} sent" in done.err) == (0, True), done.err
    assert Counter(each["label_name"] for one in stored(emulator) for each in one.labels) == {
        "apple": 1,
        "pear": 3,
        "plum": 2,
    }


def test_a_data_set_that_exists_is_added_to(place: Place, emulator: Emulator) -> None:
    """Its name is taken in the console: that is told, with labels of more images; once deleted it is forgotten."""
    data_set(place, 6)
    assert upload(place).wait().code == 0
    place.env["BATCHREC_STATE_DIR"] = str(place.root / "fresh")
    (place.root / "fruit/apple/0.jpg").unlink()
    done = upload(place).wait()
    assert (done.code, "exists already; adding to it" in done.err) == (0, True), done.err
    assert "1 label has more images at the service" in done.err
    emulator.data_sets.sets.clear()
    done = upload(place).wait()
    assert (done.code, "run again to make it anew" in done.err) == (2, True), done.err
