"""Architecture rules, checked against the code: layers, sizes, and things that are not done anywhere."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

from batchrec.job.spec import LIMITS, Limits, ServiceLimits, Step
from batchrec.periods import PERIODS

PACKAGE = Path(__file__).parent.parent / "batchrec"
LONGEST_FUNCTION = 60
LONGEST_CLASS = 250
MOST_PARAMETERS = 8
LONGEST_FIRST_LINE = 100
LONGEST_LINE = 120
MOST_AT_THE_TOP = 12

UNIT = re.compile(
    r"(^|_)(SECONDS|MS|NS|BYTES|CHARACTERS|PIXELS|LINES|ROWS|CALLS|DAYS|HOURS|SHARE|DAY|SCANS|FILES)(_|$)"
)
"""Units that a constant's name may hold."""

RIDDLE = re.compile(r"(What|Where|Who|Whose|How|Whatever|Whoever|Which|When|Why)\b")
"""Beginnings that a docstring does not have."""

PLAINLY_WORDED = (".", "api", "console", "emulator", "engine", "journal", "limits", "outputs", "state", "support")
"""Folders of tests whose docstrings keep that rule."""

FLOORS = (
    ("__main__",),
    ("cli",),
    ("command_line",),
    ("commands",),
    ("nightly", "datasets", "cluster"),
    ("engine", "exports", "report"),
    ("job", "limits", "images", "fetch"),
    ("api", "journal"),
    ("sources", "outputs", "periods"),
    ("state",),
    ("console",),
    ("concurrency", "times", "exact_json", "redact"),
    (
        "language",
        "locale",
    ),
    ("interfaces",),
    ("values", "errors", "__init__"),
)
"""From the roof down. A module may import from lower floors, never from its own or a higher one."""

PLUGINS = {
    "sources": {
        "file": set(),
        "folder": set(),
        "glob": set(),
        "encoding": {"recovery", "rows"},
        "recovery": set(),
        "rows": set(),
        "url": set(),
        "manifest": {"encoding", "recovery", "rows", "url"},
    },
    "outputs": {
        "jsonl": set(),
        "csv": set(),
        "directory": {""},
        "files": {"", "directory"},
        "summary": {"files", "directory"},
    },
    "exports": {
        "exporter": {"images"},
        "images": {"names"},
        "names": set(),
        "target": set(),
        "boxes": {"exporter", "names"},
        "parquet": {"exporter"},
        "xlsx": {"boxes", "exporter"},
        "coco": {"boxes", "exporter"},
        "yolo": {"boxes", "exporter", "names"},
        "folders": {"boxes", "exporter", "names"},
        "labelstudio": {"boxes", "exporter", "images", "names"},
        "imagefolder": {"boxes", "exporter", "images", "names"},
    },
    "images": {
        "memory": set(),
        "extent": set(),
        "exif": set(),
        "jpeg": {"exif", "extent"},
        "png": {"extent"},
        "others": set(),
        "webp": set(),
        "orientation": {"exif", "jpeg", "png", "webp"},
        "container": {"exif"},
        "heif": set(),
        "long": {"jpeg"},
        "levels": {"webp"},
        "pages": {"jpeg"},
        "samples": {"levels", "pages"},
        "shrink": {"jpeg"},
        "quality": set(),
        "judge": {
            *("container", "exif", "extent", "heif", "jpeg", "long", "orientation"),
            *("others", "pages", "png", "samples", "shrink", "webp"),
        },
        "completeness": {"jpeg", "png", "judge"},
        "heads": {"container", "judge", "others"},
        "subprocess": {"judge"},
        "repair": {"exif", "jpeg", "judge", "levels", "long", "quality", "shrink", "subprocess"},
        "strip": {"exif", "jpeg", "png", "judge"},
        "small": {"orientation", "repair"},
    },
}
"""Within a room: what each may use of it, beside what `SHARED` lists. Kinds of input or output never each other."""

SHARED: dict[str, set[str]] = {
    "sources": {"scope", "keys", "spelling", "walk", "store", "logins"},
    "outputs": set(),
    "exports": set(),
    "images": {"memory"},
}

EMBEDDED = {"engine.setup", "engine.own_models", "commands.emulator", "datasets.features"}
"""Modules that may import the emulator."""


