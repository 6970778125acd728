"""Commands about data sets for training an EasyDL model."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..language import _
from .help import App
from .options import MOST, DirectoryOrJob, Json
from .results import StepOption
from .told import told
from .usage import number, one_of, whole_number

dataset_app = App(no_args_is_help=True)

DataSetFolder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        show_default=False,
        help=_("A data set: a folder of images for each class, or images with annotations."),
    ),
]


class DataSetType(StrEnum):
    """Type of a data set."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"


class ArchiveFormat(StrEnum):
    """Format of an archive."""

    FOLDERS = "folders"
    EASYDATA = "easydata"
    VOC = "voc"
    COCO = "coco"


Type = Annotated[
    DataSetType | None,
    typer.Option(
        "--type",
        parser=one_of(DataSetType),
        metavar="classification|detection",
        show_default=False,
        help=_("Type of the data set; by default detection where there are annotations."),
    ),
]
Force = Annotated[bool, typer.Option("--force", help=_("Take a data set with errors as well."))]


@dataset_app.command(
    "check",
    help=_(
        "Check a data set by EasyDL's rules: names, counts, damage, copies. Exit code 1 for findings.\n\n"
        "Example: `batchrec dataset check fruit`"
    ),
)
def dataset_check(
    directory: DataSetFolder,
    type: Type = None,
    deep: Annotated[
        bool, typer.Option("--deep", help=_("Find mirrored and cropped copies, and prove that no pixel is missing."))
    ] = False,
    fix: Annotated[
        Path | None, typer.Option("--fix", metavar="OUT", help=_("Write a mended data set to this new folder."))
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option("--names", metavar="mapping.toml", help=_("New names of classes, for --fix.")),
    ] = None,
    json: Json = False,
) -> None:
    """Check a data set."""
    with told():
        require_extra()
        from ..commands.dataset import check_data_set

        raise typer.Exit(check_data_set(directory, type, deep=deep, fix=fix, names=names, json=json))


@dataset_app.command(
    "pack",
    help=_(
        "Pack a data set into zip archives for EasyDL's console, below 4 GiB each; the same bytes each time.\n\n"
        "Example: `batchrec dataset pack fruit --out fruit.zip`"
    ),
)
def dataset_pack(
    directory: DataSetFolder,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.zip", show_default=False, help=_("The archive to write."))
    ],
    type: Type = None,
    format: Annotated[
        ArchiveFormat | None,
        typer.Option(
            "--format",
            parser=one_of(ArchiveFormat),
            metavar="folders|easydata|voc|coco",
            show_default=False,
            help=_("Layout of the archive: folders for classification, the others for detection (default easydata)."),
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Pack a data set."""
    with told():
        require_extra()
        from ..commands.dataset import pack_data_set

        pack_data_set(directory, out, type, format, force=force)


class FromResultsFormat(StrEnum):
    """Format of a data set out of results."""

    FOLDERS = "folders"
    LABEL_STUDIO = "labelstudio"


@dataset_app.command(
    "from-results",
    help=_(
        "Make a data set of images that were recognized: folders of classes, or tasks for Label Studio.\n\n"
        "Example: `batchrec dataset from-results results/demo --out fruit --min-score 0.8`"
    ),
)
def dataset_from_results(
    directory: DirectoryOrJob,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", show_default=False, help=_("The folder to write."))],
    format: Annotated[
        FromResultsFormat,
        typer.Option(
            "--format",
            parser=one_of(FromResultsFormat),
            metavar="folders|labelstudio",
            help=_("Folders of classes, or tasks to correct."),
        ),
    ] = FromResultsFormat.FOLDERS,
    step: StepOption = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score", parser=number(), metavar="X", help=_("Images whose top label has this score or more.")
        ),
    ] = None,
    max_per_class: Annotated[
        int | None,
        typer.Option(
            "--max-per-class", parser=whole_number(1, MOST), metavar="N", help=_("At most N images of a class.")
        ),
    ] = None,
    unsure: Annotated[
        int | None,
        typer.Option(
            "--unsure",
            parser=whole_number(1, MOST),
            metavar="N",
            help=_("The N images whose two best labels are nearest, first."),
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option("--names", metavar="mapping.toml", help=_("New names of classes, for folders.")),
    ] = None,
) -> None:
    """Make a data set of results."""
    with told():
        require_extra()
        from ..commands.from_results import FromResultsOptions, data_set_from_results

        data_set_from_results(directory, out, FromResultsOptions(format, step, min_score, max_per_class, unsure, names))


@dataset_app.command(
    "upload",
    help=_(
        "Upload a data set to EasyDL: make it, add each image, compare the labels. Run again to go on.\n\n"
        "Example: `batchrec dataset upload fruit --name fruit`"
    ),
)
def dataset_upload(
    directory: DataSetFolder,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", show_default=False, help=_("The data set's name in EasyDL."))
    ],
    type: Type = None,
    force: Force = False,
    again: Annotated[
        bool, typer.Option("--again", help=_("Send images that were sent earlier as well; each replaces itself."))
    ] = False,
    qps: Annotated[
        float, typer.Option("--qps", parser=number(0.01, 1000), metavar="N", help=_("Calls per second."))
    ] = 2.0,
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help=_("The credentials, as `batchrec login` keeps them."))
    ] = "default",
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", metavar="URL", show_default=False, help=_("The address of the service.")),
    ] = None,
) -> None:
    """Upload a data set."""
    with told():
        require_extra()
        from ..commands.upload import UploadOptions, upload_data_set

        options = UploadOptions(type, force, again, profile, endpoint, qps)
        raise typer.Exit(upload_data_set(directory, name, options))


def require_extra() -> None:
    """Raise JobError where the extra `dataset` is not installed."""
    from ..console.extras import require_extra

    require_extra("dataset", "batchrec dataset", "globox", "numpy", "onnxruntime", "sklearn", "yaml")
