"""The header of a safetensors file: what it says of each tensor, checked before anything is done with it.

Format: github.com/huggingface/safetensors. Not here: the tensors themselves.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from harness.checkpoints import limits
from harness.errors import HarnessError

BYTES = 32 << 20
"""Largest header: that of 150,000 tensors takes 20 MB. safetensors itself allows 100 MB."""
_METADATA = "__metadata__"
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

    tensors: dict[str, Tensor]
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
        content = limits.parse(text, unique=True)
        if not isinstance(content, dict):
            raise ValueError("it is not an object")
        tensors = {name: _tensor(name, entry) for name, entry in content.items() if name != _METADATA}
        return Header(tensors, 8 + length + _end(tensors))
    except ValueError as error:
        raise HarnessError(f"{file} has a malformed header ({error}): fetch or save it again") from error


def _tensor(name: str, entry: Any) -> Tensor:
    """Return the tensor that `entry` of the header describes; raise ValueError if it describes none."""
    keys = ("dtype", "shape", "data_offsets")
    dtype, shape, offsets = (entry.get(key) if isinstance(entry, dict) else None for key in keys)
    if not (isinstance(dtype, str) and _are_counts(shape) and _are_counts(offsets) and len(offsets) == 2):
        raise ValueError(f"it does not describe {limits.shown(name)}")
    tensor = Tensor(dtype, tuple(shape), *offsets)
    bits = _BITS.get(dtype)
    if tensor.end < tensor.start or (bits is not None and tensor.elements * bits != 8 * (tensor.end - tensor.start)):
        raise ValueError(f"{limits.shown(name)} is {dtype} of {limits.shown(shape)} in {limits.shown(offsets)}")
    return tensor


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 63 for item in value)


def _end(tensors: dict[str, Tensor]) -> int:
    """Return the bytes of data that `tensors` take; raise ValueError if they overlap or leave a gap."""
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != end:
            raise ValueError(f"{limits.shown(name)} begins at byte {tensor.start:,} rather than {end:,}")
        end = tensor.end
    return end
