"""One pack over a cache: the one place where a pack meets the model.

`Context` is a key/value cache that grows by packs and is cropped on the way back. It starts with the checkpoint's root
cache, tells every token its position, and shows each one the tokens it may see by a mask of its own, for layers with
full attention and for those with a sliding window. `Snapshots` answers the same for models whose state cannot be
cropped: it keeps a copy at every branch. Both return logits of the rows asked for and of no others.

Not here: what is asked (`harness.engine.packing.tree`), which of the two a model bears (`harness.engine.walks`).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin

from harness.checkpoints import configs
from harness.checkpoints.root_cache import RootCache
from harness.engine.packing import last_layer
from harness.engine.packing.last_layer import End
from harness.engine.packing.tree import Ints, Pack
from harness.errors import HarnessError

FULL, SLIDING = "full_attention", "sliding_attention"


class Layout(NamedTuple):
    """What a model's layers see."""

    kinds: tuple[str, ...]
    """Kinds of layers, each once."""
    window: int
    """Tokens that those with a sliding window see, the token itself included; 0 where there are none."""


def layout(config: Any) -> Layout | None:
    """Return what the layers of a model with `config` see, or None where some are neither full nor sliding."""
    text = configs.text_config(config)
    if configs.smallest_window(config) != (getattr(text, "sliding_window", None) or None):
        return None  # a window of another name, and perhaps of other rules
    window = getattr(text, "sliding_window", None) or 0
    stated = getattr(text, "layer_types", None)
    kinds = tuple(sorted(set(stated))) if stated else (SLIDING if window else FULL,)
    if not {*kinds} <= {FULL, SLIDING} or (SLIDING in kinds and not window):
        return None
    return Layout(kinds, int(window) if SLIDING in kinds else 0)


class Walker(Protocol):
    """Computes packs in the order of a plan."""

    def run(self, pack: Pack, rows: Ints) -> torch.Tensor:
        """Return float32 logits (len(rows), V) of the tokens at places `rows` of `pack`."""


