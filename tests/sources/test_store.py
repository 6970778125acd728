"""Files as the store of images: whatever a disk holds comes back as bytes or as a failure, and never waits."""

import errno
import os
import random
import resource
from contextlib import suppress
from pathlib import Path

import pytest

from batchrec.sources.store import MAX_FILE_BYTES, FileStore, may_pass
from batchrec.values import Failure, Kind, Shortage


def test_read_gives_the_whole_file(tmp_path: Path) -> None:
    """The bytes are those of the file, whatever its name."""
    path = tmp_path / "家居 é.jpg"
    data = random.Random(0).randbytes(300_000)
    path.write_bytes(data)
    assert FileStore(tmp_path).read(path.name) == data


@pytest.mark.parametrize(
    ("name", "kind", "word", "message"),
    [
        ("missing.jpg", Kind.READ, "unreadable", "no such file"),
        ("empty.jpg", Kind.IMAGE, "empty", "the file has no bytes"),
        ("folder", Kind.IMAGE, "unreadable", "is a folder"),
        ("fifo", Kind.IMAGE, "unreadable", "is not a regular file"),
        ("circle", Kind.IMAGE, "unreadable", "its links go round in a circle"),
        ("empty.jpg/x.jpg", Kind.READ, "unreadable", "no such file: a part of its path is not a folder"),
        ("x" * 300, Kind.IMAGE, "unreadable", "its name is too long"),
        ("a\0b.jpg", Kind.IMAGE, "unreadable", "its name holds a character that no file name can"),
        ("\ud800.jpg", Kind.IMAGE, "unreadable", "its name holds a character that no file name can"),
    ],
)
def test_read_says_in_words_why_it_cannot(tmp_path: Path, name: str, kind: Kind, word: str, message: str) -> None:
    """Nothing waits, nothing raises, and no message gives the folder away. What may pass is of the kind `read`."""
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "circle").symlink_to("circle")
    outcome = FileStore(tmp_path).read(name)
    assert outcome == Failure(kind, word, message, counted=False)


def test_read_refuses_a_device() -> None:
    """A device is not read, however endless."""
    outcome = FileStore(Path("/dev")).read("zero")
    assert outcome == Failure(Kind.IMAGE, "unreadable", "is not a regular file", counted=False)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, "permission denied"),
        (errno.EIO, "the disk reports an error"),
        (errno.ESTALE, None),
        (errno.ETIMEDOUT, None),
        (errno.ENOTCONN, None),
    ],
)
def test_read_translates_errors_of_the_system(
    monkeypatch: pytest.MonkeyPatch, number: int, message: str | None
) -> None:
    """What the system reports becomes a failure of this one image, for which the machine is to blame."""

    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number), "/secret/folder/x.jpg")

    monkeypatch.setattr(os, "open", fails)
    expected = message or os.strerror(number).lower()
    assert FileStore(Path("/secret/folder")).read("x.jpg") == Failure(Kind.READ, "unreadable", expected, counted=False)


def test_read_without_a_descriptor_is_a_shortage(tmp_path: Path) -> None:
    """With every descriptor of the process taken the failure says that it will pass; then the file is read."""
    (tmp_path / "a.jpg").write_bytes(b"a")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        outcome = FileStore(tmp_path).read("a.jpg")
    finally:
        for handle in taken:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert outcome == Shortage(Kind.READ, "unreadable", "too many open files", counted=False)
    assert FileStore(tmp_path).read("a.jpg") == b"a"


def test_loss_names_the_highest_folder_that_is_gone(tmp_path: Path) -> None:
    """A folder that was moved away, images that were, a folder that became a file, and a file that is there."""
    deep = tmp_path / "shop" / "photos" / "2026"
    deep.mkdir(parents=True)
    (deep / "a.jpg").write_bytes(b"a")
    store = FileStore(tmp_path)
    key = "shop/photos/2026/a.jpg"
    assert store.loss(key) == ""
    assert store.loss("shop/photos/2026/b.jpg") == f"the images in the folder {deep} are gone"
    (tmp_path / "shop" / "photos").rename(tmp_path / "away")
    assert store.loss(key) == f"the folder {tmp_path}/shop/photos is gone"
    (tmp_path / "shop" / "photos").write_bytes(b"a file")
    assert store.loss(key) == f"the folder {tmp_path}/shop/photos is gone"
    assert FileStore(Path("/dev")).loss("null") == ""


def test_loss_of_one_file_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read, in a folder that may be entered, is no loss; a failing disk is."""
    (tmp_path / "a.jpg").write_bytes(b"a")
    number = errno.EACCES

    def fails(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fails)
    assert FileStore(tmp_path).loss("a.jpg") == ""
    number = errno.EIO
    assert FileStore(tmp_path).loss("a.jpg") == f"the images in the folder {tmp_path}: the disk reports an error"


@pytest.mark.parametrize(
    ("message", "passes"),
    [
        ("no such file", True),
        ("too many open files", True),
        ("the disk reports an error", True),
        ("cannot be read: permission denied", True),
        ("the folder cannot be read: no such file or directory", True),
        ("no such file: a part of its path is not a folder", True),
        ("is a folder", False),
        ("its links go round in a circle", False),
        ("its name holds a character that no file name can", False),
        ("cannot be read: too many levels of symbolic links", False),
    ],
)
def test_messages_of_earlier_versions_are_told_apart(message: str, passes: bool) -> None:
    """Those that the machine is to blame for are tried again."""
    assert may_pass(message) is passes


def test_read_leaves_a_huge_file_alone(tmp_path: Path) -> None:
    """Above MAX_FILE_BYTES the size is enough to refuse."""
    path = tmp_path / "huge.bmp"
    path.touch()
    os.truncate(path, MAX_FILE_BYTES + 1)
    outcome = FileStore(tmp_path).read(path.name)
    assert isinstance(outcome, Failure)
    assert outcome.code == "too_large"


def test_stat_follows_links_and_knows_no_missing_file(tmp_path: Path) -> None:
    """Size and time are those of the file that is read; a name that cannot be is no file."""
    file = tmp_path / "a.jpg"
    file.write_bytes(b"12345")
    os.utime(file, ns=(1, 7_000_000_001))
    (tmp_path / "link.jpg").symlink_to(file)
    store = FileStore(tmp_path)
    assert store.stat("a.jpg") == store.stat("link.jpg") == (5, 7_000_000_001)
    assert [store.stat(name) for name in ("b.jpg", "a.jpg/b.jpg", "a\0.jpg")] == [None, None, None]


def test_location_is_the_absolute_path(tmp_path: Path) -> None:
    """Caches of several jobs know a file by its path, wherever the job file is; an absolute key is one already."""
    store = FileStore(tmp_path)
    assert store.locate("deep/a.jpg") == f"{tmp_path}/deep/a.jpg"
    assert store.locate("/elsewhere/a.jpg") == "/elsewhere/a.jpg"


def test_boundary_is_checked_at_every_read(tmp_path: Path) -> None:
    """A file that became a link to the outside after the first read is refused at the second."""
    inside = tmp_path / "photos"
    inside.mkdir()
    (inside / "a.jpg").write_bytes(b"ours")
    (tmp_path / "secret.jpg").write_bytes(b"theirs")
    store = FileStore(tmp_path, inside)
    assert store.read("photos/a.jpg") == b"ours"
    (inside / "a.jpg").unlink()
    (inside / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    outcome = store.read("photos/a.jpg")
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.counted) == ("outside", False)
    assert FileStore(tmp_path).read("photos/a.jpg") == b"theirs"
