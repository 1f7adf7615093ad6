"""Reference → checkpoint: a model that answers, its tokenizer, and what identifies it.

Two steps, so that mistakes surface before gigabytes are read: `locate` finds and checks files, `load` reads weights.
Remote code never runs unless the reference says `trust_remote_code=true`; pickled weights are read as weights only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.checkpoints import adapters, files, identity, weights
from harness.checkpoints.reference import CheckpointReference
from harness.errors import HarnessError

PROBE_TOKENS = 64


class RootCache(NamedTuple):
    """What every prompt starts with: a key/value cache and the position of the next token."""

    cache: Any | None = None
    next_position: int = 0


class Located(NamedTuple):
    """Where a checkpoint's parts are; every file that is named exists and is whole."""

    reference: CheckpointReference
    base: Path
    adapter: Path | None
    tokenizer: Path
    kind: str
    """`base`, or the adapter's method in lower case, such as `lora`."""
    config: Any
    """The base's transformers configuration."""
    device: torch.device
    dtype: torch.dtype
    max_length: int

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.reference.label

    @property
    def base_name(self) -> str:
        """How the reference, or else its adapter, names the base."""
        if self.adapter is not None and self.reference.adapter is None:
            return adapters.stated_base(self.adapter) or self.reference.path
        return self.reference.path

    def fingerprint(self) -> str:
        """Return the checkpoint's fingerprint; reads each weight file once in its life."""
        settings = {"dtype": str(self.dtype)}
        if self.reference.trust_remote_code:
            settings["trust_remote_code"] = "true"
        return identity.fingerprint(self.base, self.adapter, self.tokenizer, settings)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory, ready to answer."""

    located: Located
    model: Any
    tokenizer: Any
    fingerprint: str
    eos_ids: tuple[int, ...]
    """Tokens that end a text: the tokenizer's EOS and those of the checkpoint's generation_config."""
    parameters: int
    adapter_parameters: int | None = None
    adapter_effect: float | None = None
    root: RootCache = field(default_factory=RootCache)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.located.name

    @property
    def plain_model(self) -> Any:
        """The base's own model class, without PEFT's wrapping."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def position_switch(self) -> int | None:
        """Length beyond which a row's positions depend on the longest row beside it, or None."""
        return weights.position_switch(self.located.config)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.located.device

    @property
    def max_length(self) -> int:
        """Context length in tokens."""
        return self.located.max_length


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
        path, revision = adapters.base_of(first)
        base, adapter = _base_folder(path, revision, first, code), first
        if files.is_adapter(base):
            raise HarnessError(f"adapter {first} was trained on {base}, itself an adapter: merge that into its base")
    else:
        base = first
    kind = "base"
    if adapter is not None:
        kind = adapters.method(adapter).lower()
        files.adapter_weights(adapter)
    weight_files = files.weight_files(base)
    config = _config(base, reference)
    device = _device(reference.device)
    return Located(
        reference=reference,
        base=base,
        adapter=adapter,
        tokenizer=_tokenizer_folder(reference, base, adapter),
        kind=kind,
        config=config,
        device=device,
        dtype=_dtype(reference.dtype, device, config, weight_files),
        max_length=reference.max_length or weights.context_length(config),
    )


def load(located: Located, *, allow_inactive_adapter: bool = False) -> Checkpoint:
    """Read the weights of `located` and return a checkpoint that has answered a probe.

    Raises HarnessError on keys that are missing or have no place, on NaN logits, and, unless
    `allow_inactive_adapter`, on an adapter that changes nothing.
    """
    fingerprint = located.fingerprint()
    tokenizer = load_tokenizer(located)
    model = weights.load(located)
    parameters = sum(int(p.numel()) for p in model.parameters())
    eos_ids = _take_eos(model, tokenizer, located)
    plain = None
    if located.adapter is not None:
        if adapters.rewrites_base(located.adapter):
            plain = _logits(model, _probe(model.get_input_embeddings().weight.shape[0], located, []))
        model = adapters.attach(model, located.adapter).to(located.device)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise HarnessError(
            f"tokenizer {located.tokenizer} has {len(tokenizer):,} pieces but {located.base} embeds only {rows:,}: "
            "they do not belong together; name the right one with tokenizer="
        )
    adapter_parameters = adapter_effect = None
    notes = _doubts(located)
    probe = _probe(rows, located, adapters.own_tokens(model) if located.adapter and plain is None else [])
    if located.adapter is not None:
        adapter_parameters = adapters.parameter_count(model)
        adapter_effect = adapters.effect(model, probe, plain)
        if adapter_effect == 0.0:
            if not allow_inactive_adapter:
                raise HarnessError(
                    f"adapter {located.adapter} changes no logit of {located.base}: it was never trained, or is not "
                    "applied; pass --allow-inactive-adapter if that is what you want to measure"
                )
            notes.append("the adapter changes nothing: these are the base's answers")
    _check_answers(model, probe, located)
    if located.fingerprint() != fingerprint:
        raise HarnessError(f"{located.name} was changed while it was read: wait until it is saved, and try again")
    return Checkpoint(
        located,
        model,
        tokenizer,
        fingerprint,
        eos_ids,
        parameters,
        adapter_parameters,
        adapter_effect,
        notes=notes,
    )


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
        raise weights.explained(error, what, advice, located.reference) from error


