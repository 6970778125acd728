"""Errors of file systems that lack locks or shared memory."""

import errno
import os
import sqlite3

import pytest

from batchrec.state.file_system import STATE_REMEDY, with_cause


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    "error",
    [
        sqlite_error(sqlite3.SQLITE_IOERR_SHMMAP),
        sqlite_error(sqlite3.SQLITE_IOERR_SHMOPEN),
        sqlite_error(sqlite3.SQLITE_IOERR_LOCK),
        sqlite_error(sqlite3.SQLITE_PROTOCOL),
        OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)),
        OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP)),
    ],
)
def test_the_cause_is_named_with_the_remedy(error):
    """SQLite says no more than "disk I/O error" or "locking protocol"."""
    text = with_cause(error, STATE_REMEDY)
    assert text.startswith(error.strerror if isinstance(error, OSError) else str(error))
    assert "network shares" in text
    assert text.endswith("set BATCHREC_STATE_DIR to a folder on a local disk")


@pytest.mark.parametrize(
    "error", [sqlite_error(sqlite3.SQLITE_IOERR_WRITE), sqlite3.Error("x"), OSError("y"), ValueError("z")]
)
def test_other_errors_stay_as_they_are(error):
    """A full or a failing disk is no network share."""
    assert with_cause(error, STATE_REMEDY) == str(error)
