"""The language of messages: its choice, the catalogue, and equal data in every language."""

import ast
import gettext
import json
import os
import shutil
import string
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

from batchrec import language

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "batchrec"
CATALOGUE = language.LOCALE / "zh" / "LC_MESSAGES" / "batchrec.po"
KEYWORDS = {"_": None, "mark": None, "ngettext": (1, 2)}
SAME = {"image", "step", "kind", "code", "message", "labels", "repaired"}
"""Keys of rows and failures that two runs on the same images have in common."""

Text = str | tuple[str, ...]


def catalogue() -> Catalog:
    """The Chinese catalogue as it stands in the source tree."""
    with CATALOGUE.open("rb") as file:
        return read_po(file, locale="zh")


def messages() -> dict[Text, Message]:
    """Messages of the catalogue by their English text, without the header."""
    return {_key(message.id): message for message in catalogue() if message.id}


def _key(text: Text | list[str]) -> Text:
    return text if isinstance(text, str) else tuple(text)


def extracted() -> set[Text]:
    """Texts of the program that are meant for people."""
    found = extract_from_dir(PACKAGE, method_map=[("**.py", "python")], keywords=KEYWORDS)
    return {_key(text) for _name, _line, text, _comments, _context in found}


def placeholders(text: str) -> set[tuple[str, str | None, str | None]]:
    """Names of a format text, with conversion and format."""
    return {(name, spec, conversion) for _text, name, spec, conversion in string.Formatter().parse(text) if name}


