"""`batchrec dataset upload`: mistakes that end it before anything is opened or sent."""

import pytest

from tests.datasets.typed import typed


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--name", "x" * 21), "expected 1 to 20 characters"),
        (("--name", "fruit", "--endpoint", "embedded"), "--endpoint: is"),
        (("--name", "fruit", "--profile", "nobody"), "no profile 'nobody'"),
        (("--name", "fruit", "--qps", "0"), "--qps"),
    ],
)
def test_mistakes_end_with_2(tmp_path, monkeypatch, options, word) -> None:
    """A long name, an endpoint that takes no data set, a profile that is not there, no rate."""
    monkeypatch.setenv("BATCHREC_CONFIG_DIR", str(tmp_path))
    done = typed("dataset", "upload", str(tmp_path), *options)
    assert done.exit_code == 2
    assert word in done.stderr
