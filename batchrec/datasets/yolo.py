"""YOLO: a text file for each image, a line for each box in shares of the sides; classes by number.

    0 0.5 0.5 0.25 0.4        (class, centre across, centre down, width, height)

Names of classes are in `data.yaml` (`names`, a list or a table by number) or in `classes.txt`, a name a line. A line
of more numbers is a polygon, of which the box around it is taken.
"""

from collections.abc import Sequence
from dataclasses import replace

import yaml

from ..values import Box
from .boxes import Annotation, BadAnnotation, BadBox, Entry, Fault, Labelled, around, from_sides

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.txt", "obj.names")
"""Files with the names of classes."""

_NUMBERS = 5
"""Numbers in the line of a box."""


def parse_names(file: str, data: bytes) -> list[str]:
    """Names of the classes by their number. Raises BadAnnotation."""
    try:
        text = data.decode("utf-8-sig")
        if not file.lower().endswith((".yaml", ".yml")):
            return [line.strip() for line in text.splitlines() if line.strip()]
        content = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise BadAnnotation(" ".join(str(error).split())[:200]) from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise BadAnnotation('a list or a table "names" expected, with the numbers from 0')
    return [str(name) for name in names]


def parse_yolo(file: str, data: bytes, names: Sequence[str]) -> Entry:
    """Parse an annotation. Raises BadAnnotation."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except ValueError as error:
        raise BadAnnotation("no text in UTF-8") from error
    boxes, faults = [], list[Fault]()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        origin = f"line {number}"
        try:
            box = _box(words)
        except BadBox as error:
            faults.append(("bad_box", f"{file}: {origin}: {error}"))
            continue
        if not words[0].isdecimal() or int(words[0]) >= len(names):
            faults.append(("unknown_class", f"{file}: {origin}: {words[0][:40]}, expected 0 to {len(names) - 1}"))
            continue
        if len(words) > _NUMBERS:
            faults.append(("shape", f"{file}: {origin}, polygon"))
        boxes.append(Labelled(names[int(words[0])], box, origin))
    return Entry(Annotation(file, tuple(boxes), shares=True, faults=tuple(faults)))


def _box(words: Sequence[str]) -> Box:
    """The box of a line, in shares of the sides."""
    if len(words) == _NUMBERS:
        box = from_sides(*words[1:])
        return replace(box, left=box.left - box.width / 2, top=box.top - box.height / 2)
    if len(words) > _NUMBERS and len(words) % 2:
        return around([[words[place], words[place + 1]] for place in range(1, len(words), 2)])
    raise BadBox(f"{len(words)} numbers; expected {_NUMBERS}: class, centre, width, height")