def batchrec(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A run of the command line in a folder, with its state there."""
    own = {"BATCHREC_STATE_DIR": str(folder / "state"), "BATCHREC_CONFIG_DIR": str(folder / "config")}
    return subprocess.run(
        [sys.executable, "-m", "batchrec", *arguments],
        cwd=folder,
        env={**os.environ, **own, "COLUMNS": "100", **environ},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "zh_Hant_HK"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_MESSAGES": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LC_ALL": "C.UTF-8", "BATCHREC_LANG": "zh"}, "zh"),
        ({"LC_ALL": "zh_CN.UTF-8", "BATCHREC_LANG": "en"}, "en"),
        ({"LANGUAGE": "zh", "LANG": "en_US.UTF-8"}, "en"),
    ],
)
def test_the_locale_chooses_the_language(environ: dict[str, str], expected: str) -> None:
    """BATCHREC_LANG wins over LC_ALL, LC_MESSAGES and LANG, in this order; an empty one does not count."""
    assert language.language(environ) == expected


def test_every_text_is_translated() -> None:
    """The catalogue has the texts of the program, all of them translated, and no others."""
    known = messages()
    waiting = {_key(message.id) for path in ROOT.glob("locale-*.po") for message in _read(path) if message.string}
    assert sorted(map(str, extracted() - waiting - known.keys())) == []
    assert sorted(map(str, known.keys() - extracted())) == []
    assert [text for text, message in known.items() if not message.string or message.fuzzy] == []
    assert not catalogue().obsolete


def _read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale="zh")


def test_translations_have_the_placeholders_of_their_text() -> None:
    """Names, conversions and formats are the same, so that no translation fails or loses a value."""
    for text, message in messages().items():
        singular, plural = (text, text) if isinstance(text, str) else text
        translated = message.string if isinstance(message.string, str) else message.string[0]
        if "{" not in singular or text in map(_key, language.TYPER):
            continue
        assert placeholders(translated) == placeholders(plural) == placeholders(singular), text


def test_translations_keep_commands_and_names() -> None:
    """Commands in backquotes are typed as they are: a translation has the same."""
    for text, message in messages().items():
        plural = text if isinstance(text, str) else text[-1]
        translated = message.string if isinstance(message.string, str) else message.string[0]
        assert sorted(translated.split("`")[1::2]) == sorted(plural.split("`")[1::2]), text


def test_the_compiled_catalogue_is_current() -> None:
    """The .mo file is neither missing nor stale: an install compiles it."""
    path = CATALOGUE.with_suffix(".mo")
    assert path.is_file(), "compile it: python batchrec/locale/hatch_build.py"
    with path.open("rb") as file:
        compiled = {_key(message.id): _key(message.string) for message in read_mo(file) if message.id}
    stands = {text: _key(message.string) for text, message in messages().items()}
    assert compiled == stands, "compile it: python batchrec/locale/hatch_build.py"


def test_a_wheel_has_the_compiled_catalogue(tmp_path: Path) -> None:
    """The build hook compiles a catalogue that git does not hold, and the wheel has it."""
    source = tmp_path / "source"
    (source / "batchrec").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "batchrec/__init__.py", ".gitignore"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "jobs", source / "jobs", ignore=shutil.ignore_patterns("results"))
    shutil.copytree(language.LOCALE, source / "batchrec" / "locale", ignore=shutil.ignore_patterns("*.mo"))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "installed")
    found = gettext.translation("batchrec", tmp_path / "installed" / "batchrec" / "locale", ["zh"])
    assert found.gettext("the image has failed") == "此图片失败"


def test_reasons_of_the_system_are_in_the_user_s_language(tmp_path: Path) -> None:
    """An output folder below a file, on a machine that is set to Chinese."""
    (tmp_path / "file").touch()
    (tmp_path / "a.jpg").write_bytes(b"x")
    text = '[input]\npaths = ["a.jpg"]\n[[recognize]]\nservice = "dish"\n[output]\ndirectory = "file/out"\n'
    (tmp_path / "job.toml").write_text(text)
    env = os.environ | {"BATCHREC_LANG": "zh", "BAIDU_API_KEY": "k", "BAIDU_SECRET_KEY": "s"}
    argv = [sys.executable, "-m", "batchrec", "run", str(tmp_path / "job.toml")]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 74
    assert "不是文件夹" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the texts are those of glibc")
def test_translated_reasons_are_those_of_the_system() -> None:
    """Letter for letter, or they would not be found."""
    known = {os.strerror(number) for number in range(200)} | {"Name or service not known"}
    assert set(language.SYSTEM) - known == {"Temporary failure in name resolution"}


def lookups() -> Iterator[tuple[str, ast.Call]]:
    """Calls of `_`, `ngettext` and `mark` in the package, with file and line."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_texts_are_formatted_after_they_are_looked_up() -> None:
    """No f-string, `+` or `%` within `_()`: the catalogue would not have such a text."""
    built = (ast.JoinedStr, ast.BinOp)
    assert [place for place, call in lookups() if any(isinstance(argument, built) for argument in call.args)] == []


def hiding(path: Path) -> Iterator[str]:
    """Lines of a module that looks texts up and binds `_` to something else, comprehensions left out."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    own = {id(name) for node in nodes if isinstance(node, ast.comprehension) for name in ast.walk(node.target)}
    for node in nodes if "_" in imported else ():
        stored = (
            isinstance(node, ast.Name) and node.id == "_" and isinstance(node.ctx, ast.Store) and id(node) not in own
        )
        if stored or (isinstance(node, ast.arg) and node.arg == "_"):
            yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_the_lookup_is_not_hidden() -> None:
    """A module that looks texts up as `_` uses that name for nothing else."""
    assert [place for path in sorted(PACKAGE.rglob("*.py")) for place in hiding(path)] == []


@pytest.mark.parametrize(
    ("environ", "chinese"),
    [
        ({"BATCHREC_LANG": "zh"}, True),
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, False),
        ({"BATCHREC_LANG": "en", "LANG": "zh_CN.UTF-8"}, False),
        ({}, False),
    ],
)
def test_complaints_are_in_the_language_of_the_locale(tmp_path: Path, environ: dict[str, str], chinese: bool) -> None:
    """Our own text and Typer's, with the same exit code."""
    ours, theirs = batchrec(tmp_path, "run", "nowhere.toml", **environ), batchrec(tmp_path, "rnu", **environ)
    assert (ours.returncode, theirs.returncode) == (2, 2)
    assert ("没有这个文件" in ours.stderr) == chinese
    assert ("没有命令" in theirs.stderr) == chinese
    assert ("there is no such file" in ours.stderr) != chinese
    assert ('no command "rnu"' in theirs.stderr) != chinese


def test_several_complaints_about_a_job_file(tmp_path: Path) -> None:
    """Keys and values stay as they are written, the sentences are Chinese."""
    (tmp_path / "job.toml").write_text(
        '[input]\npaths = ["gone"]\n[[recognize]]\nservice = "animl"\n[limits]\nqps = 0\n', encoding="utf-8"
    )
    done = batchrec(tmp_path, "plan", "job.toml", BATCHREC_LANG="zh")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith('job.toml: 第 4 行: recognize[0].service: "animl" 不是接口名；是否想写 "animal"？')
    assert second == "job.toml: 第 6 行: limits.qps: 0 不是大于 0 的数；例如：10"


def test_templates_have_the_same_keys(tmp_path: Path) -> None:
    """The job file with every key differs between the languages in its comments alone."""
    texts = []
    for name in ("en", "zh"):
        assert batchrec(tmp_path, "init", "--all-keys", "--out", f"{name}.toml", BATCHREC_LANG=name).returncode == 0
        texts.append((tmp_path / f"{name}.toml").read_text(encoding="utf-8").splitlines()[2:])
    assert [_uncommented(line) for line in texts[0]] == [_uncommented(line) for line in texts[1]]
    assert "相对于本文件" in "\n".join(texts[1])


def _uncommented(line: str) -> str:
    """A line of a job file without its comment, but with a key that is commented out."""
    return line[:1] + line[1:].rpartition(" # ")[0].rstrip() if " # " in line[1:] else line


def test_data_is_the_same_in_every_language(tmp_path: Path) -> None:
    """JSON, result files, failures and exit codes of a run with failures do not depend on the language."""
    outcomes = []
    for name in ("en", "zh"):
        folder = tmp_path / name
        (folder / "photos").mkdir(parents=True)
        shutil.copy(next((ROOT / "jobs" / "photos").rglob("hammer.jpg")), folder / "photos" / "a.jpg")
        (folder / "photos" / "b.jpg").write_bytes(b"<html>")
        (folder / "job.toml").write_text(
            '[input]\npaths = ["photos"]\n[[recognize]]\nservice = "animal"\n[account]\nendpoint = "embedded"\n',
            encoding="utf-8",
        )
        run = batchrec(folder, "run", "job.toml", "--progress", "none", BATCHREC_LANG=name)
        status = batchrec(folder, "status", "results/job", "--json", BATCHREC_LANG=name)
        failures = (folder / "results" / "job" / "failures.jsonl").read_text(encoding="utf-8").splitlines()
        rows = (folder / "results" / "job" / "results.jsonl").read_text(encoding="utf-8").splitlines()
        told = [{key: value for key, value in json.loads(line).items() if key in SAME} for line in (*failures, *rows)]
        outcomes.append((run.returncode, sorted(json.loads(status.stdout)), told))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == 1
