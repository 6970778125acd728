"""The inputs, read from real files through the one public function."""

import csv
import json
import os
import re
import shutil
import socket
import string
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchrec.errors import JobError
from batchrec.images.heads import kind_of_other
from batchrec.sources import open_sources
from batchrec.sources.keys import _Positions, compiled
from batchrec.values import Ignored, InputEntry, Notice

linux = pytest.mark.skipif(os.uname().sysname != "Linux", reason="other systems refuse such names")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A job file's folder, with room beside it for what `..` leads to."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    return folder


def put(base: Path, *names: str, data: bytes = b"image") -> None:
    """Files of that name below `base`, with their folders."""
    for name in names:
        place = base / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def entries(
    base: Path,
    *paths: str,
    manifest: str | None = None,
    column: str = "path",
    exclude: Sequence[str] = (),
    output: Path | None = None,
    within: str | None = None,
) -> Iterator[InputEntry | Ignored | Notice]:
    return open_sources(
        paths, manifest, column, exclude, base, output or base / "results" / "job", within, kind_of_other
    )


def found(base: Path, *paths: str, **settings: object) -> list[InputEntry]:
    return [entry for entry in entries(base, *paths, **settings) if isinstance(entry, InputEntry)]  # type: ignore[arg-type]


def keys(base: Path, *paths: str, **settings: object) -> list[str]:
    return sorted(entry.key for entry in found(base, *paths, **settings))


def ignored(base: Path, *paths: str, **settings: object) -> int:
    return sum(isinstance(entry, Ignored) for entry in entries(base, *paths, **settings))  # type: ignore[arg-type]


def kinds(base: Path, *paths: str, **settings: object) -> dict[str, int]:
    """Ignored files by kind."""
    return dict(Counter(entry.kind for entry in entries(base, *paths, **settings) if isinstance(entry, Ignored)))  # type: ignore[arg-type]


def notices(base: Path, *paths: str, **settings: object) -> list[str]:
    return [entry.text for entry in entries(base, *paths, **settings) if isinstance(entry, Notice)]  # type: ignore[arg-type]


def complaints(base: Path, *paths: str, **settings: object) -> tuple[str, ...]:
    with pytest.raises(JobError) as caught:
        list(entries(base, *paths, **settings))  # type: ignore[arg-type]
    return caught.value.complaints


def problems(base: Path, *paths: str, **settings: object) -> dict[str, str | None]:
    return {entry.key: entry.problem for entry in found(base, *paths, **settings)}


# Keys


def test_key_of_a_relative_path_keeps_its_dots(home: Path) -> None:
    """A path is named from the job file's folder, `..` kept."""
    put(home.parent, "crawl/家居/家居_05.jpg")
    assert keys(home, "../crawl/家居") == ["../crawl/家居/家居_05.jpg"]


def test_key_of_a_detour_is_straight(home: Path) -> None:
    """Detours within a path are taken out, so one file has one key."""
    put(home, "a/b.jpg")
    assert keys(home, "./a//x/../b.jpg", "a/.", "a/./*.jpg") == ["a/b.jpg"] * 3


def test_key_of_the_job_files_folder_has_no_dot(home: Path) -> None:
    """The folder `.` adds nothing to the names in it."""
    put(home, "a.jpg", "b/c.jpg")
    assert keys(home, ".") == ["a.jpg", "b/c.jpg"]


def test_key_of_an_absolute_path_stays_absolute(home: Path) -> None:
    """An absolute file, folder or glob gives absolute keys, with one slash in front."""
    put(home, "a/b.jpg")
    assert keys(home, f"/{home}/a/b.jpg", f"{home}/./a", f"{home}/*/b.jpg") == [f"{home}/a/b.jpg"] * 3


def test_key_of_a_link_is_its_own_name(home: Path) -> None:
    """Links are not resolved."""
    put(home, "real/a.jpg")
    (home / "link").symlink_to("real")
    assert keys(home, "link", "link/a.jpg") == ["link/a.jpg", "link/a.jpg"]


def test_key_is_not_folded(home: Path) -> None:
    """Neither case nor Unicode forms are folded."""
    names = ["E\u0301.jpg", "É.JPG", "é.jpg"]
    put(home, *(f"a/{name}" for name in names))
    assert sorted(entry.name for entry in (home / "a").iterdir()) == [key[2:] for key in keys(home, "a")]


def test_key_of_an_odd_name_is_that_name(home: Path) -> None:
    """Blanks, quotes, line breaks and Chinese come through as they are."""
    names = sorted(["a b.jpg", 'say "hi".jpg', "it's.jpg", "two\nlines.jpg", "tab\t.jpg", "宾利 #1.jpg", "a\\b.jpg"])
    put(home, *(f"x/{name}" for name in names))
    assert keys(home, "x") == [f"x/{name}" for name in names]


@linux
def test_key_of_a_name_that_is_not_utf8_has_its_bytes_escaped(home: Path) -> None:
    """A name that is not UTF-8 is named legibly and failed, in folders and globs and below folders of such names."""
    raw = os.fsencode(home)
    os.makedirs(raw + b"/x/\xb9\xfa")
    for name in (b"/x/\xff.jpg", b"/x/\xb9\xfa/a.jpg"):
        Path(os.fsdecode(raw + name)).write_bytes(b"12")
    expected = dict.fromkeys(["x/\\xff.jpg", "x/\\xb9\\xfa/a.jpg"], "the name is not UTF-8")
    assert problems(home, "x") == problems(home, "x/**/*.jpg") == expected


def test_size_and_time_are_the_files(home: Path) -> None:
    """Size and modification time come from the file, through links; source and position tell the order."""
    put(home, "a.jpg", data=b"12345")
    os.utime(home / "a.jpg", ns=(7, 1_700_000_000_123_456_789))
    (home / "b.jpg").symlink_to("a.jpg")
    expected = [InputEntry(key, index, 0, 5, 1_700_000_000_123_456_789) for index, key in enumerate(["a.jpg", "b.jpg"])]
    assert found(home, "a.jpg", "b.jpg") == expected


# Named paths


def test_named_file_is_taken_whatever_its_suffix(home: Path) -> None:
    """A named file is exactly what was named: suffix and dot do not matter."""
    put(home, "scan", ".hidden.txt")
    assert keys(home, "scan", ".hidden.txt") == [".hidden.txt", "scan"]


@pytest.mark.parametrize("name", ["a[1].jpg", "what?.jpg", "*.jpg"])
def test_named_file_that_looks_like_a_glob_is_a_file(home: Path, name: str) -> None:
    """What exists under that very name is not a glob."""
    put(home, name, "a1.jpg", "whatx.jpg")
    assert keys(home, name) == [name]


def test_named_folder_that_looks_like_a_glob_is_a_folder(home: Path) -> None:
    """What exists under that very name is walked."""
    put(home, "[x]/a.jpg", "x/b.jpg")
    assert keys(home, "[x]") == ["[x]/a.jpg"]


def test_named_pipe_is_a_problem(home: Path) -> None:
    """A named path that is no regular file fails, it is not opened."""
    os.mkfifo(home / "pipe.jpg")
    assert problems(home, "pipe.jpg") == {"pipe.jpg": "is not a regular file"}


