"""The official Node.js SDK (npm's ``baidu-aip-sdk``) pointed at the emulator.

npm installs it from the lock file beside the script, once for all workers of a test run. It needs Node.js and npm.
"""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from batchrec.emulator import Emulator, FaultPlan, Settings, serve
from tests.support.emulator import picture, sha256

SOURCE = Path(__file__).parent / "fixtures" / "node_sdk"
METHODS = {
    "advancedGeneral": "advanced_general",
    "objectDetect": "object_detect",
    "dishDetect": "dish",
    "carDetect": "car",
    "logoSearch": "logo",
    "animalDetect": "animal",
    "plantDetect": "plant",
    "multiObjectDetect": "multi_object_detect",
}
"""Recognition calls of the SDK, and the services that they go to."""

IMAGE = picture()
KEYS = ("a-key", "a-secret")
SIGNING = Settings(access_key=KEYS[0], secret_access_key=KEYS[1], api_key="another")
"""An account whose key gets no token, so that the SDK signs."""


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SDK and the script that calls it."""
    for program in ("node", "npm"):
        assert shutil.which(program), f"{program} is missing on PATH; Debian: apt-get install nodejs npm"
    folder = tmp_path_factory.getbasetemp().parent / "node-sdk"
    with FileLock(f"{folder}.lock"):
        if not (folder / "installed").exists():
            shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
            done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            (folder / "installed").touch()
    return folder


async def replies(sdk: Path, emulator: Emulator, tmp_path: Path, *methods: str, keys: tuple[str, str] = KEYS) -> Any:
    """Replies of these methods to one image, as the SDK understands them."""
    image = tmp_path / "image.jpg"
    image.write_bytes(IMAGE)
    asked = {"url": emulator.url, "key": keys[0], "secret": keys[1], "image": str(image), "methods": methods}
    process = await asyncio.create_subprocess_exec(
        *("node", "--no-deprecation", "calls.js", json.dumps(asked)),
        cwd=sdk,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return json.loads(output)


async def test_recognition_by_token(sdk: Path, tmp_path: Path) -> None:
    """Eight calls share one token, whose text a second question mark follows."""
    async with serve() as emulator:
        found = await replies(sdk, emulator, tmp_path, *METHODS)
        assert emulator.counters.tokens_issued == 1
        assert emulator.counters.images == {service: {sha256(IMAGE): 1} for service in METHODS.values()}
    assert found.keys() == METHODS.keys()
    for reply in found.values():
        assert "error_code" not in reply
        assert "result" in reply


async def test_recognition_by_signature(sdk: Path, tmp_path: Path) -> None:
    """If the key gets no token, the SDK signs each call, for a host that is not the emulator's."""
    async with serve(SIGNING) as emulator:
        found = await replies(sdk, emulator, tmp_path, *METHODS)
        assert emulator.counters.tokens_issued == 0
    assert [reply.get("error_code") for reply in found.values()] == [None] * len(METHODS)


async def test_a_wrong_secret_is_code_14(sdk: Path, tmp_path: Path) -> None:
    """The signature is compared, and not only looked at."""
    async with serve(SIGNING) as emulator:
        found = await replies(sdk, emulator, tmp_path, "dishDetect", keys=(KEYS[0], "another"))
    assert found == {"dishDetect": {"error_code": 14, "error_msg": "IAM Certification failed"}}


async def test_an_error_of_the_service(sdk: Path, tmp_path: Path) -> None:
    """An error code reaches the SDK's caller as the service sends it."""
    plan = FaultPlan.parse(b'{"faults": [{"service": "car", "kind": "code", "code": 282000}]}', origin="test")
    async with serve(plan=plan) as emulator:
        found = await replies(sdk, emulator, tmp_path, "carDetect")
    assert found["carDetect"]["error_code"] == 282000
    assert found["carDetect"]["error_msg"] == "internal error"


async def test_without_the_switch_every_token_is_unknown(sdk: Path, tmp_path: Path) -> None:
    """A gateway that takes all of the parameter for the token could not serve this SDK."""
    async with serve(Settings(token_ends_at_question_mark=False)) as emulator:
        found = await replies(sdk, emulator, tmp_path, "plantDetect")
    assert found["plantDetect"]["error_code"] == 110
