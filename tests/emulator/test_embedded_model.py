"""The embedded model: its weights, the places of things, and its labels for the demo photographs."""

# ruff: noqa: E402  -- whether the extra is there is asked first

import asyncio
import hashlib
import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest
from PIL import ExifTags, Image

for extra in ("numpy", "onnx", "onnxruntime"):
    pytest.importorskip(extra, reason="the extra 'local' is not installed")

import numpy as np

from batchrec.api.services import LIMITS_2024
from batchrec.emulator.answers import Guess, Undecodable, activation, classes, weights
from batchrec.emulator.answers.model import SCOPES, EmbeddedModel, merged, squashed
from batchrec.emulator.answers.network import Network, times
from batchrec.emulator.answers.weights import WeightsError
from batchrec.emulator.images import Picture
from batchrec.images import prepare
from batchrec.values import Prepared, Treatment

PHOTOS = Path(__file__).parents[2] / "jobs" / "photos"
RED_PANDA, HAMMER = PHOTOS / "动物" / "red_panda.jpg", PHOTOS / "工具" / "hammer.jpg"
ALL = sorted(PHOTOS.rglob("*.jpg"))


def photo(path: Path) -> Picture:
    return of_bytes(path.read_bytes())


def drawn(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return of_bytes(buffer.getvalue())


def of_bytes(data: bytes) -> Picture:
    with Image.open(io.BytesIO(data)) as image:
        return Picture(data, hashlib.sha256(data).hexdigest(), str(image.format), image.width, image.height)


@pytest.fixture(scope="module")
def model() -> Iterator[EmbeddedModel]:
    with closing(EmbeddedModel()) as model:
        yield model


@pytest.fixture(scope="module")
def network() -> Network:
    return Network.load(weights.find())


async def names(model: EmbeddedModel, service: str, path: Path) -> list[str]:
    return [guess.name for guess in await model.answer(service, photo(path), {})]


# --- the weights file ---


class Command:
    """Unpickled by an ordinary reader, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


@dataclass(frozen=True)
class Tensor:
    """Pickled as torch does it: a view of a storage that comes later."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def torch_file(tmp_path: Path, tensor: object, *, data: bytes = bytes(24), magic: int = weights.MAGIC) -> Path:
    """A file as torch wrote them before 1.6, with one entry."""
    out = io.BytesIO()
    header: tuple[object, ...] = (magic, weights.PROTOCOL, {})
    for value in header:
        pickle.dump(value, out, protocol=2)
    out.write(state(tensor))
    pickle.dump(["0"], out, protocol=2)
    out.write((6).to_bytes(8, "little") + data)
    path = tmp_path / "weights.pth"
    path.write_bytes(out.getvalue())
    return path


def state(tensor: object) -> bytes:
    """The fourth pickle: ``{"x": tensor}``; the `Tensor` is written by hand, since torch is not installed."""
    if not isinstance(tensor, Tensor):
        return pickle.dumps(OrderedDict(x=tensor), protocol=2)
    view = tensor.offset, tensor.shape, tensor.strides
    offset, shape, strides = (pickle.dumps(part, protocol=2)[2:-1] for part in view)
    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + b"0X\3\0\0\0cpuK\6NtQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + shape + strides + b"\x89}tR"
    return b"\x80\2ccollections\nOrderedDict\n)RX\1\0\0\0x" + rebuilt + b"s."


