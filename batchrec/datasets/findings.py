"""Findings of a check: each names a kind, a file or class, details, and by its kind the remedy.

An error stops `pack`, `upload` and `train`; a warning and a note stop nothing. `check` ends with exit code 1 for errors
and warnings. A note tells of a file that is packed in another form than it has, or not at all.
"""

from dataclasses import dataclass
from enum import StrEnum

from ..language import _, mark


class Severity(StrEnum):
    """Severity of a finding."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Kind:
    """Kind of finding. `fixed`: `check --fix` mends it, or leaves the file out."""

    severity: Severity
    text: str
    remedy: str
    fixed: bool = True


_ERROR, _WARNING, _NOTE = Severity
_LEAVE_OUT = mark("leave it out: --fix does, or get the file again")
_REENCODE = mark("re-encode it: --fix does")

UNKNOWN_BOXES = {"bad_annotation", "annotation_twice", "bad_box", "unknown_class", "size_differs"}
"""Findings of images that are left out: an object without a box would be trained as background."""

KINDS = {
    "unreadable": Kind(_ERROR, mark("cannot be read: {detail}"), mark("check the disk, the link and the permissions")),
    "empty": Kind(_ERROR, mark("has no bytes"), _LEAVE_OUT),
    "not_an_image": Kind(_ERROR, mark("is no image: {detail}"), _LEAVE_OUT),
    "torn": Kind(_ERROR, mark("is torn or damaged: {detail}"), _LEAVE_OUT),
    "unsupported": Kind(_ERROR, mark("is in a format that EasyDL does not take: {detail}"), _REENCODE),
    "too_large": Kind(_ERROR, mark("has too many bytes or pixels: {detail}"), mark("shrink it: --fix does")),
    "too_small": Kind(_ERROR, mark("is too small: {detail}"), _LEAVE_OUT),
    "too_long": Kind(_ERROR, mark("is too long and narrow: {detail}"), mark("crop it, or leave it out as --fix does")),
    "class_name": Kind(
        _ERROR,
        mark("is no name of a class for EasyDL: {detail}"),
        mark("rename the class, or give a name in --names mapping.toml; --fix renames"),
    ),
    "class_twice": Kind(
        _ERROR,
        mark("is the same class name as {detail}, but for capital letters"),
        mark("rename one class, or put the images of both into one"),
        fixed=False,
    ),
    "loose": Kind(_ERROR, mark("lies beside the folders of classes"), mark("put it into the folder of its class")),
    "too_many_classes": Kind(_ERROR, mark("has too many classes: {detail}"), mark("merge or remove classes"), False),
    "too_many_images": Kind(_ERROR, mark("has too many images: {detail}"), mark("remove images"), False),
    "bad_annotation": Kind(
        _ERROR, mark("has an annotation that cannot be read: {detail}"), mark("export it again; --fix leaves it out")
    ),
    "annotation_twice": Kind(
        _ERROR, mark("has two annotations: {detail}"), mark("remove one; --fix leaves the image out")
    ),
    "no_image": Kind(
        _ERROR,
        mark("is for an image that is not there: {detail}"),
        mark("add the image, or remove the annotation: --fix leaves it out"),
    ),
    "bad_box": Kind(
        _ERROR, mark("has a box that cannot be used: {detail}"), mark("draw it again; --fix leaves the image out")
    ),
    "box_outside": Kind(_ERROR, mark("has a box that leaves the image: {detail}"), mark("cut it: --fix does")),
    "unknown_class": Kind(
        _ERROR,
        mark("has a box of a class that is not listed: {detail}"),
        mark("add the class to the list; --fix leaves the image out"),
    ),
    "size_differs": Kind(
        _ERROR,
        mark("has another size than its annotation states: {detail}"),
        mark("annotate this image, or get the one that was annotated; --fix leaves it out"),
    ),
    "same_box": Kind(_WARNING, mark("has a box twice: {detail}"), mark("remove one: --fix does")),
    "no_boxes": Kind(
        _WARNING, mark("has no box"), mark("annotate it, or remove it: EasyDL does not train with it"), False
    ),
    "shape": Kind(_WARNING, mark("has a shape that is no box: {detail}"), mark("none, if the box around it fits")),
    "annotation_id": Kind(
        _WARNING, mark("has an annotation that COCO's tools drop: {detail}"), mark("number them from 1: --fix, pack do")
    ),
    "empty_class": Kind(_WARNING, mark("has no image"), mark("add images, or remove the class")),
    "few_images": Kind(
        _WARNING, mark("has few images: {detail}"), mark("add images: a model of so few means little"), fixed=False
    ),
    "same_bytes": Kind(_WARNING, mark("has the bytes of {detail}"), mark("remove one: EasyDL keeps one of them")),
    "copy": Kind(_WARNING, mark("looks like {detail}"), mark("remove one: it must not be in training and test"), False),
    "copy_across": Kind(
        _WARNING,
        mark("looks like an image of another class: {detail}"),
        mark("decide on one class, and remove the other image"),
        fixed=False,
    ),
    "flat": Kind(_WARNING, mark("has one colour all over"), mark("remove it, unless it is meant"), fixed=False),
    "lying": Kind(_WARNING, mark("is turned by its EXIF orientation"), mark("store it upright: --fix does")),
    "colours": Kind(_WARNING, mark("is not in plain colour: {detail}"), _REENCODE),
    "misnamed": Kind(_WARNING, mark("has the suffix of another format: {detail}"), mark("rename it: --fix does")),
    "suffix": Kind(_NOTE, mark("has an unusual suffix: {detail}"), mark("none: it is renamed when it is packed")),
    "nested": Kind(_NOTE, mark("lies in a folder within its class"), mark("none: it is packed without that folder")),
    "other_file": Kind(_NOTE, mark("is no image and no annotation"), mark("none: it is no part of the data set")),
    "system_file": Kind(_NOTE, mark("was made by a system or is hidden"), mark("none: it is no part of the data set")),
}
"""Every kind of finding by its name, which `--json` has."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Finding about a file (its key), a class (its name with `/` at the end) or the data set (empty)."""

    kind: str
    where: str
    detail: str = ""

    @property
    def severity(self) -> Severity:
        """The severity of its kind."""
        return KINDS[self.kind].severity

    @property
    def text(self) -> str:
        """The sentence without its subject, in the user's language."""
        return _(KINDS[self.kind].text).format(detail=self.detail)

    @property
    def remedy(self) -> str:
        """The remedy, in the user's language."""
        return _(KINDS[self.kind].remedy)
