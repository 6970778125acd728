"""README and docs in two languages: complete, with real output, in agreement with the program."""

import ast
import json
import os
import posixpath
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

import batchrec
from batchrec import errors
from batchrec.api.codes import CODES, WORDS
from batchrec.api.credentials import WAYS
from batchrec.api.services import SERVICES
from batchrec.cli import app
from batchrec.emulator.faults import KEYS, Fault, FaultPlan
from batchrec.emulator.settings import Settings
from batchrec.job.loading import build_job
from batchrec.job.spec import job_schema
from batchrec.outputs.csv import COLUMNS
from batchrec.values import Kind

ROOT = Path(__file__).parent.parent
REFERENCE = sorted(path.name for path in (ROOT / "docs" / "en").glob("*.md"))
TWINS = {"README.md": "README.zh-CN.md"} | {f"docs/en/{name}": f"docs/zh/{name}" for name in REFERENCE}
"""Each English page of the reader with its Chinese twin."""

ENGLISH = {chinese: english for english, chinese in TWINS.items()} | {english: english for english in TWINS}
LANGUAGES = (tuple(TWINS), tuple(TWINS.values()))
READER = (*TWINS, *TWINS.values())
PAGES = (
    *READER,
    "CHANGELOG.md",
    "benchmarks/README.md",
    *sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md") if path.parent.name not in ("en", "zh")
    ),
)

in_both_languages = pytest.mark.parametrize("pages", LANGUAGES, ids=("en", "zh"))
every_pair = pytest.mark.parametrize(("english", "chinese"), TWINS.items(), ids=TWINS)


def in_both(english):
    """Run a test on an English page and on its twin."""
    return pytest.mark.parametrize("page", [english, TWINS[english]])


FACTORIES = {"account.prices": {}, "account.free": {}}
"""Defaults of job-file keys that the schema cannot show."""


# -- reading a page


@cache
def lines_of(page):
    """The page's lines with whether each is inside a code block."""
    inside, seen = False, []
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        fence = line.startswith("```")
        seen.append((line, inside or fence))
        inside ^= fence
    assert not inside, f"{page}: a code block is not closed"
    return seen


@cache
def headings(page):
    return [
        (len(match[1]), match[2])
        for line, code in lines_of(page)
        if not code and (match := re.match(r"(#+) (.*)", line))
    ]


@cache
def blocks(page):
    """Language, text and mark (of the comment above) of each code block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    pattern = r"(?:<!-- (\w+: \w+) -->\n)?^```(\w*)\n(.*?)^```$"
    return [(found[2], found[3], found[1]) for found in re.finditer(pattern, text, re.MULTILINE | re.DOTALL)]


def marked(mark, pages=tuple(TWINS)):
    (text,) = [text for page in pages for _, text, found in blocks(page) if found == mark]
    return text


def section(page, number):
    """The text without code under the heading of that number, down to the next one of its level or above."""
    level, taken, seen = headings(page)[number][0], [], -1
    for line, code in lines_of(page):
        if not code and re.match(r"#+ ", line):
            seen += 1
            if seen > number and headings(page)[seen][0] <= level:
                break
        if seen >= number and not code:
            taken.append(line)
    return "\n".join(taken)


def chapter(page, english):
    """The chapter that has this heading in the English page, and stands at the same place in its twin."""
    return section(page, [heading for _, heading in headings(ENGLISH[page])].index(english))


@cache
def prose(page):
    return "\n".join(line for line, code in lines_of(page) if not code)


@cache
def links(page):
    """Links to pages or headings of the repository: the English page, and the heading's number or None."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        file = resolve(page, path) if path else page
        if "://" in target or file == other(page):
            continue
        slugs = [slug(heading) for _, heading in headings(file)] if anchor else []
        found.append((ENGLISH.get(file, file.replace(".zh.", ".en.")), slugs.index(anchor) if anchor else None))
    return found


