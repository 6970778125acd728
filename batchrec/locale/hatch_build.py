"""Build hook: compiles the gettext catalogues, for wheels and for editable installs.

`python batchrec/locale/hatch_build.py` does the same by hand, after a change of a .po file.
"""

from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LOCALE = Path(__file__).parent


def compile_catalogues() -> None:
    """Write a .mo file beside each .po file."""
    for path in sorted(LOCALE.rglob("*.po")):
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.parts[-3])
        with path.with_suffix(".mo").open("wb") as file:
            write_mo(file, catalogue)


class CatalogueHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compile the catalogues before a build; an editable install reads them from the source tree."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put the .mo files into the wheel although git ignores them."""
        compile_catalogues()
        if self.target_name == "wheel":
            build_data["artifacts"].append("batchrec/locale/**/*.mo")


if __name__ == "__main__":
    compile_catalogues()
