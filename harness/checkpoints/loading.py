"""Load checkpoints: from a reference to a model that answers, its tokenizer, and its fingerprint.

There are two steps, so that mistakes surface before gigabytes are read: `locate` finds and checks files, `load` reads
weights. Remote code runs only if the reference says `trust_remote_code=true`; pickles are read as weights only.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.checkpoints import (
    ancestry,
    configs,
    files,
    folders,
    foreign_code,
    gguf,
    identity,
    packed,
    placement,
    probe,
    quantization,
    remarks,
    tokenizer_files,
    weights,
)
from harness.checkpoints.adapters import attach, entries, prompt_learning
from harness.checkpoints.adapters import config as adapter_configs
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.chatglm import prefix
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.checkpoints.types import Model, ModelConfig, Tokenizer
from harness.common import places
from harness.common.hashes import BaseHashes
from harness.common.progress import SILENT, Bar
from harness.errors import HarnessError

SHORTEST_WITH_MARKS = 5
"""Smallest context in tokens for a model whose texts hold `[gMASK] <sop>`: with fewer, nothing is left to probe."""


@places.explaining()
def locate(reference: CheckpointReference) -> Located:
    """Find every part of `reference`, fetch from the hub what is not here, and check all of it without loading weights.

    Raises HarnessError naming the part that is missing, damaged or does not match the others.
    """
    with foreign_code.explaining(reference):
        return _located(reference)


def _located(reference: CheckpointReference) -> Located:
    parts = folders.of(reference)
    base, adapter = parts.base, parts.adapter
    if adapter is not None:
        adapter.require_complete()
    weight_files = files.weight_files(base)
    if base.is_file():
        gguf.require_package(base)
    configuration, config = identity.configuration(base), configs.read(base, reference)
    layout = configs.chatglm_layout(base, reference)
    configs.check_rope(config, layout, base, reference)
    prefix.require_stated(base, layout, adds_prefix=adapter is not None and adapter.is_prompt_learning)
    device = placement.device(reference.device)
    dtype = placement.dtype(reference.dtype, device, config, weight_files)
    packing = packed.packing(config, device)
    if packing is not None:
        config = configs.without_quantization(config)
    quantized = quantization.resolve(base, config, reference.quantize, dtype, device)
    if adapter is not None and quantized is not None:
        quantization.check_adapter(quantized, adapter, base)
    max_length = _max_length(reference, config, adapter)
    return Located(
        reference=reference,
        base=base,
        base_name=parts.base_name,
        adapter_config=adapter,
        tokenizer=_tokenizer_folder(reference, base, adapter),
        config=config,
        configuration=configuration,
        device=device,
        dtype=quantized.dtype if quantized else dtype,
        quantization=quantized,
        layout=layout,
        stored_as=gguf.quantization_name(base) if base.is_file() else packing and packing.name,
        packing=packing,
        max_length=max_length,
    )


def _max_length(reference: CheckpointReference, config: ModelConfig, adapter: AdapterConfig | None) -> int:
    """Return the context length in tokens, less the adapter's virtual tokens if they take positions."""
    virtual_tokens = adapter.context_tokens if adapter else 0
    max_length = (reference.max_length or configs.context_length(config)) - virtual_tokens
    if configs.context_marks(config) and max_length < SHORTEST_WITH_MARKS:
        raise HarnessError(
            f"a context of {max_length:,} tokens has no room for a text, [gMASK] <sop> and an answer: set a larger "
            "max_length="
        )
    if max_length < 1:
        folder = adapter and adapter.folder
        raise HarnessError(
            f"the {virtual_tokens:,} virtual tokens of {folder} fill the context: set a larger max_length="
        )
    return max_length


def load(located: Located, *, allow_inactive_adapter: bool = False) -> Checkpoint:
    """Read the weights of `located` and return a checkpoint that has answered a probe.

    Raises HarnessError on keys that are missing or have no place, on NaN logits, and, unless
    `allow_inactive_adapter`, on an adapter that changes nothing.
    """
    return Loader().load(located, allow_inactive_adapter=allow_inactive_adapter)


def _require_unchanged(located: Located) -> None:
    """Raise HarnessError if a configuration has changed since `located` was found.

    Several checkpoints are located before the first is loaded, so hours may pass before the last is loaded.
    """
    is_same = identity.configuration(located.base) == located.configuration
    if located.adapter is not None:
        is_same &= adapter_configs.read(located.adapter) == located.adapter_config
    if not is_same:
        raise HarnessError(f"{located.name} was changed while it was waiting to be loaded: give the command again")


class _Base(NamedTuple):
    """A base in memory, without any adapter."""

    key: tuple[Any, ...]
    """Equal for checkpoints that may share this base."""
    model: Model
    eos_ids: tuple[int, ...]
    ignored: list[str]
    """Names of weights in the files that have no place in the model."""
    parameters: list[tuple[str, int]]
    """Name and identity of every parameter (`attach.identities`)."""


