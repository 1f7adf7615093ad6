"""Runs packs (the tokens of one forward pass) over a key/value cache; no other module sends a pack through the model.

`Context` is a cache that grows by packs and is cropped afterwards. It starts with the checkpoint's root cache (the
tokens that every prompt starts with) and assigns each token its position. A mask restricts what each token sees, in
layers with full attention and with a sliding window. `Snapshots` is the equivalent for models whose state cannot be
cropped: it keeps a copy of the state at every branch of the tree. Both return logits of the requested tokens only.

Not here: which packs there are (`harness.engine.packing.tree`), or whether a model supports `Context` or `Snapshots`
(`harness.engine.walks`).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import functional
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin

from harness.checkpoints import configs
from harness.checkpoints.chatglm import positions
from harness.checkpoints.root_cache import RootCache
from harness.checkpoints.types import Model, ModelConfig
from harness.engine.packing import attention, last_layer, prepacked
from harness.engine.packing.last_layer import SkippablePart
from harness.engine.packing.tree import Ints, Pack
from harness.errors import HarnessError

FULL, SLIDING = "full_attention", "sliding_attention"
ALIGNED = 64
"""The number of keys that a pack attends to is a multiple of this, because with any other number attention in bfloat16
takes up to twice as long on a CPU."""


class Layout(NamedTuple):
    """Which tokens a model's layers see."""

    kinds: tuple[str, ...]
    """The distinct kinds of layers, such as `full_attention`."""
    window: int
    """Tokens seen by layers with a sliding window, the token itself included; 0 if there are no such layers."""


def layout(config: ModelConfig) -> Layout | None:
    """Return the layout of a model with `config`, or None if some layers have neither full nor sliding attention."""
    text = configs.text_config(config)
    if configs.smallest_window(config) != (getattr(text, "sliding_window", None) or None):
        return None  # a window under another name may follow other rules
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
    """Keys and values of one layer in storage with spare capacity: appending copies nothing, cropping sets a number.

    The storage after the tokens held contains finite numbers, because values that no token sees are multiplied by 0.
    """

    is_sliding = False
    is_croppable = True

    def __init__(self, capacity: int = 0) -> None:
        """Reserve storage for `capacity` tokens as soon as the shape of keys and values is known."""
        super().__init__()
        self.length, self._capacity = 0, capacity

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate storage for tensors shaped like `key_states` and `value_states`, the first ones to be appended."""
        first = (key_states, value_states)
        self.keys, self.values = (
            states.new_zeros(*states.shape[:2], aligned(self._capacity), states.shape[3]) for states in first
        )
        self.is_initialized = True

    def reserve(self, tokens: int) -> None:
        """Make the storage large enough for `tokens` tokens in total."""
        if tokens > self.keys.shape[2]:
            self.keys, self.values = (self._enlarged(states, aligned(tokens)) for states in (self.keys, self.values))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values (B, heads, T, size); return all held, with unused storage up to an aligned length."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        if end > self.keys.shape[2]:
            self.reserve(max(end, self.keys.shape[2] * 3 // 2))
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, : aligned(end)], self.values[:, :, : aligned(end)]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the length of an attention mask for `query_length` more tokens, and the mask's offset."""
        return aligned(self.length + query_length), 0

    def get_seq_length(self) -> int:
        """Return the number of tokens held."""
        return self.length

    def get_max_length(self) -> int:
        """Return -1: there is no limit."""
        return -1

    def _enlarged(self, states: torch.Tensor, tokens: int) -> torch.Tensor:
        larger = states.new_zeros(*states.shape[:2], tokens, states.shape[3])
        larger[:, :, : self.length] = states[:, :, : self.length]
        return larger


