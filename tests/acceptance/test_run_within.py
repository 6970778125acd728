"""`input.within` and `input.strip`: nothing outside of a folder is read, and no metadata leaves."""

import base64
import io
import json
import shutil

import pytest
from harness import Place, calls_of, images_of, picture, until
from PIL import ExifTags, Image
from stranger import Said, Stranger, reply, strange

from batchrec.emulator import Emulator

SERVICE = "advanced_general"


def scattered(place: Place) -> list[str]:
    """Two images inside, and five ways out: a link, a link to a folder, a name with .., a manifest's row, a glob."""
    inside = place.pictures(2)
    outside = place.root.parent / f"{place.root.name}-outside"
    outside.mkdir()
    for number, name in enumerate(("linked.png", "named.png", "row.png", "globbed.png", "album.png")):
        (outside / name).write_bytes(picture(100 + number))
    (place.root / "家居/link.png").symlink_to(outside / "linked.png")
    (place.root / "家居/album").symlink_to(outside)
    (place.root / "家居/inner.png").symlink_to(place.root / inside[0])
    (place.root / "list.txt").write_text(f"家居/../../{outside.name}/row.png\n", encoding="utf-8")
    named = f"../{outside.name}/named.png"
    globbed = f"../{outside.name}/glob*.png"
    place.job(input={"paths": ["家居", named, globbed], "manifest": "list.txt", "within": "."})
    return sorted(
        ["家居/link.png", "家居/album", named, f"../{outside.name}/globbed.png", f"../{outside.name}/row.png"]
    )


def test_1_what_lies_outside_is_a_failed_row(place: Place, emulator: Emulator) -> None:
    """By whatever way it was reached; links within the folder are followed; plan says how many there are."""
    outside = scattered(place)
    said = json.loads(place.batchrec("plan", "furniture.toml", "--json").out)
    assert (said["outside"], said["calls"]) == (len(outside), 2)
    assert f"{len(outside)} inputs lie outside the job's folder" in place.batchrec("plan", "furniture.toml").out
    assert place.run().code == 1
    assert images_of(place.failures()) == outside
    assert {(row["code"], row["kind"], row["attempts"]) for row in place.failures()} == {("outside", "image", 0)}
    assert images_of(place.rows()) == sorted(["家居/inner.png", "家居/家居_0000.png", "家居/家居_0001.jpg"])
    assert emulator.counters.calls[SERVICE] == 2


def test_plan_counts_what_lies_outside_where_it_is_allowed(place: Place) -> None:
    """Without `within` the inputs are read as ever, and plan says how many lie outside the job's folder."""
    scattered(place)
    place.job(input={"paths": ["家居"]})
    said = json.loads(place.batchrec("plan", "furniture.toml", "--json").out)
    assert (said["outside"], said["calls"], said["unreadable"]) == (6, 7, 0)
    assert place.run().code == 0


def test_2_a_folder_or_a_manifest_that_cannot_be(place: Place, emulator: Emulator) -> None:
    """`within` must be a folder, and the manifest lie in it: both are told at once, before anything is sent."""
    place.pictures(1)
    (place.root / "list.txt").write_text("家居/家居_0000.png\n", encoding="utf-8")
    place.job(input={"manifest": "list.txt", "within": "家居"})
    done = place.run()
    assert (done.code, "lies outside of input.within" in done.err) == (2, True)
    place.job(input={"within": "nowhere"})
    done = place.run()
    assert (done.code, 'input.within: "nowhere" is no folder' in done.err) == (2, True)
    assert calls_of(emulator) == 0


def photo(orientation: int) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSDateStamp] = "GPS-secret"
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(file, "JPEG", exif=exif, comment=b"GPS-secret")
    return file.getvalue()


@pytest.mark.parametrize("upright", [True, False])
def test_strip_sends_no_metadata(apart: Place, upright: bool) -> None:
    """With strip no EXIF but an orientation is sent, and the pixels are those sent without it."""
    heaps = {}
    for orientation in (1, 6):
        apart.put(f"家居/{orientation}.jpg", photo(orientation))
    for strip in (False, True):
        with strange(Stranger(lambda number, form: Said(reply("花")))) as server:
            apart.endpoint = server.url
            apart.job(input={"strip": strip, "upright": upright}, output={"directory": f"results/{strip}"})
            done = apart.run("--no-reuse")
            assert done.code == 0, done.err
            heaps[strip] = sorted(base64.b64decode(form["image"]) for form in server.calls)
    assert (photo(1) in heaps[False], photo(6) in heaps[False]) == (True, not upright)
    assert all(b"GPS-secret" not in sent for sent in heaps[True])

    def seen(sent: bytes) -> tuple[bytes, int]:
        with Image.open(io.BytesIO(sent)) as image:
            return image.tobytes(), image.getexif().get(ExifTags.Base.Orientation, 1)

    assert sorted(map(seen, heaps[True])) == sorted(map(seen, heaps[False]))
    assert sorted(orientation for _, orientation in map(seen, heaps[True])) == ([1, 1] if upright else [1, 6])


def test_1_a_folder_that_becomes_a_link_while_the_run_goes_on(place: Place, emulator: Emulator) -> None:
    """What was listed inside and lies outside when its turn comes is not read, however long that takes."""
    place.pictures(1, "a")
    place.pictures(30, "b", start=50)
    outside = place.root.parent / f"{place.root.name}-outside"
    shutil.copytree(place.root / "b", outside)
    place.job(input={"paths": ["a", "b"], "within": "."}, limits={"qps": 4})
    running = place.start_run()
    until(lambda: place.row_count() >= 1)
    shutil.rmtree(place.root / "b")
    (place.root / "b").symlink_to(outside)
    assert running.wait().code == 1
    assert place.failures()
    assert {row["code"] for row in place.failures()} <= {"outside", "unreadable"}
    assert [row for row in place.failures() if row["code"] == "outside"]
    assert len(place.rows()) + len(place.failures()) == 31
