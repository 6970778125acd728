"""The tables on standard output: whole, unfolded, and with the words of the contract."""

import json

import pytest

from batchrec.api.codes import CODES, WORDS
from batchrec.api.services import SERVICES
from batchrec.commands.tables import show_answers, show_error, show_errors, show_quota, show_service, show_services
from batchrec.errors import JobError
from batchrec.limits.quota import Usage
from batchrec.values import Closure


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


def test_quota_shows_counts_and_closures(capsys):
    """Today, in all, and what is closed until when or by whom it may be opened."""
    show_quota(
        [
            Usage("shop", "dish", 500, 12345, 0, 7655, Closure(17, 1795449600.0)),
            Usage("shop", "animal", 0, 7, None, None, Closure(19, None)),
            Usage("shop", "logo", 1, 1, None, None, None),
        ]
    )
    header, dish, animal, logo = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "account",
        "service",
        "today",
        "left",
        "today",
        "in",
        "all",
        "left",
        "in",
        "all",
        "closed",
    ]
    assert dish.split()[:6] == ["shop", "dish", "500", "0", "12,345", "7,655"]
    assert "+08:00" in dish
    assert "batchrec quota open" in animal
    assert logo.split() == ["shop", "logo", "1", "1"]


def answer(image, labels, step="animal", **response):
    return {"image": image, "step": step, "labels": labels, "response": response}


def label(name, score, **more):
    return {"name": name, "score": score, **more}


def shown_answers(capsys, tmp_path, *rows):
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    show_answers(tmp_path, ["general", "animal"])
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_answers_stand_in_the_order_of_images_and_steps(capsys, tmp_path):
    """Whatever the order in which they came; each with its three best labels that are worth a word."""
    labels = [label("金鱼", 0.816), label("鲤鱼", 0.05), label("鳗鱼", 0.001), label("鲨鱼", 0.0)]
    rows = [answer("b.jpg", [label("猫", 1.0)]), answer("a.jpg", labels), answer("a.jpg", labels[3:], "general")]
    assert shown_answers(capsys, tmp_path, *rows) == [
        "photograph  step     labels",
        "a.jpg       general  鲨鱼 0.00",
        "a.jpg       animal   金鱼 0.82, 鲤鱼 0.05",
        "b.jpg       animal   猫 1.00",
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (answer("a", [], result=[{"name": "非动物", "score": "1"}]), "非动物"),
        (answer("a", [], result=[]), "nothing found"),
        (answer("a", [], result={"landmark": ""}), "nothing found"),
        (answer("a", [label("玫瑰", None)]), "玫瑰"),
        (
            answer("a", [label(None, None, box={"left": 1, "top": 2, "width": 30.0, "height": 40})]),
            "box 1,2 30x40",
        ),
    ],
    ids=str,
)
def test_answers_of_every_kind_have_words(capsys, tmp_path, row, expected):
    """The service's own word for nothing, a name without a score, a box without a name."""
    assert shown_answers(capsys, tmp_path, row)[1].split(maxsplit=2)[2] == expected


def test_cells_show_what_is_there_and_steer_nothing(capsys, tmp_path):
    """Names from outside are text: no control sequence, no markup, no emoji code is obeyed."""
    (shown,) = shown_answers(capsys, tmp_path, answer("a\x1b[2J:cat:.jpg", [label("[red]猫\x9b31m\u202e", 0.5)]))[1:]
    assert shown.split() == [r"a\x1b[2J:cat:.jpg", "animal", r"[red]猫\x9b31m\u202e", "0.50"]


def test_many_answers_are_cut_short(capsys, tmp_path):
    """40 rows, and where the rest is; of no answers there is nothing to show."""
    rows = [answer(f"{number:04}.jpg", [label("猫", 0.5)]) for number in range(1041)]
    shown = shown_answers(capsys, tmp_path, *reversed(rows))
    assert len(shown) == 42
    assert shown[40].startswith("0039.jpg")
    assert shown[41] == "... and 1,001 more in results.jsonl"
    (tmp_path / "results.csv").touch()
    assert shown_answers(capsys, tmp_path, *rows)[-1] == "... and 1,001 more in results.csv"
    assert shown_answers(capsys, tmp_path) == []