def test_missing_paths_are_all_complained_of_at_once(home: Path) -> None:
    """Every name that is not there is told, with its key path, before anything is read."""
    put(home, "a.jpg")
    (home / "dangling.jpg").symlink_to("nowhere")
    with pytest.raises(JobError) as caught:
        entries(home, "家具", "a.jpg", "a.jpg/b.jpg", "dangling.jpg", "", "x\0y", manifest="m.txt")
    expected = "does not exist; expected a file, a folder or a glob, relative to the job file"
    assert caught.value.complaints == (
        f'input.paths[0]: "家具" {expected}',
        f'input.paths[2]: "a.jpg/b.jpg" {expected}',
        f'input.paths[3]: "dangling.jpg" {expected}',
        f'input.paths[4]: "" {expected}',
        f'input.paths[5]: "x\\u0000y" {expected}',
        'input.manifest: "m.txt" does not exist; expected a file (.txt, .csv, .tsv, .jsonl), relative to the job file',
    )


def test_path_that_leads_in_a_circle_is_complained_of(home: Path) -> None:
    """A named path that cannot be looked at is told with the system's reason."""
    (home / "loop").symlink_to("loop")
    expected = (
        'input.paths[0]: "loop" cannot be read: too many levels of symbolic links;'
        " expected a file, a folder or a glob, relative to the job file"
    )
    assert complaints(home, "loop") == (expected,)


def test_no_inputs_at_all_is_empty(home: Path) -> None:
    """Nothing named gives nothing."""
    assert list(entries(home)) == []


# Folders


def test_folder_takes_images_by_suffix_and_counts_the_rest(home: Path) -> None:
    """Known suffixes in any case are images; other files and dotfiles are ignored; dot-folders are not entered."""
    put(home, "x/a.jpg", "x/b.JPeG", "x/sub/c.webp", "x/d.heic", "x/e.tif")
    put(home, "x/list.csv", "x/jpg", "x/.jpg", "x/.a.jpg", "x/sub/README", "x/.git/f.jpg", "x/g.jpg.part")
    assert keys(home, "x") == ["x/a.jpg", "x/b.JPeG", "x/d.heic", "x/e.tif", "x/sub/c.webp"]
    assert kinds(home, "x") == {"text": 4, "hidden": 2}


SUFFIXES = "jpg JPG jpeg jpe jfif png gif bmp tif tiff webp avif heic heif hif jp2 jxl mpo ico"
RAW = "cr2 CR3 raf orf rw2 nef dng arw"


@pytest.mark.parametrize("suffix", [*SUFFIXES.split(), *RAW.split()])
def test_folder_takes_known_suffixes_without_a_look(home: Path, suffix: str) -> None:
    """Such a file is an input whatever it holds; what it holds is told when it fails."""
    put(home, f"x/a.{suffix}", data=b"<html>403</html>")
    assert keys(home, "x") == [f"x/a.{suffix}"]


JPEG_HEAD = b"\xff\xd8\xff\xe0\0\x10JFIF"


@pytest.mark.parametrize(
    "name",
    [
        "b.jpg!w600",
        "c.jpg!d",
        "d",
        "e.jpg_large",
        "f.webp?x=1",
        "g.jpg@!thumb",
        "h.jpg:large",
        "i.image",
        "j.txt",
        "家",
    ],
)
def test_folder_takes_images_by_content_whatever_their_suffix(home: Path, name: str) -> None:
    """The names that content networks, browsers and crawlers leave behind."""
    put(home, f"x/{name}", data=JPEG_HEAD)
    (home / "x/link").symlink_to(name)
    assert keys(home, "x") == sorted([f"x/{name}", "x/link"])
    assert ignored(home, "x") == 0


def test_folder_counts_what_it_ignores_by_kind(home: Path) -> None:
    """By content, or by what else is known: hidden, a system's, empty, a link to nothing, none that can be read."""
    put(home, "x/a.jpg", "x/b.pdf", "x/c", data=b"%PDF-1.4\n")
    put(home, "x/readme.txt", "x/Thumbs.db", "x/desktop.ini", "x/.DS_Store")
    put(home, "x/none", data=b"")
    (home / "x/gone.txt").symlink_to("nowhere")
    expected = {"PDF": 2, "text": 1, "system file": 2, "hidden": 1, "empty": 1, "broken link": 1}
    assert kinds(home, "x") == expected


SYSTEM = [
    *("@eaDir", "#recycle", "#snapshot", "@tmp"),
    *("@Recycle", ".@__thumb", "@Recently-Snapshot"),
    *("$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information", "RECYCLER", "FOUND.000"),
    *("__MACOSX", ".AppleDouble", ".Trashes", ".Spotlight-V100", "Network Trash Folder"),
    *("lost+found", ".Trash-1000", ".snapshot", "~snapshot", ".thumbnails"),
]


@pytest.mark.parametrize("name", SYSTEM)
def test_folder_skips_system_folders_and_counts_them(home: Path, name: str) -> None:
    """Thumbnails, deleted files and snapshots are no inputs, at any depth; each such folder counts as one."""
    put(home, "x/1.jpg", f"x/{name}/1.jpg/SYNOPHOTO_THUMB_XL.jpg", f"x/deep/{name}/2.jpg")
    assert keys(home, "x") == ["x/1.jpg"]
    assert kinds(home, "x") == {"system folder": 2}
    assert kinds(home, "x", exclude=[f"**/{name}/**"]) == {}
    assert keys(home, f"x/deep/{name}") == [f"x/deep/{name}/2.jpg"]


@pytest.mark.parametrize("name", ["recycled", "snapshot-2024", "eaDir", "@home", "lost", "macosx", "thumbs", "trash"])
def test_folder_enters_folders_of_similar_names(home: Path, name: str) -> None:
    """A folder that a person may have named so is no system folder."""
    put(home, f"x/{name}/1.jpg")
    assert keys(home, "x") == [f"x/{name}/1.jpg"]


def test_folder_reads_nothing_outside_of_within(home: Path) -> None:
    """A link whose suffix does not tell is not looked into where that is not allowed."""
    put(home.parent, "outside/secret", data=JPEG_HEAD)
    put(home, "x/a", data=JPEG_HEAD)
    (home / "x/b").symlink_to("../../outside/secret")
    assert keys(home, "x", within=".") == ["x/a"]
    assert kinds(home, "x", within=".") == {"outside of input.within": 1}


def test_folder_that_starts_with_a_dot_is_walked_when_named(home: Path) -> None:
    """Only what lies below the named folder is judged by its dot."""
    put(home, ".cache/a.jpg")
    assert keys(home, ".cache") == [".cache/a.jpg"]


def test_folder_of_alfred_is_taken_whole(home: Path) -> None:
    """What `alfred scrap image` leaves is named by what it is called, never by what it holds."""
    contents = {"家居_00.jpg": b"\xff\xd8\xff", "家居_01.jpg": b"<html>403</html>", "家居_05.jpg": b""}
    for name, data in contents.items():
        put(home.parent, f"crawl/家居/{name}", data=data)
    actual = {entry.key: (entry.size, entry.problem) for entry in found(home, "../crawl/家居")}
    assert actual == {f"../crawl/家居/{name}": (len(data), None) for name, data in contents.items()}


