"""Which generation of ChatGLM a folder holds, and what its config.json states.

ChatGLM2 and ChatGLM3 share every key of config.json, and yet differ in what `rope_ratio` means: ChatGLM2-32k divides
positions by it, ChatGLM3-32k multiplies the base of the angles. Other files of the folder decide, in this order: the
reference's key `chatglm=`, the published modelling code, the tokenizer's code, role tokens, names that the folder
states. Python is read as text and never run.

Settings that a file leaves out have the defaults of the published configuration_chatglm.py (THUDM/ChatGLM2-6B). Values
that no published checkpoint has are refused, because this project computes nothing else.

Not here: turning the settings into a model (`harness.checkpoints.chatglm.convert` and `model`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.checkpoints import contents, files, limits
from harness.checkpoints.chatglm import recognition
from harness.common import places
from harness.errors import HarnessError

MODEL_TYPE = "chatglm"
"""The model_type of every generation, and of GLM-4 in its first layout."""
GENERATIONS = {1: "ChatGLM-6B", 2: "ChatGLM2", 3: "ChatGLM3"}
"""Names of the generations. CodeGeeX2 is a ChatGLM2."""
PREFIX = "transformer.prefix_encoder."
"""How the names of a P-tuning v2 prefix's weights begin."""
SCALE = ".weight_scale"
"""How the names of a quantised layer's scales end."""
_MODELLING, _TOKENIZATION = "modeling_chatglm.py", "tokenization_chatglm.py"
_CODE_BYTES = 1 << 20

_DEFAULTS = {
    "num_layers": 28,
    "padded_vocab_size": 65024,
    "hidden_size": 4096,
    "ffn_hidden_size": 13696,
    "kv_channels": 128,
    "num_attention_heads": 32,
    "seq_length": 2048,
    "layernorm_epsilon": 1e-5,
    "rmsnorm": True,
    "apply_residual_connection_post_layernorm": False,
    "post_layer_norm": True,
    "add_bias_linear": False,
    "add_qkv_bias": False,
    "multi_query_attention": False,
    "multi_query_group_num": 1,
    "attention_softmax_in_fp32": True,
    "fp32_residual_connection": False,
    "original_rope": True,
    "interleaved_qkv": False,
    "rotary_percent": 0.5,
    "rope_ratio": 1,
}
"""Settings of ChatGLM2 and 3 where config.json does not state them."""
_DEFAULTS_6B = {
    "vocab_size": 150528,
    "hidden_size": 4096,
    "num_layers": 28,
    "num_attention_heads": 32,
    "layernorm_epsilon": 1e-5,
    "inner_hidden_size": 16384,
    "max_sequence_length": 2048,
    "pad_token_id": 3,
    "position_encoding_2d": True,
}
"""Settings of ChatGLM-6B where config.json does not state them: those of its code before 6 April 2023."""
_PUBLISHED = {
    "rmsnorm": True,
    "apply_residual_connection_post_layernorm": False,
    "post_layer_norm": True,
    "add_bias_linear": False,
    "multi_query_attention": True,
    "fp32_residual_connection": False,
    "original_rope": True,
    "interleaved_qkv": False,
    "rotary_percent": 0.5,
}
"""Settings of ChatGLM2 and 3 that have one value in every published checkpoint."""


@dataclass(frozen=True)
class Layout:
    """The generation of a published folder and its settings."""

    generation: int
    """1 for ChatGLM-6B, 2 for ChatGLM2 and CodeGeeX2, 3 for ChatGLM3."""
    settings: dict[str, Any]
    """The contents of config.json, with the published defaults for what it leaves out."""
    rope_ratio: float
    """By which ChatGLM2 divides positions and ChatGLM3 multiplies the base; 1 for most checkpoints."""
    saved_bits: int
    """Bits of the block linears if the folder was saved quantised, 4 or 8; 0 for plain weights."""
    is_guess: bool = False
    """Whether nothing says which generation it is, so that ChatGLM2 is assumed. Its logits do not depend on that."""


def is_chatglm(content: dict[str, Any]) -> bool:
    """Return whether config.json has this `content` in a published ChatGLM folder, or in GLM-4's first layout."""
    return content.get("model_type") == MODEL_TYPE


def read(folder: Path, content: dict[str, Any], names: Collection[str] = (), generation: int | None = None) -> Layout:
    """Return the layout of `folder`, whose config.json has this `content` (`is_chatglm`), and weights of these `names`.

    `generation` is the reference's key `chatglm=`. Raises HarnessError if the folder is a GLM-4, has a setting that no
    published checkpoint has, or scales positions although nothing says in which of the two ways.
    """
    _require_no_glm4(folder, content)
    if "position_encoding_2d" in content or "inner_hidden_size" in content or "max_sequence_length" in content:
        return _chatglm_6b(folder, content, names, generation)
    settings = _with_defaults(folder, content, _DEFAULTS)
    for name, published in _PUBLISHED.items():
        if settings[name] != published:
            stated = settings[name] if name in content else f"{settings[name]}, which is the default,"
            raise HarnessError(
                f"{folder / 'config.json'} sets {name} to {stated} and not to {published} as every published ChatGLM2 "
                "and ChatGLM3 does, so this project cannot compute it: name another checkpoint"
            )
    code = _text(folder / _MODELLING)
    ratio = float(settings["rope_ratio"])
    if ratio == 1 and (constant := _ratio_in_code(code)):
        ratio = constant
    known = generation or _generation(folder, content, code)
    if known is None and ratio != 1:
        raise HarnessError(
            f"{folder} has a rope_ratio of {ratio:g}, by which ChatGLM2 divides positions and ChatGLM3 multiplies the "
            "base of its angles, and no file says which of the two it is: write chatglm=2 or chatglm=3 behind its name"
        )
    bits = _saved_bits(folder, content, names)
    return Layout(known or 2, settings, ratio, bits, is_guess=known is None)