def load(path: Path) -> weights.Weights:
    """Read a file that is taken for the known one."""
    return weights.load(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_another_file_is_refused_before_it_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte more than the known file: none of it is unpickled, and the message has the remedy."""
    path = tmp_path / "weights.pth"
    path.write_bytes(weights.find().read_bytes() + b"\0")
    monkeypatch.setattr(weights, "_Reader", None)
    with pytest.raises(WeightsError, match=r"SHA-256 is .*, expected 5793.*pip install --force-reinstall"):
        weights.load(path)


def test_a_pickle_with_allowed_names_alone_is_refused_too(tmp_path: Path) -> None:
    """It reads well where it is taken for the known file, and is refused where it is not."""
    path = torch_file(tmp_path, Tensor(0, (2, 3), (1, 2)))
    assert load(path)["x"].shape == (2, 3)
    with pytest.raises(WeightsError, match="SHA-256"):
        weights.load(path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """With its path and the reason."""
    with pytest.raises(WeightsError, match=r"gone\.pth: No such file"):
        weights.load(tmp_path / "gone.pth")


def test_tensors_are_read_with_their_strides(tmp_path: Path) -> None:
    """A transposed view comes out transposed."""
    floats = np.arange(6, dtype="<f4")
    path = torch_file(tmp_path, Tensor(0, (2, 3), (1, 2)), data=floats.tobytes())
    assert load(path)["x"].tolist() == floats.reshape(3, 2).T.tolist()


def test_a_pickle_that_calls_something_is_refused(tmp_path: Path) -> None:
    """No code of the file runs; the message names what it asked for."""
    folder = tmp_path / "made by the pickle"
    with pytest.raises(WeightsError, match="mkdir"):
        load(torch_file(tmp_path, Command(folder)))
    assert not folder.exists()


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(0, (7,), (1,)),
        Tensor(4, (3,), (1,)),
        Tensor(0, (2, 2), (1, 5)),
        Tensor(0, (2,), (-1,)),
        Tensor(-1, (2,), (1,)),
        Tensor(0, (2, 2), (1,)),
        Tensor(0, (0,), (1,)),
        "no tensor",
    ],
    ids=repr,
)
def test_tensors_beyond_their_storage_are_refused(tmp_path: Path, tensor: object) -> None:
    """Every offset, size and stride is checked before an array is made of it."""
    with pytest.raises(WeightsError):
        load(torch_file(tmp_path, tensor))


@pytest.mark.parametrize("damage", ["short", "magic", "empty", "text"])
def test_other_files_are_refused(tmp_path: Path, damage: str) -> None:
    """A file that is cut, or is something else, ends in one kind of error."""
    dense = Tensor(0, (6,), (1,))
    path = torch_file(
        tmp_path, dense, data=bytes(23 if damage == "short" else 24), magic=1 if damage == "magic" else weights.MAGIC
    )
    if damage in ("empty", "text"):
        path.write_text("" if damage == "empty" else "no pickle")
    with pytest.raises(WeightsError, match=r"weights\.pth cannot be read"):
        load(path)


# --- orientation ---

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""By orientation: from an image as displayed to one as stored."""


def lying(image: Image.Image, orientation: int, format: str = "JPEG") -> bytes:
    """A photograph as a camera stores it, with EXIF that says how it is to be turned."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    stored = image if orientation == 1 else image.transpose(TURNS[orientation])
    stored.save(file, format, quality=95, subsampling=0, exif=exif)
    return file.getvalue()


async def test_top_labels_do_not_depend_on_the_orientation(model: EmbeddedModel) -> None:
    """A demo photograph has one top label for all eight, as a job sends it and as others send it."""
    several = {}
    for path in ALL[::4]:
        image = Image.open(path).convert("RGB")
        tops = set()
        for orientation in range(1, 9):
            data = lying(image, orientation)
            sent = prepare(data, LIMITS_2024, Treatment())
            assert isinstance(sent, Prepared)
            for each in (data, sent.data):
                tops.add((await model.answer("advanced_general", of_bytes(each), {}))[0].name)
        if len(tops) > 1:
            several[path.name] = tops
    assert several == {}


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
async def test_a_box_is_in_pixels_of_the_image_as_displayed(model: EmbeddedModel, format: str) -> None:
    """So it does not depend on the orientation, but for a few pixels."""
    image = Image.open(HAMMER).convert("RGB").crop((0, 0, 300, 200))
    boxes = [
        (await model.answer("object_detect", of_bytes(lying(image, orientation, format)), {}))[0].box
        for orientation in (1, 3, 6)
    ]
    for found in boxes[1:]:
        assert [abs(a - b) <= 12 for a, b in zip(astuple(boxes[0]), astuple(found), strict=True)] == [True] * 4


# --- the network ---


def test_scores_are_probabilities(network: Network) -> None:
    """They sum to one, there are 1,000 of them, and the table has a line for each."""
    scores, cells = network.see(squashed(photo(RED_PANDA)))
    assert float(scores.sum()) == pytest.approx(1, abs=1e-5)
    assert (scores.shape, cells.shape) == ((1000,), (1280, 7, 7))
    assert len(classes.load()) == 1000


def test_products_in_blocks_are_those_of_the_whole_matrix() -> None:
    """Also where the rows are no multiple of a block."""
    chance = np.random.default_rng(1)
    for rows in (1, 250, 1001):
        matrix, vector = chance.random((rows, 12), np.float32), chance.random(12, np.float32)
        np.testing.assert_allclose(times(matrix, vector), matrix @ vector, rtol=1e-5)


def test_features_are_the_mean_of_the_map(network: Network) -> None:
    """So the linear layer's weights apply to each cell of the map."""
    image = np.full((1, 224, 224, 3), 90, np.uint8)
    features, cells = network.session.run(["features", "map"], {"image": image})
    np.testing.assert_allclose(features[0], cells[0].mean(axis=(1, 2)), atol=1e-5)


def test_the_same_picture_gets_the_same_answer() -> None:
    """From one model and the next, to the last digit."""

    async def ask() -> list[Guess]:
        with closing(EmbeddedModel()) as model:
            return list(await model.answer("advanced_general", photo(HAMMER), {}))

    assert asyncio.run(ask()) == asyncio.run(ask())


async def test_two_threads_agree_with_one() -> None:
    """Simultaneous calls share the session without mixing: the same rows, up to the rounding of sums."""
    with closing(EmbeddedModel(threads=2)) as two, closing(EmbeddedModel(threads=1)) as one:
        asked = [(service, photo(path)) for path in ALL[:8] for service in ("advanced_general", "object_detect")]
        together = await asyncio.gather(*(two.answer(service, picture, {}) for service, picture in asked))
        for guesses, (service, picture) in zip(together, asked, strict=True):
            alone = await one.answer(service, picture, {})
            assert [guess.name for guess in guesses] == [guess.name for guess in alone]
            assert [guess.score for guess in guesses] == pytest.approx([guess.score for guess in alone], abs=1e-5)
            for box, other in ((guess.box, same.box) for guess, same in zip(guesses, alone, strict=True)):
                assert (box is None) == (other is None)
                if box and other:  # on a grid whose lines a rounding may cross
                    cell = max(picture.width, picture.height) / activation.GRID + 1
                    assert astuple(box) == pytest.approx(astuple(other), abs=cell)


# --- what the services say ---


async def test_a_red_panda_is_one(model: EmbeddedModel) -> None:
    """It comes first among things and among animals, with a root."""
    first = (await model.answer("advanced_general", photo(RED_PANDA), {}))[0]
    assert (first.name, first.root) == ("小熊猫", "动物-哺乳动物")
    assert first.score > 0.5
    assert (await names(model, "animal", RED_PANDA))[0] == "小熊猫"


async def test_a_hammer_is_no_animal(model: EmbeddedModel) -> None:
    """Nor a plant, a dish, a car or an ingredient; but it is a hammer."""
    assert (await names(model, "advanced_general", HAMMER))[0] == "锤子"
    for service in ("animal", "plant", "dish", "car", "ingredient"):
        assert await model.answer(service, photo(HAMMER), {}) == []


@pytest.mark.parametrize(
    "service",
    ["logo", "landmark", "redwine", "currency", "multi_object_detect", "easydl_classification", "easydl_detection"],
)
async def test_what_the_model_cannot_know_is_not_answered(model: EmbeddedModel, service: str) -> None:
    """The services without classes of their own find nothing on any picture."""
    assert await model.answer(service, photo(RED_PANDA), {}) == []


async def test_animals_and_only_animals_pass_as_such(model: EmbeddedModel) -> None:
    """Of the first job's photographs."""
    found = {path for path in ALL if await model.answer("animal", photo(path), {})}
    assert found == {path for path in ALL if "动物" in path.parts}


async def test_answers_come_best_first(model: EmbeddedModel) -> None:
    """And at most as many as the table says; scores are the network's own."""
    for service, scope in SCOPES.items():
        scores = [guess.score for guess in await model.answer(service, photo(RED_PANDA), {})]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) <= scope.rows
        assert sum(scores) <= 1


