"""The state folder is its owner's alone."""

import os
from pathlib import Path

import pytest

from batchrec.errors import JobError
from batchrec.state.directory import config_directory, state_directory, write_private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_state_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """0700 with an empty umask, and parents as needed."""
    before = os.umask(0)
    try:
        path = state_directory({"BATCHREC_STATE_DIR": str(tmp_path / "a" / "b")})
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "b", 0o700) == (path, mode(path))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_every_missing_folder_is_made_private(tmp_path: Path, umask: int) -> None:
    """Each missing parent gets 0700 as well, whatever the umask; folders that were there keep their mode."""
    tmp_path.chmod(0o755)
    before = os.umask(umask)
    try:
        path = state_directory({"BATCHREC_STATE_DIR": str(tmp_path / "a" / "b" / "c")})
    finally:
        os.umask(before)
    assert [mode(folder) for folder in (path, path.parent, path.parent.parent, tmp_path)] == [0o700] * 3 + [0o755]


@pytest.mark.parametrize(
    ("open_mode", "command"),
    [
        (0o755, "chmod 700 {}"),
        (0o750, "chmod 700 {}"),
        (0o711, "chmod 700 {}"),
        (0o1777, "mkdir -m 700 {}/batchrec"),
        (0o777, "mkdir -m 700 {}/batchrec"),
    ],
)
def test_state_folder_that_others_reach_is_refused(tmp_path: Path, open_mode: int, command: str) -> None:
    """Never changed; the message has its mode and the command that helps (shared: a folder below)."""
    folder = tmp_path / "my state"
    folder.mkdir()
    folder.chmod(open_mode)
    with pytest.raises(JobError) as caught:
        state_directory({"BATCHREC_STATE_DIR": str(folder)})
    assert f"run: {command.format(folder)}".replace(str(folder), f"'{folder}").rstrip() in str(caught.value)
    assert f"mode {open_mode:04o}" in str(caught.value)
    assert (folder.stat().st_mode & 0o7777, list(folder.iterdir())) == (open_mode, [])


def test_state_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    """For root, a folder that was given away; for anybody else, one of root's."""
    folder = tmp_path
    if os.geteuid() == 0:
        folder.chmod(0o700)
        os.chown(folder, 12345, -1)
    else:
        folder = Path("/")
    with pytest.raises(JobError, match=r"belongs to another user.*BATCHREC_STATE_DIR"):
        state_directory({"BATCHREC_STATE_DIR": str(folder)})


def test_state_folder_that_is_a_file(tmp_path: Path) -> None:
    """Refused with the variable's name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="is not a folder; set BATCHREC_STATE_DIR"):
        state_directory({"BATCHREC_STATE_DIR": str(tmp_path / "file")})


def test_state_folder_behind_a_link(tmp_path: Path) -> None:
    """A link to a folder of the user's own is followed."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    assert state_directory({"BATCHREC_STATE_DIR": str(tmp_path / "link")}) == tmp_path / "link"


def test_state_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The message names the folder and the variable."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError) as caught:
        state_directory({"BATCHREC_STATE_DIR": str(tmp_path / "file" / "state")})
    assert str(tmp_path / "file" / "state") in str(caught.value)
    assert "BATCHREC_STATE_DIR" in str(caught.value)


def test_without_variables_the_platforms_folders() -> None:
    """Both end in batchrec's name."""
    assert config_directory({}).name == "batchrec"


def test_config_folder_is_what_the_variable_says(tmp_path: Path) -> None:
    """And it need not exist."""
    assert config_directory({"BATCHREC_CONFIG_DIR": str(tmp_path / "none")}) == tmp_path / "none"


def test_private_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """The new content, 0600 even where the old file was open, and nothing left over."""
    path = tmp_path / "tokens" / "a.json"
    write_private(path, b"one")
    path.chmod(0o644)
    write_private(path, b"two")
    assert (path.read_bytes(), mode(path), mode(path.parent)) == (b"two", 0o600, 0o700)
    assert [path] == list(path.parent.iterdir())


def test_failed_replacement_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither a changed target nor a temporary file."""
    target = tmp_path / "taken"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        write_private(target, b"content")
    assert [target] == list(tmp_path.iterdir())