class _Adapted(NamedTuple):
    """A model with its adapter, and what is needed to prove that the adapter changes its answers."""

    model: Model
    root: RootCache
    tensors: attach.Weights
    """Contents of the adapter's weight file; empty without an adapter."""
    ids: torch.Tensor | None = None
    """The probe (1, T), if the base had to answer it before the adapter rewrote the base."""
    plain: torch.Tensor | None = None
    """The base's logits (1, T, V) for `ids`."""


class Loader:
    """Loads one checkpoint after another and keeps the base in memory if the next one shares it.

    A checkpoint is usable until the next one is loaded.
    """

    def __init__(self) -> None:
        self._base: _Base | None = None
        self._model: Model | None = None  # in its present state: the base, or PEFT's model around it
        self._hashes = BaseHashes([])

    @places.explaining()
    def load(self, located: Located, *, allow_inactive_adapter: bool = False, bar: Bar = SILENT) -> Checkpoint:
        """Load and return the checkpoint `located`; raise HarnessError in the same cases as the function `load`.

        `bar` counts the weights that are in the model.
        """
        with foreign_code.explaining(located.reference):
            return self._loaded(located, bar, allow_inactive_adapter=allow_inactive_adapter)

    def _loaded(self, located: Located, bar: Bar, *, allow_inactive_adapter: bool) -> Checkpoint:
        if self._base is None or self._base.key[:-1] != _base_key(located):
            self._hashes = BaseHashes(files.weight_files(located.base))
        fingerprint = identity.fingerprint(located, self._hashes.sha256)
        _require_unchanged(located)
        ancestry.require_same_base(located, self._hashes.sha256)
        tokenizer = load_tokenizer(located)
        base = self._take_base(located, bar)
        config, file_notes = located.adapter_config, remarks.on_files(located, self._hashes.sha256)
        file_notes += remarks.on_ignored(base.ignored)
        file_notes += [] if config is None else entries.notes(config, base.model)
        self._base = None  # until the base is known to be whole: a failure must not leave half a swap behind
        adapted = _Adapted(base.model, EMPTY, {}) if config is None else _adapt(base.model, config, located)
        self._model = adapted.model
        effect = _check(located, tokenizer, adapted, is_wrapped=adapted.model is not base.model)
        if effect == 0.0:
            if not allow_inactive_adapter:
                raise HarnessError(
                    f"adapter {located.adapter} changes no logit of {located.base}: it was never trained, or is not "
                    "applied; pass --allow-inactive-adapter to evaluate it nevertheless"
                )
            file_notes.append("the adapter changes nothing: these are the base's answers")
        if identity.fingerprint(located, self._hashes.sha256) != fingerprint:
            raise HarnessError(f"{located.name} was changed while it was read: wait until it is saved, and try again")
        if config is None or not config.rewrites_base:
            self._base = base
        return Checkpoint(
            located,
            adapted.model,
            tokenizer,
            fingerprint,
            _eos_ids(base.eos_ids, tokenizer),
            configs.size(located).parameters,
            memory_bytes=quantization.bytes_in_memory(adapted.model) + adapted.root.bytes,
            adapter_parameters=None if config is None else _adapter_parameters(adapted),
            adapter_effect=effect,
            root=adapted.root,
            notes=file_notes,
        )

    def _take_base(self, located: Located, bar: Bar) -> _Base:
        """Return the base that is in memory if `located` needs the same one; otherwise read the one that it needs."""
        # The key includes the content: a folder may be rewritten between one checkpoint and the next.
        key = (*_base_key(located), identity.base_fingerprint(located, self._hashes.sha256))
        base, model, self._base, self._model = self._base, self._model, None, None
        if base is not None and base.key == key:
            bare = model if model is base.model else attach.detach(model, base.parameters)
            if bare is not None:
                return base
        del base, model  # before the next one is read, or both would be in memory
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        model, ignored = weights.load(located, bar)
        self._hashes.forget()  # so that a change while the weights were read is noticed
        return _Base(key, model, _take_eos_ids(model, located), ignored, attach.identities(model))


def _adapt(model: Model, config: AdapterConfig, located: Located) -> _Adapted:
    """Return the base `model` with its adapter attached, or with the root cache that the adapter learned."""
    tensors = attach.read(config)
    if config.is_prompt_learning:
        prompt_learning.check_fit(config, tensors, model.config)
        return _Adapted(model, prompt_learning.root_cache(config, tensors, model, located.dtype), tensors)
    ids, plain = None, None
    if config.rewrites_base:
        marks, rows = configs.context_marks(located.config), int(model.get_input_embeddings().weight.shape[0])
        ids = probe.token_ids(rows, located.max_length, [], located.device, marks)
        plain = probe.Answers(model).logits(ids)
    adapted = attach.attach(model, config, tensors).to(located.device)
    return _Adapted(adapted, EMPTY, tensors, ids, plain)