def test_folder_links_are_followed_once(home: Path) -> None:
    """A loop ends, a folder's real name wins over its links, and of two links to one folder one is followed."""
    put(home, "x/a/1.jpg", "x/b/2.jpg", "outside/3.jpg")
    (home / "x/a/up").symlink_to("..")
    (home / "x/a/b-again").symlink_to("../b")
    (home / "x/self").symlink_to(".")
    (home / "x/out1").symlink_to("../outside")
    (home / "outside/back").symlink_to("../x")
    (home / "x/.hidden").symlink_to("../outside")
    assert keys(home, "x") == ["x/a/1.jpg", "x/b/2.jpg", "x/out1/3.jpg"]
    (home / "x/out2").symlink_to("../outside")
    assert len(keys(home, "x")) == 3


def test_folder_reached_by_a_link_to_its_parent_is_not_walked_again(home: Path) -> None:
    """A link out of the tree and back into it adds only what is new."""
    put(home, "top/x/a.jpg", "top/y.jpg")
    (home / "top/x/parent").symlink_to("..")
    assert keys(home, "top/x") == ["top/x/a.jpg", "top/x/parent/y.jpg"]


def test_folder_links_to_files_are_files(home: Path) -> None:
    """A link to a file is an image by its own name; one that leads nowhere is a missing file."""
    put(home, "real.dat")
    (home / "x").mkdir()
    (home / "x/a.jpg").symlink_to("../real.dat")
    (home / "x/gone.jpg").symlink_to("nowhere")
    (home / "x/gone.txt").symlink_to("nowhere")
    (home / "x/loop.jpg").symlink_to("loop.jpg")
    actual = {entry.key: (entry.size, entry.problem) for entry in found(home, "x")}
    assert actual == {
        "x/a.jpg": (5, None),
        "x/gone.jpg": (-1, None),
        "x/loop.jpg": (-1, "cannot be read: too many levels of symbolic links"),
    }
    assert ignored(home, "x") == 1


def test_folder_pipes_and_sockets_are_ignored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is neither file nor folder is ignored whatever it is called."""
    (home / "x").mkdir()
    os.mkfifo(home / "x/pipe.jpg")
    (home / "x/link.jpg").symlink_to("pipe.jpg")
    monkeypatch.chdir(home / "x")  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert list(entries(home, "x")) == [Ignored("no regular file")] * 3


def test_folder_that_vanishes_meanwhile_is_told(home: Path) -> None:
    """A folder that was listed and cannot be read when its turn comes is a failed input, not a silent gap."""
    put(home, "x/a.jpg", "x/sub/b.jpg")
    walk = entries(home, "x")
    first = next(walk)
    shutil.rmtree(home / "x/sub")
    expected = InputEntry("x/sub", 0, 0, -1, 0, "the folder cannot be read: no such file or directory")
    assert [first, *walk] == [*found(home, "x/a.jpg"), expected]


def test_folder_that_may_not_be_read_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable folder is a failed input and the rest is still found."""
    put(home, "x/a.jpg", "x/secret/b.jpg")
    if os.geteuid() == 0:  # whom no mode keeps out
        scandir = os.scandir

        def refusing(path: str) -> object:
            if os.fspath(path).endswith("secret"):
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)
    else:
        (home / "x/secret").chmod(0)
    expected = {"x/a.jpg": None, "x/secret": "the folder cannot be read: permission denied"}
    assert problems(home, "x") == problems(home, "x/**/*.jpg") == expected
    assert problems(home, "x", exclude=["x/secret/**"]) == {"x/a.jpg": None}
    assert problems(home, "x/*/b.jpg", "x/*/*.jpg") == {
        "x/secret/b.jpg": None,
        "x/secret": "the folder cannot be read: permission denied",
    }
    if os.geteuid() != 0:
        (home / "x/secret").chmod(0o700)


def test_folder_of_fifteen_hundred_levels_is_walked(home: Path) -> None:
    """Depth costs no recursion; what the system cannot name any more is told as unreadable."""
    depth = 1500
    top = os.getcwd()
    try:
        os.chdir(home)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("a.jpg").touch()
        os.chdir(top)
        assert keys(home, "d") == keys(home, "**/*.jpg") == ["d/" * depth + "a.jpg"]
    finally:
        os.chdir(home)
        remove_depth(depth)
        os.chdir(top)


def remove_depth(depth: int) -> None:
    """Take it away again: pytest, which tidies up by recursion, cannot."""
    for _ in range(depth):
        os.chdir("d")
    os.unlink("a.jpg")
    for _ in range(depth):
        os.chdir("..")
        os.rmdir("d")


# The output directory


def test_output_directory_is_never_an_input(home: Path) -> None:
    """What lies in it is skipped without a trace, by folder, glob, name and manifest."""
    put(home, "a.jpg", "out/b.jpg", "out/deep/c.jpg", "out/d.txt", "output.jpg", "out.jpg")
    (home / "m.jsonl").write_text('{"path": "a.jpg"}\n{"path": "out/b.jpg"}\n{"path": "x/../out/deep/c.jpg"}\n')
    output = home / "out"
    expected = ["a.jpg", "out.jpg", "output.jpg"]
    assert keys(home, ".", output=output) == keys(home, "**/*.jpg", output=output) == expected
    assert ignored(home, "out", output=output) == 0
    assert list(entries(home, "out", "out/b.jpg", f"{output}/b.jpg", output=output)) == []
    assert keys(home, "*.jpg", "*/*.jpg", "*/deep/c.jpg", "out/**", output=output) == expected
    assert keys(home, manifest="m.jsonl", output=output) == ["a.jpg"]


def test_output_directory_is_known_by_its_links(home: Path) -> None:
    """A link to it, into it or above it leads to no input either."""
    put(home, "jobs/a.jpg", "results/out/deep/b.jpg", "results/c.jpg")
    (home / "jobs/out").symlink_to("../results/out")
    (home / "jobs/deep").symlink_to("../results/out/deep")
    (home / "jobs/results").symlink_to("../results")
    (home / "jobs/b.jpg").symlink_to("../results/out/deep/b.jpg")
    (home / "m.txt").write_text("jobs/deep/b.jpg\njobs/out/deep/b.jpg\njobs/b.jpg\njobs/out\njobs/results/c.jpg\n")
    output = home / "results/out"
    expected = ["jobs/a.jpg", "jobs/results/c.jpg"]
    assert keys(home, "jobs", output=output) == keys(home, "jobs/**", output=output) == expected
    assert keys(home, "jobs/deep", "jobs/deep/*", "jobs/b.jpg", "jobs/*/deep/b.jpg", output=output) == []
    assert keys(home, manifest="m.txt", output=output) == ["jobs/results/c.jpg"]


def test_output_directory_named_through_a_link_is_known(home: Path) -> None:
    """The output directory may itself be given by a link."""
    put(home, "x/real/a.jpg", "x/b.jpg")
    (home / "alias").symlink_to("x/real")
    assert keys(home, "x", "x/real/a.jpg", "x/*/*.jpg", output=home / "alias") == ["x/b.jpg"]


# Globs


