"""The target of an export: refused, replaced, kept, and left as it was where something fails."""

import os
import resource

import pytest

from .conftest import export


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "pdf"), "--to: there is no format 'pdf'; expected one of: parquet, xlsx, coco"),
        (
            ("--to", "coco", "--step", "x"),
            "--step: the job has no step 'x'; expected one of: advanced_general, objects",
        ),
        (("--to", "coco", "--label", "("), "--label: '(' is no regular expression"),
        (("--to", "coco", "--failed"), "--failed: coco has no place for failures"),
        (("--to", "coco", "--copy"), "--copy: coco holds no images"),
        (("--to", "folders", "--copy", "--symlink"), "--copy and --symlink: expected one of them"),
        (("--to", "coco", "--min-score", "2"), "--min-score: is 2.0; expected a score from 0 to 1"),
    ],
)
def test_2_wrong_options(made, tmp_path, options, message):
    """Each is named, and nothing is made."""
    done = export(made, *options[1:], "--out", tmp_path / "out")
    assert (done.exit_code, message in done.stderr) == (2, True), done.output
    assert not (tmp_path / "out").exists()


def test_2_no_output_directory(tmp_path):
    """A folder of somebody else."""
    done = export(tmp_path, "coco")
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "expected the output directory of a job" in done.stderr


def test_an_earlier_export_is_refused_then_replaced(made, tmp_path):
    """Files by other names in the folder stay."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert export(made, "coco", "--out", out).exit_code == 0
    before = (out / "annotations.json").read_bytes()
    done = export(made, "coco", "--out", out, "--top", "1")
    assert done.exit_code == 2
    assert "annotations.json: is there already; give --overwrite" in done.stderr
    assert (out / "annotations.json").read_bytes() == before
    assert export(made, "coco", "--out", out, "--top", "1", "--overwrite").exit_code == 0
    assert (out / "annotations.json").read_bytes() != before
    assert (out / "notes.txt").read_text() == "mine"
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_folder_that_is_replaced_is_kept(made, tmp_path):
    """It may hold files that are no export's; the images of a job must not get lost."""
    out = tmp_path / "out"
    (out / "mine").mkdir(parents=True)
    (out / "mine" / "photo.jpg").write_bytes(b"only copy")
    assert export(made, "folders", "--out", out).exit_code == 2
    done = export(made, "folders", "--out", out, "--overwrite")
    assert done.exit_code == 0
    assert (tmp_path / "out.old" / "mine" / "photo.jpg").read_bytes() == b"only copy"
    assert f"the earlier folder is kept as {tmp_path / 'out.old' / 'mine'}" in done.stderr


@pytest.mark.parametrize("format", ["parquet", "xlsx", "coco", "labelstudio", "imagefolder"])
def test_74_a_full_disk_leaves_nothing(made, tmp_path, format):
    """What was there stays, and nothing half-written is beside it."""
    out = tmp_path / "out"
    out.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    try:
        done = export(made, format, "--out", out, *(["--copy"] if format == "imagefolder" else []))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (done.exit_code, list(out.iterdir())) == (74, []), done.output
    assert f"{out}: cannot be written: " in done.stderr


def test_what_a_killed_export_left_is_removed(made, tmp_path):
    """A folder of a dead process of this machine goes; that of a live one stays."""
    import socket

    from batchrec.exports.target import _NEW

    out = tmp_path / "out"
    host = "".join(each if each.isascii() and each.isalnum() else "-" for each in socket.gethostname())
    dead = out / f"{_NEW}{host}-{2**22 + 1}"
    alive = out / f"{_NEW}{host}-{os.getppid()}"
    for path in (dead, alive):
        path.mkdir(parents=True)
    assert export(made, "coco", "--out", out).exit_code == 0
    assert (dead.exists(), alive.exists()) == (False, True)


def test_2_a_link_in_the_place_of_the_folder(made, tmp_path):
    """Output directories are shared: a link within one leads elsewhere."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("results.jsonl", "journal.db"):
        (copy / name).write_bytes((made / name).read_bytes())
    (tmp_path / "elsewhere").mkdir()
    (copy / "export").symlink_to(tmp_path / "elsewhere")
    done = export(copy, "coco")
    assert (done.exit_code, "export: is a link" in done.stderr) == (2, True)
    assert list((tmp_path / "elsewhere").iterdir()) == []
