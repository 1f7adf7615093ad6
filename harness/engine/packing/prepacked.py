"""A second copy of bfloat16 weights, in the blocked form in which oneDNN multiplies by them on a CPU.

torch brings weights into that form in every call, which takes longer than the product if there are few rows (tokens).
Whether the copy gives the same products is probed for each size of layer before the copy is used. With the copies,
oneDNN can also add to a product, or multiply it, in the same pass over memory. `harness.engine.packing.fused` uses this
for decoder layers of the usual shape.

Not here: float32, where nothing is gained; quantised layers; models without room for the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional

from harness.checkpoints.types import Model
from harness.engine.device_limits import free_bytes
from harness.engine.packing import fused

ROWS = 448
"""Number of rows that oneDNN is told to expect; it determines the blocked form, which works for fewer rows, too."""
MEMORY_SHARE = 1 / 4
"""The share of free memory that the copy of the weights may take."""
PROBE_TOLERANCE = 2e-2
"""The share of the largest product by which the copy's products may differ, as all bfloat16 results may."""


class Product:
    """Multiplies by the copy of one linear layer's weights."""

    def __init__(self, layer: nn.Linear) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
        self._bias = None if layer.bias is None else layer.bias.detach()

    def __call__(self, states: torch.Tensor, activation: str = "none") -> torch.Tensor:
        """Return the layer's output (…, O) for `states` (…, I), after oneDNN's `activation`."""
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, self._weight, self._bias, activation, [], "")
        return result

    def combined(self, states: torch.Tensor, other: torch.Tensor, operation: str) -> torch.Tensor:
        """Return the layer's output for `states`, with `other` added ("add") or multiplied ("mul")."""
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            states, other, self._weight, self._bias, operation
        )
        return result


_FORWARDS: WeakKeyDictionary[nn.Module, dict[nn.Module, Callable[..., torch.Tensor]]] = WeakKeyDictionary()
"""For each model: its modules, each with the function that replaces the module's forward."""


def prepare(model: Model) -> None:
    """Copy the weights of the linear layers of `model` into the blocked form, if that saves time and there is room.

    Copies made for this model before are dropped, since its weights may have changed.
    """
    _FORWARDS.pop(model, None)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and _is_suitable(layer)]
    size = sum(layer.weight.nbytes for layer in layers)
    if layers and _is_supported() and size <= MEMORY_SHARE * free_bytes(torch.device("cpu")):
        products = {layer: Product(layer) for layer in layers}
        if _are_equal(products):
            forwards: dict[nn.Module, Callable[..., torch.Tensor]] = dict(products.items())
            _FORWARDS[model] = forwards | fused.layers(model, products)


@contextmanager
def used(model: Model) -> Iterator[None]:
    """Until the `with` block ends, let the layers of `model` multiply by the copies that `prepare` made, if any."""
    replaced = []
    for module, forward in _FORWARDS.get(model, {}).items():
        if "forward" not in module.__dict__:  # nothing else has replaced it in the meantime
            module.__dict__["forward"] = forward
            replaced.append(module)
    try:
        yield
    finally:
        for module in replaced:
            module.__dict__.pop("forward", None)


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


def _are_equal(products: Mapping[nn.Linear, Product]) -> bool:
    """Return whether the first layer of each size gives the same products with the copy of its weights."""
    samples = {tuple(layer.weight.shape): (layer, product) for layer, product in products.items()}
    for layer, product in samples.values():
        states = torch.randn(1, 3, layer.weight.shape[1], generator=torch.Generator().manual_seed(1)).bfloat16()
        with torch.inference_mode():
            expected, result = functional.linear(states, layer.weight, layer.bias).float(), product(states).float()
        if not (result - expected).abs().max() <= PROBE_TOLERANCE * expected.abs().max():
            return False
    return True
