"""The header of a safetensors file: what it says of each tensor, checked before anything is done with it.

A header is read several times while a checkpoint is located and loaded. It is parsed once: parsed headers are
remembered by the hash of their text, so that a file may change in any way.

Format: github.com/huggingface/safetensors. Not here: the tensors themselves.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from harness.checkpoints import limits
from harness.errors import HarnessError

BYTES = 32 << 20
"""Largest header: that of 150,000 tensors takes 20 MB. safetensors itself allows 100 MB."""
_REMEMBERED = 200_000
"""Largest number of tensors in all remembered headers, which take 70 MB."""
_METADATA = "__metadata__"
_KEYS = ("dtype", "shape", "data_offsets")
"""Names of what a header says of each tensor."""
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
"""Bits of an element, by dtype."""


class Tensor(NamedTuple):
    """What the header says of a tensor."""

    dtype: str
    """Name of its dtype, such as `BF16`."""
    shape: tuple[int, ...]
    start: int
    """Bytes from the start of the data to those of this tensor."""
    end: int
    """Bytes from the start of the data to the end of this tensor."""

    @property
    def elements(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


class Header(NamedTuple):
    """The header of a file."""

    tensors: Mapping[str, Tensor]
    """Tensors by name."""
    size: int
    """Bytes that the whole file must have."""


def read(file: Path) -> Header:
    """Return the header of `file`.

    Raises HarnessError if it is truncated or damaged: not JSON, a name twice, a tensor whose shape, dtype and bytes
    contradict each other, or tensors that overlap or leave a gap.
    """
    with file.open("rb") as stream:
        raw = stream.read(8)
        length = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
        if not 0 < length <= BYTES:
            raise HarnessError(
                f"{file} is not a safetensors file ({file.stat().st_size:,} bytes): fetch or save it again"
            )
        text = stream.read(length)
    if len(text) < length:
        raise HarnessError(f"{file} is truncated inside its header: fetch or save it again")
    try:
        return _parsed(text)
    except ValueError as error:
        raise HarnessError(f"{file} has a malformed header ({error}): fetch or save it again") from error


_parsed_headers: OrderedDict[bytes, Header] = OrderedDict()
"""Parsed headers by the hash of their text, the last used at the end."""


def _parsed(text: bytes) -> Header:
    """Return the header whose JSON is `text`; raise ValueError if it is malformed."""
    key = hashlib.sha256(text).digest()
    header = _parsed_headers.get(key)
    if header is None:
        tensors = _tensors(text)
        header = Header(MappingProxyType(tensors), 8 + len(text) + _end(tensors))
    with suppress(KeyError):  # another thread may have removed it
        _parsed_headers[key] = header
        _parsed_headers.move_to_end(key)
        while sum(len(other.tensors) for other in list(_parsed_headers.values())) > _REMEMBERED:
            _parsed_headers.popitem(last=False)
    return header


def _tensors(text: bytes) -> dict[str, Tensor]:
    """Return the tensors that the header `text` describes, by name; raise ValueError if it is malformed."""
    # A name that an object has twice is found by counting, which is quicker than looking at each object, unless a name
    # may be written in several ways. What is described by three values cannot be nested deep.
    try:
        content = limits.parse(text, unique=True) if b"\\u" in text else json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(content, dict):
        raise ValueError("it is not an object")
    metadata = content.pop(_METADATA, {})
    tensors = {name: _tensor(name, entry) for name, entry in content.items()}
    counts = [(key, len(tensors)) for key in _KEYS] + [(_METADATA, 1 if metadata else 0)]
    is_counted = all(text.count(b'"%s"' % key.encode()) == count for key, count in counts)
    is_flat = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    if not (is_counted and is_flat) or any(len(entry) != len(_KEYS) for entry in content.values()):
        limits.parse(text, unique=True)
    return tensors


def _tensor(name: str, entry: Any) -> Tensor:
    """Return the tensor that `entry` of the header describes; raise ValueError if it describes none."""
    dtype, shape, offsets = map(entry.get, _KEYS) if isinstance(entry, dict) else (None, None, None)
    if not (isinstance(dtype, str) and isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2):
        raise ValueError(f"it does not describe {limits.shown(name)}")
    counts = [*shape, *offsets]
    if set(map(type, counts)) != {int} or min(counts) < 0 or max(counts) >= 1 << 63:
        raise ValueError(f"it does not describe {limits.shown(name)}")
    tensor = Tensor(dtype, tuple(shape), *offsets)
    bits = _BITS.get(dtype)
    if tensor.end < tensor.start or (bits is not None and tensor.elements * bits != 8 * (tensor.end - tensor.start)):
        raise ValueError(f"{limits.shown(name)} is {dtype} of {limits.shown(shape)} in {limits.shown(offsets)}")
    return tensor


def _end(tensors: dict[str, Tensor]) -> int:
    """Return the bytes of data that `tensors` take; raise ValueError if they overlap or leave a gap."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if tensor.start != end:
            raise ValueError(f"{limits.shown(name)} begins at byte {tensor.start:,} rather than {end:,}")
        end = tensor.end
    return end
