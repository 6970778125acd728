"""Exports: a module for each format, and what they share: `exporter`, `images`, `names`, `target`.

A new format is a module and a row here. An export is made from the results at the end; an output grows with the run.
"""

import re

from ..language import mark
from .coco import write_coco
from .exporter import Export, Exporter
from .folders import write_folders
from .imagefolder import write_imagefolder
from .labelstudio import write_labelstudio
from .parquet import write_parquet
from .xlsx import write_xlsx
from .yolo import write_yolo

_TABLE = (
    Exporter("parquet", mark("a table for programs"), write_parquet, re.compile(r"results\.parquet"), by_row=True),
    Exporter("xlsx", mark("a workbook for people"), write_xlsx, re.compile(r"results\.xlsx")),
    Exporter(
        "coco",
        mark("labels with boxes as COCO annotations"),
        write_coco,
        re.compile(r"annotations\.json|results\.json|images\.txt"),
        failures=False,
    ),
    Exporter(
        "yolo",
        mark("labels with boxes as YOLO reads them"),
        write_yolo,
        re.compile(r"data\.yaml|labels|images"),
        failures=False,
        places_images=True,
    ),
    Exporter(
        "labelstudio",
        mark("tasks with predictions for Label Studio"),
        write_labelstudio,
        re.compile(r"config\.xml|tasks-\d{4,}\.json"),
    ),
    Exporter("folders", mark("a folder of images for each top label"), write_folders, None, places_images=True),
    Exporter(
        "imagefolder", mark("images and labels for Hugging Face datasets"), write_imagefolder, None, places_images=True
    ),
)

EXPORTS: dict[str, Exporter] = {exporter.name: exporter for exporter in _TABLE}
"""Formats by the name that `--to` uses."""

__all__ = ["EXPORTS", "Export", "Exporter"]
