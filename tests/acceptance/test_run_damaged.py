"""Damaged images and files that are no images, from the job file to the bytes that arrive."""

import base64
import json
import random

from harness import Place, images_of, picture
from stranger import Said, Stranger, reply, strange

JPEG = picture(7, "JPEG", (120, 90))
CUT = JPEG[: len(JPEG) // 2] + b"\xff\xd9"


def arrived(place: Place, *, check: str, exclude: tuple[str, ...] = ()) -> tuple[int, list[bytes]]:
    """Exit code of a run, and the bytes of the images that were sent."""
    stranger = Stranger(lambda number, form: Said(reply("好")))
    with strange(stranger) as server:
        place.endpoint = server.url
        place.job(input={"paths": ["家居"], "check": check, "exclude": list(exclude)})
        code = place.run().code
    return code, sorted(base64.b64decode(call["image"]) for call in stranger.calls)


def test_what_is_sound_is_sent_alone_and_whole(apart: Place) -> None:
    """No end marker, a film behind it: what arrives is the JPEG byte for byte, and the row says what was done."""
    apart.put("家居/film.jpg", JPEG + b"\0\0\0\x18ftypmp42" + random.Random(1).randbytes(5000))
    apart.put("家居/no_end.jpg", picture(8, "JPEG")[:-2])
    apart.put("家居/whole.jpg", picture(9, "JPEG"))
    code, sent = arrived(apart, check="header")
    assert (code, sent) == (0, sorted([JPEG, picture(8, "JPEG"), picture(9, "JPEG")]))
    assert {row["image"]: row["repaired"] for row in apart.rows()} == {
        "家居/film.jpg": ["bytes after the image removed"],
        "家居/no_end.jpg": ["end restored"],
        "家居/whole.jpg": None,
    }


def test_decoding_finds_before_a_call_what_the_header_does_not(apart: Place) -> None:
    """A JPEG cut off, with its end marker put back, is sent by default, and with `check = "decode"` it is not."""
    apart.put("家居/cut.jpg", CUT)
    (whole,) = apart.pictures(1)
    assert arrived(apart, check="header", exclude=("家居/家居*",)) == (0, [CUT])
    other = Place(apart.root / "other")
    other.put("家居/cut.jpg", CUT)
    (whole,) = other.pictures(1)
    code, sent = arrived(other, check="decode")
    assert (code, images_of(other.rows()), len(sent)) == (1, [whole], 1)
    (failure,) = other.failures()
    assert (failure["image"], failure["code"], failure["attempts"]) == ("家居/cut.jpg", "torn", 0)
    assert "pixels are missing" in failure["message"]


def test_what_is_no_image_is_told_with_what_helps(apart: Place) -> None:
    """In the failed row, and nothing is sent."""
    apart.put("家居/pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    apart.put("家居/text.jpg", base64.b64encode(JPEG))
    apart.put("家居/zeros.jpg", bytes(9000))
    code, sent = arrived(apart, check="header")
    assert (code, sent) == (1, [])
    assert {row["image"]: (row["code"], row["message"]) for row in apart.failures()} == {
        "家居/pointer.jpg": ("not_an_image", "looks like a Git LFS pointer; run `git lfs pull`"),
        "家居/text.jpg": ("not_an_image", "looks like base64 text of an image; decode it, with `base64 -d`"),
        "家居/zeros.jpg": (
            "not_an_image",
            "looks like 9,000 zero bytes: a download that did not finish, or a damaged disk; fetch it again",
        ),
    }


def test_a_plan_counts_what_a_run_repairs(apart: Place) -> None:
    """Bytes cut off and ends put back count as repairs in both."""
    apart.put("家居/film.jpg", JPEG + bytes(700))
    apart.put("家居/no_end.jpg", picture(8, "JPEG")[:-2])
    apart.pictures(1)
    apart.job(input={"paths": ["家居"]})
    assert json.loads(apart.batchrec("plan", "furniture.toml", "--json").out)["to_repair"] == 2


def test_another_check_is_refused_by_name(apart: Place) -> None:
    """Exit code 2, with what would be right."""
    apart.pictures(1)
    apart.job(input={"paths": ["家居"], "check": "deep"})
    done = apart.run()
    assert done.code == 2
    assert "input.check" in done.err
    assert "header" in done.err
    assert "decode" in done.err
