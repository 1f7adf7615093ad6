"""A second copy of bfloat16 weights, in the blocked form in which oneDNN multiplies by them on a CPU.

torch brings weights into that form in every call, which takes longer than the product if there are few rows. Whether
the copy gives the same products is probed for each size of layer before it is used.

Not here: float32, where nothing is gained; quantised layers; models without room for the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional

from harness.checkpoints.types import Model
from harness.engine.device_limits import free_bytes

ROWS = 448
"""Number of rows that oneDNN is told to expect: the form depends on it, fewer rows are multiplied as well."""
MEMORY_SHARE = 1 / 4
"""The share of free memory that the copy may take."""
PROBE_TOLERANCE = 2e-2
"""By what share of the largest product the products of the copy may differ, as all bfloat16 results may."""

Product = Callable[[torch.Tensor], torch.Tensor]
_PRODUCTS: WeakKeyDictionary[nn.Module, dict[nn.Linear, Product]] = WeakKeyDictionary()
"""By model: what replaces the forward of each of its linear layers."""


def prepare(model: Model) -> None:
    """Copy the weights of the linear layers of `model` into the blocked form, if that is of use and there is room.

    What was prepared for this model before is dropped, since its weights may have changed.
    """
    _PRODUCTS.pop(model, None)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and _is_suitable(layer)]
    size = sum(layer.weight.nbytes for layer in layers)
    if layers and _is_supported() and size <= MEMORY_SHARE * free_bytes(torch.device("cpu")):
        products = {layer: _product(layer) for layer in layers}
        if _are_equal(products):
            _PRODUCTS[model] = products


@contextmanager
def used(model: Model) -> Iterator[None]:
    """Let the linear layers of `model` multiply by their copies while this is open, if it was prepared."""
    products = _PRODUCTS.get(model, {})
    for layer, product in products.items():
        layer.__dict__["forward"] = product
    try:
        yield
    finally:
        for layer in products:
            layer.__dict__.pop("forward", None)


def _is_suitable(layer: nn.Linear) -> bool:
    # accelerate's hooks replace the forward of a layer, and so would a copy.
    return (
        type(layer) is nn.Linear
        and layer.weight.dtype == torch.bfloat16
        and layer.weight.device.type == "cpu"
        and "forward" not in layer.__dict__
    )


def _is_supported() -> bool:
    operators = torch.ops.mkldnn
    names = ("_is_mkldnn_bf16_supported", "_reorder_linear_weight", "_linear_pointwise")
    has_operators = all(hasattr(operators, name) for name in names)
    return bool(torch.backends.mkldnn.enabled) and has_operators and bool(operators._is_mkldnn_bf16_supported())


def _product(layer: nn.Linear) -> Product:
    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
    bias = None if layer.bias is None else layer.bias.detach()

    def product(states: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
        return result

    return product


def _are_equal(products: dict[nn.Linear, Product]) -> bool:
    """Return whether the first layer of each size gives the same products by its copy."""
    samples = {tuple(layer.weight.shape): (layer, product) for layer, product in products.items()}
    for layer, product in samples.values():
        states = torch.randn(1, 3, layer.weight.shape[1], generator=torch.Generator().manual_seed(1)).bfloat16()
        with torch.inference_mode():
            expected, result = functional.linear(states, layer.weight, layer.bias).float(), product(states).float()
        if not (result - expected).abs().max() <= PROBE_TOLERANCE * expected.abs().max():
            return False
    return True