def aligned(tokens: int) -> int:
    """Return the smallest multiple of `ALIGNED` that is not below `tokens`."""
    return -(-tokens // ALIGNED) * ALIGNED


def filled_layers(cache: Cache) -> list[Layer]:
    """Return the layers of `cache` that hold anything; a layer that uses another layer's keys holds nothing."""
    return [layer for layer in cache.layers if layer.is_initialized]


class Context:
    """A cache that grows and shrinks, with the model that continues it."""

    def __init__(
        self,
        model: Model,
        root: RootCache,
        layout: Layout,
        capacity: int = 0,
        skippable: SkippablePart | None = None,
    ) -> None:
        """Start with `root`; `capacity` is the number of tokens that will follow, as far as it is known.

        The part `skippable` of the model is computed only at positions whose logits are requested.
        """
        self._model, self._root, self.layout, self._skippable = model, root, layout, skippable
        self.device, self.dtype = next(model.parameters()).device, model.dtype
        self.cache = Cache(layer_class_to_replicate=partial(Layer, root.length + capacity))
        for index, (keys, values) in enumerate(root.layers):
            self.cache.update(keys, values, index)

    @property
    def root_length(self) -> int:
        """Number of tokens in the root cache, with which every prompt starts."""
        return self._root.length

    @property
    def position_lag(self) -> int:
        """By how much a token's position is smaller than its place in the cache."""
        return self._root.length - self._root.next_position

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values, known once tokens have been fed."""
        pairs = [(layer.keys, layer.values) for layer in filled_layers(self.cache)]
        return sum(states.shape[1] * states.shape[3] * states.element_size() for pair in pairs for states in pair)

    def run(self, pack: Pack, rows: Ints) -> torch.Tensor:
        """Feed `pack`, leave its first `pack.keep` tokens in the cache, and return float32 logits (len(rows), V)."""
        self.crop(pack.trunk)
        logits = self.feed(pack, rows)
        self.crop(pack.trunk + pack.keep)
        return logits

    def feed(self, pack: Pack, rows: Ints) -> torch.Tensor:
        """Append all of `pack` to the cache, which holds the tokens before it; return float32 logits (len(rows), V)."""
        depths = torch.from_numpy(pack.depths).to(self.device)
        ends = torch.from_numpy(pack.ends).to(self.device)
        place = torch.arange(len(pack.tokens), device=self.device)
        visible_in_pack = (place[None, :] <= place[:, None]) & (place[:, None] < ends[None, :])
        before = self._root.length + pack.trunk
        padding = aligned(before + len(pack.tokens)) - before - len(pack.tokens)
        visible = functional.pad(visible_in_pack, (before, 0), value=True)
        visible = functional.pad(visible, (0, padding), value=False)
        query_distances = self._root.length + depths
        distances = torch.cat([torch.arange(before, device=self.device), query_distances, depths.new_zeros(padding)])
        mask = masks(self.layout, visible[None], distances[None], query_distances[None], self.dtype)
        ids = torch.from_numpy(pack.tokens).to(self.device)[None]
        row_index = torch.from_numpy(rows).to(self.device)
        positions = self._root.next_position + depths[None]
        with last_layer.computing_only(self._skippable, row_index, len(pack.tokens)):
            return forward(self._model, ids, row_index, mask, positions, self.cache)[0]

    def crop(self, tokens: int) -> None:
        """Keep the root cache and the first `tokens` tokens after it."""
        for layer in filled_layers(self.cache):
            layer.length = min(layer.length, self._root.length + tokens)


class Snapshots:
    """Runs packs on a model whose state cannot be cropped; every branch's state is kept, and copied if needed again.

    If the model reads contexts both ways (`configs.context_marks`), the first pack of a chain holds a whole context.
    Packs come in the order of the plan. A pack may be left out if all packs that continue it are left out, too.
    """

    def __init__(
        self, model: Model, root: RootCache, planned: Sequence[Pack], skippable: SkippablePart | None = None
    ) -> None:
        self._model, self._root, self._skippable = model, root, skippable
        self._device = next(model.parameters()).device
        self._numbers = {id(pack): number for number, pack in enumerate(planned)}
        self._last_child = {pack.parent: number for number, pack in enumerate(planned)}
        start = root.start(1).get("past_key_values") or DynamicCache(config=model.config)
        self._marks = configs.context_marks(model.config)
        self._shift = 0
        """Number that turns a depth behind the present context into the code of its positions."""
        self.states: list[tuple[int, Any]] = [(-1, start)]
        """(number of a pack, the state after it), in order, for the packs that further packs will continue."""

    def run(self, pack: Pack, rows: Ints) -> torch.Tensor:
        """Feed `pack`, which must be a single chain of tokens, and return float32 logits (len(rows), V)."""
        assert pack.keep == len(pack.tokens), "only chains can continue a snapshot"
        number = self._numbers[id(pack)]
        while self.states[-1][0] != pack.parent:
            self.states.pop()
        is_last = self._last_child[pack.parent] == number
        state = self.states.pop()[1] if is_last else copy.deepcopy(self.states[-1][1])
        ids, depths = (torch.from_numpy(values).to(self._device)[None] for values in (pack.tokens, pack.depths))
        row_index = torch.from_numpy(rows).to(self._device)
        places = self._root.next_position + depths
        if self._marks is not None:
            if not pack.trunk:
                self._shift = positions.context(pack.tokens.tolist(), self._marks).shift
            else:
                places = depths + self._shift
        with last_layer.computing_only(self._skippable, row_index, len(pack.tokens)):
            logits = forward(self._model, ids, row_index, None, places, state)[0]
        if number in self._last_child:
            self.states.append((number, state))
        return logits


def masks(
    layout: Layout,
    visible: torch.Tensor,
    key_distances: torch.Tensor,
    query_distances: torch.Tensor,
    dtype: torch.dtype,
) -> Any:
    """Return the attention mask for a model of this `layout`: one (B, 1, T, K) to be added, or one per kind of layer.

    `visible` (B, T, K) says which keys a token may see. `key_distances` (B, K) and `query_distances` (B, T) are the
    tokens' distances from the beginning of their sequence, root cache included; a sliding window compares them.
    """
    by_kind = {}
    for kind in layout.kinds:
        allowed = visible
        if kind != FULL:
            distance = query_distances.int()[:, :, None] - key_distances.int()[:, None, :]
            allowed = visible & (distance < layout.window)
        bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
        by_kind[kind] = bias.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
    return by_kind if len(by_kind) > 1 else by_kind[layout.kinds[0]]


def forward(
    model: Model, ids: torch.Tensor, rows: torch.Tensor, mask: Any, positions: torch.Tensor, cache: Any
) -> torch.Tensor:
    """Return float32 logits (B, len(rows), V) of ids (B, T) at `rows`; append keys and values to `cache`."""
    arguments = {"attention_mask": mask, "position_ids": positions, "past_key_values": cache, "use_cache": True}
    with torch.inference_mode(), attention.grouped(), prepacked.used(model):
        if can_select_rows(model):
            logits: torch.Tensor = model(input_ids=ids, logits_to_keep=rows, **arguments).logits
        else:
            logits = model(input_ids=ids, **arguments).logits[:, rows]
        return logits.float()


def is_memory_error(error: BaseException) -> bool:
    """Return whether `error` means that the device's memory is full; torch has no exception class for this on a CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def nan_error() -> HarnessError:
    """Return the error for a model whose logits are NaN."""
    return HarnessError(
        "the model's logits are NaN: its weights are damaged, or overflow in this dtype; try dtype=float32"
    )


def can_select_rows(model: Model) -> bool:
    """Return whether `model` can skip the vocabulary at positions whose logits are not needed."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # PEFT's forward accepts any argument
    return "logits_to_keep" in inspect.signature(base.forward).parameters


def distinct_reads(pack: Pack) -> tuple[Ints, Ints]:
    """Return the places of `pack` whose logits are read, each once, and for every read the index of its place."""
    places, index = np.unique(pack.rows, return_inverse=True)
    return places, index
