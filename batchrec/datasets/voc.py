"""Pascal VOC: an XML file for each image, with corners in pixels.

Width is xmax - xmin, as in Baidu's own sample, not one more.
"""

from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from ..values import Box
from .boxes import BadAnnotation, BadBox, Entry, Labelled, Size, from_corners, read_boxes, size_of, whole_corners

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def parse_voc(file: str, data: bytes) -> Entry:
    """Parse an annotation. Raises BadAnnotation."""
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        raise BadAnnotation(str(error)) from error
    if root.tag != "annotation":
        raise BadAnnotation("an element <annotation> expected")
    objects = ((f"object {number}", each) for number, each in enumerate(root.findall("object"), start=1))
    size = size_of(root.findtext("size/width"), root.findtext("size/height"))
    return Entry(replace(read_boxes(file, objects, _box), size=size), (root.findtext("filename") or "").strip())


def voc_xml(image: str, boxes: Sequence[Labelled], size: Size) -> bytes:
    """Write an annotation. `image`: the name of the file, without folders."""
    lines = ["<annotation>", f"  <filename>{escape(image)}</filename>"]
    lines += [f"  <size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"]
    for each in boxes:
        corners = zip(_CORNERS, whole_corners(each.box), strict=True)
        sides = "".join(f"<{name}>{value}</{name}>" for name, value in corners)
        lines.append(f"  <object><name>{escape(each.label)}</name><bndbox>{sides}</bndbox></object>")
    return ("\n".join([*lines, "</annotation>"]) + "\n").encode()


def _box(item: ElementTree.Element) -> tuple[str, Box]:
    name, box = item.findtext("name"), item.find("bndbox")
    if name is None or box is None:
        raise BadBox("<name> and <bndbox> expected")
    return name.strip(), from_corners(*(box.findtext(corner) for corner in _CORNERS))