def test_classes_of_one_name_are_one_row() -> None:
    """Their probabilities add up, and the order follows."""
    guesses = [Guess("跑车", 0.5), Guess("摩托车", 0.375), Guess("摩托车", 0.25)]
    assert merged(guesses) == [Guess("摩托车", 0.625), Guess("跑车", 0.5)]


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "I;16"])
async def test_every_colour_mode_is_seen(model: EmbeddedModel, mode: str) -> None:
    """Grey, palette, bitmap, transparent and 16-bit pictures are answered like any other."""
    assert len(await model.answer("advanced_general", drawn(Image.new(mode, (40, 30))), {})) == 5


async def test_a_broken_picture_is_said_to_be_one(model: EmbeddedModel) -> None:
    """A file whose header is right and whose rest is missing; the service has an error code for it."""
    whole = photo(RED_PANDA)
    torn = Picture(whole.data[:3000], whole.sha256, "JPEG", whole.width, whole.height)
    with pytest.raises(Undecodable):
        await model.answer("advanced_general", torn, {})


# --- where things are ---


async def test_boxes_lie_inside_the_picture(model: EmbeddedModel) -> None:
    """For photographs, and for pictures with nothing on them and of odd sizes."""
    pictures = [photo(path) for path in ALL]
    pictures += [drawn(Image.new("RGB", size, "grey")) for size in ((15, 15), (16, 60), (60, 17), (500, 130))]
    for picture in pictures:
        (guess,) = await model.answer("object_detect", picture, {})
        box = guess.box
        assert box is not None
        assert box.left >= 0 <= box.top
        assert box.width >= 1 <= box.height
        assert box.left + box.width <= picture.width
        assert box.top + box.height <= picture.height


