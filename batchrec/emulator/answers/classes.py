"""Classes of the embedded model: the 1,000 of ImageNet-1k in the order of its scores.

The table beside this file has a line for each class: its English name (ImageNet's), its Chinese name, the class
above it as advanced_general's `root` has it, its group, a second group, kcal per 100 g, and what the car
service calls it where that differs from its name.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files

TABLE = "classes.tsv"


@dataclass(frozen=True, slots=True)
class Class:
    """One line of the table; what a class has not is empty."""

    english: str
    name: str
    root: str
    groups: frozenset[str]
    calorie: str
    vehicle: str


def load() -> list[Class]:
    """The table."""
    text = files(__package__).joinpath(TABLE).read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
    return [
        Class(
            english=row["english"],
            name=row["name"],
            root=row["root"],
            groups=frozenset(filter(None, (row["group"], row["also"]))),
            calorie=row["calorie"],
            vehicle=row["vehicle"],
        )
        for row in rows
    ]
