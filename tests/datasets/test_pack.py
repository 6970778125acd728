"""`batchrec dataset pack`: archives that are the same each time, and split where they are large."""

import hashlib
import os
import shutil
import zipfile

from batchrec.datasets.check import check
from batchrec.datasets.pack import pack
from tests.datasets.faulty import PHOTOS
from tests.datasets.typed import typed


def data_set(root):
    """Two classes with a nested file, a wrong suffix, and two names that fold together."""
    names = ("a/1.jpg", "a/more/1.jpg", "b/X.JPG", "b/x.png")
    for name, photo in zip(names, PHOTOS, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, root / name)
    return root


def test_same_bytes_each_time(tmp_path) -> None:
    """Times and order of the files do not count; names are flat, and end as the format does."""
    root = data_set(tmp_path / "set")
    first = typed("dataset", "pack", str(root), "--out", str(tmp_path / "1.zip"))
    os.utime(root / "a/1.jpg", (1e9, 1e9))
    typed("dataset", "pack", str(root), "--out", str(tmp_path / "2.zip"))
    data = (tmp_path / "1.zip").read_bytes()
    assert data == (tmp_path / "2.zip").read_bytes()
    assert first.stdout.split() == [hashlib.sha256(data).hexdigest(), str(tmp_path / "1.zip")]
    with zipfile.ZipFile(tmp_path / "1.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a/1-2.jpg", "a/1.jpg", "b/X.jpg", "b/x-2.jpg"]


def test_archives_are_split_and_hold_all(tmp_path) -> None:
    """No archive is larger than allowed, and each image is in one of them."""
    checked = check(data_set(tmp_path / "set"))
    most = max(path.stat().st_size for path in PHOTOS[:4]) + 1000
    made = pack(checked, tmp_path / "x.zip", most=most)
    assert [each.path.name for each in made] == [f"x-{n}.zip" for n in range(1, len(made) + 1)]
    assert len(made) > 1
    assert all(each.path.stat().st_size <= most for each in made)
    assert sum(each.images for each in made) == 4


def test_errors_and_an_old_archive_are_refused(tmp_path) -> None:
    """Exit code 2; with --force errors are packed; nothing is overwritten."""
    root, out = data_set(tmp_path / "set"), tmp_path / "x.zip"
    (root / "a" / "torn.jpg").write_bytes(PHOTOS[5].read_bytes()[:5000])
    done = typed("dataset", "pack", str(root), "--out", str(out))
    assert (done.exit_code, out.exists()) == (2, False)
    assert "a/torn.jpg" in done.stderr
    assert typed("dataset", "pack", str(root), "--out", str(out), "--force").exit_code == 0
    assert typed("dataset", "pack", str(root), "--out", str(out), "--force").exit_code == 2


def test_a_broken_link_is_named(tmp_path) -> None:
    """--force packs no file that cannot be read: exit code 2 with its path."""
    root = data_set(tmp_path / "set")
    (root / "a" / "gone.jpg").symlink_to("nowhere.jpg")
    done = typed("dataset", "pack", str(root), "--out", str(tmp_path / "x.zip"), "--force")
    assert done.exit_code == 2
    assert "gone.jpg: cannot be read" in done.stderr
