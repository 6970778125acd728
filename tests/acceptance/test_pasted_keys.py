"""Keys as people paste them: with what editors, consoles and chat programs put around them, or in another place."""

import sys
import tomllib

import pytest
from harness import KEY, SECRET, Place
from terminal import on_terminal

from batchrec.emulator import Emulator

BEARER = "bce-v3/ALTAK-1a2b3c4d5e6f/0123456789abcdef0123456789abcdef"

AROUND = pytest.mark.parametrize("pattern", ["{}\r", ' "{}" ', "\u3000\u201c\u200b{}\u201d\r\n"], ids=ascii)


@pytest.fixture
def strict(emulator: Emulator) -> Emulator:
    """An emulator that takes these keys, to the letter, and no others."""
    emulator.configure(api_key=KEY, secret_key=SECRET, bearer=BEARER)
    return emulator


def ready(place: Place) -> None:
    place.pictures(1)
    place.job()


def keep(place: Place, content: bytes) -> None:
    """Write credentials.toml as it is, and take the keys out of the environment."""
    path = place.credentials()
    path.write_bytes(content.replace(b"ENDPOINT", f'endpoint = "{place.endpoint}"'.encode()))


@AROUND
def test_variables(place: Place, strict: Emulator, pattern: str) -> None:
    """BAIDU_API_KEY, BAIDU_SECRET_KEY and BATCHREC_ENDPOINT."""
    ready(place)
    given = {"BAIDU_API_KEY": KEY, "BAIDU_SECRET_KEY": SECRET, "BATCHREC_ENDPOINT": place.endpoint}
    done = place.run(env={name: pattern.format(value) for name, value in given.items()})
    assert (done.code, len(place.rows())) == (0, 1)


@AROUND
@pytest.mark.parametrize("keys", [{"api_key": KEY, "secret_key": SECRET}, {"bearer": BEARER}], ids=["pair", "bearer"])
def test_file(place: Place, strict: Emulator, pattern: str, keys: dict[str, str]) -> None:
    """Every key of credentials.toml, the endpoint among them."""
    ready(place)
    values = {name: pattern.format(value) for name, value in {**keys, "endpoint": place.endpoint}.items()}
    place.credentials(default=values)
    assert place.run().code == 0


@pytest.mark.parametrize(
    "line",
    [
        f"api_key = \u201c{KEY}\u201d\nsecret_key = \u201c{SECRET}\u201d",
        f"api_key\uff1d\uff02{KEY}\uff02\nsecret_key \uff1d \uff02{SECRET}\uff02",
        f'api_key =\u3000"{KEY}"\nsecret_key\u00a0= "{SECRET}"\u200b',
        f'api_key = "{KEY}"\r\nsecret_key = "{SECRET}"\r',
    ],
    ids=["smart quotes", "full-width", "blanks", "CRLF"],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
def test_file_of_a_word_processor(place: Place, strict: Emulator, line: str, mark: bytes) -> None:
    """Notepad puts a byte order mark, Word and WeChat put quotes that are none of TOML's."""
    ready(place)
    keep(place, mark + f"[default]\n{line}\nENDPOINT\n".encode())
    assert place.run().code == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"[default]\napi_key = {SECRET}\n".encode(), "line 2, column"),
        (f'[default]\napi_key = "{SECRET}"\n'.encode("utf-16"), "save it as UTF-8"),
        (f'[default]\napi_key = "{SECRET}'.encode(), "is not TOML"),
    ],
    ids=["no quotes", "UTF-16", "no end"],
)
def test_file_that_cannot_be_read(place: Place, strict: Emulator, content: bytes, told: str) -> None:
    """The place of the mistake is told, the key is not."""
    ready(place)
    keep(place, content)
    done = place.run()
    assert (done.code, told in done.err, SECRET in done.err) == (2, True, False)


@pytest.mark.parametrize("pattern", ["{}", '"{}"\r', "Bearer {}", "Authorization: Bearer {}"])
@pytest.mark.parametrize(
    ("names", "more"),
    [
        (("BAIDU_API_KEY",), {"BAIDU_SECRET_KEY": ""}),
        (("BAIDU_API_KEY",), {"BAIDU_SECRET_KEY": "something"}),
        (("BAIDU_SECRET_KEY",), {"BAIDU_API_KEY": ""}),
        (("BAIDU_API_KEY", "BAIDU_SECRET_KEY"), {}),
    ],
)
def test_api_key_in_a_variable(
    place: Place, strict: Emulator, pattern: str, names: tuple[str, ...], more: dict[str, str]
) -> None:
    """An API Key (bce-v3) has no variable of its own: it is used wherever it stands, and no token is fetched."""
    ready(place)
    assert place.run(env={**more, **dict.fromkeys(names, pattern.format(BEARER))}).code == 0
    assert dict(strict.counters.calls) == {"advanced_general": 1}


@pytest.mark.parametrize("keys", [{"api_key": BEARER}, {"secret_key": BEARER}, {"api_key": BEARER, "secret_key": "x"}])
def test_api_key_in_the_place_of_another(place: Place, strict: Emulator, keys: dict[str, str]) -> None:
    """The same in credentials.toml."""
    ready(place)
    place.credentials(default=keys)
    assert place.run().code == 0
    assert dict(strict.counters.calls) == {"advanced_general": 1}


def login(place: Place, *typed: tuple[str, str]) -> tuple[int, str]:
    argv = (sys.executable, "-m", "batchrec", "login", "--endpoint", place.endpoint)
    return on_terminal(argv, place.root, place.env, typed)


def kept(place: Place) -> dict[str, str]:
    table: dict[str, str] = tomllib.loads((place.config / "credentials.toml").read_text())["default"]
    return table


def test_login_takes_an_api_key(place: Place, strict: Emulator) -> None:
    """It asks for no secret, calls nobody, says so, and keeps the key as `bearer`; a run uses it."""
    code, shown = login(place, ("API Key", f"\u201c{BEARER}\u201d\n"))
    assert (code, BEARER in shown, "Secret Key" in shown) == (0, False, False)
    assert kept(place) == {"bearer": BEARER, "endpoint": place.endpoint}
    assert dict(strict.counters.calls) == {}
    ready(place)
    assert place.run(env={"BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""}).code == 0


def test_login_cleans_the_pair(place: Place, strict: Emulator) -> None:
    """What is kept is what works."""
    code, _ = login(place, ("API Key", f'"{KEY}"\n'), ("Secret Key", f"\u200b\u3000{SECRET}\u2019\n"))
    assert (code, kept(place)) == (0, {"api_key": KEY, "secret_key": SECRET, "endpoint": place.endpoint})


def test_a_missing_certificate_file(place: Place, emulator: Emulator) -> None:
    """SSL_CERT_FILE that names no file: exit 2 by its name, and nothing is sent."""
    ready(place)
    done = place.run(env={"SSL_CERT_FILE": "/nowhere/ca.pem"})
    assert done.code == 2
    assert "SSL_CERT_FILE: /nowhere/ca.pem: No such file or directory" in done.err
    assert dict(emulator.counters.calls) == {}
