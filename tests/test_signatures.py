"""Signatures: what help() and an editor's tooltip print of them holds nothing of the environment."""

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

import batchrec

SECRET = "S3cretOfTheEnvironment0123456789"


def functions(owner: object, module: str) -> Iterator[tuple[str, object]]:
    """Every function and class that a module or class defines itself, those of its classes among them."""
    for name, value in vars(owner).items():
        inner = (
            inspect.unwrap(getattr(value, "__func__", value)) if callable(getattr(value, "__func__", value)) else None
        )
        if inner is None or getattr(inner, "__module__", None) != module:
            continue
        yield f"{module}.{getattr(inner, '__qualname__', name)}", inner
        if inspect.isclass(inner):
            yield from functions(inner, module)


MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(batchrec.__path__, "batchrec.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("module", MODULES)
def test_no_default_holds_the_environment(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the mapping itself nor a value of it, in any signature."""
    monkeypatch.setenv("BAIDU_SECRET_KEY", SECRET)
    for name, function in functions(importlib.import_module(module), module):
        try:
            signature = inspect.signature(function)  # type: ignore[arg-type]
        except (TypeError, ValueError):  # an exception's, an enumeration's
            continue
        defaults = [each.default for each in signature.parameters.values()]
        assert not any(each is os.environ or isinstance(each, os._Environ) for each in defaults), name
        assert not any(isinstance(each, Mapping) and "BAIDU_SECRET_KEY" in each for each in defaults), name
        assert SECRET not in str(signature), name


@pytest.mark.parametrize("name", [*batchrec.__all__, "commands.plan.plan", "job.loading.load_job"])
def test_help_shows_no_secret(name: str) -> None:
    """As typed at a prompt, with the key in the environment."""
    code = f"import batchrec, batchrec.commands.plan, batchrec.job.loading; help(batchrec.{name})"
    env = {**os.environ, "BAIDU_API_KEY": SECRET[::-1], "BAIDU_SECRET_KEY": SECRET}
    shown = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    named = getattr(batchrec, name).__name__ if name in batchrec.__all__ else name.rpartition(".")[2]
    assert named in shown
    assert SECRET not in shown
    assert SECRET[::-1] not in shown
