"""Data sets of the emulator: replies and error codes of the six paths, an assumption with a switch."""

import base64
import json

import aiohttp
import pytest

from batchrec.emulator import FaultPlan, Settings, serve
from tests.support.emulator import Caller, picture

CLASSIFICATION = {"type": "IMAGE_CLASSIFICATION"}


async def post(caller: Caller, path: str, **content: object) -> dict:
    """Reply of a call of the data-set API."""
    body = json.dumps({**CLASSIFICATION, **content}).encode()
    address = f"{caller.emulator.url}/rpc/2.0/easydl/{path}?access_token={caller.token}"
    async with caller.http.post(address, data=body, headers={"Content-Type": "application/json"}) as response:
        return await response.json(content_type=None)


def entity(number: int, data: bytes, name: str, *labels: str, **more: object) -> dict:
    """Content of a call that adds an image."""
    labelled = [{"label_name": label} for label in labels]
    content = base64.b64encode(data).decode()
    return {"dataset_id": number, "entity_content": content, "entity_name": name, "labels": labelled, **more}


@pytest.mark.parametrize("dropped", [True, False])
async def test_a_data_set_lives(dropped: bool) -> None:
    """Labels are appended by default and replaced on demand; identical images are kept once, or not."""
    async with serve(Settings(equal_images_dropped=dropped)) as emulator, aiohttp.ClientSession() as http:
        caller = Caller(emulator, http)
        caller.token = (await caller.fetch_token())["access_token"]
        number = (await post(caller, "dataset/create", dataset_name="fruit"))["dataset_id"]
        one, two = picture(shade=1), picture(shade=2)
        for name, data, label, more in (
            ("1.jpg", one, "apple", {"appendLabel": False}),
            ("1.jpg", one, "pear", {}),
            ("1.jpg", one, "plum", {"appendLabel": False}),
            ("2.jpg", two, "plum", {}),
            ("3.jpg", two, "plum", {}),
        ):
            assert set(await post(caller, "dataset/addentity", **entity(number, data, name, label, **more))) == {
                "log_id"
            }
        listed = await post(caller, "label/list", dataset_id=number)
        assert [(row["label_name"], row["entity_count"]) for row in listed["results"]] == [("plum", 3 - dropped)]
        assert emulator.data_sets.sets[number].entities["1.jpg"].sent == 3
        sets = await post(caller, "dataset/list", start=0, num=1)
        assert (sets["total_num"], sets["results"][0]["dataset_name"]) == (1, "fruit")
        assert set(await post(caller, "label/delete", dataset_id=number, label_name="plum")) == {"log_id"}
        assert set(await post(caller, "dataset/delete", dataset_id=number)) == {"log_id"}
        assert (await post(caller, "label/list", dataset_id=number))["error_code"] == 406002


async def test_refusals() -> None:
    """Names over the rules, bad base64, a set that is there or is not, faults by the name of the path."""
    plan = FaultPlan.parse({"faults": [{"kind": "code", "code": 406004, "service": "label_list"}, {"kind": "reset"}]})
    async with serve(plan=plan) as emulator, aiohttp.ClientSession() as http:
        caller = Caller(emulator, http)
        assert (await post(caller, "dataset/list"))["error_code"] == 100
        caller.token = (await caller.fetch_token())["access_token"]
        assert "dataset_name" in (await post(caller, "dataset/create", dataset_name="x" * 21))["error_msg"]
        number = (await post(caller, "dataset/create", dataset_name="fruit"))["dataset_id"]
        codes = [
            (await post(caller, "dataset/create", dataset_name="fruit"))["error_code"],
            (await post(caller, "dataset/addentity", **entity(1, b"x", "1.jpg", "apple")))["error_code"],
            (await post(caller, "dataset/addentity", **entity(number, b"x", "1.jpg", "苹果")))["error_code"],
            (await post(caller, "dataset/addentity", **entity(number, b"x", "1.jpg")))["error_code"],
            (await post(caller, "label/delete", dataset_id=number, label_name="apple"))["error_code"],
            (await post(caller, "label/list", dataset_id=number))["error_code"],
            (await post(caller, "dataset/list", type="IMAGES"))["error_code"],
        ]
        assert codes == [406003, 406002, 406001, 406001, 406005, 406004, 406001]
        async with http.get(f"{emulator.url}/_emulator/datasets") as response:
            assert (await response.json())[str(number)]["entities"] == {}