def resolve(page, path):
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path))


def other(page):
    """The page's twin."""
    return TWINS.get(page) or ENGLISH[page]


def rows(text):
    """The cells of every table row in a text, without the heads."""
    table = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in row] for row in table]
    rules = [index for index, row in enumerate(table) if set(row[0]) == {"-"}]
    return [row for index, row in enumerate(table) if index not in rules and index + 1 not in rules]


def quoted(text):
    return set(re.findall(r"`([^`]+)`", text))


def uncommented(text):
    kept = (re.sub(r"(^|\s+)#.*$", "", line) for line in text.splitlines())
    return [line for line in kept if line]


# -- the code's side


def commands():
    """Every command by what is typed after `batchrec`, with its long options."""

    def walk(command, path):
        if path:
            yield " ".join(path), {word for option in command.params for word in option.opts if word.startswith("--")}
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, (*path, name))

    return dict(walk(typer.main.get_command(app), ()))


def job_keys():
    """Every key path of a job file with its schema; `[[recognize]]` counts as a table."""
    schema = job_schema()

    def walk(node, path):
        for name, value in node.get("properties", {}).items():
            here = (*path, name)
            inner = value.get("items", value)
            table = schema["$defs"].get(inner.get("$ref", "").rpartition("/")[2], {})
            if "properties" not in table or name == "when":
                yield ".".join(here), value
            yield from walk(table, here)

    return dict(walk(schema, ()))


def classes_below(cls):
    return {cls}.union(*(classes_below(sub) for sub in cls.__subclasses__()))


