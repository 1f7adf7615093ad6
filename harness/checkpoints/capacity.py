"""How large a model the weights of a checkpoint can fill, and a limit on building a larger one.

Building the model that a configuration describes takes time for each layer and memory for each number. This is so even
if the weights fill a thousandth of the model, because transformers fills the rest with random numbers. So a model is
first built without numbers, and its size is counted meanwhile. Building stops once the weights could not possibly fill
the model.

Not here: numbers that no configuration may state (`harness.checkpoints.limits`), and keys that do not fit
(`harness.checkpoints.weights`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn.modules import module as hooks

from harness.checkpoints import files, gguf_header, safetensors_header
from harness.errors import HarnessError

_MODULES = 20
"""The most modules of a model per stored tensor. A layer of experts may store one tensor for all its experts."""
_SPARE_MODULES = 4_000
_PICKLED_MODULES = 20_000
_PICKLED_NUMBERS = 500_000
"""Tensors in a pickle are not counted. The most modules of a model whose weights are pickled are `_PICKLED_MODULES`,
and one for each `_PICKLED_NUMBERS` numbers."""
_NUMBERS = 4
"""The most parameters of a model per stored number."""
_PACKED_NUMBERS = 32
"""The most parameters of a model per stored number, if numbers are 32-bit words into which several are packed."""
_SPARE_NUMBERS = 50_000_000
"""The most parameters and constants of a model for which no weights are stored: tables of positions, masks."""


class Capacity(NamedTuple):
    """How much a checkpoint's files hold."""

    modules: int
    """Largest number of modules of a model that the files can fill."""
    numbers: int
    """Largest number of parameters and constants of a model that the files can fill."""


def capacity(base: Path, *, is_packed: bool) -> Capacity:
    """Return the capacity of the weights of `base`, a folder or a GGUF file.

    With `is_packed`, one stored number may be several weights. Raises HarnessError if a weight file is damaged.
    """
    tensors = numbers = 0
    for file in files.weight_files(base):
        if file.suffix == ".safetensors":
            header = safetensors_header.read(file)
            tensors += len(header.tensors)
            numbers += sum(tensor.elements for tensor in header.tensors.values())
        elif base.is_file():
            table = gguf_header.read(file).tensors
            tensors += len(table)
            numbers += sum(tensor.elements for tensor in table)
        else:  # a pickle, whose numbers take two bytes or more; its tensors are not counted
            numbers += file.stat().st_size // 2
    factor = _PACKED_NUMBERS if is_packed else _NUMBERS
    return Capacity(
        _MODULES * tensors + (_SPARE_MODULES if tensors else _PICKLED_MODULES + numbers // _PICKLED_NUMBERS),
        factor * numbers + _SPARE_NUMBERS,
    )


@contextmanager
def limited(limit: Capacity, base: Path) -> Iterator[None]:
    """Raise HarnessError, naming `base`, if a model that is built inside the `with` block exceeds `limit`."""
    modules = numbers = 0
    sizes: dict[tuple[int, str], int] = {}  # a tensor takes the place of another when weights are loaded
    source = "its header" if base.is_file() else "its config.json"

    def excess(size: str) -> HarnessError:
        return HarnessError(
            f"{base} lacks weights: {source} describes a model of more than {size}, which they cannot fill; fetch or "
            "save the checkpoint again"
        )

    def count_module(*_: object) -> None:
        nonlocal modules
        modules += 1
        if modules > limit.modules:
            raise excess(f"{limit.modules:,} modules")

    def count_numbers(module: object, name: str, tensor: torch.Tensor | None) -> None:
        nonlocal numbers
        if tensor is None:
            return
        place, size = (id(module), name), tensor.numel()
        numbers += size - sizes.get(place, 0)
        sizes[place] = size
        if numbers > limit.numbers:
            raise excess(f"{limit.numbers:,} numbers ({name} alone is {' × '.join(map(str, tensor.shape))})")

    handles = [
        hooks.register_module_module_registration_hook(count_module),
        hooks.register_module_parameter_registration_hook(count_numbers),
        hooks.register_module_buffer_registration_hook(count_numbers),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
