"""yolo: data.yaml, labels/ with a text file an image, and images/ with the images.

Each line of a text file is the number of a class and the box: centre, width and height, as shares of the image as
displayed. Numbers of classes index the names in data.yaml. Ultralytics finds `labels/` beside `images/`.
"""

import json
from contextlib import closing

from ..language import _
from .boxes import boxed, without_boxes
from .exporter import Export
from .names import UniqueNames


def write_yolo(export: Export) -> None:
    """Write the images with a selected result, and their labels with boxes.

    Images on which nothing was found get an empty file.
    """
    labels, pictures = export.folder / "labels", export.folder / "images"
    labels.mkdir()
    pictures.mkdir()
    classes: dict[str, int] = {}
    lines = 0
    with closing(UniqueNames()) as names:
        for image in export.by_image():
            if without_boxes(export, image.rows):
                export.leave_out(_("images whose labels have no boxes"))
                continue
            size = export.images.size(image.image)
            if size is None:
                export.leave_out(_("images that cannot be read, so that their size is not known"))
                continue
            stem, suffix = export.images.file_name(image.image)
            name = names.take("", stem, suffix, image.image)
            target = export.target / "images" / f"{name}{suffix}"
            if not export.images.place(image.image, pictures / f"{name}{suffix}", target):
                export.leave_out(export.images.absence(image.image))
                continue
            with (labels / f"{name}.txt").open("w", encoding="ascii", newline="\n") as file:
                for row in image.rows:
                    for label in boxed(export, row, size):
                        number = classes.setdefault(label.name, len(classes))
                        box = label.box
                        centre = (box.left + box.width / 2) / size[0], (box.top + box.height / 2) / size[1]
                        shares = (*centre, box.width / size[0], box.height / size[1])
                        file.write(" ".join((str(number), *(f"{share:.6f}" for share in shares))) + "\n")
                        lines += 1
            export.written += 1
    _write_names(export, classes)
    if not lines:
        export.notes.append(_("labels/ holds no box: no selected label has one"))


def _write_names(export: Export, classes: dict[str, int]) -> None:
    """Write data.yaml. A JSON text in double quotes is one in YAML, too."""
    with (export.folder / "data.yaml").open("w", encoding="utf-8", newline="\n") as file:
        for key, value in export.origin.items():
            file.write(f"# {key}: {json.dumps(value, ensure_ascii=True)}\n")
        file.write("train: images\nval: images\n")
        file.write("names:\n" if classes else "names: {}\n")
        for name, number in classes.items():
            file.write(f"  {number}: {json.dumps(name, ensure_ascii=False)}\n")