def modules() -> dict[str, Path]:
    """Every module by its dotted name within the package; a room's own module has the room's name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return found


def tree(path: Path) -> ast.Module:
    """The file, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(name: str, path: Path) -> Iterator[str]:
    """Imports of a module: ours as a dotted name within the package, others as `/aiohttp`."""
    folder = path.parent.relative_to(PACKAGE).parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (f"/{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _from(node, folder)


def _from(node: ast.ImportFrom, folder: tuple[str, ...]) -> Iterator[str]:
    parts = tuple((node.module or "").split(".")) if node.module else ()
    if node.level == 0 and parts[0] != "batchrec":
        yield f"/{node.module}"
        return
    base = parts[1:] if node.level == 0 else folder[: len(folder) - node.level + 1] + parts
    for alias in node.names:
        whole = ".".join((*base, alias.name))
        yield whole if whole in MODULES else ".".join(base) or "__init__"


MODULES = modules()
EDGES = {(name, target) for name, path in MODULES.items() for target in imports(name, path)}
OURS = {(name, target) for name, target in EDGES if not target.startswith("/")}


def room(name: str) -> str:
    """The first part of a name: the file, or the folder it is in."""
    return name.split(".")[0]


def floor(name: str) -> int:
    """Floors below the roof; ValueError for a room that the table lacks."""
    return next(number for number, rooms in enumerate(FLOORS) if room(name) in rooms)


def test_every_room_has_its_floor() -> None:
    """The table of floors names every module once, and nothing that is gone."""
    listed = [name for rooms in FLOORS for name in rooms]
    assert sorted(listed) == sorted({room(name) for name in MODULES} - {"emulator"})


def test_imports_point_down_the_house() -> None:
    """Nobody imports from a higher floor, nor from another room of its own."""
    crossing = {(a, b) for a, b in OURS if room(a) != room(b) and "emulator" not in (room(a), room(b))}
    assert sorted((a, b) for a, b in crossing if floor(a) >= floor(b)) == []


def test_the_foundation_knows_nothing_of_ours() -> None:
    """values, errors and the package itself import nothing of ours; interfaces the values alone."""
    assert {(a, b) for a, b in OURS if a in ("values", "errors", "__init__")} == set()
    assert {b for a, b in OURS if a == "interfaces"} == {"values"}


def test_the_emulator_shares_no_code_with_the_client() -> None:
    """A mistake of the client must not be repeated in its own test double; and few know that there is one."""
    assert {b for a, b in OURS if room(a) == "emulator" and room(b) != "emulator"} == set()
    assert {a for a, b in OURS if room(b) == "emulator" and room(a) != "emulator"} == EMBEDDED


def test_three_doors_to_the_network() -> None:
    """aiohttp is imported by the transports, by the fetcher of images, and by the emulator's server alone."""
    users = {a for a, b in EDGES if b == "/aiohttp" or b.startswith("/aiohttp.")}
    assert users == {
        "api.connections",
        "api.direct",
        "api.http",
        "emulator.downloads",
        "emulator.server",
        "fetch.client",
        "fetch.tunnel",
    }


@pytest.mark.parametrize("name", ["sources", "outputs", "exports"])
def test_every_plugin_is_listed(name: str) -> None:
    """Every module of such a room is a kind with its permissions, or is shared by all kinds."""
    there = {module.partition(".")[2] for module in MODULES if room(module) == name and module != name}
    assert there == {*PLUGINS[name], *(SHARED[name] - {""})}


def test_a_limit_of_the_job_file_is_one_of_the_engine() -> None:
    """The keys of `ServiceLimits` are the rate and the rows of `PERIODS`: a step may set each."""
    assert ("qps", *PERIODS) == LIMITS
    assert issubclass(Step, ServiceLimits)
    assert issubclass(Limits, ServiceLimits)


@pytest.mark.parametrize("name", PLUGINS)
def test_plugins_do_not_know_each_other(name: str) -> None:
    """A new kind of input or output is one file: the present ones use the shared code, and no neighbour."""
    wrong = {
        (a, b)
        for a, b in OURS
        if room(a) == room(b) == name
        and a != name
        and a.split(".")[1] in PLUGINS[name]
        and b.partition(".")[2] not in PLUGINS[name][a.split(".")[1]] | SHARED[name]
    }
    assert sorted(wrong) == []


def test_the_command_line_starts_with_typer_alone() -> None:
    """Importing the command line needs typer, the standard library and texts; the rest is imported on use."""
    import sys

    light = {"__init__", "cli", "command_line", "language", "console.exit_codes"}
    top = {name for name in MODULES if room(name) in ("cli", "command_line")} | {"console.exit_codes"}
    found = {target for name in top for target in _at_the_top(name)}
    assert {name for name in found if name.startswith("/")} - {f"/{each}" for each in sys.stdlib_module_names} <= {
        "/typer",
        "/typer.core",
    }
    ours = {name for name in found if not name.startswith("/")}
    assert {name for name in ours if name not in light and room(name) not in light} == set()


def _at_the_top(name: str) -> Iterator[str]:
    """Imports of a module outside of its functions; of the standard library by the first name."""
    folder = MODULES[name].parent.relative_to(PACKAGE).parts
    for node in tree(MODULES[name]).body:
        if isinstance(node, ast.Import):
            yield from (f"/{alias.name.split('.')[0]}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for target in _from(node, folder):
                standard = target.startswith("/") and not target.startswith("/typer")
                yield target.split(".")[0] if standard else target


def test_modules_import_each_other_in_one_direction() -> None:
    """No import cycle, within folders and across them, imports within functions included."""
    order = TopologicalSorter[str]()
    for name, target in OURS:
        order.add(name, target)
    order.prepare()  # raises CycleError, which names the cycle


def test_no_import_hides() -> None:
    """No TYPE_CHECKING: an import that must hide is a fault of layering."""
    assert [name for name, path in MODULES.items() if "TYPE_CHECKING" in path.read_text(encoding="utf-8")] == []


def test_only_the_last_line_of_defence_catches_everything() -> None:
    """`except Exception` and its like stand in __main__ alone; a bare one nowhere."""
    broad = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    }
    assert broad == {"__main__"}


def lengths(*kinds: type[ast.AST]) -> list[tuple[int, str]]:
    """Lines and name of every definition of these kinds, the longest last."""
    return sorted(
        ((node.end_lineno or 0) - node.lineno + 1, f"{name}.{node.name}")
        for name, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, kinds) and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )


