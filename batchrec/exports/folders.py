"""folders: a folder for each top label, with its images as hard links, copies or symbolic links.

With `--top N` an image is in the folders of its first N labels; with `--failed`, in the folder of its failure's code.
Names of folders are those that Windows takes.
"""

from collections.abc import Iterator
from contextlib import closing

from ..journal.results import ImageResults
from ..language import _
from .boxes import name_of
from .exporter import Export
from .names import UniqueNames, safe_name


def write_folders(export: Export) -> None:
    """Put the images with a selected result into the folders of their labels."""
    folders: dict[str, str] = {}
    with closing(UniqueNames()) as names:
        for image in export.by_image():
            placed = 0
            for label in _names_of(export, image):
                if label not in folders:
                    folders[label] = names.take("", safe_name(label), "", label) or label
                    (export.folder / folders[label]).mkdir()
                placed += _place(export, names, image.image, folders[label])
            export.written += placed > 0
    for label, name in folders.items():
        if label != name:
            export.notes.append(_("label {label!r} is in the folder {name}").format(label=label, name=name))
        if not any((export.folder / name).iterdir()):
            (export.folder / name).rmdir()


def _names_of(export: Export, image: ImageResults) -> Iterator[str]:
    """The labels, or codes of failures, under which an image is filed, each once."""
    found: dict[str, None] = dict.fromkeys(str(failure["code"]) for failure in image.failures)
    for row in image.rows:
        labels = list(export.labels(row))[: export.selection.top or 1]
        if not labels:
            export.leave_out(_("results without a label"))
        found |= dict.fromkeys(name_of(label) for label in labels)
    yield from found


def _place(export: Export, names: UniqueNames, key: str, folder: str) -> bool:
    """Put an image into a folder. False where it is not there any more, which is counted."""
    stem, suffix = export.images.file_name(key)
    name = names.take(folder, stem, suffix, key)
    if name is None:
        return True
    path = f"{folder}/{name}{suffix}"
    if export.images.place(key, export.folder / path, export.target / path):
        return True
    export.leave_out(export.images.absence(key))
    return False