def _chatglm_6b(folder: Path, content: dict[str, Any], names: Collection[str], generation: int | None) -> Layout:
    if generation is not None:
        raise HarnessError(f"{folder} is a ChatGLM-6B, by the keys of its config.json: leave chatglm={generation} out")
    settings = _with_defaults(folder, content, _DEFAULTS_6B)
    if not settings["position_encoding_2d"]:
        raise HarnessError(
            f"{folder / 'config.json'} sets position_encoding_2d to false and not to true as every published "
            "ChatGLM-6B does, so this project cannot compute it: name another checkpoint"
        )
    rows = settings["vocab_size"]
    for name in ("bos_token_id", "eos_token_id", "mask_token_id", "gmask_token_id"):
        value = settings.get(name)
        if value is not None and not (type(value) is int and 0 <= value < rows):
            raise HarnessError(
                f"{folder / 'config.json'} sets {name} to {limits.shown(value)}, which is not the id of one of its "
                f"{rows:,} tokens: fetch or save the checkpoint again"
            )
    if settings["hidden_size"] % (4 * settings["num_attention_heads"]):
        raise HarnessError(
            f"{folder / 'config.json'} sets num_attention_heads to {settings['num_attention_heads']}, which does not "
            f"divide its hidden_size of {settings['hidden_size']:,} into heads of two halves: fetch or save it again"
        )
    return Layout(1, settings, 1.0, _saved_bits(folder, content, names))


def _with_defaults(folder: Path, content: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in `content` and the `defaults` of what it leaves out.

    Raises HarnessError if a setting is of another type than its default, or a size is not positive.
    """
    for name, default in defaults.items():
        value = content.get(name, default)
        types = (int, float) if isinstance(default, float) or name == "rope_ratio" else type(default)
        is_flag = isinstance(default, bool)
        is_size = not is_flag and not name.endswith("_id")
        is_number = isinstance(value, types) and isinstance(value, bool) == is_flag
        if not is_number or (is_size and not 0 < value < float("inf")):
            kind = "true or false" if is_flag else "a positive number"
            raise HarnessError(
                f"{folder / 'config.json'} sets {name} to {limits.shown(value)}, which is not {kind}: fetch or "
                "save the checkpoint again"
            )
    return {**defaults, **content}


def _saved_bits(folder: Path, content: dict[str, Any], names: Collection[str]) -> int:
    """Return the bits of a folder that was saved quantised, or 0; `names` are those of its weights.

    The weights decide, because the config.json of a prefix that was trained on quantised weights states
    `quantization_bit`, too. Raises HarnessError if the folder is quantised and does not state 4 or 8 bits.
    """
    scales = [name for name in names if name.endswith(SCALE)]
    if any("embedding" in name or name.startswith("lm_head") for name in scales):
        raise HarnessError(
            f"{folder} has quantised embeddings, which were discontinued: name the checkpoint whose name ends in -int4 "
            "instead of -int4-qe"
        )
    bits = content.get("quantization_bit")
    if scales and bits not in (4, 8):
        raise HarnessError(
            f"{folder} holds quantised weights, but its config.json sets quantization_bit to {limits.shown(bits)}, not "
            "4 or 8: fetch or save the checkpoint again"
        )
    return int(bits) if scales and isinstance(bits, int) else 0


# --- which generation


def _generation(folder: Path, content: dict[str, Any], code: str) -> int | None:
    """Return 2 or 3, or None if no file of `folder` tells them apart; `code` is its modelling code."""
    if re.search(r"/\s*self\.rope_ratio", code):
        return 2
    if re.search(r"base\s*\*\s*self\.\w*ratio", code):
        return 3
    return recognition.generation(folder, _json(folder / contents.TOKENIZER_CONFIG), content)


def _ratio_in_code(code: str) -> float | None:
    """Return the number by which modelling code multiplies the base whatever config.json says, or None.

    THUDM's LongAlign-6B-64k does: `self.ratio = 200`, `base = base * self.ratio`.
    """
    name = re.search(r"base\s*\*\s*self\.(\w*ratio)", code)
    value = re.search(rf"self\.{name[1]}\s*=\s*(\d+(?:\.\d+)?)\s*$", code, re.MULTILINE) if name else None
    return float(value[1]) if value else None


def _require_no_glm4(folder: Path, content: dict[str, Any]) -> None:
    """Raise HarnessError if `folder` is a GLM-4 in ChatGLM's layout, which needs another tokenizer."""
    tokenizer = _json(folder / "tokenizer_config.json").get("tokenizer_class")
    is_glm4 = tokenizer == "ChatGLM4Tokenizer" or "ChatGLM4Tokenizer" in _text(folder / _TOKENIZATION)
    if is_glm4 or content.get("padded_vocab_size") == 151552:
        raise HarnessError(
            f"{folder} is a GLM-4 in ChatGLM's layout: name the folder of the same model whose name ends in -hf (such "
            "as THUDM/glm-4-9b-chat-hf), which holds the same weights"
        )


def _text(file: Path) -> str:
    """Return the text in `file`; "" if there is no such file, or if it cannot be such a text."""
    try:
        if not places.is_file(file) or file.stat().st_size > _CODE_BYTES:
            return ""
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise places.explained(error, file) from error


def _json(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file`; {} if there is none."""
    return files.read_json(file, limits.CONFIG_BYTES) if places.is_file(file) else {}
