"""Safetensors files, as far as padding needs them. Names, shapes and numbers in them are a stranger's.

Not by the library of that name: it maps and allocates what a header says before anything of it could be refused.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from wardrobe_contracts.digests import HEADER_LENGTH_BYTES

MOST_HEADER_BYTES = 1 << 20
"""Parsed, it may take thirty times that."""
MOST_TENSORS = 5_000
"""A, B and seven modules of 350 layers; the header then has about 0.9 MB."""
MOST_TENSOR_BYTES = 512 << 20
"""Rank 512 by 128,000 features in float32 has half of it."""
PIECE_BYTES = 4 << 20
"""Of a tensor in memory at a time, or one row where that is longer: an agent has 512 MiB for all that it does."""

Bits = NDArray[np.unsignedinteger[Any]]
"""Floating-point numbers as they lie in the file: padding needs their zeros only, and numpy has no bfloat16."""

_EXPONENTS = {"F32": (np.uint32, 0x7F80_0000), "F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80)}
"""By type: what holds it, and the bits that are all set where a value is infinite or no number."""


class TensorsError(Exception):
    """Not a safetensors file that is read here; the text says why."""


@dataclass(frozen=True)
class Tensor:
    """A matrix that a header announces."""

    dtype: str
    shape: tuple[int, int]
    start: int
    """Byte in the file."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.shape[0] * self.shape[1] * np.dtype(_EXPONENTS[self.dtype][0]).itemsize


@dataclass(frozen=True)
class Weights:
    """An open file."""

    file: BinaryIO
    tensors: Mapping[str, Tensor]
    piece_bytes: int

    def pieces(self, name: str) -> Iterator[Bits]:
        """A matrix, some rows at a time. Raises TensorsError where the file ends before."""
        tensor = self.tensors[name]
        row = tensor.size // tensor.shape[0]
        for first, rows in _blocks(tensor.shape[0], row, self.piece_bytes):
            self.file.seek(tensor.start + first * row)
            data = self.file.read(rows * row)
            if len(data) < rows * row:
                raise TensorsError(f"{name} is cut off. Publish the adapter again")
            bits: Bits = np.frombuffer(data, _EXPONENTS[tensor.dtype][0]).reshape(rows, tensor.shape[1])
            yield bits

    def first_not_finite(self) -> str | None:
        """The name of a matrix with an infinite value or none at all."""
        for name, tensor in self.tensors.items():
            exponent = _EXPONENTS[tensor.dtype][1]
            if any(bool(((piece & exponent) == exponent).any()) for piece in self.pieces(name)):
                return name
        return None


@contextmanager
def opened(path: Path, piece_bytes: int = PIECE_BYTES) -> Iterator[Weights]:
    """A file whose header was read and checked. Raises TensorsError, or OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
        start = HEADER_LENGTH_BYTES + length
        if not 2 <= length <= MOST_HEADER_BYTES or start > size:
            raise TensorsError(f"its header has {length} bytes: {MOST_HEADER_BYTES} and the file's {size} are the most")
        yield Weights(file, _tensors(file.read(length), start, size), piece_bytes)


def write(
    path: Path,
    tensors: Iterable[tuple[str, str, tuple[int, int]]],
    data: Iterable[Iterable[Bits]],
    piece_bytes: int = PIECE_BYTES,
) -> None:
    """A new file of (name, type, shape), with the rows of each. Zeros fill up rows that are shorter or fewer.

    Returns when it is on disk.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    places: list[Tensor] = []
    end = 0
    for name, dtype, shape in tensors:
        places.append(Tensor(dtype, shape, end))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + places[-1].size]}
        end += places[-1].size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(HEADER_LENGTH_BYTES, "little") + text)
        for place, pieces in zip(places, data, strict=True):
            for piece in _filled(place, pieces, piece_bytes):
                file.write(piece.data)
        file.flush()
        os.fsync(file.fileno())


def _filled(tensor: Tensor, pieces: Iterable[Bits], piece_bytes: int) -> Iterator[Bits]:
    """Rows with zeros to the right, and then rows of zeros."""
    (rows, columns), kind = tensor.shape, _EXPONENTS[tensor.dtype][0]
    for piece in pieces:
        rows -= len(piece)
        yield np.pad(piece, ((0, 0), (0, columns - piece.shape[1])))
    for _, some in _blocks(rows, tensor.size // tensor.shape[0], piece_bytes):
        yield np.zeros((some, columns), kind)


def _blocks(rows: int, row_bytes: int, piece_bytes: int) -> Iterator[tuple[int, int]]:
    """First row, and number of rows, of pieces that are small enough."""
    most = max(1, piece_bytes // row_bytes)
    return ((first, min(most, rows - first)) for first in range(0, rows, most))


def _tensors(header: bytes, start: int, size: int) -> dict[str, Tensor]:
    try:
        found = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise TensorsError(f"its header is no JSON: {error}. Publish the adapter again") from error
    if not isinstance(found, dict) or len(found) > MOST_TENSORS:
        raise TensorsError(f"its header is no object of at most {MOST_TENSORS} tensors. Publish the adapter again")
    return {name: _tensor(name, entry, start, size) for name, entry in found.items() if name != "__metadata__"}


def _tensor(name: str, entry: Any, start: int, size: int) -> Tensor:
    match entry:
        case {"dtype": str(dtype), "shape": [int(rows), int(columns)], "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise TensorsError(f"{name:.200} is no matrix: {entry!s:.100}. LoRA has matrices only")
    if dtype not in _EXPONENTS:
        raise TensorsError(f"{name:.200} is of type {dtype:.20}: {', '.join(_EXPONENTS)} are read")
    tensor = Tensor(dtype, (rows, columns), start + begin)
    sane = min(rows, columns) > 0 and tensor.size <= MOST_TENSOR_BYTES
    if not sane or tensor.size != end - begin or begin < 0 or start + end > size:
        raise TensorsError(f"{name:.200} of {dtype} {rows} x {columns} does not fit into bytes {begin} to {end}")
    return tensor