def tree(home: Path) -> None:
    put(home, "a.jpg", "b.png", ".c.jpg", "x/d.jpg", "x/y/e.jpg", "x/.z/f.jpg", "x/y/g[1].jpg", "x/y/notes")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg"]),
        (".*.jpg", [".c.jpg"]),
        ("*", ["a.jpg", "b.png"]),
        ("?.???", ["a.jpg", "b.png"]),
        ("[ab].*", ["a.jpg", "b.png"]),
        ("[!a].*", ["b.png"]),
        ("[^a].*", ["b.png"]),
        ("[a-b].[j-p]*", ["a.jpg", "b.png"]),
        ("x/*", ["x/d.jpg"]),
        ("*/d.jpg", ["x/d.jpg"]),
        ("*/*/*.jpg", ["x/y/e.jpg", "x/y/g[1].jpg"]),
        ("x/.*/*", ["x/.z/f.jpg"]),
        ("**/*.jpg", ["a.jpg", "x/d.jpg", "x/y/e.jpg", "x/y/g[1].jpg"]),
        ("x/**/*.jpg", ["x/d.jpg", "x/y/e.jpg", "x/y/g[1].jpg"]),
        ("**/y/*", ["x/y/e.jpg", "x/y/g[1].jpg", "x/y/notes"]),
        ("*/**/e.jpg", ["x/y/e.jpg"]),
        ("**/**/e.jpg", ["x/y/e.jpg"]),
        ("x/**", ["x/d.jpg", "x/y/e.jpg", "x/y/g[1].jpg", "x/y/notes"]),
        ("x**.jpg", ["x/d.jpg", "x/y/e.jpg", "x/y/g[1].jpg"]),
        ("**/.z/*.jpg", ["x/.z/f.jpg"]),
        ("x/y/g[[]1].jpg", ["x/y/g[1].jpg"]),
        ("./x/../x/*", ["x/d.jpg"]),
        ("x/*/", []),
        ("x/[", []),
        ("a.jpg/*", []),
        ("nowhere/*.jpg", []),
        ("nowhere/**", []),
    ],
)
def test_glob_names_exactly_its_files(home: Path, pattern: str, expected: list[str]) -> None:
    """`*`, `?` and brackets stop at a slash, `**` crosses folders, a leading dot must be written."""
    tree(home)
    assert keys(home, pattern) == expected


def test_glob_goes_up(home: Path) -> None:
    """A glob may start above the job file."""
    put(home.parent, "crawl/菜品/菜品_05.jpg", "crawl/菜品/.x.jpg")
    assert keys(home, "../crawl/*/*.jpg", "../**/菜品_0[0-9].jpg") == ["../crawl/菜品/菜品_05.jpg"] * 2


def test_glob_without_a_match_is_noticed(home: Path) -> None:
    """One notice says which glob matched nothing, and whether that may be the exclusions' doing."""
    put(home, "x/a.jpg")
    (home / "x/folder.png").mkdir()
    expected = ['input.paths[1]: "x/*.png" matches no file']
    assert notices(home, "x/*.jpg", "x/*.png") == expected
    expected = ['input.paths[0]: "x/*.jpg" matches no file that `input.exclude` leaves']
    assert notices(home, "x/*.jpg", exclude=["x/a*"]) == expected


def test_glob_does_not_walk_folders(home: Path) -> None:
    """A folder that matches is no input and is not entered."""
    put(home, "x/a.jpg/b.jpg", "x/c.jpg")
    assert keys(home, "x/*.jpg") == ["x/c.jpg"]


def test_glob_loops_end(home: Path) -> None:
    """Under `**` a folder is read once however many links lead to it; a written name follows every link."""
    put(home, "x/a/1.jpg")
    (home / "x/a/up").symlink_to("..")
    (home / "x/b").symlink_to("a")
    assert keys(home, "x/**/*.jpg") == ["x/a/1.jpg"]
    assert keys(home, "x/*/1.jpg") == ["x/a/1.jpg", "x/b/1.jpg"]


def test_glob_takes_what_it_names_even_if_it_cannot_be_read(home: Path) -> None:
    """A dangling link and a pipe that match are inputs that fail."""
    (home / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(home / "pipe.jpg")
    actual = {entry.key: (entry.size, entry.problem) for entry in found(home, "*.jpg")}
    assert actual == {"gone.jpg": (-1, None), "pipe.jpg": (0, "is not a regular file")}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[作者] 画集 [2024]/*.jpg", ["[作者] 画集 [2024]/1.jpg"]),
        ("[作者]*4]/*.jpg", ["[作者] 画集 [2024]/1.jpg"]),
        ("[作者] 画集 [0-9]*/*.jpg", ["[作者] 画集 5/2.jpg"]),
        ("**/[2024]/*.jpg", ["x/[2024]/3.jpg"]),
        ("x/**/[0-9].jpg", ["x/2/4.jpg", "x/[2024]/3.jpg"]),
        ("x/[2024]/**", ["x/[2024]/3.jpg"]),
        ("[x]/*/[0-9].jpg", ["x/2/4.jpg", "x/[2024]/3.jpg"]),
        ("y/a[[]*", ["y/a[1].png"]),
        ("y/a[1]*", ["y/a[1].png"]),
        ("y/[b*]", ["y/[b*]"]),
    ],
)
def test_glob_takes_brackets_literally_where_they_exist(home: Path, pattern: str, expected: list[str]) -> None:
    """Each bracket of a glob is a part of a name if a name holds it, else one of the characters in it."""
    put(home, "[作者] 画集 [2024]/1.jpg", "[作者] 画集 5/2.jpg", "作 画集 2/9.jpg", "x/[2024]/3.jpg", "x/2/4.jpg")
    put(home, "y/a[1].png", "y/a1.png", "y/[b*]", "y/b")
    assert keys(home, pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        ("X/*.jpg", "x/a.jpg"),
        ("x/*.JPG", "x/a.jpg"),
        ("**/*.JPG", "x/a.jpg"),
        ("x/É*", "x/e\u0301.png"),
        ("x/[A-B].*", "x/a.jpg"),
    ],
)
def test_glob_that_matches_in_another_case_says_so(home: Path, pattern: str, match: str) -> None:
    """Nothing is taken, and the notice names a file that is meant."""
    put(home, "x/a.jpg", "x/e\u0301.png")
    assert found(home, pattern) == []
    (notice,) = notices(home, pattern)
    assert notice.endswith(f"matches no file; in another case it matches {json.dumps(match, ensure_ascii=False)}")


@pytest.mark.parametrize(("given", "match"), [("X", "x/a.jpg"), ("x/A.JPG", "x/a.jpg")])
def test_path_in_another_case_says_so(home: Path, given: str, match: str) -> None:
    """A file or folder that is named does not exist, but one does whose name differs by case alone."""
    put(home, "x/a.jpg")
    (complaint,) = complaints(home, given)
    assert complaint.endswith(f'; in another case it matches "{match}"')


# Homes and backslashes