class Layer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer in storage with room to grow: appending copies nothing, cropping is a number."""

    is_sliding = False
    is_croppable = True

    def __init__(self, room: int = 0) -> None:
        """Make room for `room` tokens as soon as their shape is known."""
        super().__init__()
        self.length, self._room = 0, room

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make room for what comes first."""
        first = (key_states, value_states)
        self.keys, self.values = (one.new_empty(*one.shape[:2], self._room, one.shape[3]) for one in first)
        self.is_initialized = True

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` tokens in all."""
        if tokens > self.keys.shape[2]:
            self.keys, self.values = (self._grown(one, tokens) for one in (self.keys, self.values))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, heads, T, size) and return all that is held."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        if end > self.keys.shape[2]:
            self.reserve(max(end, self.keys.shape[2] * 3 // 2))
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how much a mask for `query_length` more tokens spans, and where it begins."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Return the tokens held."""
        return self.length

    def get_max_length(self) -> int:
        """Return that there is no limit."""
        return -1

    def _grown(self, held: torch.Tensor, tokens: int) -> torch.Tensor:
        larger = held.new_empty(*held.shape[:2], tokens, held.shape[3])
        larger[:, :, : self.length] = held[:, :, : self.length]
        return larger


def layers(cache: Cache) -> list[Layer]:
    """Return the layers of `cache` that hold anything; some models share one layer's keys among several."""
    return [layer for layer in cache.layers if layer.is_initialized]


class Context:
    """A cache that grows and shrinks, and a model that continues what it holds."""

    def __init__(self, model: Any, root: RootCache, shape: Layout, room: int = 0, end: End | None = None) -> None:
        """Begin with `root`; `room` is how many tokens there will be after it, as far as is known.

        `end` is what need not be computed where nothing is read.
        """
        self._model, self._root, self.layout, self._end = model, root, shape, end
        self.device, self.dtype = next(model.parameters()).device, model.dtype
        self.cache = Cache(layer_class_to_replicate=partial(Layer, root.length + room))
        for index, (keys, values) in enumerate(root.layers):
            self.cache.update(keys, values, index)

    @property
    def root_length(self) -> int:
        """Tokens of the root cache."""
        return self._root.length

    @property
    def lag(self) -> int:
        """By how much a token's position falls short of its place in the cache."""
        return self._root.length - self._root.next_position

    @property
    def token_bytes(self) -> int:
        """What one token's keys and values take, once something was fed."""
        pairs = [(layer.keys, layer.values) for layer in layers(self.cache)]
        return sum(one.shape[1] * one.shape[3] * one.element_size() for pair in pairs for one in pair)

    def run(self, pack: Pack, rows: Ints) -> torch.Tensor:
        """Feed `pack`, of which the kept tokens stay, and return float32 logits (len(rows), V)."""
        self.crop(pack.trunk)
        logits = self.feed(pack, rows)
        self.crop(pack.trunk + pack.keep)
        return logits

    def feed(self, pack: Pack, rows: Ints) -> torch.Tensor:
        """Append all of `pack` to the cache, which holds its trunk, and return float32 logits (len(rows), V)."""
        depths = torch.from_numpy(pack.depths).to(self.device)
        ends = torch.from_numpy(pack.ends).to(self.device)
        place = torch.arange(len(pack.tokens), device=self.device)
        own = (place[None, :] <= place[:, None]) & (place[:, None] < ends[None, :])
        before = self._root.length + pack.trunk
        seen = torch.cat([own.new_ones(len(own), before), own], 1)
        spots = torch.cat([torch.arange(before, device=self.device), self._root.length + depths])
        mask = masks(self.layout, seen[None], spots[None], spots[None, before:], self.dtype)
        ids = torch.from_numpy(pack.tokens).to(self.device)[None]
        wanted = torch.from_numpy(rows).to(self.device)
        positions = self._root.next_position + depths[None]
        with last_layer.only(self._end, wanted, len(pack.tokens)):
            return forward(self._model, ids, wanted, mask, positions, self.cache)[0]

    def crop(self, tokens: int) -> None:
        """Keep the root cache and the first `tokens` after it."""
        for layer in layers(self.cache):
            layer.length = min(layer.length, self._root.length + tokens)


class Snapshots:
    """A model whose state cannot be cropped: it stays where another pack goes on, and is copied for all but the last.

    Packs come in the order of the plan, some of them perhaps left out with all that stands on them.
    """

    def __init__(self, model: Any, root: RootCache, planned: Sequence[Pack], end: End | None = None) -> None:
        self._model, self._root, self._end = model, root, end
        self._device = next(model.parameters()).device
        self._numbers = {id(pack): number for number, pack in enumerate(planned)}
        self._last = {pack.parent: number for number, pack in enumerate(planned)}
        start = root.start(1).get("past_key_values") or DynamicCache(config=model.config)
        self.held: list[tuple[int, Any]] = [(-1, start)]
        """States, each after the pack of that number."""

    def run(self, pack: Pack, rows: Ints) -> torch.Tensor:
        """Feed `pack`, which must have no siblings, and return float32 logits (len(rows), V)."""
        assert pack.keep == len(pack.tokens), "only chains go on from a snapshot"
        number = self._numbers[id(pack)]
        while self.held[-1][0] != pack.parent:
            self.held.pop()
        is_last = self._last[pack.parent] == number
        state = self.held.pop()[1] if is_last else copy.deepcopy(self.held[-1][1])
        ids, depths = (torch.from_numpy(one).to(self._device)[None] for one in (pack.tokens, pack.depths))
        wanted = torch.from_numpy(rows).to(self._device)
        with last_layer.only(self._end, wanted, len(pack.tokens)):
            logits = forward(self._model, ids, wanted, None, self._root.next_position + depths, state)[0]
        if number in self._last:
            self.held.append((number, state))
        return logits


def masks(shape: Layout, seen: torch.Tensor, spots: torch.Tensor, own: torch.Tensor, dtype: torch.dtype) -> Any:
    """Return what a model of layout `shape` takes as its attention mask.

    `seen` (B, T, K) tells which keys a token may see; `spots` (B, K) are the distances of the keys from the beginning,
    `own` (B, T) those of the tokens themselves. One mask (B, 1, T, K) of numbers to add, or one for each kind of layer.
    """
    made = {}
    for kind in shape.kinds:
        near = seen if kind == FULL else seen & (own.int()[:, :, None] - spots.int()[:, None, :] < shape.window)
        bias = torch.zeros(near.shape, dtype=dtype, device=near.device)
        made[kind] = bias.masked_fill_(~near, torch.finfo(dtype).min)[:, None]
    return made if len(made) > 1 else made[shape.kinds[0]]


def forward(
    model: Any, ids: torch.Tensor, rows: torch.Tensor, mask: Any, positions: torch.Tensor, cache: Any
) -> torch.Tensor:
    """Return float32 logits (B, len(rows), V) of ids (B, T) at `rows`, appending keys and values to `cache`."""
    how = {"attention_mask": mask, "position_ids": positions, "past_key_values": cache, "use_cache": True}
    with torch.inference_mode():
        if keeps_rows(model):
            logits: torch.Tensor = model(input_ids=ids, logits_to_keep=rows, **how).logits
        else:
            logits = model(input_ids=ids, **how).logits[:, rows]
        return logits.float()


def is_memory_error(error: BaseException) -> bool:
    """Tell whether `error` says that the device's memory is full; on a CPU torch has no exception of its own for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def nan_error() -> HarnessError:
    """Return what to tell a person whose model's logits are no numbers."""
    return HarnessError("the model answers NaN: its weights are damaged, or overflow in this dtype; try dtype=float32")


def keeps_rows(model: Any) -> bool:
    """Tell whether `model` can leave the vocabulary out where nothing is read."""
    own = model.get_base_model() if hasattr(model, "get_base_model") else model  # PEFT's forward takes anything
    return "logits_to_keep" in inspect.signature(own.forward).parameters


def distinct(pack: Pack) -> tuple[Ints, Ints]:
    """Return the places of `pack` that are read, each once, and for every read which of them it is."""
    places, which = np.unique(pack.rows, return_inverse=True)
    return places, which
