"""Data sets made from the demo photographs, small, which the embedded network tells apart."""

from pathlib import Path

from PIL import Image

from tests.datasets.faulty import jpeg

PHOTOS = Path(__file__).parents[2] / "jobs" / "photos"
CLASSES = {"animals": "动物", "tools": "工具", "buildings": "建筑"}


def small(path: Path) -> Image.Image:
    """A photograph of at most 160 pixels a side."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((160, 160))
    return image


def save(path: Path, image: Image.Image) -> Path:
    """Write an image as a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(image))
    return path


def data_set(root: Path) -> Path:
    """Data set of three classes: 10 animals, 5 tools, 4 buildings."""
    for label, folder in CLASSES.items():
        for path in sorted((PHOTOS / folder).rglob("*.jpg"))[:10]:
            save(root / label / path.name, small(path))
    return root


def others(root: Path) -> Path:
    """Folder of seven images of other things."""
    for folder in ("日用品", "能源"):
        for path in sorted((PHOTOS / folder).glob("*.jpg")):
            save(root / path.name, small(path))
    return root