@pytest.fixture
def user(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home folder."""
    folder = home.parent / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_tilde_is_the_home_folder(home: Path, user: Path) -> None:
    """In files, folders, globs, manifests and exclusions."""
    put(user, "pictures/a.jpg", "pictures/thumbs/b.jpg", "c.jpg", "d.png")
    (user / "m.txt").write_text("c.jpg\n")
    exclude = ["~/pictures/thumbs/**"]
    assert keys(home, "~/pictures", "~/c.jpg", "~/*.png", manifest="~/m.txt", exclude=exclude) == [
        f"{user}/c.jpg",
        f"{user}/c.jpg",
        f"{user}/d.png",
        f"{user}/pictures/a.jpg",
    ]


def test_tilde_that_exists_is_a_name(home: Path, user: Path) -> None:
    """A folder beside the job file may be called so."""
    put(user, "a.jpg")
    put(home, "~/b.jpg", "~c.jpg")
    assert keys(home, "~", "~/*", "~c.jpg") == ["~/b.jpg", "~/b.jpg", "~c.jpg"]


def test_tilde_that_leads_nowhere_is_shown_expanded(home: Path, user: Path) -> None:
    """The complaint says which folder was looked for."""
    (complaint,) = complaints(home, "~/no such pictures")
    assert f'"~/no such pictures" does not exist ("{user}/no such pictures"); expected' in complaint


@linux
@pytest.mark.parametrize(
    ("given", "meant", "expected"),
    [
        (r"photos\sub", "photos/sub", ["photos/sub/a.jpg"]),
        (r".\photos\sub\a.jpg", "./photos/sub/a.jpg", ["photos/sub/a.jpg"]),
        (r"photos\**\*.jpg", "photos/**/*.jpg", ["photos/[b]/b.jpg", "photos/sub/a.jpg"]),
        (r"photos\[b]\*.jpg", "photos/[b]/*.jpg", ["photos/[b]/b.jpg"]),
    ],
)
def test_backslashes_of_windows_are_taken_as_slashes(home: Path, given: str, meant: str, expected: list[str]) -> None:
    """Where nothing has the name as it is written, and one line says so."""
    put(home, "photos/sub/a.jpg", "photos/[b]/b.jpg", "photos/b/c.png")
    assert keys(home, given) == expected
    told = f"input.paths[0]: {json.dumps(given)} is taken as {json.dumps(meant)}, with / for the backslashes"
    assert notices(home, given) == [told]


@linux
def test_backslashes_in_manifests_and_exclusions_are_taken_as_slashes(home: Path) -> None:
    """The path of the manifest and patterns of what is left out, as the job file of a Windows machine has them."""
    put(home, "photos/sub/a.jpg", "photos/b.jpg")
    (home / "lists").mkdir()
    (home / "lists/m.txt").write_text("../photos/sub/a.jpg\n../photos/b.jpg\n")
    assert keys(home, "photos", exclude=[r"photos\sub\**"]) == ["photos/b.jpg"]
    assert keys(home, "photos", manifest=r"lists\m.txt", exclude=[r"**\b.*"]) == ["photos/sub/a.jpg"] * 2


@linux
def test_backslashes_that_exist_are_names(home: Path) -> None:
    """On this system a backslash is a character like others."""
    put(home, r"photos\sub", r"x\a.jpg", "photos/sub/b.jpg", "x/a.jpg")
    assert keys(home, r"photos\sub", r"x\*.jpg") == [r"photos\sub", r"x\a.jpg"]
    assert notices(home, r"photos\sub", r"x\*.jpg") == []


@linux
def test_backslashes_that_lead_nowhere_are_named(home: Path) -> None:
    """The complaint says what may be wrong."""
    (complaint,) = complaints(home, r"D:\photos\sub")
    assert "does not exist, nor with / for its backslashes, which Windows alone takes; expected" in complaint


# Exclusions


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("x/[草稿]/**", ["x/a[1].jpg", "x/a1.jpg", "x/稿/b.jpg"]),
        ("**/[草稿]/*", ["x/a[1].jpg", "x/a1.jpg", "x/稿/b.jpg"]),
        ("x/a[1].jpg", ["x/a1.jpg", "x/[草稿]/a.jpg", "x/稿/b.jpg"]),
        ("x/[稿]/**", ["x/a[1].jpg", "x/a1.jpg", "x/[草稿]/a.jpg"]),
        ("x/*[0-9].jpg", ["x/a[1].jpg", "x/[草稿]/a.jpg", "x/稿/b.jpg"]),
    ],
)
def test_exclude_takes_brackets_literally_where_they_exist(home: Path, pattern: str, expected: list[str]) -> None:
    """As in a glob: nothing is left out for a character that the brackets happen to hold."""
    put(home, "x/a[1].jpg", "x/a1.jpg", "x/[草稿]/a.jpg", "x/稿/b.jpg")
    assert keys(home, "x", exclude=[pattern]) == sorted(expected)
    (home / "m.txt").write_text("\n".join(keys(home, "x")))
    assert keys(home, manifest="m.txt", exclude=[pattern]) == sorted(expected)


def test_exclude_matches_the_key_of_every_kind_of_input(home: Path) -> None:
    """One pattern takes out what folders, globs, names and manifests give, and what would be ignored too."""
    put(home.parent, "crawl/a.jpg", "crawl/thumbs/b.jpg", "crawl/thumbs/notes", "crawl/.thumbs/c.jpg")
    put(home, "thumbs/d.jpg", "kept.jpg")
    (home / "m.txt").write_text("thumbs/d.jpg\nthumbs/missing.jpg\nkept.jpg\n../crawl/thumbs/b.jpg\n")
    paths = ("../crawl", "../crawl/**/*.jpg", "thumbs/d.jpg", "thumbs", f"{home}/thumbs")
    expected = ["../crawl/a.jpg", "../crawl/a.jpg", "kept.jpg"]
    assert keys(home, *paths, manifest="m.txt", exclude=["**/thumbs/**"]) == expected
    assert ignored(home, *paths, exclude=["**/thumbs/**"]) == 0
    assert ignored(home, *paths) == 1


def test_exclude_prunes_folders(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of which a pattern takes everything is not opened."""
    put(home, "x/a.jpg", "x/thumbs/b.jpg", "x/deep/thumbs/c.jpg")
    opened: list[str] = []
    scandir = os.scandir

    def noting(path: str) -> object:
        opened.append(os.path.relpath(path, home))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noting)
    assert keys(home, "x", exclude=["**/thumbs/**"]) == ["x/a.jpg"]
    assert sorted(opened) == ["x", "x/deep"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["../b.jpg", "x/.c.jpg", "x/d.jpg"]),
        ("*/*", ["a.jpg"]),
        ("*/**", ["a.jpg"]),
        ("**", []),
        ("**/*.jpg", []),
        ("./x/*", ["../b.jpg", "a.jpg"]),
        ("x/?c.jpg", ["../b.jpg", "a.jpg", "x/d.jpg"]),
        ("../**", ["a.jpg", "x/.c.jpg", "x/d.jpg"]),
        ("x", ["../b.jpg", "a.jpg", "x/.c.jpg", "x/d.jpg"]),
    ],
)
def test_exclude_wildcards_match_leading_dots(home: Path, pattern: str, expected: list[str]) -> None:
    """Unlike in a glob, wildcards of an exclusion match `..` and dotfiles too."""
    put(home, "a.jpg", "x/.c.jpg", "x/d.jpg", "../b.jpg")
    paths = ("a.jpg", "x/.c.jpg", "x", "../b.jpg")
    assert keys(home, *paths, exclude=[pattern]) == expected
    assert keys(home, ".", exclude=[pattern]) == [key for key in expected if key in ("a.jpg", "x/d.jpg")]