def test_the_box_is_round_the_strongest_spot() -> None:
    """A weaker spot that does not touch it stays outside, and a channel without weight does not count."""
    cells = np.zeros((2, 7, 7), np.float32)
    cells[0, 1, 1], cells[0, 5, 5], cells[1] = 1, 0.8, 9
    box = activation.locate(cells, np.array([1.0, 0.0]), 700, 350)
    assert 0 <= box.left <= 100
    assert 200 <= box.left + box.width <= 300
    assert 0 <= box.top <= 50
    assert 100 <= box.top + box.height <= 150


def test_a_map_without_a_spot_gives_the_whole_picture() -> None:
    """Nothing stands out among equal cells."""
    box = activation.locate(np.ones((1, 7, 7), np.float32), np.array([1.0]), 70, 35)
    assert (box.left, box.top, box.width, box.height) == (0, 0, 70, 35)


# --- its life ---


async def test_a_closed_model_lets_go() -> None:
    """Closing twice is fine; a closed model has no answers."""
    model = EmbeddedModel(threads=1)
    assert await model.answer("object_detect", photo(RED_PANDA), {})
    model.close()
    model.close()
    with pytest.raises(RuntimeError):
        await model.answer("object_detect", photo(RED_PANDA), {})


def test_missing_weights_are_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as a missing onnxruntime, so that one ``except`` is enough to fall back."""
    monkeypatch.setattr(weights, "PACKAGE", "a-package-that-is-not-installed")
    with pytest.raises(ImportError):
        EmbeddedModel()
