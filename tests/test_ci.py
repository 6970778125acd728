"""The check of everything: its preconditions, results that it calls no success, and exact versions."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
CI = ROOT / ".ci"


# --- before any test


@pytest.fixture
def clone(tmp_path):
    """A git repository with `.ci` in it, all committed."""
    folder = tmp_path / "clone"
    shutil.copytree(CI, folder / ".ci")
    git(folder, "init", "-q")
    commit(folder)
    return folder


def git(folder, *arguments):
    environ = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, env=environ)


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "all")


def ci_run(folder, **environ):
    """`.ci/run` of that folder: its code and all that it said."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), **environ}
    done = subprocess.run([folder / ".ci" / "run"], env=environ, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_a_folder_without_git_is_refused(tmp_path):
    """Only what is committed can be vouched for."""
    shutil.copytree(CI, tmp_path / "plain" / ".ci")
    code, said = ci_run(tmp_path / "plain")
    assert code == 1
    assert "no git repository" in said


def test_uncommitted_changes_fail_in_ci(clone):
    """They would pass unchecked; every one is named. Elsewhere it is a note, and the check goes on."""
    (clone / "new.py").write_text("")
    code, said = ci_run(clone, CI="true")
    assert code == 1
    assert "not committed" in said
    assert "new.py" in said
    assert "== " not in said


def test_python_names_the_interpreter(clone, tmp_path):
    """The interpreter named takes the place of python3; one that is missing is named."""
    code, said = ci_run(clone, PYTHON="python9")
    assert (code, "python9 is missing: Python 3.11 or newer" in said) == (1, True)
    old = tmp_path / "old python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.0\nexit 1\n')
    old.chmod(0o755)
    code, said = ci_run(clone, PYTHON=str(old))
    assert (code, "Python 3.9.0 is too old" in said) == (1, True)


@pytest.mark.skipif(os.name == "nt", reason="for a POSIX shell")
def test_missing_debian_packages_are_named(clone, tmp_path):
    """All of them, with the command to run, before any test, where only root could install them."""
    table = clone / ".ci" / "debian-packages"
    table.write_text(table.read_text() + "one-missing  no-such-command  a test\nanother  nor-this-one  another test\n")
    commit(clone)
    stub = tmp_path / "bin" / "id"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\necho 1000\n")
    stub.chmod(0o755)
    code, said = ci_run(clone, PATH=f"{stub.parent}{os.pathsep}{os.environ['PATH']}")
    assert code == 1
    assert "one-missing another" in said
    assert "apt-get install" in said
    assert "== " not in said


def test_debian_packages_have_their_reason():
    """Each row: a package, the command that it brings, what it is for."""
    lines = (CI / "debian-packages").read_text(encoding="utf-8").splitlines()
    table = [line.split(maxsplit=2) for line in lines if not line.startswith("#")]
    assert table
    assert all(len(row) == 3 for row in table)


# --- what a test run is worth

HOLDS = """
import pytest

def test_good():
    pass

@pytest.mark.skip(reason="no such machine")
@pytest.mark.parametrize("case", ["a b", "c"])
def test_left_out(case):
    pass

@pytest.mark.xfail(reason="broken")
def test_broken():
    assert False
"""


def judged(tmp_path, expected, *arguments, text=HOLDS):
    """The verdict of `.ci/judge` on a real run of pytest over that text."""
    (tmp_path / "test_it.py").write_text(text)
    listed, report = tmp_path / "expected-skips", tmp_path / "report.xml"
    listed.write_text(expected)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    (tmp_path / "output").write_text(ran.stdout)
    judge = [sys.executable, CI / "judge", report, tmp_path / "output", listed]
    done = subprocess.run(judge, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_an_unexpected_skip_fails(tmp_path):
    """By name and reason; one that is listed is right, and an expected failure never is."""
    code, said = judged(tmp_path, "test_it.py::test_left_out[a b]  wrong: names end at the first blank\n")
    assert code == 1
    assert "test_it.py::test_left_out[c]: skipped: no such machine" in said
    assert "test_it.py::test_broken: expected to fail" in said


def test_listed_skips_are_right(tmp_path):
    """With a reason beside them; without one they are not."""
    arguments = ("-k", "good or left_out")
    text = HOLDS.split("@pytest.mark.xfail")[0].replace("a b", "a")
    both = "test_it.py::test_left_out[a]  {}\n# why not\n\ntest_it.py::test_left_out[c]  no machine\n"
    assert judged(tmp_path, both.format("no machine"), *arguments, text=text) == (0, "")
    code, said = judged(tmp_path, both.format(""), *arguments, text=text)
    assert code == 1
    assert "no reason" in said


def test_a_run_of_skips_alone_fails(tmp_path):
    """A module that is skipped as a whole has its place in the list as well, but then no test has run."""
    text = 'import pytest\npytest.skip("not here", allow_module_level=True)\n'
    code, said = judged(tmp_path, "test_it.py  not here\n", text=text)
    assert code == 1
    assert said.strip() == "no test ran"


def test_deselected_tests_fail(tmp_path):
    """Left out by an option, which no report shows."""
    code, said = judged(tmp_path, "", "-k", "good")
    assert code == 1
    assert "4 deselected" in said or "3 deselected" in said


def test_a_listed_skip_that_is_over_is_told(tmp_path):
    """The list is to be kept short."""
    code, said = judged(tmp_path, "test_it.py::test_good  once\n", text="def test_good(): pass\n")
    assert code == 0
    assert "test_good, which was not skipped" in said


# --- the environment of the tests


def test_nothing_of_the_caller_reaches_the_tests(tmp_path):
    """Proxies, certificates, settings of pip and uv, keys and time zone are gone before the first test."""
    proxies = {"https_proxy": "http://127.0.0.1:9", "NO_PROXY": "*"}
    tools = {"PIP_INDEX_URL": "http://127.0.0.1:9", "UV_INDEX": "x", "SSL_CERT_FILE": "/nowhere"}
    theirs = {**proxies, **tools, "TZ": "Asia/Tokyo", "BAIDU_API_KEY": "k", "BATCHREC_LANG": "zh"}
    code = "import conftest, os, time; print(sorted(os.environ), time.tzname)"
    environ = {**os.environ, **theirs, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [name for name in theirs if f"'{name}'" in done.stdout] == []
    assert "JST" not in done.stdout


# --- exact versions


def exact():
    """Every exact version of the constraints, by name; a name may have several, each for its platforms."""
    found = {}
    for line in (CI / "constraints.txt").read_text(encoding="utf-8").splitlines():
        pinned = Requirement(line)
        (specifier,) = pinned.specifier
        assert specifier.operator == "==", line
        found.setdefault(pinned.name.lower(), []).append(specifier.version)
    return found


def wanted():
    """Every requirement of the project, of all extras and for building."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    lists = [project["build-system"]["requires"], project["project"]["dependencies"], *extras]
    return [Requirement(text) for each in lists for text in each if not text.startswith("batchrec[")]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_every_requirement_has_an_exact_version(requirement):
    """One that it allows; `.ci/lock` renews them."""
    versions = exact()[requirement.name.lower()]
    assert all(version in requirement.specifier for version in versions)


def test_lock_and_constraints_agree():
    """The same versions, in the lock with hashes; no address of a registry and no path in either."""
    lock = (CI / "requirements.lock").read_text(encoding="utf-8")
    constraints = (CI / "constraints.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^(\S.*?) \\$", lock, re.MULTILINE)
    assert pinned == constraints.splitlines()
    assert len(re.findall(r"^\w", lock, re.MULTILINE)) == len(pinned)
    assert len(re.findall(r"\\\n    --hash=sha256:[0-9a-f]{64}", lock)) >= len(pinned)
    assert re.findall(r"://|--index|--find|/\w+/", lock + constraints) == []


def test_the_readme_has_no_dead_links_on_pypi():
    """Links to files beside the page become plain text there; those to headings and addresses stay."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (rule,) = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]
    page = re.sub(rule["pattern"], rule["replacement"], (ROOT / "README.md").read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)", page)
    assert links
    assert [link for link in links if not link.startswith(("#", "https://"))] == []
