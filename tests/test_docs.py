"""The two READMEs say all that there is, nothing that there is not, and the same; what they show is what comes out."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

import batchrec
from batchrec import errors
from batchrec.api.codes import CODES, WORDS
from batchrec.api.services import SERVICES
from batchrec.cli import LATER, app
from batchrec.emulator.faults import KEYS, Fault, FaultPlan
from batchrec.emulator.settings import Settings
from batchrec.job.loading import build_job
from batchrec.job.spec import job_schema
from batchrec.outputs.csv import COLUMNS
from batchrec.values import Kind

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
DEV = ("docs/dev/design.md", "docs/dev/pacing.md", "docs/dev/performance.md")
PAGES = (*READMES, "CHANGELOG.md", *DEV, "docs/embedded-model.md", "benchmarks/README.md")

in_both = pytest.mark.parametrize("page", READMES)


FACTORIES = {"account.prices": {}}
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


def marked(page, mark):
    (text,) = [text for _, text, found in blocks(page) if found == mark]
    return text


def section(page, number):
    """The text under the heading of that number, down to the next one of its level or above."""
    level, taken, seen = headings(page)[number][0], [], -1
    for line, code in lines_of(page):
        if not code and re.match(r"#+ ", line):
            seen += 1
            if seen > number and headings(page)[seen][0] <= level:
                break
        if seen >= number:
            taken.append(line)
    return "\n".join(taken)


def chapter(page, english):
    """The chapter that has this heading in README.md, and stands at the same place in its twin."""
    return section(page, [heading for _, heading in headings("README.md")].index(english))


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
    ours = set(re.findall(r'"((?:BATCHREC|BAIDU)_[A-Z_]+)"', source))
    return ours | {"HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "NO_COLOR"}


# -- the pages agree


def test_twins_have_same_headings():
    """The Chinese page has every heading of the English one, at its place; those in code are the same words."""
    english, chinese = map(headings, READMES)
    assert [level for level, _ in english] == [level for level, _ in chinese]
    assert [quoted(text) for _, text in english] == [quoted(text) for _, text in chinese]


def test_twins_have_same_code_blocks():
    """Code blocks differ in nothing but comments."""
    english, chinese = map(blocks, READMES)
    assert len(english) == len(chinese)
    for (language, ours, mark), (other_language, theirs, other_mark) in zip(english, chinese, strict=True):
        assert (language, mark) == (other_language, other_mark)
        assert uncommented(ours) == uncommented(theirs)


def test_twins_have_same_tables():
    """Tables have as many rows, and the rows begin with the same words in code."""
    english, chinese = (rows((ROOT / page).read_text(encoding="utf-8")) for page in READMES)
    assert len(english) == len(chinese)
    for ours, theirs in zip(english, chinese, strict=True):
        assert len(ours) == len(theirs)
        assert quoted(ours[0]) == quoted(theirs[0])


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page):
    """What a page links to is there, headings included."""
    text = "\n".join(line for line, code in lines_of(page) if not code)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    for target in targets:
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            slugs = {slug(heading) for _, heading in headings(str(file.resolve().relative_to(ROOT)))}
            assert anchor in slugs, f"{page}: {target}"


def slug(heading):
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# -- all that there is, and nothing else


@in_both
def test_every_command_has_its_section(page):
    """Each command has a heading, and each heading of a command is one; those to come are named with the limits."""
    wanted = {f"batchrec {name}" for name in commands() if name not in LATER}
    assert {text.strip("`") for _, text in headings(page) if text.startswith("`batchrec ")} == wanted
    assert {f"batchrec {name}" for name in LATER} <= quoted(chapter(page, "Limits of this version"))


@in_both
@pytest.mark.parametrize("name", sorted(commands().keys() - LATER))
def test_every_option_is_in_its_section(page, name):
    """A command's table has its options, and no others."""
    first = [row[0] for row in rows(chapter(page, f"`batchrec {name}`"))]
    assert set(re.findall(r"--[a-z-]+", " ".join(first))) == commands()[name] - {"--help"}


@in_both
def test_options_of_all_commands(page):
    """--help and --version are explained where the commands begin."""
    assert {"--help", "batchrec --version"} <= quoted(chapter(page, "Commands"))


