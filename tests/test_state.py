"""The state folder is its owner's alone."""

import os
from pathlib import Path

import pytest

from batchrec.errors import JobError
from batchrec.state import config_directory, state_directory, write_private


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_state_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """0700, whatever the umask, and parents as needed."""
    before = os.umask(0)
    try:
        path = state_directory({"BATCHREC_STATE_DIR": str(tmp_path / "a" / "b")})
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "b", 0o700) == (path, mode(path))


def test_open_state_folder_is_closed_to_others(tmp_path: Path) -> None:
    """A folder that others could read no longer is."""
    tmp_path.chmod(0o755)
    assert mode(state_directory({"BATCHREC_STATE_DIR": str(tmp_path)})) == 0o700


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
