"""Reference → checkpoint: a model that answers, its tokenizer, and what identifies it.

Two steps, so that mistakes surface before gigabytes are read: `locate` finds and checks files, `load` reads weights.
Remote code never runs unless the reference says `trust_remote_code=true`; pickled weights are read as weights only.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.checkpoints import configs, discovery, files, identity, probe, quantization, weights
from harness.checkpoints.adapters import attach, prompt_learning
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.errors import HarnessError


def locate(reference: CheckpointReference) -> Located:
    """Find every part of `reference`, fetching from the hub what is not here, and check it without loading weights.

    Raises HarnessError naming the part that is missing, damaged or does not go together.
    """
    code = reference.trust_remote_code
    first = files.find(reference.path, reference.revision, code=code)
    adapter = files.find(reference.adapter) if reference.adapter else None
    if adapter is not None and not files.is_adapter(adapter):
        advice = files.checkpoints_inside(adapter) or "name the folder of a PEFT adapter"
        raise HarnessError(f"{adapter} has no {files.ADAPTER_CONFIG}: {advice}")
    if files.is_adapter(first):
        if adapter is not None:
            raise HarnessError(f"{first} is an adapter itself: name its base before the comma, not another adapter")
        path, revision = attach.base_of(first)
        base, adapter = _base_folder(path, revision, first, code), first
        if files.is_adapter(base):
            raise HarnessError(f"adapter {first} was trained on {base}, itself an adapter: merge that into its base")
    else:
        base = first
    kind = "base"
    if adapter is not None:
        kind = attach.method(adapter).lower()
        files.adapter_weights(adapter)
    weight_files = files.weight_files(base)
    config = configs.read(base, reference)
    device = _device(reference.device)
    dtype = _dtype(reference.dtype, device, config, weight_files)
    quantized = quantization.resolve(base, config, reference.quantize, dtype, device)
    virtual = 0
    if adapter is not None:
        virtual = prompt_learning.virtual_tokens(adapter)
        if quantized is not None:
            quantization.check_adapter(quantized, adapter, base)
    max_length = (reference.max_length or configs.context_length(config)) - virtual
    if max_length < 1:
        raise HarnessError(f"the {virtual:,} virtual tokens of {adapter} fill the context: give a larger max_length=")
    return Located(
        reference=reference,
        base=base,
        adapter=adapter,
        tokenizer=_tokenizer_folder(reference, base, adapter),
        kind=kind,
        config=config,
        device=device,
        dtype=quantized.dtype if quantized else dtype,
        quantization=quantized,
        max_length=max_length,
        virtual_tokens=virtual,
    )


def load(located: Located, *, allow_inactive_adapter: bool = False) -> Checkpoint:
    """Read the weights of `located` and return a checkpoint that has answered a probe.

    Raises HarnessError on keys that are missing or have no place, on NaN logits, and, unless
    `allow_inactive_adapter`, on an adapter that changes nothing.
    """
    return Loader().load(located, allow_inactive_adapter=allow_inactive_adapter)


class _Base(NamedTuple):
    """A base in memory, without any adapter."""

    key: tuple[Any, ...]
    model: Any
    eos_ids: tuple[int, ...]
    parameters: list[tuple[str, int]]


class Loader:
    """Loads one checkpoint after another; a base that the next one shares stays in memory, its adapter is swapped.

    A checkpoint is usable until the next one is loaded.
    """

    def __init__(self) -> None:
        self._base: _Base | None = None
        self._model: Any = None  # as it answers now: the base, or PEFT's model around it

    def load(self, located: Located, *, allow_inactive_adapter: bool = False) -> Checkpoint:
        """Return the checkpoint `located`; raises as the function `load` does."""
        fingerprint = located.fingerprint()
        tokenizer = load_tokenizer(located)
        base = self._take_base(located)
        model, root, ids, plain, tensors = base.model, EMPTY, None, None, {}
        rows = model.get_input_embeddings().weight.shape[0]
        adapter, notes = located.adapter, doubts(located)
        self._base = None  # until it is known to be whole: a failure must not leave half a swap behind
        if adapter is not None:
            tensors = attach.read(adapter)
            if attach.is_prompt_learning(adapter):
                prompt_learning.check_fit(adapter, tensors, model.config)
                root = prompt_learning.root_cache(adapter, tensors, model, located.dtype)
            else:
                if attach.rewrites_base(adapter):
                    ids = probe.probe(rows, located.max_length, [], located.device)
                    plain = probe.Answers(model).logits(ids)
                model = attach.attach(model, adapter, tensors).to(located.device)
                rows = model.get_input_embeddings().weight.shape[0]
        self._model = model
        probe.check_size(tokenizer, located.tokenizer, rows, located.base)
        answers = probe.Answers(model, root)
        if ids is None:
            own = probe.own_tokens(model) if model is not base.model else []
            ids = probe.probe(rows, located.max_length, own, located.device)
        probe.check_answers(answers, ids, located.name, located.config.model_type, located.dtype)
        effect = None
        if adapter is not None:
            effect = probe.effect(answers, tensors, ids, plain, rounds=attach.rounds_base(adapter))
            if effect == 0.0:
                if not allow_inactive_adapter:
                    raise HarnessError(
                        f"adapter {adapter} changes no logit of {located.base}: it was never trained, or is not "
                        "applied; pass --allow-inactive-adapter if that is what you want to measure"
                    )
                notes.append("the adapter changes nothing: these are the base's answers")
        if located.fingerprint() != fingerprint:
            raise HarnessError(f"{located.name} was changed while it was read: wait until it is saved, and try again")
        if adapter is None or not attach.rewrites_base(adapter):
            self._base = base
        return Checkpoint(
            located,
            model,
            tokenizer,
            fingerprint,
            _eos(base.eos_ids, tokenizer),
            configs.size(located).parameters,
            memory_bytes=quantization.bytes_in_memory(model) + root.bytes,
            adapter_parameters=_held(model, root, tensors) if adapter is not None else None,
            adapter_effect=effect,
            root=root,
            notes=notes,
        )

    def _take_base(self, located: Located) -> _Base:
        """Return the base in memory if it is the one `located` needs, else read that one in its place."""
        # Its content too: a folder may be written anew between one checkpoint and the next.
        key = (*_base_key(located), identity.fingerprint(located.base, None, located.base, {}))
        kept, model, self._base, self._model = self._base, self._model, None, None
        if kept is not None and kept.key == key:
            bare = model if model is kept.model else attach.detach(model, kept.parameters)
            if bare is not None:
                return kept
        del kept, model  # before the next one is read, or both would be in memory
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        found = weights.load(located)
        return _Base(key, found, _take_eos(found, located), attach.identities(found))


def by_base(located: Sequence[Located]) -> list[Located]:
    """Return the checkpoints with those of one base side by side, bases in the order of their first."""
    groups: dict[tuple[Any, ...], list[Located]] = {}
    for one in located:
        groups.setdefault(_base_key(one), []).append(one)
    return [one for group in groups.values() for one in group]


def _base_key(located: Located) -> tuple[Any, ...]:
    """Return what two checkpoints must have in common to share a base in memory."""
    reference, quantized = located.reference, located.quantization
    name = quantized and quantized.name
    flags = (reference.trust_remote_code, reference.allow_unexpected_keys, reference.max_length)
    return (located.base.resolve(), str(located.dtype), str(located.device), name, *flags)


def _held(model: Any, root: RootCache, tensors: attach.Weights) -> int:
    """Return the number of parameters the adapter holds: of a prefix with projection, what the projection yields."""
    return sum(int(tensor.numel()) for tensor in tensors.values()) if root.layers else attach.parameter_count(model)


def load_tokenizer(located: Located) -> Any:
    """Return the checkpoint's tokenizer; raise HarnessError if it cannot be built."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            str(located.tokenizer), trust_remote_code=located.reference.trust_remote_code
        )
    except Exception as error:  # transformers, tokenizers and sentencepiece each raise their own
        what = f"the tokenizer in {located.tokenizer} cannot be loaded"
        advice = "fetch or save it again, or name another with tokenizer="
        raise configs.explained(error, what, advice, located.reference) from error


