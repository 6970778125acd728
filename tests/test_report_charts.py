"""The bundle of ECharts in the report's page is what its script makes of the locked versions."""

import json
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "batchrec" / "report" / "charts"
PAGE = ROOT / "batchrec" / "report" / "page"
MADE = ("charts.js", "LICENSE.echarts")


def test_bundle_is_the_output_of_its_script(tmp_path: Path) -> None:
    """npm installs what the lock file says; the script's output is the committed file, byte for byte."""
    for program in ("node", "npm"):
        assert shutil.which(program), f"{program} is missing on PATH; Debian: apt-get install nodejs npm"
    folder, page = tmp_path / "charts", tmp_path / "page"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules"))
    page.mkdir()
    for command in (["npm", "ci"], ["npm", "run", "build", "--", str(page)]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert [name for name in MADE if (page / name).read_bytes() != (PAGE / name).read_bytes()] == []


def test_lock_names_no_registry() -> None:
    """The lock file holds versions and digests, and no address."""
    text = (SOURCE / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert all("integrity" in package for name, package in packages.items() if name)
    assert "resolved" not in text