def environment():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "batchrec").rglob("*.py"))
    ours = set(re.findall(r'"((?:BATCHREC|BAIDU|BCE)_[A-Z_]+)"', source))
    return ours | {"HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "NO_COLOR"}


# -- the pages agree


def test_both_languages_have_the_same_pages():
    """docs/en and docs/zh hold the same file names, and nothing else."""
    listed = [sorted(path.name for path in (ROOT / "docs" / language).iterdir()) for language in ("en", "zh")]
    assert listed == [REFERENCE, REFERENCE]


@in_both_languages
def test_readme_links_every_page(pages):
    """README has at most 250 lines and leads to every page of its language; each page leads to its twin."""
    readme, *reference = pages
    assert len(lines_of(readme)) <= 250
    assert set(reference) <= {resolve(readme, target) for target in re.findall(r"\]\(([^)\s#]+)", prose(readme))}
    for page in pages:
        assert other(page) in {resolve(page, target) for target in re.findall(r"\]\(([^)\s#]+)", prose(page))}


@every_pair
def test_twins_have_same_headings(english, chinese):
    """The Chinese page has every heading of the English one, in place; those in code are the same words."""
    ours, theirs = headings(english), headings(chinese)
    assert [level for level, _ in ours] == [level for level, _ in theirs]
    assert [quoted(text) for _, text in ours] == [quoted(text) for _, text in theirs]


@every_pair
def test_twins_have_same_code_blocks(english, chinese):
    """Code blocks differ in nothing but comments."""
    for (language, ours, mark), (other_language, theirs, other_mark) in zip(
        blocks(english), blocks(chinese), strict=True
    ):
        assert (language, mark) == (other_language, other_mark)
        assert uncommented(ours) == uncommented(theirs)


@every_pair
def test_twins_have_same_tables(english, chinese):
    """Tables have as many rows, and the rows have the same figures and begin with the same words in code."""
    for ours, theirs in zip(rows(prose(english)), rows(prose(chinese)), strict=True):
        assert len(ours) == len(theirs)
        assert quoted(ours[0]) == quoted(theirs[0])
        assert figures(ours) == figures(theirs)


def figures(row):
    return [cell for cell in row if re.fullmatch(r"[\d.,]+", cell)]


@every_pair
def test_twins_have_same_lists(english, chinese):
    """Lists have as many items."""
    ours, theirs = (sum(line.startswith("- ") for line in prose(page).splitlines()) for page in (english, chinese))
    assert ours == theirs


@every_pair
def test_twins_have_same_words_in_code(english, chinese):
    """Keys, options, commands and files that one page names, the other names too."""
    assert quoted(prose(english)) == quoted(prose(chinese))


@every_pair
def test_twins_have_same_links(english, chinese):
    """Links lead to the same headings, each page staying in its language."""
    assert sorted(map(str, links(english))) == sorted(map(str, links(chinese)))
    strays = [target for target in re.findall(r"\]\(([^)\s#]+)", prose(chinese)) if resolve(chinese, target) in TWINS]
    assert [resolve(chinese, target) for target in strays] == [english]


WORDING = {
    "en": r"\bpictures?\b|\bphotographs?\b|\banswers?\b|\banswered\b|\bask(s|ed)?\b|stand-in|made up|in the first place"
    r"|package index|dotfile|bare machine|\bhow fast\b|\bhurr(y|ied)\b|nobody could confirm|to be asked",
    "zh": r"答案|(?<!访)问(?!题)|分数|第一名|替身|附加组件|包索引|多快|点文件|空机器|没人能|没有人能",
}
"""Replaced by one term each, outside of code: names of files, keys, options and commands keep theirs."""


@pytest.mark.parametrize("page", READER)
def test_one_term_for_one_thing(page):
    """One term stands for one concept, and an exit code is called so."""
    text = re.sub(r"`[^`]*`|<a id=.*?>|(?<=\])\(.*?\)", "", prose(page))
    language = "en" if page in TWINS else "zh"
    assert [found[0] for found in re.finditer(WORDING[language], text, re.IGNORECASE)] == []
    sentences = "\n".join(re.sub(r"^\| \d+ \|", "|", line) for line in text.splitlines())
    bare = r"(?<![Ee]xit code )(?<!退出码 )(?<![\d.,])(69|73|74|75|77)(?![\d.,]|/| results| 条)"
    assert [found[0] for found in re.finditer(bare, sentences)] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page):
    """The targets of a page's links are there, headings included."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            slugs = {slug(heading) for _, heading in headings(str(file.resolve().relative_to(ROOT)))}
            assert anchor in slugs, f"{page}: {target}"


def test_external_links_are_listed():
    """Every address that a page leads to stands in the list for checking by hand, with its pages."""
    page = "docs/dev/external-links.md"
    leading = {}
    for each in PAGES:
        for address in re.findall(r"\]\((https?://[^)\s]+)\)", prose(each)):
            leading.setdefault(address, set()).add(each)
    assert {row[0]: quoted(row[1]) for row in rows(prose(page))} == leading


def slug(heading):
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_pictures_are_small_and_shown():
    """Each is shown in its language, at most 150 KB, and there in both."""
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    for language, pages in zip(("en", "zh"), LANGUAGES, strict=True):
        here = [picture.name for picture in pictures if f".{language}." in picture.name]
        text = "".join(prose(page) for page in pages)
        assert here == sorted(set(re.findall(r"!\[[^\]]+\]\(\.\./pictures/([^)]+)\)", text)))
        assert len(here) * 2 == len(pictures)
    assert [picture.name for picture in pictures if picture.stat().st_size > 150_000] == []


# -- all that there is, and nothing else


@in_both_languages
def test_every_command_has_its_section(pages):
    """Each command has a heading, and the reverse."""
    (page,) = [page for page in pages if page.endswith("/commands.md")]
    wanted = {f"batchrec {name}" for name in commands()}
    assert {text.strip("`") for _, text in headings(page) if text.startswith("`batchrec ")} == wanted


@in_both("docs/en/commands.md")
@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_is_in_its_section(page, name):
    """A command's table has its options, and no others."""
    first = [row[0] for row in rows(chapter(page, f"`batchrec {name}`"))]
    assert set(re.findall(r"--[a-z0-9-]+", " ".join(first))) == commands()[name] - {"--help"}


