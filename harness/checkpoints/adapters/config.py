"""The configuration of an adapter, parsed once: PEFT's `adapter_config.json`, or the config.json of a ChatGLM prefix.

Only the values that this project acts on are here; PEFT reads its file itself when it attaches an adapter. A setting
that PEFT does not know stops the run.
Not here: the adapter's weights (`harness.checkpoints.adapters.attach`), and hashing (`harness.checkpoints.identity`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.checkpoints import files
from harness.checkpoints.adapters import limits
from harness.checkpoints.chatglm import prefix
from harness.common import places
from harness.errors import HarnessError

PROMPT_LEARNING = ("PREFIX_TUNING", "P_TUNING", "PROMPT_TUNING")
"""PEFT methods that learn a root cache (keys and values before every prompt) and leave the base's weights alone."""
UNSUPPORTED = ("MULTITASK_PROMPT_TUNING", "CPT", "CARTRIDGE")
"""PEFT's other methods of prompt learning."""
# Values of init_lora_weights for which PEFT subtracts the adapter's start from the base's weights.
_REWRITES_BASE = ("pissa", "olora", "corda", "loftq")
_SIZES = ("r", "lora_alpha", "alpha")
"""Settings of the rank and scale of low-rank adapters."""
# Values of init_lora_weights that PEFT computes from the base's own floating-point weights.
_NEEDS_FLOATS = ("pissa", "olora", "corda", "eva")


@dataclass(frozen=True)
class AdapterConfig:
    """The parts of an adapter's configuration that decide how it is loaded."""

    folder: Path
    """Folder that holds the adapter."""
    method: str
    """PEFT's name of the method, such as `LORA`."""
    base: str | None
    """The base as the adapter names it, a path or a hub name; None if it names none."""
    revision: str | None
    """Branch, tag or commit of `base` on the hub."""
    trains_biases: bool
    """Whether the adapter replaces biases of the base."""
    truncates_base: bool
    """Whether PEFT drops the smallest singular values of the base's weights (KaSA)."""
    uses_dora: bool
    """Whether a LoRA also rescales the base's weights (DoRA)."""
    init_lora_weights: str | None
    """Name of the method that chose a LoRA's first weights, such as `pissa`; None for PEFT's default."""
    virtual_tokens: int
    """Number of virtual tokens; 0 unless the adapter is prompt learning."""
    is_for_encoder_decoder: bool
    """Whether prompt learning covers an encoder and a decoder."""
    num_attention_heads: object
    """Number of heads that a prefix was learned for. Its type is that in the file, because it is only compared."""

    named_modules: tuple[tuple[str, tuple[str, ...]], ...]
    """The names in `target_modules` and `modules_to_save`, by setting. A setting that is a pattern or absent has ()."""
    defaults: tuple[tuple[str, object], ...]
    """Settings of a LoRA's size or scale that the file does not state, with PEFT's default for each."""
    is_chatglm: bool = False
    """Whether it is a prefix as ChatGLM's own scripts save it, not an adapter of PEFT. Texts begin at position 0."""
    trained_bits: int = 0
    """Bits of the quantised base on which a ChatGLM prefix was trained; 0 if it was not quantised, or if unknown."""

    @property
    def file(self) -> Path:
        """The file that the configuration was read from."""
        return self.folder / ("config.json" if self.is_chatglm else files.ADAPTER_CONFIG)

    @property
    def weight_files(self) -> list[Path]:
        """The files that hold the adapter's weights, complete; raises HarnessError if one is missing or truncated."""
        return files.weight_files(self.folder) if self.is_chatglm else [files.adapter_weights(self.folder)]

    def require_complete(self) -> None:
        """Raise HarnessError if a file of the adapter's weights is missing or truncated."""
        _ = self.weight_files

    @property
    def context_tokens(self) -> int:
        """Tokens of the context that the adapter takes from prompts and answers."""
        return 0 if self.is_chatglm else self.virtual_tokens

    @property
    def is_prompt_learning(self) -> bool:
        """Whether the adapter is a root cache (keys and values before every prompt) rather than a change of weights."""
        return self.method in PROMPT_LEARNING

    @property
    def is_prefix(self) -> bool:
        """Whether the adapter holds keys and values rather than embeddings of its virtual tokens."""
        return self.method == "PREFIX_TUNING"

    @property
    def rounds_base(self) -> bool:
        """Whether PEFT rounds the base's weights, as it subtracts the adapter's first weights (PiSSA, OLoRA, …)."""
        return self.init_lora_weights is not None and self.init_lora_weights.startswith(_REWRITES_BASE)

    @property
    def rewrites_base(self) -> bool:
        """Whether PEFT changes the base's own weights when it attaches the adapter."""
        return self.trains_biases or self.truncates_base or self.rounds_base

    @property
    def starts_from_base_floats(self) -> bool:
        """Whether the adapter's first weights are computed from the base's floating-point weights."""
        return self.init_lora_weights is not None and self.init_lora_weights.startswith(_NEEDS_FLOATS)


def holds_adapter(folder: Path) -> bool:
    """Return whether `folder` holds an adapter, of PEFT or ChatGLM, rather than a whole model.

    Raises HarnessError if the folder holds an adapter of PEFT and a whole model.
    """
    return files.is_adapter(folder) or prefix.is_only_prefix(folder)


