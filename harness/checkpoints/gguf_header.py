"""The header of a GGUF file: its settings and the table of its tensors, read without the weights.

Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md. Not here: files in several parts, and llama.cpp's adapters;
both are refused.
"""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from harness.checkpoints import files, limits
from harness.errors import HarnessError

PART = re.compile(r".+-(\d{5})-of-(\d{5})\.gguf")
"""Name of one part of a GGUF file that llama.cpp split."""
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_BYTES = 256 << 20
"""Largest header: that of 262,000 tokens with their merges takes 15 MB."""
_SETTINGS, _TENSORS, _DIMENSIONS, _DEPTH = 100_000, 1_000_000, 8, 4
"""Largest numbers of settings, of tensors, of dimensions of a tensor, and of lists within lists."""
_ITEMS = 4_000_000
"""Longest list: a vocabulary has 262,000 tokens and twice as many merges."""
_BLOCKS = 10_000
"""Largest number of layers, heads and experts."""
_COUNTED = re.compile(r"\w+\.(block_count|attention\.head_count\w*|expert\w*_count|\w*layer\w*_count)")


class Tensor(NamedTuple):
    """A tensor in the table of a file."""

    name: str
    type: int
    """Number of its data type in ggml."""
    elements: int
    offset: int
    """Bytes from the start of the file's weights to those of this tensor."""


class Header(NamedTuple):
    """What precedes the weights in a file."""

    metadata: dict[str, Any]
    """Settings by name; a list of texts, such as the vocabulary, is represented by its length."""
    tensors: list[Tensor]
    start: int
    """Bytes before the weights."""

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture."""
        return str(self.metadata["general.architecture"])


def read(file: Path) -> Header:
    """Return the header of `file`.

    Raises HarnessError if it is damaged, truncated, one part of several, or not a whole language model.
    """
    if part := PART.fullmatch(file.name):
        raise HarnessError(
            f"{file} is part {int(part[1])} of {int(part[2])} of a GGUF file: join them with llama-gguf-split --merge"
        )
    files.check_no_pointer(file)
    try:
        with file.open("rb") as stream:
            header, end = _parse(stream, file)
    except (struct.error, UnicodeDecodeError, OverflowError, MemoryError, ValueError, TypeError) as error:
        raise HarnessError(f"{file} is truncated or damaged inside its header: fetch it again") from error
    _check_settings(header.metadata, file)
    size = file.stat().st_size
    if size < end:
        raise HarnessError(f"{file} is truncated ({size:,} of {end:,} bytes): fetch it again")
    kind = header.metadata.get("general.type", "model")
    if kind != "model":
        raise HarnessError(f"{file} holds no whole model, but what llama.cpp calls '{kind}': name the model's file")
    if not header.tensors:
        raise HarnessError(f"{file} holds no weights: fetch it again")
    return header


def _parse(stream: BinaryIO, file: Path) -> tuple[Header, int]:
    """Return the header in `stream`, and the number of bytes that the whole file must have."""
    if stream.read(4) != b"GGUF":
        raise HarnessError(f"{file} is not a GGUF file: its first bytes are others; fetch it again")
    version, tensor_count, setting_count = _unpack(stream, "IQQ")
    if version not in (2, 3):
        note = "big-endian" if version & 0xFFFF == 0 else f"version {version}"
        raise HarnessError(f"{file} is a GGUF file of {note}, which transformers does not read: convert it again")
    if setting_count > _SETTINGS or tensor_count > _TENSORS:
        raise struct.error("more settings or tensors than any model has")
    metadata: dict[str, Any] = {}
    for _ in range(setting_count):
        key = _text(stream)
        metadata[key] = _value(stream, *_unpack(stream, "I"))
    if "general.architecture" not in metadata:
        raise HarnessError(f"{file} names no general.architecture: fetch or convert it again")
    tensors, end = [], 0
    for _ in range(tensor_count):
        name = _text(stream)
        (count,) = _unpack(stream, "I")
        if count > _DIMENSIONS:
            raise struct.error(f"{count} dimensions")
        dimensions = _unpack(stream, f"{count}Q")
        number, offset = _unpack(stream, "IQ")
        tensors.append(Tensor(name, number, math.prod(dimensions), offset))
        end = max(end, offset + _bytes(tensors[-1], file))
    alignment = int(metadata.get("general.alignment", 32))
    if not 0 < alignment <= 1 << 20:
        raise struct.error(f"alignment {alignment}")
    start = -(-stream.tell() // alignment) * alignment
    return Header(metadata, tensors, start), start + end


def _check_settings(metadata: dict[str, Any], file: Path) -> None:
    """Raise HarnessError if `metadata` counts more layers, heads or experts than any model has."""
    for key, value in metadata.items():
        counts = value if isinstance(value, list) else [value]
        if _COUNTED.fullmatch(key) and not all(type(count) is int and 0 <= count <= _BLOCKS for count in counts):
            raise HarnessError(f"{file} states {key} as {str(value)[:60]}, more than any model has: fetch it again")
        if key.endswith(".context_length") and not (type(value) is int and 0 <= value <= limits.POSITIONS):
            raise HarnessError(f"{file} states {key} as {str(value)[:60]}, longer than any context: fetch it again")


def _unpack(stream: BinaryIO, layout: str) -> tuple[Any, ...]:
    size = struct.calcsize("<" + layout)
    _require_small(stream, size)
    return struct.unpack("<" + layout, stream.read(size))


def _text(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "Q")
    _require_small(stream, length)
    text = stream.read(length)
    if len(text) < length:
        raise struct.error("end of file")
    return text.decode()


def _require_small(stream: BinaryIO, size: int) -> None:
    """Raise struct.error if the header in `stream` takes more than `_BYTES` with the `size` bytes that follow."""
    if stream.tell() + size > _BYTES:
        raise struct.error("a header without end")


def _value(stream: BinaryIO, kind: int, depth: int = 0) -> Any:
    """Return the next value in `stream`, which has type `kind`; for a list of texts, return only its length."""
    if kind == _STRING:
        return _text(stream)
    if kind == _ARRAY:
        element, count = _unpack(stream, "IQ")
        if depth >= _DEPTH or count > _ITEMS:
            raise struct.error("lists within lists, or without end")
        if element in _FORMATS:
            _require_small(stream, count)  # before struct allocates for its layout
            return list(_unpack(stream, f"{count}{_FORMATS[element]}"))
        if element == _ARRAY and count > 1000:
            raise struct.error("lists within lists")
        for _ in range(count):
            _value(stream, element, depth + 1)
        return count
    if kind not in _FORMATS:
        raise struct.error(f"no type {kind}")
    return _unpack(stream, _FORMATS[kind])[0]


def _bytes(tensor: Tensor, file: Path) -> int:
    from gguf.constants import GGML_QUANT_SIZES

    elements, size = GGML_QUANT_SIZES[type_of(tensor, file)]
    return int(tensor.elements // elements * size)


def type_of(tensor: Tensor, file: Path) -> Any:
    """Return gguf's name for the data type of `tensor`; raise HarnessError if gguf does not know it."""
    from gguf import GGMLQuantizationType

    try:
        return GGMLQuantizationType(tensor.type)
    except ValueError as error:
        raise HarnessError(
            f"{file} holds {tensor.name} in ggml's data type {tensor.type}, which the package gguf does not know: "
            "update gguf, or fetch the model in another quantisation"
        ) from error