@in_both("docs/en/commands.md")
def test_options_of_all_commands(page):
    """--help and --version are explained where the commands begin."""
    assert {"--help", "batchrec --version"} <= quoted(chapter(page, "Commands"))


@in_both_languages
def test_commands_shown_exist(pages):
    """Anything typed, in a code block or in a sentence, is a command with such options."""
    known = commands()
    code = [text for page in pages for language, text, _ in blocks(page) if language in ("sh", "text")]
    shown = [line for text in code for line in text.splitlines()] + [
        text for page in pages for text in quoted(prose(page))
    ]
    calls = [call for text in shown for call in re.findall(r"(?:^|(?<=[/\s]))batchrec ((?!--version)[^&>]+)", text)]
    assert len(calls) > 30
    for call in calls:
        name = next((name for name in sorted(known, reverse=True) if re.match(rf"{name}\b", call)), None)
        assert name, f"batchrec {call}"
        assert set(re.findall(r"(?<=\s)--[a-z-]+", call)) <= known[name], f"batchrec {call}"


@in_both("docs/en/job-file.md")
def test_every_key_is_in_the_table(page):
    """The table of job-file keys has every key, no other, and the defaults that hold."""
    table = {row[0].strip("`"): row[1] for row in rows(chapter(page, "All keys"))}
    keys = job_keys()
    assert table.keys() == keys.keys()
    del keys["name"], keys["input.paths"]  # the one comes from the file's name, the other must be given
    for key, schema in keys.items():
        told = re.fullmatch(r"`([^<`]+)`", table[key])
        assert (tomllib.loads(f"v = {told[1]}")["v"] if told else None) == schema.get("default", FACTORIES.get(key)), (
            key
        )


@in_both("docs/en/commands.md")
def test_every_service_is_listed(page):
    """The services are those of the catalogue."""
    assert set(SERVICES) <= quoted(chapter(page, "`batchrec services`"))
    assert re.search(rf"(?<!\d){len(SERVICES)}(?!\d)", chapter(page, "`batchrec services`"))


@in_both("docs/en/errors.md")
def test_every_exit_code_is_listed(page):
    """The exit codes are those that batchrec ends with, in the order in which they win."""
    assert [int(row[0]) for row in rows(chapter(page, "Exit codes"))] == list(errors.EXIT_ORDER)
    assert {cls.exit_code for cls in classes_below(errors.BatchrecError)} <= set(errors.EXIT_ORDER)


@in_both_languages
def test_generated_pages_are_those_of_the_program(pages):
    """`python docs/reference.py` would write these pages as they stand."""
    language = "en" if pages[0] in TWINS else "zh"
    for name, text in runpy.run_path(str(ROOT / "docs" / "reference.py"))["Pages"](language).all().items():
        page = (ROOT / "docs" / language / name).read_text(encoding="utf-8")
        assert page == text, f"{name} is not up to date: run python docs/reference.py"


def test_messages_name_the_heading_of_a_code(place):
    """The anchor that `batchrec errors CODE` names is in the page of both languages."""
    for code in ("18", "75", "torn", "http_5xx"):
        output = ran("", place, sys.executable, "-m", "batchrec", "errors", code)[1]
        (anchor,) = re.findall(r"^documentation: error-codes\.md#(\S+)$", output, re.MULTILINE)
        for page in ("docs/en/error-codes.md", "docs/zh/error-codes.md"):
            assert f'<a id="{anchor}"></a>' in (ROOT / page).read_text(encoding="utf-8")


@in_both("docs/en/credentials.md")
def test_every_variable_is_listed(page):
    """The environment variables are those that the code asks for."""
    first = [row[0] for row in rows(chapter(page, "Environment variables"))]
    assert quoted(" ".join(first)) == environment()