def _check(located: Located, tokenizer: Tokenizer, adapted: _Adapted, *, is_wrapped: bool) -> float | None:
    """Prove that the model answers. Return the adapter's effect on its logits, or None without an adapter.

    `is_wrapped` says whether the base is wrapped in PEFT's model. Raises HarnessError as `probe.check_answers` does.
    """
    model, ids, marks = adapted.model, adapted.ids, configs.context_marks(located.config)
    rows, config = int(model.get_input_embeddings().weight.shape[0]), located.adapter_config
    probe.check_vocabulary(tokenizer, located.tokenizer, rows, located.base, marks)
    answers = probe.Answers(model, adapted.root)
    if ids is None:
        trained = probe.trained_tokens(model) if is_wrapped else []
        ids = probe.token_ids(rows, located.max_length, trained, located.device, marks)
    probe.check_answers(answers, ids, located.name, located.config.model_type, located.dtype, marks)
    if config is None:
        return None
    return probe.effect(answers, adapted.tensors, ids, adapted.plain, rounds_base=config.rounds_base)


def by_base(located: Sequence[Located]) -> list[Located]:
    """Return the checkpoints grouped by base; the bases are in the order in which they first occur."""
    groups: dict[tuple[Any, ...], list[Located]] = {}
    for item in located:
        groups.setdefault(_base_key(item), []).append(item)
    return [item for group in groups.values() for item in group]


def _base_key(located: Located) -> tuple[Any, ...]:
    """Return a key that is equal for two checkpoints if they can share a base in memory."""
    reference, quantized = located.reference, located.quantization
    name = quantized and quantized.name
    flags = (reference.trust_remote_code, reference.allow_unexpected_keys, reference.max_length, reference.rope)
    layout = located.layout and (located.layout.generation, located.layout.rope_ratio)
    return (located.base.resolve(), str(located.dtype), str(located.device), name, *flags, layout)


def _adapter_parameters(adapted: _Adapted) -> int:
    """Return the adapter's number of parameters. For a prefix with projection, count what the projection yields."""
    if adapted.root.layers:
        return sum(int(tensor.numel()) for tensor in adapted.tensors.values())
    return attach.parameter_count(adapted.model)


@places.explaining()
def load_tokenizer(located: Located) -> Tokenizer:
    """Return the checkpoint's transformers tokenizer; raise HarnessError if it cannot be loaded."""
    try:
        if located.tokenizer.is_file():
            return gguf.tokenizer(located.tokenizer)
        is_third = located.layout is not None and located.layout.generation == 3
        return tokenizer_files.load(
            located.tokenizer,
            is_trusted=located.reference.trust_remote_code,
            generation=located.reference.chatglm,
            default_generation=3 if is_third else 2,
        )
    except HarnessError:
        raise
    except Exception as error:  # transformers, tokenizers and sentencepiece each raise their own types
        problem = f"the tokenizer in {located.tokenizer} cannot be loaded"
        advice = "fetch or save it again, or name another with tokenizer="
        raise configs.explained(error, problem, advice, located.reference) from error


def _tokenizer_folder(reference: CheckpointReference, base: Path, adapter: AdapterConfig | None) -> Path:
    """Return the folder of the tokenizer: the reference's, else the adapter's, else the base's.

    The adapter's comes before the base's because training may have added tokens or another chat template.
    """
    if reference.tokenizer:
        folder = gguf.choose(files.find(reference.tokenizer, code=reference.trust_remote_code))
        if folder.is_file():
            gguf.require_package(folder)
            return folder
        if not files.has_tokenizer(folder):
            raise HarnessError(f"there is no tokenizer in {folder}: name the folder that has it with tokenizer=")
        return tokenizer_files.checked(folder, is_trusted=reference.trust_remote_code)
    for folder in (*([adapter.folder] if adapter else []), base):
        if folder.is_file():
            return folder
        if files.has_tokenizer(folder) or (
            reference.trust_remote_code and (folder / "tokenizer_config.json").is_file()
        ):
            return tokenizer_files.checked(folder, is_trusted=reference.trust_remote_code)
    raise HarnessError(f"there is no tokenizer in {base}: name the folder that has it with tokenizer=")


def _take_eos_ids(model: Model, located: Located) -> tuple[int, ...]:
    """Return the ids that end a text for the base, and remove the decoding defaults from `model`.

    If the defaults stayed, generate() would use them for whatever a call does not set, such as a repetition penalty
    that no task asks for.
    """
    from transformers import GenerationConfig

    stated = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if located.base.is_file():
        stated = gguf.eos_ids(located.base)
    model.generation_config = GenerationConfig()
    ids = stated if isinstance(stated, list) else [stated]
    if not all(i is None or (type(i) is int and 0 <= i < 1 << 31) for i in ids):
        raise HarnessError(f"{located.base} has '{stated}' as eos_token_id: correct it in its generation_config.json")
    return tuple(i for i in ids if i is not None)


def _eos_ids(base: tuple[int, ...], tokenizer: Tokenizer) -> tuple[int, ...]:
    stated = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
    return tuple(sorted({*base, *getattr(tokenizer, "ending_ids", stated)}))
