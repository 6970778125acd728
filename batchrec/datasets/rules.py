"""Rules of EasyDL for data sets: names, counts, images, archives. The data is in rules.toml, dated."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ..values import ImageLimits


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules for a data set. Sizes are in bytes, sides in pixels."""

    label: re.Pattern[str]
    label_bytes: int
    set_characters: int
    least_images: int
    better_images: int
    most_classes: int
    most_images: int
    image: ImageLimits
    zip_bytes: int

    def takes_label(self, name: str) -> bool:
        """Whether EasyDL takes the name of a class."""
        return self.label.fullmatch(name) is not None and len(name.encode()) <= self.label_bytes


@cache
def rules() -> Rules:
    """The rules of rules.toml."""
    data = tomllib.loads(files("batchrec.datasets").joinpath("rules.toml").read_text(encoding="utf-8"))
    names, counts, images = data["names"], data["counts"], data["images"]
    return Rules(
        label=re.compile(names["label"]),
        label_bytes=names["label_bytes"],
        set_characters=names["set_characters"],
        least_images=counts["least_images"],
        better_images=counts["better_images"],
        most_classes=counts["most_classes"],
        most_images=counts["most_images"],
        image=ImageLimits(
            formats=tuple(images["formats"]),
            base64_bytes=images["most_bytes"],
            min_side=images["least_side"],
            max_side=images["most_side"],
            max_ratio=images["most_ratio"],
        ),
        zip_bytes=data["zip"]["most_bytes"],
    )