@in_both("docs/en/errors.md")
def test_every_kind_and_code_is_listed(page):
    """Each kind of failure has its row, with the codes and words that are of that kind."""
    table = {row[0].strip("`"): row[1] for row in rows(chapter(page, "Error treatment"))}
    assert table.keys() == set(Kind)
    for kind, cell in table.items():
        numbers = {number for number, code in CODES.items() if code.kind == kind}
        assert {int(number) for number in re.findall(r"(?<![\w_])\d+\b", cell)} == numbers, kind
        words = {word for word, known in WORDS.items() if known.kind == kind}
        assert quoted(cell) == words, kind


@in_both("docs/en/emulator.md")
def test_emulator_is_told(page):
    """Every kind and key of a fault, and every switch, is in its table."""
    first = [row[0] for row in rows(chapter(page, "Fault plans"))]
    own = quoted(" ".join(row[2] for row in rows(chapter(page, "Fault plans")) if len(row) == 3))
    keys = {field.alias or name for name, field in Fault.model_fields.items()}
    assert quoted(" ".join(first)) | own == keys | set(KEYS)
    assert quoted(" ".join(row[0] for row in rows(chapter(page, "Switches")))) == {
        field.name for field in fields(Settings)
    }


@in_both("docs/en/assumptions.md")
def test_assumptions_name_switches_of_the_emulator(page):
    """Each switch in the table of assumptions is one of the emulator."""
    assert quoted(" ".join(row[2] for row in rows(prose(page)))) <= {field.name for field in fields(Settings)}


# -- what is shown is what comes out


@in_both_languages
def test_job_files_load(pages):
    """Every job file shown is right; one with the name of a file in jobs/ says what that file says."""
    jobs = [text for page in pages for language, text, _ in blocks(page) if language == "toml" and "[input]" in text]
    assert len(jobs) >= 4
    for text in jobs:
        raw = tomllib.loads(text)
        job = build_job(raw, ROOT / "jobs" / f"{raw['name']}.toml")
        assert raw == tomllib.loads(job.path.read_text(encoding="utf-8"))


@in_both_languages
def test_other_blocks_are_sound(pages):
    """The fault plan is one, the credentials are TOML with known keys, the Python compiles, names known."""
    named = set()
    for language, text, _ in (block for page in pages for block in blocks(page)):
        if language == "json":
            FaultPlan.parse(text.encode())
        elif language == "toml" and "[input]" not in text:
            keys = {key for table in tomllib.loads(text).values() for key in table}
            assert keys <= {*(name for names in WAYS for name in names), "account", "endpoint"} | {
                "use",
                "on",
                "url",
                "command",
            }
        elif language == "python":
            named.update(
                node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute) and ours(node.value)
            )
    assert named == set(batchrec.__all__)


def ours(node):
    return isinstance(node, ast.Name) and node.id == "batchrec"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a copy of jobs/, as a clone has it."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "jobs", folder / "jobs", ignore=shutil.ignore_patterns("results"))
    return folder


