"""Lines that fit a screen, counted in cells: a Chinese character takes two."""

import pytest
from rich.cells import cell_len
from rich.text import Text

from batchrec.console.screen import cut_end, cut_front, flow


@pytest.mark.parametrize("cells", [6, 7, 12, 40])
def test_names_are_cut_at_the_front(cells: int) -> None:
    """The end of a name is kept, and the rest is at most as wide as asked for."""
    cut = cut_front("家居/沙发/沙发_0815.jpg", cells)
    assert cell_len(cut) <= cells
    assert cut.endswith(".jpg")
    assert (cut == "家居/沙发/沙发_0815.jpg") == (cells == 40)


def test_labels_are_cut_at_the_end() -> None:
    """A wide character that does not fit is left out whole."""
    assert [cut_end("沙发 0.87", cells) for cells in (4, 5, 9)] == ["沙…", "沙发…", "沙发 0.87"]


def test_parts_flow_into_lines() -> None:
    """A line breaks between parts; a part that is too long breaks between words."""
    parts = [Text("27 images done"), Text("38 results"), Text("38 calls in 1.8 s and more")]
    assert [line.plain for line in flow(parts, 28, 2)] == [
        "27 images done · 38 results",
        "  38 calls in 1.8 s and more",
    ]
    folded = flow(parts, 16, 2)
    assert max(line.cell_len for line in folded) <= 16
    assert " ".join(line.plain.strip() for line in folded) == "27 images done 38 results 38 calls in 1.8 s and more"
