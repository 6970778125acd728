"""Advice to install an extra."""

import shlex
from importlib import metadata

import pytest

from batchrec.console import extras
from batchrec.console.extras import pip_install


@pytest.mark.parametrize(("extra", "package"), [("local", "onnxruntime"), ("heif", "pi-heif")])
def test_the_line_names_the_requirements_of_the_extra(extra, package):
    """Every requirement that the installed metadata has for it, no other, quoted for a shell."""
    words = shlex.split(pip_install(extra))
    assert words[:2] == ["pip", "install"]
    names = {word.partition(">")[0].partition("=")[0] for word in words[2:]}
    assert package in names
    listed = [line for line in metadata.requires("batchrec") if f"extra == '{extra}'" in line.replace('"', "'")]
    assert len(words[2:]) == len(listed)
    assert not any("extra" in word for word in words)


def test_other_conditions_are_kept(monkeypatch):
    """A requirement for some systems only keeps that condition."""
    lines = ["aiohttp>=3", "ray>=2; (python_version < '3.14') and extra == 'ray'", 'pyarrow; extra == "parquet"']
    monkeypatch.setattr(extras, "requires", lambda name: lines)
    assert shlex.split(pip_install("ray")) == ["pip", "install", "ray>=2; (python_version < '3.14')"]
    assert pip_install("parquet") == "pip install pyarrow"


def test_without_metadata_the_sources_are_installed(monkeypatch):
    """In a folder of sources that was never installed there is no list."""

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", missing)
    assert shlex.split(pip_install("local")) == ["pip", "install", ".[local]"]
