"""Commands about models that are trained on this machine; they belong to `batchrec dataset`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..language import _
from .dataset import DataSetFolder, dataset_app, require_extra
from .options import Json
from .told import told
from .usage import one_of


class Augment(StrEnum):
    """Augmentation of a training."""

    FLIP = "flip"


ModelName = Annotated[
    str, typer.Argument(metavar="NAME", show_default=False, help=_("The model's name, the last part of its address."))
]


@dataset_app.command(
    "train",
    help=_(
        "Train a new version of a model on this machine, and print its evaluation by cross-validation.\n\n"
        "Example: `batchrec dataset train fruit --name fruit`"
    ),
)
def dataset_train(
    directory: DataSetFolder,
    name: Annotated[
        str,
        typer.Option(
            "--name", metavar="NAME", show_default=False, help=_("The model's name, the last part of its address.")
        ),
    ],
    other: Annotated[
        Path | None,
        typer.Option("--other", metavar="DIR", help=_("Images of other things, for a class of their own.")),
    ] = None,
    augment: Annotated[
        Augment | None,
        typer.Option(
            "--augment",
            parser=one_of(Augment),
            metavar="flip",
            show_default=False,
            help=_("Train from each image mirrored from left to right as well; only the images themselves are tested."),
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help=_("Train from the sound images of a data set with errors."))
    ] = False,
    json: Json = False,
) -> None:
    """Train a version."""
    with told():
        require_extra()
        from ..commands.train import train

        train(directory, name, other, force=force, json=json, augment=augment and augment.value)


@dataset_app.command(
    "versions",
    help=_("List the versions of a model with their accuracy.\n\nExample: `batchrec dataset versions fruit`"),
)
def dataset_versions(name: ModelName, json: Json = False) -> None:
    """List the versions."""
    with told():
        from ..commands.models import show_versions

        show_versions(name, json=json)


@dataset_app.command(
    "publish",
    help=_(
        "Put a version of a model under its name, on the embedded endpoint and in the emulator. An earlier version "
        "is published in the same way.\n\nExample: `batchrec dataset publish fruit V1`"
    ),
)
def dataset_publish(
    name: ModelName,
    version: Annotated[str, typer.Argument(metavar="VERSION", show_default=False, help=_("The version: V1, V2 ..."))],
) -> None:
    """Publish a version."""
    with told():
        from ..commands.models import publish

        publish(name, version)


@dataset_app.command(
    "bind",
    help=_(
        "Let an application call a model; until then calls get error code 6. The emulator has one application, and "
        "takes any ID for it.\n\nExample: `batchrec dataset bind fruit --app 12345678`"
    ),
)
def dataset_bind(
    name: ModelName,
    app: Annotated[
        str, typer.Option("--app", metavar="ID", show_default=False, help=_("The ID of the application (AppID)."))
    ],
) -> None:
    """Bind an application."""
    with told():
        from ..commands.models import bind

        bind(name, app)


@dataset_app.command(
    "unbind",
    help=_("Let no application call a model any more.\n\nExample: `batchrec dataset unbind fruit`"),
)
def dataset_unbind(name: ModelName) -> None:
    """Unbind all applications."""
    with told():
        from ..commands.models import unbind

        unbind(name)