def _base_folder(path: str, revision: str | None, adapter: Path, code: bool) -> Path:
    try:
        return files.find(path, revision, code=code)
    except HarnessError as error:
        message = f"adapter {adapter} was trained on '{path}', which is not to be had ({error})"
        raise HarnessError(f"{message}; {discovery.advice(adapter, path)}") from error


def _tokenizer_folder(reference: CheckpointReference, base: Path, adapter: Path | None) -> Path:
    # The adapter's own comes before the base's: training may have added pieces or another chat template.
    if reference.tokenizer:
        folder = files.find(reference.tokenizer, code=reference.trust_remote_code)
        if not files.has_tokenizer(folder):
            raise HarnessError(f"there is no tokenizer in {folder}: name the folder that has it with tokenizer=")
        return _without_pointers(folder)
    for folder in filter(None, (adapter, base)):
        if files.has_tokenizer(folder) or (
            reference.trust_remote_code and (folder / "tokenizer_config.json").is_file()
        ):
            return _without_pointers(folder)
    raise HarnessError(f"there is no tokenizer in {base}: name the folder that has it with tokenizer=")


def _without_pointers(tokenizer: Path) -> Path:
    for name in files.TOKENIZER:
        if (tokenizer / name).is_file():
            files.check_no_pointer(tokenizer / name)
    return tokenizer