def read(folder: Path) -> AdapterConfig:
    """Return the configuration of the adapter in `folder`.

    Raises HarnessError if the file is missing or damaged, names no method or an unsupported one, has a setting that
    PEFT does not know, or is for prompt learning and states no number of virtual tokens.
    """
    if not places.is_file(folder / files.ADAPTER_CONFIG) and prefix.has_prefix(folder):
        return _chatglm_prefix(folder)
    content = files.read_json(folder / files.ADAPTER_CONFIG)
    weights = next((folder / name for name in files.ADAPTER_WEIGHTS if (folder / name).is_file()), None)
    limits.check(folder / files.ADAPTER_CONFIG, content, weights)
    base, revision, init = (content.get(key) for key in ("base_model_name_or_path", "revision", "init_lora_weights"))
    method = _method(folder, content)
    _require_known_settings(folder, content, method)
    return AdapterConfig(
        folder=folder,
        method=method,
        base=base if base and isinstance(base, str) else None,
        revision=None if revision is None else str(revision),
        trains_biases=content.get("bias") not in (None, "none"),
        truncates_base=bool(content.get("kasa_config")),
        uses_dora=bool(content.get("use_dora")),
        init_lora_weights=init if isinstance(init, str) else None,
        virtual_tokens=_virtual_tokens(folder, content) if method in PROMPT_LEARNING else 0,
        is_for_encoder_decoder=content.get("num_transformer_submodules") not in (None, 1),
        num_attention_heads=content.get("num_attention_heads"),
        named_modules=tuple((setting, _names(content, setting)) for setting in ("target_modules", "modules_to_save")),
        defaults=_defaults(content, method),
    )


def _chatglm_prefix(folder: Path) -> AdapterConfig:
    """Return the configuration of the ChatGLM prefix in `folder`, which may hold a whole model, too."""
    file = folder / "config.json"
    content = files.read_json(file)
    base, bits, tokens = (content.get(key) for key in ("_name_or_path", "quantization_bit", "pre_seq_len"))
    if type(tokens) is not int or tokens < 1:
        raise HarnessError(
            f"{file} states pre_seq_len as {json.dumps(tokens)}, but the weights there include a prefix: copy the "
            "config.json of the training that wrote it"
        )
    return AdapterConfig(
        folder=folder,
        method="PREFIX_TUNING",
        base=base if base and isinstance(base, str) else None,
        revision=None,
        trains_biases=False,
        truncates_base=False,
        uses_dora=False,
        init_lora_weights=None,
        virtual_tokens=tokens,
        is_for_encoder_decoder=False,
        num_attention_heads=None,
        named_modules=(),
        defaults=(),
        is_chatglm=True,
        trained_bits=bits if type(bits) is int and bits in (4, 8) else 0,
    )


def _method(folder: Path, content: dict[str, Any]) -> str:
    name = str(content.get("peft_type") or "")
    if not name:
        raise HarnessError(f"{folder / files.ADAPTER_CONFIG} names no peft_type: fetch or save the adapter again")
    if name in UNSUPPORTED:
        supported = ", ".join(PROMPT_LEARNING)
        raise HarnessError(
            f"{folder} is a {name} adapter, which is not supported: the supported methods of prompt learning are "
            f"{supported}"
        )
    if content.get("alora_invocation_tokens"):
        raise HarnessError(f"{folder} is an activated LoRA, which waits for certain tokens: this is not supported")
    return name


def _require_known_settings(folder: Path, content: dict[str, Any], method: str) -> None:
    """Raise HarnessError if the file has a setting that the installed PEFT would drop.

    PEFT only warns. An adapter saved by a newer version would then answer without the effect of that setting. Settings
    that are null, false or empty pass, because they are switched off; a method that PEFT does not know is reported when
    the adapter is attached.
    """
    from peft import __version__

    known = _parameters(method)
    if not known:
        return
    unknown = {key: value for key, value in content.items() if key not in known and not _is_switched_off(value)}
    if unknown:
        key, value = min(unknown.items())
        text = json.dumps(value, ensure_ascii=False)
        more = f" and {len(unknown) - 1} more ({', '.join(sorted(unknown)[1:4])})" if len(unknown) > 1 else ""
        raise HarnessError(
            f"{folder / files.ADAPTER_CONFIG} sets {key} to {text if len(text) <= 40 else text[:40] + '…'}{more}, "
            f"which peft {__version__} does not know and would ignore: update peft, or, if it changes no answer, "
            "remove it from the file"
        )


def _names(content: dict[str, Any], setting: str) -> tuple[str, ...]:
    stated = content.get(setting)
    return tuple(name for name in stated if isinstance(name, str)) if isinstance(stated, list) else ()


def _defaults(content: dict[str, Any], method: str) -> tuple[tuple[str, object], ...]:
    """Return the settings of size and scale of `method` that `content` does not state, with PEFT's defaults."""
    known = _parameters(method)
    return tuple((key, known[key].default) for key in _SIZES if key in known and key not in content)


def _parameters(method: str) -> Mapping[str, inspect.Parameter]:
    """Return the settings of `method` by name; empty if PEFT does not know the method."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind = next((kind for kind in PEFT_TYPE_TO_CONFIG_MAPPING if kind.value == method), None)
    return {} if kind is None else inspect.signature(PEFT_TYPE_TO_CONFIG_MAPPING[kind].__init__).parameters


def _is_switched_off(value: object) -> bool:
    return value is None or value is False or value in ([], {}, "")


def _virtual_tokens(folder: Path, content: dict[str, Any]) -> int:
    tokens = content.get("num_virtual_tokens")
    if not isinstance(tokens, int) or tokens < 1:
        file = folder / files.ADAPTER_CONFIG
        raise HarnessError(f"{file} states num_virtual_tokens as {tokens}: fetch or save the adapter again")
    return tokens