def test_functions_can_be_seen_at_once() -> None:
    """No function is longer than a screen; where one is, the message lists the longest."""
    found = lengths(ast.FunctionDef, ast.AsyncFunctionDef)
    assert found[-1][0] <= LONGEST_FUNCTION, f"the longest: {found[-5:]}"


def test_classes_have_one_job() -> None:
    """No class is longer than 250 lines; where one is, it does several things."""
    found = lengths(ast.ClassDef)
    assert [(lines, name) for lines, name in found if lines > LONGEST_CLASS] == []


def test_objects_are_made_of_few_parts() -> None:
    """No `__init__` has more than eight parameters beside `self`."""
    found = {
        f"{name}.{node.name}": len(names)
        for name, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
        for made in node.body
        if isinstance(made, ast.FunctionDef) and made.name == "__init__"
        for names in ([*made.args.posonlyargs, *made.args.args[1:], *made.args.kwonlyargs],)
    }
    assert {name: count for name, count in found.items() if count > MOST_PARAMETERS} == {}


def test_the_top_folder_is_the_public_face() -> None:
    """At most twelve modules beside the folders: what a newcomer reads first."""
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_AT_THE_TOP


def constants(path: Path) -> Iterator[tuple[str, int]]:
    """Numeric constants of a module that say neither unit nor reason: names and lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    body = tree(path).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names = [target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper()]
        if not names or not _is_number(node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None):
            continue
        documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        commented = "#" in lines[node.lineno - 1] or lines[node.lineno - 2].lstrip().startswith("#")
        if names and not (documented or commented or all(UNIT.search(name) for name in names)):
            yield names[0], node.lineno


def _is_number(value: ast.expr | None) -> bool:
    """Whether it is a number, arithmetic on numbers and names, or several numbers at once."""
    if isinstance(value, ast.UnaryOp):
        return _is_number(value.operand)
    if isinstance(value, ast.BinOp):
        return _is_number(value.left) or _is_number(value.right)
    if isinstance(value, ast.Tuple):
        return all(map(_is_number, value.elts))
    return isinstance(value, ast.Constant) and type(value.value) in (int, float)


def test_numbers_say_what_they_are() -> None:
    """Every numeric constant of a module has a docstring, a comment, or its unit in its name."""
    silent = [f"{name}:{line} {each}" for name, path in MODULES.items() for each, line in constants(path)]
    assert silent == []


def docstrings(path: Path) -> Iterator[tuple[str, int]]:
    """First lines of a file's docstrings, each with its allowed length; attributes may fill the line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield (ast.get_docstring(node) or "").partition("\n")[0], LONGEST_FIRST_LINE
        body = node.body if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) else []
        for before, after in pairwise(body):
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else None
            if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(text, str):
                yield text.partition("\n")[0], LONGEST_LINE


def misnamed(path: Path) -> Iterator[str]:
    """First lines of docstrings that are long, or begin with a question word."""
    return (f"{path.name} {first}" for first, most in docstrings(path) if RIDDLE.match(first) or len(first) > most)


def test_docstrings_begin_with_their_subject() -> None:
    """First lines are short, and do not begin with a question word; those of cli.py are the help, in full."""
    assert [each for name, path in MODULES.items() if room(name) != "cli" for each in misnamed(path)] == []


@pytest.mark.parametrize("folder", PLAINLY_WORDED)
def test_docstrings_of_tests_begin_with_their_subject(folder: str) -> None:
    """The same rule for tests."""
    assert [each for path in sorted((Path(__file__).parent / folder).glob("*.py")) for each in misnamed(path)] == []
