"""Keys and addresses as people paste them."""

import pytest

from batchrec.api.pasted import pasted, pasted_key, plain


@pytest.mark.parametrize(
    "pattern",
    [
        *("{}\r", " {} ", "\t{}\n", "\u3000{}\u00a0", '"{}"', "'{}'", "`{}`", '"{}"\r\n', ' " {} " '),
        *("\u201c{}\u201d", "\u2018{}\u2019", "\uff02{}\uff02", "\uff07{}\uff07", "\u300c{}\u300d", "\u00ab{}\u00bb"),
        *("\u200b{}\u200b", "\ufeff{}", "{}\u200d", "\u2060{}\u00ad", "\u201c\u200b{}\u201d\r"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("key", ["k", "aB3x9-_/+=", "bce-v3/ALTAK-a/0", "it's \\\\ in", "https://a.example:8443"])
def test_what_is_around_is_taken_off(pattern: str, key: str) -> None:
    """Blanks, line ends, quotes and invisible characters; nothing within the key is touched."""
    assert pasted(pattern.format(key)) == pasted_key(pattern.format(key)) == key


@pytest.mark.parametrize("text", ["", " ", '""', "\u200b", "\u201c\u201d\r\n"])
def test_nothing_is_no_key(text: str) -> None:
    """A variable that holds empty quotes is not set."""
    assert pasted_key(text) == ""


@pytest.mark.parametrize("before", ["Bearer ", "bearer\t", "Authorization: Bearer ", '"Authorization:Bearer '])
def test_the_scheme_of_a_header_is_taken_off(before: str) -> None:
    """Of an API Key alone: a key may begin with any word."""
    assert pasted_key(f"{before}bce-v3/a/b") == "bce-v3/a/b"
    assert pasted_key("Bearer-key") == "Bearer-key"


def test_the_signs_of_a_word_processor_become_plain() -> None:
    """Quotes, equals signs and blanks; Chinese names of profiles stay."""
    assert plain("[\u5e97]\napi_key\uff1d\u201cx\u201d\u3000\u200b") == '[\u5e97]\napi_key="x" '
