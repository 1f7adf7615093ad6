"""The root cache: the keys, values and position with which a checkpoint starts every prompt.

It is empty for a base model and for a LoRA. A prompt-learning adapter fills it with its virtual tokens
(`harness.checkpoints.adapters.prompt_learning` builds it), so the engine never needs to know which kind of checkpoint
it runs. Virtual tokens in a cache cannot end up on the wrong side of padding, as they do in PEFT's batched generation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from harness.checkpoints.types import Model

Layers = tuple[tuple[torch.Tensor, torch.Tensor], ...]
"""(keys, values) of each layer, each of shape (1, heads, virtual tokens, head size)."""


class RootCache(NamedTuple):
    """The keys and values of the virtual tokens, and the position of the first token of a prompt."""

    layers: Layers = ()
    """(keys, values) of each layer, each of shape (1, heads, virtual tokens, head size)."""
    next_position: int = 0
    """Position of the first token after the virtual tokens."""

    @property
    def length(self) -> int:
        """Number of virtual tokens in the cache."""
        return int(self.layers[0][0].shape[2]) if self.layers else 0

    @property
    def bytes(self) -> int:
        """Bytes of memory that the cache takes."""
        return sum(tensor.numel() * tensor.element_size() for layer in self.layers for tensor in layer)

    def start(self, rows: int) -> dict[str, Any]:
        """Return the keyword arguments that make a model start `rows` prompts from this root; {} if the root is empty.

        The cache is a DynamicCache without the model's configuration, so layers with attention windows keep the whole
        prefix; their mask hides the positions outside the window.
        """
        from transformers import DynamicCache

        if not self.layers:
            return {}
        layers = [(keys.repeat(rows, 1, 1, 1), values.repeat(rows, 1, 1, 1)) for keys, values in self.layers]
        return {"past_key_values": DynamicCache(layers)}

    def prompts(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
        """Return transformers' generate() arguments for left-padded prompts `ids` (B, T) with their `mask` (B, T).

        generate() skips as many leading ids as the cache holds tokens, so placeholder ids are put before the prompts.
        Padding lies between them and a prompt, yet distances in tokens are right; only an attention window could be
        misled (`Checkpoint.padding_switch`). Positions are stated if they do not simply go on after the virtual tokens.
        """
        if not self.layers:
            return {"input_ids": ids, "attention_mask": mask}
        shape = (len(ids), self.length)
        arguments = {
            "input_ids": torch.cat([ids.new_zeros(shape), ids], 1),
            "attention_mask": torch.cat([mask.new_ones(shape), mask], 1),
            **self.start(len(ids)),
        }
        if self.next_position != self.length:  # by default, generate() counts the virtual tokens
            positions = self.next_position + (mask.cumsum(-1) - 1).clamp(min=0)
            arguments["position_ids"] = torch.cat([ids.new_zeros(shape), positions], 1)
        return arguments

    def forward(self, model: Model, ids: torch.Tensor, **arguments: object) -> Any:
        """Return the output of `model` for `ids` (B, T) that continue this root; `arguments` go to the model."""
        if not self.layers:
            return model(input_ids=ids, use_cache=False, **arguments)
        if self.next_position != self.length:  # by default, models continue from the cache's length
            positions = torch.arange(self.next_position, self.next_position + ids.shape[1], device=ids.device)
            arguments["position_ids"] = positions.expand(ids.shape)
        return model(input_ids=ids, use_cache=True, **self.start(len(ids)), **arguments)


EMPTY = RootCache()
"""The root cache of base models and LoRAs."""
