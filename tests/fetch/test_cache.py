"""Cache of fetched images: bounded, by login, and never another content than the one that was kept."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from batchrec.fetch.cache import FRESH_SECONDS, UrlCache, kept_bytes, url_key


class Now:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 1e9

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


def put(cache: UrlCache, url: str, data: bytes, login: str = "") -> bytes:
    """Keep a body; its key."""
    key, body = url_key(url, login), cache.incoming()
    body.write(data)
    cache.put(key, body, '"tag"', None)
    return key


def test_least_recently_used_makes_way(tmp_path: Path, now: Now) -> None:
    """What was read last stays, whenever it was fetched; the bodies stay below the bound."""
    with closing(UrlCache(tmp_path, now, most_bytes=1000)) as cache:
        keys = []
        for number in range(10):
            keys.append(put(cache, f"http://h/{number}", bytes([number]) * 100))
            now.seconds += 100
        assert cache.read(keys[0]) is not None
        now.seconds += 100
        for number in range(10, 14):
            put(cache, f"http://h/{number}", bytes([number]) * 100)
            now.seconds += 100
        assert cache.read(keys[0]) == bytes(100)
        assert cache.find(keys[1]) is None
    files = [path for path in (tmp_path / "fetched").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 1000
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_login_is_a_part_of_the_key(tmp_path: Path, now: Now) -> None:
    """One user's image is not another's, and a body that both have stays until both have gone."""
    with closing(UrlCache(tmp_path, now)) as cache:
        one = put(cache, "http://h/a", b"same", "anna:a")
        assert cache.find(url_key("http://h/a", "")) is None
        two = put(cache, "http://h/a", b"same", "berta:b")
        assert cache.read(one) == cache.read(two) == b"same"
    data = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"anna" not in data


def test_damaged_body_is_none(tmp_path: Path, now: Now) -> None:
    """A file that was cut by a full disk or edited is fetched again, not sent."""
    with closing(UrlCache(tmp_path, now)) as cache:
        key = put(cache, "http://h/a", b"whole")
        found = cache.find(key)
        assert found is not None
        assert kept_bytes(tmp_path, found.sha256) == b"whole"
        [path] = [path for path in (tmp_path / "fetched").rglob("*") if path.is_file()]
        path.write_bytes(b"who")
        assert cache.read(key) is None
        assert kept_bytes(tmp_path, found.sha256) is None
        assert cache.find(key) is None


def test_freshness_ends(tmp_path: Path, now: Now) -> None:
    """After a day the server is asked again; its confirmation makes the body fresh."""
    with closing(UrlCache(tmp_path, now)) as cache:
        key = put(cache, "http://h/a", b"x")
        now.seconds += FRESH_SECONDS - 1
        assert cache.fresh(key) is not None
        now.seconds += 1
        assert (cache.fresh(key), cache.find(key) is not None) == (None, True)
        cache.confirm(key)
        assert cache.fresh(key) is not None


def test_unusable_state_folder(tmp_path: Path, now: Now) -> None:
    """Where the index is no database, nothing is cached, and a put says so; no traceback."""
    (tmp_path / "fetched.db").write_bytes(b"no database" * 100)
    with closing(UrlCache(tmp_path, now)) as cache:
        assert cache.find(url_key("http://h/a", "")) is None
        body = cache.incoming()
        body.write(b"x")
        with pytest.raises(OSError, match="cannot be used"):
            cache.put(url_key("http://h/a", ""), body, None, None)
        body.discard()


KILLED = """
import os, pathlib, sys
from batchrec.fetch.cache import UrlCache
body = UrlCache(pathlib.Path(sys.argv[1])).incoming()
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_no_file(tmp_path: Path, now: Now) -> None:
    """The next opening removes its unfinished file, and leaves the one that another process is writing."""
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    with closing(UrlCache(tmp_path, now)) as cache:
        body = cache.incoming()
        files = list((tmp_path / "fetched").glob("incoming-*"))
        assert len(files) == 2
        for path in files:
            os.utime(path, (path.stat().st_mtime - 10,) * 2)
        UrlCache(tmp_path, now).close()
        assert list((tmp_path / "fetched").glob("incoming-*")) == [body.path]
        body.discard()


def test_forgotten_body_is_gone(tmp_path: Path, now: Now) -> None:
    """The URL has neither body nor ETag any more; the body stays while another URL has it."""
    with closing(UrlCache(tmp_path, now)) as cache:
        one, two = put(cache, "http://h/a", b"same"), put(cache, "http://h/b", b"same")
        cache.forget(one)
        assert (cache.find(one), cache.read(two)) == (None, b"same")
        cache.forget(two)
    assert not [path for path in (tmp_path / "fetched").rglob("*") if path.is_file()]