@in_both
def test_commands_shown_exist(page):
    """Whatever is typed, in a code block or in a sentence, is a command with such options."""
    known = commands()
    shown = [line for language, text, _ in blocks(page) if language in ("sh", "text") for line in text.splitlines()]
    shown += quoted("\n".join(line for line, code in lines_of(page) if not code))
    calls = [call for text in shown for call in re.findall(r"(?:^|(?<=[/\s]))batchrec ((?!--version)[^&>]+)", text)]
    assert len(calls) > 30
    for call in calls:
        name = next((name for name in sorted(known, reverse=True) if re.match(rf"{name}\b", call)), None)
        assert name, f"batchrec {call}"
        assert set(re.findall(r"(?<=\s)--[a-z-]+", call)) <= known[name], f"batchrec {call}"


@in_both
def test_every_key_is_in_the_table(page):
    """The table of job-file keys has every key, no other, and the defaults that hold."""
    table = {row[0].strip("`"): row[1] for row in rows(chapter(page, "The job file, key by key"))}
    keys = job_keys()
    assert table.keys() == keys.keys()
    del keys["name"], keys["input.paths"]  # the one comes from the file's name, the other must be given
    for key, schema in keys.items():
        told = re.fullmatch(r"`([^<`]+)`", table[key])
        assert (tomllib.loads(f"v = {told[1]}")["v"] if told else None) == schema.get("default", FACTORIES.get(key)), (
            key
        )


@in_both
def test_every_service_is_listed(page):
    """The services are those of the catalogue."""
    assert set(SERVICES) <= quoted(chapter(page, "`batchrec services`"))
    assert re.search(rf"\b{len(SERVICES)}\b", (ROOT / page).read_text(encoding="utf-8"))


@in_both
def test_every_exit_code_is_listed(page):
    """The exit codes are those that batchrec ends with, in the order in which they win."""
    assert [int(row[0]) for row in rows(chapter(page, "Exit codes"))] == list(errors.EXIT_ORDER)
    assert {cls.exit_code for cls in classes_below(errors.BatchrecError)} <= set(errors.EXIT_ORDER)


@in_both
def test_every_variable_is_listed(page):
    """The environment variables are those that the code asks for."""
    first = [row[0] for row in rows(chapter(page, "Credentials and environment"))]
    assert quoted(" ".join(first)) == environment()


@in_both
def test_every_kind_and_code_is_listed(page):
    """Each kind of failure has its row, with the codes and words that are of that kind."""
    table = {row[0].strip("`"): row[1] for row in rows(chapter(page, "How errors are treated"))}
    assert table.keys() == set(Kind)
    for kind, cell in table.items():
        numbers = {number for number, code in CODES.items() if code.kind == kind}
        assert {int(number) for number in re.findall(r"(?<![\w_])\d+\b", cell)} == numbers, kind
        words = {word for word, known in WORDS.items() if known.kind == kind}
        assert quoted(cell) == words, kind


@in_both
def test_emulator_is_told(page):
    """Every kind and key of a fault, and every switch, is in its table."""
    first = [row[0] for row in rows(chapter(page, "Fault plans"))]
    own = quoted(" ".join(row[2] for row in rows(chapter(page, "Fault plans")) if len(row) == 3))
    keys = {field.alias or name for name, field in Fault.model_fields.items()}
    assert quoted(" ".join(first)) | own == keys | set(KEYS)
    switches = quoted(" ".join(row[0] for row in rows(chapter(page, "Switches"))))
    assert switches == {field.name for field in fields(Settings)}
    unconfirmed = quoted(" ".join(row[2] for row in rows(chapter(page, "What nobody could confirm"))))
    assert unconfirmed <= switches


# -- what is shown is what comes out


@in_both
def test_job_files_load(page):
    """Every job file shown is right; one with the name of a file in jobs/ says what that file says."""
    jobs = [text for language, text, _ in blocks(page) if language == "toml" and "[input]" in text]
    assert len(jobs) >= 4
    for text in jobs:
        raw = tomllib.loads(text)
        job = build_job(raw, ROOT / "jobs" / f"{raw['name']}.toml")
        assert raw == tomllib.loads(job.path.read_text(encoding="utf-8"))


@in_both
def test_other_blocks_are_sound(page):
    """The fault plan is one, the credentials are TOML with known keys, and the Python compiles with known names."""
    for language, text, _ in blocks(page):
        if language == "json":
            FaultPlan.parse(text.encode())
        elif language == "toml" and "[input]" not in text:
            keys = {key for table in tomllib.loads(text).values() for key in table}
            assert keys <= {"api_key", "secret_key", "bearer", "account", "endpoint"}
        elif language == "python":
            tree = ast.parse(text)
            named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ours(node.value)}
            assert named == set(batchrec.__all__)