def _device(wanted: str | None) -> torch.device:
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device).item()  # meta devices hold no numbers
    except (RuntimeError, AssertionError) as error:
        raise HarnessError(f"device '{wanted}' cannot be used here ({files.reason(error)}): try device=cpu") from error
    return device


def _dtype(wanted: str | None, device: torch.device, config: Any, saved: list[Path]) -> torch.dtype:
    if wanted is None:
        wanted = "float32" if device.type == "cpu" else "auto"
    if wanted == "auto":
        own = getattr(config, "dtype", None)
        if isinstance(own, torch.dtype):
            return own
        wanted = files.stored_dtype(saved) or "float32"
    dtype: torch.dtype = getattr(torch, wanted)
    return dtype


def doubts(located: Located) -> list[str]:
    """Return what is not wrong but worth a second look, a sentence each."""
    found = []
    stated = attach.stated_base(located.adapter) if located.adapter else None
    if stated and located.reference.adapter is None and located.base_name != stated:
        found.append(f"the adapter's base {stated} is not here: {located.base_name}, the same model, took its place")
    elif stated and not discovery.same_model(stated, located.base_name):
        found.append(f"the adapter says it was trained on {stated}, not on {located.base_name}")
    own = files.read_json(file) if (file := located.base / "generation_config.json").is_file() else {}
    if own.get("repetition_penalty") not in (None, 1, 1.0):
        penalty = own["repetition_penalty"]
        found.append(
            f"its own repetition penalty of {penalty} is not applied, as no task asks for it; lm-eval applies it"
        )
    return found


def _take_eos(model: Any, located: Located) -> tuple[int, ...]:
    """Return the ids that end a text for the base, and leave the model without decoding defaults of its own.

    generate() fills in from the model's generation_config whatever a call leaves open, such as a repetition penalty
    that no task asked for.
    """
    from transformers import GenerationConfig

    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    model.generation_config = GenerationConfig()
    ids = own if isinstance(own, list) else [own]
    if not all(isinstance(i, int | None) for i in ids):
        raise HarnessError(f"{located.base} gives '{own}' as eos_token_id: correct it in its generation_config.json")
    return tuple(i for i in ids if i is not None)


def _eos(base: tuple[int, ...], tokenizer: Any) -> tuple[int, ...]:
    return tuple(sorted({*base, *([] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)])}))