def _base_folder(path: str, revision: str | None, adapter: Path, code: bool) -> Path:
    try:
        return files.find(path, revision, code=code)
    except HarnessError as error:
        message = f"adapter {adapter} was trained on '{path}', which is not to be had ({error})"
        raise HarnessError(f"{message}; name its base, as BASE,adapter={adapter}") from error


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


def _config(base: Path, reference: CheckpointReference) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    content = files.read_json(base / "config.json")
    if not content.get("model_type") and "auto_map" not in content:
        raise HarnessError(f"{base / 'config.json'} names no model_type: fetch or save the checkpoint again")
    if (base / "generation_config.json").is_file():
        files.read_json(base / "generation_config.json")  # transformers passes over a damaged one
    try:
        config = AutoConfig.from_pretrained(str(base), trust_remote_code=reference.trust_remote_code)
    except Exception as error:
        advice = "fetch or save the checkpoint again, or update transformers if its architecture is new"
        raise weights.explained(error, f"{base / 'config.json'} cannot be used", advice, reference) from error
    by_itself = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not by_itself:
        raise HarnessError(f"{base} is a {config.model_type}, which is no causal language model: name one that is")
    return config


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


def _doubts(located: Located) -> list[str]:
    """Return what is not wrong but worth a second look."""
    doubts = []
    stated = adapters.stated_base(located.adapter) if located.adapter else None
    if stated and Path(stated).name != Path(located.base_name).name:
        doubts.append(f"the adapter says it was trained on {stated}, not on {located.base_name}")
    own = files.read_json(file) if (file := located.base / "generation_config.json").is_file() else {}
    if own.get("repetition_penalty") not in (None, 1, 1.0):
        penalty = own["repetition_penalty"]
        doubts.append(
            f"its own repetition penalty of {penalty} is not applied, as no task asks for it; lm-eval applies it"
        )
    return doubts


def _take_eos(model: Any, tokenizer: Any, located: Located) -> tuple[int, ...]:
    """Return the ids that end a text, and leave the model without decoding defaults of its own.

    generate() fills in from the model's generation_config whatever a call leaves open, such as a repetition penalty
    that no task asked for.
    """
    from transformers import GenerationConfig

    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    model.generation_config = GenerationConfig()
    ids = [*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id]
    if not all(isinstance(i, int | None) for i in ids):
        raise HarnessError(f"{located.base} gives '{own}' as eos_token_id: correct it in its generation_config.json")
    return tuple(sorted({i for i in ids if i is not None}))


def _probe(vocabulary: int, located: Located, own: list[int]) -> torch.Tensor:
    """Return (1, T) token ids, the adapter's `own` first and then some that no prompt prefers."""
    generator = torch.Generator().manual_seed(0)
    length = min(PROBE_TOKENS, located.max_length)
    drawn = torch.randint(vocabulary, (length,), generator=generator)
    known = torch.tensor([i for i in own if i < vocabulary][: length // 2], dtype=torch.long)
    return torch.cat([known, drawn])[None, :length].to(located.device)


def _check_answers(model: Any, probe: torch.Tensor, located: Located) -> None:
    try:
        logits = _logits(model, probe)
        last = torch.cat([probe[:, :-1], (probe[:, -1:] + 1) % int(logits.shape[-1])], 1)
        changed = _logits(model, last)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        kind, why = located.config.model_type, files.reason(error)
        raise HarnessError(f"{located.name} cannot be run ({why}): it is a {kind}, try another transformers") from error
    if bool(torch.isfinite(logits).all()) and probe.shape[1] > 1:
        before, after = logits[:, :-1], changed[:, :-1]
        # Rounding may differ where experts get another number of tokens; what looks ahead changes by the whole.
        share = 1e-3 if located.dtype == torch.float32 else 5e-2
        if float((before - after).abs().max()) > share * max(1.0, float(before.abs().max())):
            raise HarnessError(
                f"{located.name}, a {located.config.model_type}, lets what comes later change what came before: it is "
                "no causal language model, so its likelihoods mean nothing here"
            )
    if not bool(torch.isfinite(logits).all()):
        dtype = str(located.dtype).removeprefix("torch.")
        why = "its weights are damaged" if dtype == "float32" else "damaged weights or overflow: try dtype=float32"
        raise HarnessError(f"{located.name} answers a probe with NaN or infinite logits in {dtype}: {why}")


def _logits(model: Any, probe: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=probe).logits
    return logits.float()