def ours(node):
    return isinstance(node, ast.Name) and node.id == "batchrec"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a copy of jobs/, as a clone has it."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "jobs", folder / "jobs", ignore=shutil.ignore_patterns("results"))
    return folder


def typed(command, place):
    """What a shell prints for a command, standard error included, with the folder's own name as `…`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHREC_", "BAIDU_"))}
    environ["BATCHREC_STATE_DIR"] = str(place / "state")
    environ["BATCHREC_CONFIG_DIR"] = str(place / "config")
    environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environ["PATH"]))
    shown = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=place,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    return shown.stdout.decode().replace(str(place.resolve()), "…").splitlines()


def lasting(line):
    """The line without what differs between two runs: seconds, rates, times and log ids."""
    if line.startswith("{"):
        return {key: value for key, value in json.loads(line).items() if key != "failed_at"}
    line = re.sub(r"\d+\.\d+ (s\b|answers/s)|\S+ left$", "~", line.rstrip())
    line = re.sub(r"(?<=,)(0\.\d{3})\d+(?=,)", r"\1", line)  # another processor computes another sixth digit
    return re.sub(r"\d{19},\d{4}-\d\d-\d\dT[\d:.+]+", "~", line)


@pytest.mark.skipif(os.name == "nt", reason="for a POSIX shell")
@pytest.mark.skipif(not find_spec("onnxruntime"), reason="the extra 'local' is not installed")
def test_outputs_shown_are_real(place):
    """The demonstration and the crawl print what the READMEs say, and leave the files that they list."""
    demo = marked("README.md", "command: demo").rpartition("&& ")[2].replace(".venv/bin/", "")
    assert shlex.split(demo)[:2] == ["batchrec", "run"]
    assert [*map(lasting, typed(demo, place))] == [
        lasting(line) for line in marked("README.md", "output: demo").splitlines()
    ]
    assert [*map(lasting, typed("grep koala.jpg jobs/results/demo/results.csv", place))] == [
        lasting(line) for line in marked("README.md", "output: csv").splitlines()
    ]
    crawl = typed(marked("README.md", "command: crawl"), place)
    assert [*map(lasting, crawl)] == [lasting(line) for line in marked("README.md", "output: crawl").splitlines()]
    for page in READMES:
        check_files(page, place / "results" / "trial")


def check_files(page, directory):
    """The tables of files and keys against a real output directory."""
    chapter_ = chapter(page, "What lands in the output directory")
    listed = {row[0].strip("`") for row in rows(chapter_.split("\n### ")[0])}
    assert {path.name for path in directory.iterdir()} == listed
    row = json.loads((directory / "results.jsonl").read_text(encoding="utf-8").splitlines()[0])
    keys = chapter(page, "Keys of `results.jsonl`")
    assert quoted(" ".join(cells[0] for cells in rows(keys))) == row.keys()
    labels = {field for service in SERVICES.values() for field in service.reading.fields}
    assert labels | {"left", "top", "width", "height"} <= quoted(keys)
    assert quoted(chapter(page, "Columns of `results.csv`")) - {"results.csv", "'"} == set(COLUMNS)
    failure = json.loads((directory / "failures.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert quoted(chapter(page, "Keys of `failures.jsonl`")) - {"failures.jsonl"} == failure.keys()
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    assert quoted(chapter(page, "Keys of `summary.json`")) - {"summary.json"} == summary.keys()


@in_both
def test_tests_named_are_there(page):
    """A test file or benchmark that stands beside a promise exists."""
    text = chapter(page, "What it promises, and what it does not")
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
        assert len(marked("README.md", f"command: {name}").splitlines()) == 1


def test_design_has_every_room():
    """The design's table has every module, and the folders."""
    rooms = {path.stem if path.is_file() else f"{path.name}/" for path in (ROOT / "batchrec").iterdir()}
    rooms -= {"__pycache__/", "emulator/", "job.schema", "template", "py"}
    page = "docs/dev/design.md"
    floors = rows(section(page, [text for _, text in headings(page)].index("The layers")))
    assert quoted(" ".join(row[0] for row in floors)) == {room for room in rooms if not room.startswith(".")}


def test_changelog_has_this_version():
    """The changelog speaks of the version that this is."""
    assert f"[{batchrec.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