def environ(place, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHREC_", "BAIDU_"))}
    kept["BATCHREC_STATE_DIR"] = str(place / "state")
    kept["BATCHREC_CONFIG_DIR"] = str(place / "config")
    kept["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), kept["PATH"]))
    return kept | more


def ran(command, place, *words, **more):
    """Exit code and output of a shell command (or of `words`), standard error included."""
    done = subprocess.run(
        words or ["/bin/sh", "-c", command],
        cwd=place,
        env=environ(place, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def typed(command, place):
    """Output of a shell command, with the folder's own name as `…`."""
    return ran(command, place)[1].replace(str(place.resolve()), "…").splitlines()


def lasting(line):
    """The line without what differs between two runs: seconds, rates, times and log ids."""
    if line.startswith("{"):
        return {key: value for key, value in json.loads(line).items() if key != "failed_at"}
    line = re.sub(STAMP, "", line)  # a terminal has none
    line = re.sub(r"\d+\.\d+ (s\b|calls/s)", "~", line.rstrip())
    line = re.sub(r"(?<=,)(0\.\d{3})\d+(?=,)", r"\1", line)  # another processor computes another sixth digit
    return re.sub(r"\d{19},\d{4}-\d\d-\d\dT[\d:.+]+", "~", line)


@pytest.mark.skipif(os.name == "nt", reason="for a POSIX shell")
@pytest.mark.skipif(not find_spec("onnxruntime"), reason="the extra 'local' is not installed")
def test_outputs_shown_are_real(place):
    """The commands of README and reference print the output shown, and leave the files listed."""
    demo = marked("command: demo").rpartition("&& ")[2].replace(".venv/bin/", "")
    assert shlex.split(demo)[:2] == ["batchrec", "run"]
    assert shown(demo, place) == expected("demo")
    for name in ("csv", "verify", "compare", "export", "crawl"):
        assert shown(marked(f"command: {name}"), place) == expected(name)
    pages = ("docs/en/commands.md", "docs/en/report.md")
    for text in (text for page in pages for language, text, mark in blocks(page) if language == "sh" and not mark):
        code, output = ran(f"set -e\n{text}", place)
        assert code == 0, output
    ((_, program, _),) = blocks("docs/en/python.md")
    code, output = ran("", place, sys.executable, "-c", program)
    assert code == 0, output
    assert "upload.jpg ['考拉'" in output
    for page in ("docs/en/output.md", "docs/zh/output.md"):
        check_files(page, place / "results" / "trial")


STAMP = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d "
ASIDE = STAMP + r"(batchrec \d|\S+: exit code )"
"""Lines for a log, which a terminal does not show."""


def shown(command, place):
    return [lasting(line) for line in typed(command, place) if not re.match(ASIDE, line)]


def expected(name):
    return [lasting(line) for line in marked(f"output: {name}").splitlines()]


def check_files(page, directory):
    """The tables of files and keys against a real output directory."""
    assert {row[0].strip("`") for row in rows(chapter(page, "Files"))} == {path.name for path in directory.iterdir()}
    row = json.loads((directory / "results.jsonl").read_text(encoding="utf-8").splitlines()[0])
    keys = chapter(page, "Keys of `results.jsonl`")
    assert first_cells(keys) == row.keys()
    labels = {field for service in SERVICES.values() for field in service.reading.fields}
    assert labels | {"left", "top", "width", "height"} <= quoted(keys)
    assert quoted(chapter(page, "Columns of `results.csv`")) - {"results.csv", "results.jsonl", "'"} == set(COLUMNS)
    failure = json.loads((directory / "failures.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert quoted(chapter(page, "Keys of `failures.jsonl`")) - {"failures.jsonl"} == failure.keys()
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    assert first_cells(chapter(page, "Keys of `summary.json`")) == summary.keys()


def first_cells(text):
    return quoted(" ".join(row[0] for row in rows(text)))


@contextmanager
def emulator(place, command="batchrec emulator --port 0"):
    """The emulator as a process of its own; gives its URL, the first line of its output."""
    process = subprocess.Popen(
        shlex.split(command),
        cwd=place,
        env=environ(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.skipif(os.name == "nt", reason="for a POSIX shell")
def test_commands_of_emulator_run(place):
    """The emulator starts with the fault plan shown, and the run beside it meets faults and limits."""
    page = "docs/en/emulator.md"
    (plan,) = [text for language, text, _ in blocks(page) if language == "json"]
    start, use = [text for language, text, _ in blocks(page) if language == "sh"]
    (place / "faults.json").write_text(plan, encoding="utf-8")
    with emulator(place, start.replace("8087", "0")) as url:
        code, output = ran("set -e\n" + use.replace("http://127.0.0.1:8087", url), place)
    assert code == 0, output
    counters = json.loads(output.splitlines()[-1])
    assert "advanced_general" in str(counters)
    summary = json.loads((place / "jobs/results/faults/summary.json").read_text(encoding="utf-8"))
    assert summary["answered"] >= 27
    assert summary["retries"] > 0


@pytest.mark.skipif(os.name == "nt", reason="for a POSIX shell")
def test_commands_with_an_account_run(place):
    """The commands after a `batchrec login` at a terminal, and the crontab line, against the emulator."""
    crawl = marked("command: crawl").split("batchrec run")[0]
    (block,) = [text for language, text, _ in blocks("README.md") if text.startswith("batchrec login\n")]
    (cron,) = [text for language, text, _ in blocks("docs/en/nightly.md") if language == "text"]
    shop = place / "shop"
    shop.mkdir()
    shutil.copy(place / "jobs" / "nightly.toml", shop)
    shutil.copy(place / "jobs" / "photos" / "动物" / "cat.jpg", shop)
    (shop / "uploads.csv").write_text("file\ncat.jpg\n", encoding="utf-8")
    assert ran(crawl, place)[0] == 0
    with emulator(place) as url:
        keys = {"BAIDU_API_KEY": "key", "BAIDU_SECRET_KEY": "secret", "BATCHREC_ENDPOINT": url}
        codes = [ran(line, place, **keys)[0] for line in block.splitlines()[1:]]
        night = re.sub(r"^[\d* ]+", "", cron).replace("/srv/shop", shlex.quote(str(shop))).replace(".venv/bin/", "")
        assert ran(night, place, **keys)[0] == 0
    assert set(codes) <= {0, 1}  # three images of the crawl fail locally
    summary = json.loads((place / "results/crawled/summary.json").read_text(encoding="utf-8"))
    assert summary["answered"] >= 2
    assert summary["failed"] == 3
    assert json.loads((shop / "results/nightly/summary.json").read_text(encoding="utf-8"))["answered"] == 1


@in_both("README.md")
def test_tests_named_are_there(page):
    """A test file or benchmark that stands beside a promise exists."""
    text = chapter(page, "What it promises")
    files = re.findall(r"tests/\S+?\.py", text)
    files += [f"{package}/{name}.py" for package, name in re.findall(r"-m (benchmarks)[ .](\w+)", text)]
    assert len(files) > 5
    assert [file for file in files if not (ROOT / file).is_file()] == []


# -- the check of everything


def test_ci_runs_the_readme():
    """.ci/run can be started, and finds the commands that it takes from the README."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    wanted = re.findall(r"\$\(readme_command (\w+)\)", script.read_text(encoding="utf-8"))
    assert sorted(wanted) == ["demo", "tests"]
    for name in wanted:
        assert len(marked(f"command: {name}", ["README.md"]).splitlines()) == 1


def test_design_has_every_room():
    """The design's table has every module, and the folders."""
    rooms = {path.stem if path.is_file() else f"{path.name}/" for path in (ROOT / "batchrec").iterdir()}
    rooms -= {"__pycache__/", "emulator/", "job.schema", "template", "py"}
    page = "docs/dev/design.md"
    floors = rows(section(page, [text for _, text in headings(page)].index("The layers")))
    assert quoted(" ".join(row[0] for row in floors)) == {room for room in rooms if not room.startswith(".")}


def test_contributing_names_what_is_there():
    """Every file and folder that it names exists, but for those that somebody will add."""
    named = [
        path for path in quoted(prose("docs/CONTRIBUTING.md")) if re.match(r"[\w.-]+/", path) and "NAME" not in path
    ]
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_changelog_has_this_version():
    """The changelog speaks of the version that this is."""
    assert f"[{batchrec.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_changelog_says_nothing_twice():
    """A merge that keeps the lines of both sides can leave an older list behind the new one."""
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    starts = [line.strip()[:40] for line in lines if len(line) >= 40]
    assert sorted({start for start in starts if starts.count(start) > 1}) == []
