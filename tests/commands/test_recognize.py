"""Recognizing a few files: arguments become a job, complaints name the arguments, nothing is left behind."""

import tempfile

import pytest
from PIL import Image

from batchrec.commands.recognize import ImagesFailed, _about_argument, _account, recognize
from batchrec.errors import JobError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """State, configuration and temporary files where the test can see them."""
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"BATCHREC_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.delenv("BATCHREC_ENDPOINT", raising=False)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def picture(tmp_path):
    """A picture on the disk."""
    path = tmp_path / "cat.png"
    Image.effect_noise((32, 32), 60).save(path)
    return path


@pytest.mark.parametrize(
    ("complaint", "expected"),
    [
        ('recognize.toml: input.paths[0]: "a" does not exist', '"a" does not exist'),
        ("recognize.toml: recognize[0].options.top_num: 0", "options.top_num: 0"),
        ("recognize.toml: recognize[0].service: x", "service: x"),
        ("recognize.toml: account.endpoint: x", "endpoint: x"),
        ("argument: account.endpoint: x", "endpoint: x"),
        ('argument: account.endpoint: x and account.profile = "NAME"', 'endpoint: x and profile "NAME"'),
        ("BATCHREC_ENDPOINT: account.endpoint: x", "BATCHREC_ENDPOINT: account.endpoint: x"),
        ("recognize.toml: limits.qps: x", "qps: x"),
        ("BAIDU_API_KEY and BAIDU_SECRET_KEY: set both", "BAIDU_API_KEY and BAIDU_SECRET_KEY: set both"),
    ],
)
def test_complaints_name_arguments(complaint, expected):
    """Nobody wrote a job file, so none is spoken of."""
    assert _about_argument(complaint) == expected


def test_the_endpoint_of_the_environment_is_the_default():
    """An argument wins over BATCHREC_ENDPOINT, and that over the service's own; either is the user's own hand."""
    environ, key = {"BATCHREC_ENDPOINT": "http://127.0.0.1:1"}, ("account", "endpoint")
    named = {"profile": "shop", "endpoint": "http://127.0.0.1:1"}
    assert _account(None, "shop", environ) == (named, {key: "BATCHREC_ENDPOINT"})
    assert _account("embedded", "x", environ) == ({"profile": "x", "endpoint": "embedded"}, {key: "argument"})
    assert _account(None, "x", {}) == ({"profile": "x"}, {})


async def test_rows_come_and_the_folder_goes(picture, tmp_path):
    """One row with the picture's path as its key."""
    rows = [row async for row in recognize([picture], service="animal", options={"top_num": 1}, endpoint="embedded")]
    assert [(row["image"], row["service"]) for row in rows] == [(str(picture), "animal")]
    assert list((tmp_path / "temporary").iterdir()) == []


async def test_failures_come_at_the_end(picture, tmp_path):
    """Garbage among pictures: ImagesFailed, with its row and the run's exit code."""
    bad = tmp_path / "page.jpg"
    bad.write_bytes(b"<html>")
    rows = recognize([picture, bad], endpoint="embedded")
    assert (await anext(rows))["image"] == str(picture)
    with pytest.raises(ImagesFailed) as error:
        await anext(rows)
    assert [(row["image"], row["code"]) for row in error.value.failures] == [(str(bad), "not_an_image")]
    assert error.value.exit_code == 1


@pytest.mark.parametrize("arguments", [{"service": "animel"}, {"options": {"x": 1}}, {"model": "m"}, {"qps": 0}])
async def test_wrong_arguments_are_job_errors(picture, tmp_path, arguments):
    """Nothing is started, and nothing left."""
    with pytest.raises(JobError) as error:
        await anext(recognize([picture], endpoint="embedded", **arguments))
    assert "recognize.toml" not in str(error.value)
    assert list((tmp_path / "temporary").iterdir()) == []
