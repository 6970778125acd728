"""The tables on standard output: whole, unfolded, and with the words of the contract."""

import pytest

from batchrec.api.codes import CODES, WORDS
from batchrec.api.services import SERVICES
from batchrec.commands.tables import show_error, show_errors, show_service, show_services
from batchrec.errors import JobError


def test_every_service_has_its_line(capsys):
    """Name, title and options of each, unfolded."""
    show_services()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(SERVICES) + 1
    for service, text in zip(SERVICES.values(), lines[1:], strict=True):
        assert text.startswith(service.name)
        assert all(option.name in text for option in service.options)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_shows_what_may_be_asked(capsys, name):
    """Its options with types, its path, its limits; EasyDL says that it needs a model."""
    service = SERVICES[name]
    show_service(service)
    shown = capsys.readouterr().out
    assert service.path in shown
    assert f"{service.limits.max_side:,} px" in shown
    assert all(f"{option.name}" in shown and option.type.__name__ in shown for option in service.options)
    assert ("name of your published model" in shown) == service.custom


def test_every_code_and_word_has_its_line(capsys):
    """The whole table of errors."""
    show_errors()
    first = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert first >= {str(number) for number in CODES} | set(WORDS)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("18", "kind: throttled"),
        ("6", "no further call for this service"),
        ("19", "quota open"),
        ("216199", "kind: request"),
        ("424242", "kind: unknown"),
        ("too_small", "kind: image"),
        ("daily_limit", "quota exhausted for today"),
    ],
)
def test_one_code(capsys, code, says):
    """What it is, how it is treated, and what helps."""
    show_error(code)
    assert says in capsys.readouterr().out


def test_no_code():
    """Neither number nor word: the words there are."""
    with pytest.raises(JobError, match="unreadable"):
        show_error("eighteen")