def test_exclude_matches_absolute_keys(home: Path) -> None:
    """`**/` also stands for the front of an absolute key."""
    put(home, "thumbs/a.jpg", "b.jpg")
    assert keys(home, str(home), exclude=["**/thumbs/**"]) == [f"{home}/b.jpg"]
    assert keys(home, str(home), exclude=[f"{home}/thumbs/*"]) == [f"{home}/b.jpg"]


@linux
def test_exclude_matches_escaped_bytes(home: Path) -> None:
    """A name that is not UTF-8 is excluded by the key that it is shown with."""
    os.mkdir(home / "x")
    Path(os.fsdecode(os.fsencode(home) + b"/x/\xff.jpg")).touch()
    assert keys(home, "x", exclude=["x/\\xff.jpg"]) == keys(home, "x", exclude=["x/?xff*"]) == []


# The pattern language


def tokens(pattern: str) -> list[str]:
    """The pattern's parts, read by hand; a bracket that closes is one part."""
    parts: list[str] = []
    while pattern:
        stars = len(pattern) - len(pattern.lstrip("*"))
        size = max(stars, 1)
        if pattern[0] == "[":
            first = 2 if pattern[1:2] in ("!", "^") else 1
            end = pattern.find("]", first + 1)
            if end > 0 and "/" not in pattern[:end]:
                size = end + 1
        if stars > 1 and pattern[stars : stars + 1] == "/" and (not parts or parts[-1].endswith("/")):
            size += 1
        parts.append(pattern[:size])
        pattern = pattern[size:]
    return parts


def in_bracket(bracket: str, sign: str) -> bool:
    negated = bracket[1] in "!^"
    members = bracket[2 if negated else 1 : -1]
    inside = False
    while members:
        if len(members) > 2 and members[1] == "-":
            inside |= members[0] <= sign <= members[2]
            members = members[3:]
        else:
            inside |= members[0] == sign
            members = members[1:]
    return inside != negated


def matches(parts: list[str], text: str, hidden: bool, at: int = 0) -> bool:
    """The pattern language over again, slowly and by trying: `parts` match `text` from `at` to its end."""
    if not parts:
        return at == len(text)
    part, rest = parts[0], parts[1:]
    names = [at] + [i + 1 for i in range(at, len(text)) if text[i] == "/"]
    dots = [i for i in range(at, len(text)) if text[i] == "." and (i == 0 or text[i - 1] == "/") and not hidden]
    if part.startswith("**") and part.endswith("/"):
        free = [name for name in names if min([*dots, len(text)]) >= name]
        ends = [name for name in free if hidden or "" not in text[at:name].split("/")[:-1]]
        return any(matches(rest, text, hidden, end) for end in ends)
    barred = at in dots
    if part.startswith("*"):
        last = min([*dots, len(text) + 1]) - 1 if "**" in part else (text + "/").index("/", at)
        return not barred and any(matches(rest, text, hidden, end) for end in range(at, last + 1))
    if at == len(text):
        return False
    if len(part) > 1 or part == "?":
        fits = text[at] != "/" and not barred and (part == "?" or in_bracket(part, text[at]))
    else:
        fits = text[at] == part
    return fits and matches(rest, text, hidden, at + 1)


NAMES = st.text("ab.-家", min_size=1, max_size=3).filter(lambda name: name != ".")
KEYS = st.builds(
    lambda root, names: root + "/".join(names), st.sampled_from(["", "", "/"]), st.lists(NAMES, min_size=1, max_size=4)
)
PATTERNS = st.lists(
    st.sampled_from(
        [*"ab.-家!^]", "/", "/", "*", "*", "**/", "/**", "**", "?", "[", "[a-", "[!a]", "[.-家]", "[b-a]", "[]]"]
    ),
    max_size=7,
).map("".join)


@settings(max_examples=1500, deadline=None)
@given(PATTERNS, KEYS, st.booleans())
@example("**/thumbs/**", "thumbs/a.jpg", True)
@example("**/thumbs/**", "../crawl/thumbs/a.jpg", True)
@example("**/thumbs/**", "thumbs", True)
@example("*.jpg", ".jpg", False)
@example("**.jpg", "a/.jpg", False)
@example("[!]", "[!]", False)
@example("[a/b]", "[a/b]", False)
def test_pattern_means_what_the_reference_says(pattern: str, key: str, hidden: bool) -> None:
    """The regular expression agrees with a matcher that shares nothing with it."""
    expected = matches(tokens(pattern), key, hidden)
    assert expected == (compiled(pattern, hidden).fullmatch(key) is not None)
    assert expected == (_Positions(pattern, hidden).fullmatch(key) is not None)


@settings(max_examples=400, deadline=None)
@given(KEYS, st.booleans())
def test_pattern_of_a_key_matches_it(key: str, hidden: bool) -> None:
    """Generalising a key's parts to wildcards keeps it matched."""
    assert compiled(key, hidden).fullmatch(key)
    assert compiled("".join(f"[{sign}]" if sign in "ab家" else sign for sign in key), hidden).fullmatch(key)
    assert compiled("**", True).fullmatch(key)
    assert compiled(re.sub("[^/]+", "*", key), True).fullmatch(key)


@settings(max_examples=300, deadline=None)
@given(st.text(string.printable + "家", max_size=12), st.text(max_size=12))
def test_pattern_of_any_text_compiles(pattern: str, key: str) -> None:
    """No text is a broken pattern."""
    compiled(pattern, False).fullmatch(key)
    compiled(pattern, True).fullmatch(key)


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("part", ["**/", "**/d/", "**/*d*/", "**d", "d**/", "**/?/", "**[d]"])
def test_pattern_of_many_folder_wildcards_is_quick(part: str, hidden: bool) -> None:
    """The longest path that just fails to match costs no more for ten of them than its characters ten times."""
    key = "d/" * 1_000 + "y.jpg"
    start = time.process_time()
    assert compiled(part * 10 + "x.jpg", hidden).fullmatch(key) is None
    assert compiled(part * 10 + "**y.jpg", hidden).fullmatch(key) is not None
    assert time.process_time() - start < 10


def test_glob_and_exclude_of_many_folder_wildcards(home: Path) -> None:
    """Files are found and left out as with few of them, sixty folders deep."""
    folder = "d/" * 60
    put(home, f"{folder}a.jpg", f"{folder}b.jpg", f"{folder}.c.jpg")
    deep = "**/d/" * 12
    start = time.process_time()
    assert keys(home, f"{deep}*.jpg") == [f"{folder}a.jpg", f"{folder}b.jpg"]
    assert keys(home, f"{deep}*.jpg", exclude=[f"{deep}b*", "**/x"]) == [f"{folder}a.jpg"]
    assert keys(home, f"{deep}x.jpg") == []
    assert time.process_time() - start < 10


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize(
    ("pattern", "sign"), [("*_*_*_*_*_*.jpg", "_"), ("*[ab]*?*a*[!b]*b", "a"), ("x/*a*a*a*a*a*b", "a")]
)
def test_pattern_of_many_stars_is_quick(pattern: str, sign: str, hidden: bool) -> None:
    """The longest name that just fails to match costs milliseconds, not the minutes of trying every division."""
    name = "x/" * pattern.startswith("x/") + sign * 255
    began = time.process_time()
    assert not compiled(pattern, hidden).fullmatch(name)
    assert compiled(pattern, hidden).fullmatch(name + pattern[-4:].lstrip("*"))
    assert time.process_time() - began < 5


