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

from harness.checkpoints import files
from harness.errors import HarnessError

PART = re.compile(r".+-(\d{5})-of-(\d{5})\.gguf")
"""Name of one part of a GGUF file that llama.cpp split."""
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


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
    except (struct.error, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise HarnessError(f"{file} is truncated or damaged inside its header: fetch it again") from error
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
    metadata: dict[str, Any] = {}
    for _ in range(setting_count):
        key = _text(stream)
        metadata[key] = _value(stream, *_unpack(stream, "I"))
    if "general.architecture" not in metadata:
        raise HarnessError(f"{file} names no general.architecture: fetch or convert it again")
    tensors, end = [], 0
    for _ in range(tensor_count):
        name = _text(stream)
        dimensions = _unpack(stream, f"{_unpack(stream, 'I')[0]}Q")
        number, offset = _unpack(stream, "IQ")
        tensors.append(Tensor(name, number, math.prod(dimensions), offset))
        end = max(end, offset + _bytes(tensors[-1], file))
    alignment = int(metadata.get("general.alignment", 32))
    start = -(-stream.tell() // alignment) * alignment
    return Header(metadata, tensors, start), start + end


def _unpack(stream: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack("<" + layout, stream.read(struct.calcsize("<" + layout)))


def _text(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "Q")
    text = stream.read(length)
    if len(text) < length:
        raise struct.error("end of file")
    return text.decode()


def _value(stream: BinaryIO, kind: int) -> Any:
    """Return the next value in `stream`, which has type `kind`; for a list of texts, return only its length."""
    if kind == _STRING:
        return _text(stream)
    if kind == _ARRAY:
        element, count = _unpack(stream, "IQ")
        if element in _FORMATS:
            return list(_unpack(stream, f"{count}{_FORMATS[element]}"))
        for _ in range(count):
            _value(stream, element)
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
