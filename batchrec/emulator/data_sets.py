"""EasyDL's data sets: what the six paths of the data-set API do to them (official page, 2019).

A decision is a reply without its log id, or an error code with its text. That an entity is known by its name, and that
identical contents of a data set are kept once, is assumed; each has a switch.
"""

import base64
import binascii
import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from .settings import Settings

PREFIX = "/rpc/2.0/easydl/"

CALLS = {
    f"{PREFIX}dataset/create": "dataset_create",
    f"{PREFIX}dataset/list": "dataset_list",
    f"{PREFIX}dataset/addentity": "dataset_addentity",
    f"{PREFIX}dataset/delete": "dataset_delete",
    f"{PREFIX}label/list": "label_list",
    f"{PREFIX}label/delete": "label_delete",
}
"""Names of the paths, as counters and fault plans have them."""

TYPES = (
    "IMAGE_CLASSIFICATION",
    "OBJECT_DETECTION",
    "IMAGE_SEGMENTATION",
    "SOUND_CLASSIFICATION",
    "TEXT_CLASSIFICATION",
)
MOST_BASE64_BYTES = 10 * 1024 * 1024
MOST_LISTED_ROWS = 100
MOST_NAME_CHARACTERS = 20

_LABEL = re.compile(r"[0-9A-Za-z_-]{1,20}")
_SIDES = ("left", "top", "width", "height")

Json = dict[str, object]


class Refused(Exception):
    """The service refuses the call: an error code, and a text where it is not the usual one."""

    def __init__(self, code: int, message: str | None = None) -> None:
        super().__init__(code)
        self.code, self.message = code, message


@dataclass(slots=True)
class Entity:
    """One image of a data set: the SHA-256 of its bytes, its labels, and how often it was sent."""

    sha256: str
    labels: list[Json]
    sent: int = 1


@dataclass(slots=True)
class DataSet:
    """One data set. `entities` are by their names, or by name and number where a name may be there twice."""

    type: str
    name: str
    entities: dict[str, Entity] = field(default_factory=dict)

    def counts(self) -> Counter[str]:
        """Entities by label; an entity counts once for a label of several boxes."""
        return Counter(
            label for each in self.entities.values() for label in {str(each["label_name"]) for each in each.labels}
        )


class DataSets:
    """All data sets of the account, by their number."""

    def __init__(self) -> None:
        self.sets: dict[int, DataSet] = {}
        self._last = 14610  # captured numbers are of that size

    def answer(self, call: str, body: bytes, settings: Settings) -> Json:
        """Do what a call asks for; returns the reply without its log id. Raises Refused."""
        try:
            given = orjson.loads(body)
        except orjson.JSONDecodeError:
            given = None
        if not isinstance(given, dict):
            raise Refused(406001, "param[body] invalid")
        if given.get("type") not in TYPES:
            raise _invalid("type")
        match call:
            case "dataset_create":
                return self._create(given)
            case "dataset_list":
                found = [(number, each) for number, each in self.sets.items() if each.type == given["type"]]
                rows = [_described(number, each) for number, each in found]
                return _listed(rows, given)
            case "label_list":
                counts = self._found(given).counts()
                rows = [
                    {"label_id": number, "label_name": label, "entity_count": counts[label]}
                    for number, label in enumerate(sorted(counts), start=1)
                ]
                return _listed(rows, given)
            case "dataset_addentity":
                _add(self._found(given), given, settings)
            case "dataset_delete":
                self._found(given)
                del self.sets[_whole(given, "dataset_id")]
            case _:
                self._delete_label(given)
        return {}

    def snapshot(self) -> Json:
        """Everything as JSON, without the bytes of images."""
        return {
            str(number): {
                "type": each.type,
                "name": each.name,
                "entities": {
                    name: {"sha256": entity.sha256, "labels": entity.labels, "sent": entity.sent}
                    for name, entity in each.entities.items()
                },
            }
            for number, each in self.sets.items()
        }

    def _create(self, given: Mapping[str, object]) -> Json:
        name = given.get("dataset_name")
        if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME_CHARACTERS:
            raise _invalid("dataset_name")
        if any((each.type, each.name) == (given["type"], name) for each in self.sets.values()):
            raise Refused(406003)
        self._last += 1
        self.sets[self._last] = DataSet(str(given["type"]), name)
        return {"dataset_id": self._last}

    def _found(self, given: Mapping[str, object]) -> DataSet:
        found = self.sets.get(_whole(given, "dataset_id"))
        if found is None or found.type != given["type"]:
            raise Refused(406002)
        return found

    def _delete_label(self, given: Mapping[str, object]) -> None:
        found, label = self._found(given), given.get("label_name")
        if label not in found.counts():
            raise Refused(406005)
        for name, each in list(found.entities.items()):
            each.labels = [row for row in each.labels if row["label_name"] != label]
            if not each.labels:
                del found.entities[name]


def _add(found: DataSet, given: Mapping[str, object], settings: Settings) -> None:
    name, content = given.get("entity_name"), given.get("entity_content")
    if not isinstance(name, str) or not name:
        raise _invalid("entity_name")
    if not isinstance(content, str) or not 0 < len(content) <= MOST_BASE64_BYTES:
        raise _invalid("entity_content")
    try:
        sha256 = hashlib.sha256(base64.b64decode(content, validate=True)).hexdigest()
    except binascii.Error:
        raise _invalid("entity_content") from None
    labels = _labels(given, boxes=found.type == "OBJECT_DETECTION")
    known = found.entities.get(name) if settings.entities_by_name else None
    if known is not None:
        appended = given.get("appendLabel", True)
        known.sha256, known.sent = sha256, known.sent + 1
        known.labels = [*known.labels, *labels] if appended else labels
        return
    if settings.equal_images_dropped and any(each.sha256 == sha256 for each in found.entities.values()):
        return
    key = name if name not in found.entities else f"{name} ({len(found.entities)})"
    found.entities[key] = Entity(sha256, labels)


def _labels(given: Mapping[str, object], *, boxes: bool) -> list[Json]:
    labels = given.get("labels")
    if not isinstance(labels, list) or not labels:
        raise _invalid("labels")
    for each in labels:
        name = each.get("label_name") if isinstance(each, dict) else None
        if not isinstance(name, str) or not _LABEL.fullmatch(name):
            raise _invalid("label_name")
        if boxes and not all(isinstance(each.get(side), int | float) for side in _SIDES):
            raise _invalid("labels")
    return labels


def _described(number: int, each: DataSet) -> Json:
    """A row of dataset/list. Words of `status` are documented nowhere."""
    return {"dataset_id": number, "dataset_name": each.name, "type": each.type, "status": "0"}


def _listed(rows: list[Json], given: Mapping[str, object]) -> Json:
    start, number = _whole(given, "start", 0), _whole(given, "num", 20)
    if start < 0 or not 0 < number <= MOST_LISTED_ROWS:
        raise _invalid("num")
    return {"total_num": len(rows), "results": rows[start : start + number]}


def _whole(given: Mapping[str, object], name: str, default: int | None = None) -> int:
    value = given.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _invalid(name)
    return value


def _invalid(name: str) -> Refused:
    return Refused(406001, f"param[{name}] invalid")