# Manifests


def write(home: Path, name: str, text: str | bytes) -> str:
    (home / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def test_manifest_rows_come_in_order_whether_they_exist_or_not(home: Path) -> None:
    """Each row has its number and its file's size; a missing file has size -1; the source follows the paths."""
    put(home, "a.jpg", data=b"123")
    write(home, "m.txt", "b.jpg\n\n  \na.jpg\n")
    actual = [(e.key, e.source, e.position, e.size, e.problem) for e in found(home, "a.jpg", manifest="m.txt")]
    assert actual == [("a.jpg", 0, 0, 3, None), ("b.jpg", 1, 1, -1, None), ("a.jpg", 1, 2, 3, None)]


def test_manifest_paths_are_relative_to_the_manifest(home: Path) -> None:
    """Rows start from the manifest's folder as it was given; absolute rows and manifests stay absolute."""
    write(home.parent, "m.txt", "家居/家居_05.jpg\n../x/./a.jpg\n/abs//b.jpg\n.\n")
    assert [e.key for e in found(home, manifest="../m.txt")] == [
        "../家居/家居_05.jpg",
        "../../x/a.jpg",
        "/abs/b.jpg",
        "..",
    ]
    absolute = found(home, manifest=f"{home.parent}/m.txt")
    assert absolute[0].key == f"{home.parent}/家居/家居_05.jpg"


def test_manifest_rows_that_are_no_files_are_problems(home: Path) -> None:
    """A folder, a pipe, a circle, a NUL and a name too long fail their row, not the job."""
    put(home, "folder/a.jpg", "a.jpg", "nul")
    os.mkfifo(home / "pipe")
    (home / "loop").symlink_to("loop")
    write(home, "m.txt", f"folder\npipe\nloop\nnul\0.jpg\n{'x' * 300}\na.jpg/b\n")
    assert problems(home, manifest="m.txt") == {
        "folder": "is a folder",
        "pipe": "is not a regular file",
        "loop": "cannot be read: too many levels of symbolic links",
        "nul\\x00.jpg": "the name holds a NUL byte",
        "x" * 300: "cannot be read: file name too long",
        "a.jpg/b": None,
    }


def test_manifest_paths_of_more_than_4096_bytes_are_problems(home: Path) -> None:
    """They fail their row at once, whatever they are made of; the longest that may be is looked for."""
    put(home, "a.jpg")
    longest = "d/" * 2046 + "食d"
    too_long = ["d/" * 2047 + "食", "x" * 4097, "d/" * 32_000 + "a.jpg", "食" * 1366, "./" * 2048 + "a.jpg"]
    write(home, "m.txt", "\n".join([*too_long, longest, "a.jpg"]))
    start = time.process_time()
    got = problems(home, manifest="m.txt")
    assert time.process_time() - start < 5
    assert got == dict.fromkeys(too_long, "the path has more than 4,096 bytes") | {
        longest: "cannot be read: file name too long",
        "a.jpg": None,
    }


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_manifest_with_or_without_mark_and_with_either_line_end(home: Path, bom: bytes, end: bytes, last: bool) -> None:
    """The byte order mark, CRLF and a missing last line end change nothing, in any kind of manifest."""
    put(home, "家 居.jpg")
    rows = {"m.txt": ["家 居.jpg", " b"], "m.csv": ["n,path", "1,家 居.jpg", "", "2, b"]}
    rows["m.JSONL"] = ['{"path": "家 居.jpg"}', "", '{"n": 1, "path": " b"}']
    for name, lines in rows.items():
        write(home, name, bom + end.join(line.encode() for line in lines) + (end if last else b""))
        assert [entry.key for entry in found(home, manifest=name)] == ["家 居.jpg", " b"]


def test_manifest_csv_reads_quotes_and_line_breaks(home: Path) -> None:
    """Cells may be quoted and of several lines; empty records are skipped; the column may be anywhere."""
    put(home, "c.jpg")
    write(home, "m.csv", 'n,"the ""path"""\n1,"a,""b"".jpg"\n"x\ny","two\nlines.jpg"\n,,\n3,c.jpg\n')
    actual = [entry.key for entry in found(home, manifest="m.csv", column='the "path"')]
    assert actual == ['a,"b".jpg', "two\nlines.jpg", "c.jpg"]


@linux
def test_manifest_jsonl_with_escaped_bytes_is_not_utf8(home: Path) -> None:
    """What Python writes for a name that is not UTF-8 fails its row, as does half of a surrogate pair."""
    Path(os.fsdecode(os.fsencode(home) + b"/\xff.jpg")).write_bytes(b"1")
    write(home, "m.jsonl", '{"path": "\\udcff.jpg"}\n{"path": "x/\\ud83d.jpg"}\n{"path": "\\ud83d\\ude00"}\n')
    actual = [(entry.key, entry.size, entry.problem) for entry in found(home, manifest="m.jsonl")]
    problem = "the name is not UTF-8"
    assert actual == [("\\xff.jpg", 1, problem), ("x/\\ud83d.jpg", -1, problem), ("\U0001f600", -1, None)]


LONG = 65_537
NEITHER = "neither UTF-8 nor GB18030 (GBK), perhaps Latin-1; save the list as UTF-8"
OBJECT = 'expected an object like {"path": "a.jpg"}'


@pytest.mark.parametrize(
    ("name", "text", "line", "complaint"),
    [
        ("m.txt", b"a\nb\xff\n", 2, NEITHER),
        ("m.csv", b'path\n"a\nb\xff"\n', 3, NEITHER),
        ("m.txt", b"a\n" + b"x" * LONG, 2, "a row of more than 65,536 characters; expected a path"),
        ("m.jsonl", b"x" * LONG + b"\n", 1, "a row of more than 65,536 characters; expected a path"),
        ("m.csv", b'path\na\n"' + b"x\n" * LONG, 3, "a row of more than 65,536 characters; expected a path"),
        ("m.csv", b"path\na\n" + b'"x\n",' * LONG, 3, "a row of more than 65,536 characters; expected a path"),
        ("m.csv", "", 1, 'the file is empty; expected a header with the column "path"'),
        ("m.csv", "\n\n", 2, 'the file is empty; expected a header with the column "path"'),
        ("m.csv", ",", 1, 'the file is empty; expected a header with the column "path"'),
        ("m.csv", "\x85 , \u2003\n", 1, 'the file is empty; expected a header with the column "path"'),
        ("m.csv", '"",""\n', 1, 'no column "path"; expected one of none'),
        ("m.csv", "image,label\na,b\n", 1, 'no column "path"; expected one of "image", "label"'),
        ("m.csv", "image,paths\n", 1, 'no column "path"; expected one of "image", "paths"; did you mean "paths"?'),
        ("m.csv", "paths;label\n", 1, 'no column "path"; expected one of "paths", "label"; did you mean "paths"?'),
        ("m.csv", "path,x,path\n", 1, 'column "path" is there 2 times; expected it once'),
        ("m.csv", 'path\n"a\nb\n', 2, "broken CSV: a quotation mark is not closed"),
        ("m.csv", 'path\n"a"b\n', 2, "broken CSV: a quotation mark within a cell is not doubled"),
        ("m.jsonl", '{"path": "a"}\n{"path": }\n', 2, f"not JSON; {OBJECT}"),
        ("m.jsonl", "[" * 60_000, 1, f"not JSON; {OBJECT}"),
        ("m.jsonl", "1" * 5_000, 1, f"not JSON; {OBJECT}"),
        ("m.jsonl", '\n["a.jpg"]\n', 2, f'["a.jpg"] is not an object; {OBJECT}'),
        ("m.jsonl", '"' + "家" * 99 + '"', 1, f'"{"家" * 59}… is not an object; {OBJECT}'),
        ("m.jsonl", '{"Path": 1}', 1, 'no key "path"; expected one of "Path"; did you mean "Path"?'),
        ("m.jsonl", "{}", 1, 'no key "path"; expected one of none'),
        ("m.jsonl", '{"path": ["a"]}', 1, 'key "path" is ["a"]; expected a path'),
    ],
)
def test_manifest_fault_is_refused_with_its_line(
    home: Path, name: str, text: str | bytes, line: int, complaint: str
) -> None:
    """What is wrong in a manifest names the manifest, the line as an editor counts, and what was expected."""
    assert complaints(home, manifest=write(home, name, text)) == (
        f'input.manifest: "{name}", line {line}: {complaint}',
    )


def test_manifest_with_many_columns_shows_the_first(home: Path) -> None:
    """A complaint stays readable however wide the table is."""
    write(home, "m.csv", ",".join(f"c{i}" for i in range(50)) + "\n")
    (complaint,) = complaints(home, manifest="m.csv")
    assert complaint.endswith('"c18", "c19", …')


def test_manifest_rows_before_the_fault_are_given(home: Path) -> None:
    """A manifest's rows are read as it is iterated, not beforehand."""
    write(home, "m.jsonl", '{"path": "a"}\n[]\n')
    walk = entries(home, manifest="m.jsonl")
    assert isinstance(next(walk), InputEntry)
    with pytest.raises(JobError):
        next(walk)


@pytest.mark.parametrize("name", ["m.xlsx", "m", ".csv", ""])
def test_manifest_of_no_known_kind_is_refused(home: Path, name: str) -> None:
    """The suffix says how a manifest is read."""
    expected = f'input.manifest: "{name}" is of no known kind; expected one of .txt, .csv, .tsv, .jsonl'
    assert complaints(home, manifest=name) == (expected,)


def test_manifest_that_is_a_folder_is_refused(home: Path) -> None:
    """A folder lists nothing."""
    (home / "m.txt").mkdir()
    expected = (
        'input.manifest: "m.txt" is a folder; expected a file (.txt, .csv, .tsv, .jsonl), relative to the job file'
    )
    assert complaints(home, manifest="m.txt") == (expected,)


def test_manifest_that_is_a_pipe_or_a_device_is_refused(home: Path) -> None:
    """Nobody may ever write into a pipe, and a device has no end."""
    os.mkfifo(home / "pipe.txt")
    (home / "zero.csv").symlink_to("/dev/zero")
    for name in ("pipe.txt", "zero.csv"):
        (complaint,) = complaints(home, manifest=name)
        assert complaint.startswith(f'input.manifest: "{name}" is not a regular file; expected a file')


def test_manifest_that_vanishes_is_refused(home: Path) -> None:
    """A manifest that cannot be read when its turn comes is told with the system's reason."""
    walk = entries(home, manifest=write(home, "m.txt", "a"))
    (home / "m.txt").unlink()
    with pytest.raises(JobError) as caught:
        next(walk)
    assert caught.value.complaints == ('input.manifest: "m.txt" cannot be read: no such file or directory',)


PATHS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)


