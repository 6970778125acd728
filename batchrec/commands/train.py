"""`batchrec dataset train`: a version of a model that is trained on this machine, and its evaluation."""

import os
import time
from pathlib import Path
from typing import Any

import orjson

from ..console.output import printing
from ..console.text import say
from ..datasets.check import check
from ..datasets.training import Trained
from ..datasets.training import train as train_version
from ..datasets.versions import Model
from ..errors import JobError
from ..language import _, ngettext
from ..state.directory import data_directory, models_directory
from .dataset import Telling, refuse_errors
from .train_text import print_report


def train(
    directory: Path, name: str, other: Path | None, *, force: bool, json: bool, augment: str | None = None
) -> None:
    """Train a version of a model, and print its evaluation.

    A data set for detection makes a detector. Raises JobError where the data set has errors and is not forced, or does
    not suffice.
    """
    model = Model(models_directory(os.environ), name)
    checked = check(directory, told=Telling())
    if augment is not None and checked.dataset.detection:
        raise JobError(
            _("--augment {augment}: is for data sets for classification; leave it out").format(augment=augment)
        )
    refuse_errors(
        checked,
        force=force,
        text=_(
            "{path}: has errors ({count:,}), the first one: {where} {text}. `batchrec dataset check` lists them, "
            "--fix mends what can be mended, --force trains from the images that are sound"
        ),
    )
    trained = train_version(model, data_directory(os.environ), checked, other, time.time(), Telling(), augment=augment)
    with printing():
        if json:
            print(orjson.dumps(_as_json(name, trained), option=orjson.OPT_INDENT_2).decode())
        else:
            print_report(trained)
    for key in trained.left_out:
        text = (
            _("left out, since it cannot be decoded in full, or one of its boxes cannot be known: {file}")
            if trained.detection
            else _("left out, since it cannot be decoded in full: {file}")
        )
        say(text.format(file=key))
    if count := len(trained.without_boxes):
        text = ngettext(
            "{count:,} image has no box, and is not used", "{count:,} images have no box, and are not used", count
        )
        say(text.format(count=count))
    say(
        _("{name} {version} is trained; to publish it: batchrec dataset publish {name} {version}").format(
            name=name, version=trained.version
        )
    )


def _as_json(name: str, trained: Trained) -> dict[str, Any]:
    return {
        "model": name,
        "version": trained.version,
        "service": trained.service,
        "classes": trained.counts,
        "left_out": trained.left_out,
        "without_boxes": trained.without_boxes,
        "evaluation": None if trained.evaluation is None else trained.evaluation.as_json(),
    }