@settings(max_examples=200, deadline=None)
@given(st.lists(PATHS, max_size=8))
def test_manifest_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, paths: list[str]) -> None:
    """Whatever a csv or json writer wrote is read again, row for row, and a text list likewise."""
    home = tmp_path_factory.getbasetemp()
    paths = [*paths, "/../dev/null"]  # a list of which no file exists is refused
    expected = [os.path.normpath("/r/" + path.replace("\0", "\\x00")) for path in paths]
    rows = [{"n": i, "path": "/r/" + path} for i, path in enumerate(paths)]
    with open(home / "m.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["n", "path"], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    write(home, "m.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [entry.key for entry in found(home, manifest="m.csv")] == expected
    assert [entry.key for entry in found(home, manifest="m.jsonl")] == expected
    lines = [str(row["path"]) for row in rows if not re.search(r"\n|\r$", str(row["path"]))]
    write(home, "m.txt", "".join(f"{line}\n" for line in lines))
    expected = [os.path.normpath(line.replace("\0", "\\x00")) for line in lines]
    assert [entry.key for entry in found(home, manifest="m.txt")] == expected


# Memory


def peak(walk: Iterator[InputEntry | Ignored | Notice]) -> tuple[int, int]:
    """How many entries there are, and the most memory held meanwhile, in KiB."""
    tracemalloc.start()
    try:
        return sum(1 for _ in walk), tracemalloc.get_traced_memory()[1] >> 10
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_a_manifest(home: Path) -> None:
    """Fifty thousand rows need a read buffer, not fifty thousand places."""
    put(home, "crawl/0/家居_0.jpg")
    write(home, "m.txt", "".join(f"crawl/{i // 100}/家居_{i}.jpg\n" for i in range(50_000)))
    count, kib = peak(entries(home, manifest="m.txt"))
    assert count == 50_000
    assert kib < 2500


def test_memory_does_not_grow_with_a_folder(home: Path) -> None:
    """Twenty thousand files of one folder, by walk or glob, are never held together."""
    (home / "x").mkdir()
    put(home, "x/0.jpg")
    for i in range(1, 20_000):
        os.link(home / "x/0.jpg", home / f"x/{i}.jpg")
    for path in ("x", "x/*.jpg", "**/*.jpg"):
        count, kib = peak(entries(home, path, exclude=["**/thumbs/**"]))
        assert count == 20_000
        assert kib < 400


def test_memory_is_not_filled_by_one_endless_line(home: Path) -> None:
    """A line of a gigabyte is refused after its first 64 KiB."""
    with open(home / "m.txt", "wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    try:
        assert complaints(home, manifest="m.txt")
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("paths", [("x", "x/y"), ("x/y", "x"), (".", "x", "x/y"), ("x", "x")])
def test_what_overlapping_folders_ignore_is_counted_once(home: Path, paths: tuple[str, ...]) -> None:
    """A file below two folders is counted once, in either order."""
    (home / "x/y").mkdir(parents=True)
    (home / "x/a.txt").write_text("text")
    (home / "x/y/b.txt").write_text("text")
    (home / "x/y/__MACOSX").mkdir()
    assert ignored(home, *paths) == 3


def test_a_folder_that_another_one_leaves_out_is_counted(home: Path) -> None:
    """A hidden folder that is named by itself."""
    (home / "x/.y").mkdir(parents=True)
    (home / "x/.y/b.txt").write_text("text")
    assert ignored(home, "x", "x/.y") == 1
