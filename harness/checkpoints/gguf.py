"""Read GGUF files, llama.cpp's format for a whole model in one file, and dequantise their weights.

transformers' own loader dequantises the weights and builds configuration and tokenizer. It ignores whatever it does not
know: settings of the architecture, tensors, rules by which a tokenizer splits text. Here each of them is honoured or
stops the run with an error that names it.

Not here: the header (`harness.checkpoints.gguf_header`).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.checkpoints import contents, files, foreign_code
from harness.checkpoints.gguf_header import PART, Header, read, type_of
from harness.checkpoints.types import Model, ModelConfig, Tokenizer
from harness.common import places
from harness.errors import HarnessError

if TYPE_CHECKING:
    import torch

SUFFIX = ".gguf"
ROPE_FACTORS = "rope_freqs.weight"
"""Name of the tensor of factors by which llama.cpp divides the frequencies of rotary positions."""
_FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# Settings that transformers does not map, and the attribute of its configuration that must have their value.
_EQUAL = {
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
    "context_length": "max_position_embeddings",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "use_parallel_residual": "use_parallel_residual",
}
# Settings that describe the file, or that its tensors state again.
_DESCRIPTIVE = ("vocab_size", "tensor_data_layout", "attention.causal", "leading_dense_block_count")
# Rules of llama.cpp (`llama-vocab.cpp`) by which a byte-level tokenizer splits text, beside those that transformers
# has: GPT-2's own, which is the default there, and the same after every digit was cut off.
_GPT2_SPLITS = ("gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "exaone4", "gigachat", "a.x-4.0", "mellum")
_DIGIT_SPLITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2")


def is_gguf(path: Path) -> bool:
    """Return whether `path` names a GGUF file."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def choose(path: Path) -> Path:
    """Return the GGUF file in folder `path` if there is one and no weights of transformers, otherwise `path` itself.

    Raises HarnessError if there are several, or only parts of one.
    """
    if not path.is_dir() or any(places.is_file(path / name) for name in (*files.WEIGHTS, files.ADAPTER_CONFIG)):
        return path
    candidates = sorted(file for file in path.iterdir() if is_gguf(file) and not file.name.startswith("mmproj"))
    if not candidates:
        return path
    if len(candidates) > 1 and not all(PART.fullmatch(file.name) for file in candidates):
        names = ", ".join(file.name for file in candidates[:4])
        raise HarnessError(f"{path} holds {len(candidates)} GGUF files ({names}): name one of them, as {candidates[0]}")
    return candidates[0]


# --- its quantisation


def require_package(file: Path) -> None:
    """Raise HarnessError if the package gguf, with which transformers reads `file`, is not installed."""
    if find_spec("gguf") is None:
        raise HarnessError(f"{file} needs the package gguf: install it with pip install 'checkpoint-harness[gguf]'")


def quantization_name(file: Path) -> str | None:
    """Return the name of the quantisation of `file`, such as `q4_1` or `q4_k_m`; None if its weights are floats.

    The quantised type of most weights decides; the file's own label for the whole is used only if it agrees.
    Raises HarnessError if a tensor has a type that cannot be dequantised.
    """
    from gguf import LlamaFileType

    header = read(file)
    _require_dequantisable(header, file)
    counts: Counter[str] = Counter()
    for tensor in header.tensors:
        counts[type_of(tensor, file).name] += tensor.elements
    quantised = [name for name, _ in counts.most_common() if name not in (*_FLOATS, "F64")]
    if not quantised or counts[quantised[0]] * 2 < sum(counts.values()):
        return quantised[0].lower() if quantised else None
    main = quantised[0].lower()
    try:
        label = LlamaFileType(header.metadata.get("general.file_type")).name.removeprefix("MOSTLY_").lower()
    except ValueError:
        return main
    return label if label.startswith(main) else main


def stored_dtype(file: Path) -> str | None:
    """Return torch's name of the dtype that most weights of `file` have; None if they are quantised."""
    counts: Counter[str] = Counter()
    for tensor in read(file).tensors:
        counts[type_of(tensor, file).name] += tensor.elements
    return _FLOATS.get(counts.most_common(1)[0][0])


def _require_dequantisable(header: Header, file: Path) -> None:
    import numpy
    from gguf import dequantize
    from gguf.constants import GGML_QUANT_SIZES

    for tensor in {tensor.type: tensor for tensor in header.tensors}.values():
        kind = type_of(tensor, file)
        try:
            dequantize(numpy.zeros((1, GGML_QUANT_SIZES[kind][1]), dtype=numpy.uint8), kind)
        except (NotImplementedError, ValueError, KeyError) as error:
            raise HarnessError(
                f"{file} holds {tensor.name} in {kind.name}, which the package gguf cannot dequantise: update gguf, or "
                "fetch the model in another quantisation"
            ) from error


# --- its configuration


def config(file: Path, *, is_lenient: bool = False) -> ModelConfig:
    """Return the transformers configuration that `file` describes, with the file's own ids of special tokens.

    Raises HarnessError if transformers does not know the architecture, or, unless `is_lenient`, has no place for a
    setting of the file.
    """
    from transformers import AutoConfig

    header = read(file)
    try:
        with foreign_code.no_hub(is_trusted=False), contents.alone(file, [file.name]) as folder:
            stated = AutoConfig.from_pretrained(str(folder), gguf_file=file.name)
    except Exception as error:  # readers and configuration classes raise their own types
        raise HarnessError(
            f"{file} cannot be used ({contents.reason(error)}): update transformers if its architecture "
            f"'{header.architecture}' is new, or name the checkpoint it was converted from"
        ) from error
    for key in ("bos", "eos", "padding"):  # where the file has none, transformers sets those of another model
        setattr(stated, f"{key[:3]}_token_id", header.metadata.get(f"tokenizer.ggml.{key}_token_id"))
    _set_rope_factors(header, stated, file)
    if not is_lenient:
        _require_honoured(header, stated, file)
    return stated


def eos_ids(file: Path) -> list[int]:
    """Return the ids that end a text or a turn, as `file` states them."""
    metadata = read(file).metadata
    ids = [metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom")]
    return sorted({int(i) for i in ids if i is not None})


def _set_rope_factors(header: Header, stated: ModelConfig, file: Path) -> None:
    """Add to the settings `stated` the scaling of positions that llama.cpp's converter wrote as factors.

    Llama 3.1 and later have such factors. Raises HarnessError if the factors do not follow Llama 3's rule, in which
    only the largest factor is free.
    """
    import numpy

    tensor = next((tensor for tensor in header.tensors if tensor.name == ROPE_FACTORS), None)
    if tensor is None:
        return
    count = tensor.elements
    factors = numpy.fromfile(file, "<f4", count, offset=header.start + tensor.offset)
    base, original, low, high = float(stated.rope_parameters["rope_theta"]), 8192, 1.0, 4.0
    waves = 2 * math.pi * base ** (numpy.arange(count) / count)
    largest = float(factors.max())
    smooth = (original / waves - low) / (high - low)
    expected = 1 / ((1 - smooth) / largest + smooth)
    expected = numpy.where(waves < original / high, 1.0, numpy.where(waves > original / low, largest, expected))
    if not numpy.allclose(factors, expected, rtol=1e-4):
        raise HarnessError(
            f"{file} scales its positions by factors ({ROPE_FACTORS}) that are not those of Llama 3, and transformers "
            "would ignore them: name the checkpoint it was converted from"
        )
    stated.rope_parameters = {
        **stated.rope_parameters,
        "rope_type": "llama3",
        "factor": largest,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }


def _require_honoured(header: Header, stated: ModelConfig, file: Path) -> None:
    """Raise HarnessError if transformers would ignore a setting that differs from what it does anyway."""
    architecture = header.architecture
    settings = {
        key.removeprefix(f"{architecture}."): value
        for key, value in header.metadata.items()
        if key.startswith(f"{architecture}.")
    }
    mapped = _mapped(architecture)
    for name, value in settings.items():
        if name.startswith("rope.scaling."):
            is_honoured = settings.get("rope.scaling.type", "none") == "none"
        else:
            is_known = mapped is None or name in mapped or name in _DESCRIPTIVE
            is_honoured = is_known or value in (0, False) or _agrees(name, value, stated, settings)
        if not is_honoured:
            raise HarnessError(
                f"{file} sets {architecture}.{name} to {value}, which transformers would ignore: name the checkpoint "
                "it was converted from, or ignore it too with allow_unexpected_keys=true"
            )


def _mapped(architecture: str) -> set[str] | None:
    """Return the settings of `architecture` that transformers maps; None if it reads all settings with a function."""
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
    from transformers.integrations.gguf import GGUF_CONFIG_ARCHS

    if architecture in GGUF_CONFIG_ARCHS:
        return None

    renamed = {"qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe", "gpt-oss": "gpt_oss", "minimax-m2": "minimax_m2"}
    mapping = GGUF_CONFIG_MAPPING.get(renamed.get(architecture, architecture), {})
    return {name for name, attribute in mapping.items() if attribute is not None}


def _agrees(name: str, value: object, stated: ModelConfig, settings: dict[str, Any]) -> bool:
    """Return whether the configuration has the `value` of setting `name`, although transformers does not map it."""
    rope = getattr(stated, "rope_parameters", None) or {}
    if name == "rope.dimension_count":
        head = getattr(stated, "head_dim", None) or stated.hidden_size // stated.num_attention_heads
        return bool(value == int(head * rope.get("partial_rotary_factor", 1.0)))
    if name == "rope.freq_base":
        return bool(value == rope.get("rope_theta"))
    if name == "attention.sliding_window" and isinstance(value, int) and value >= settings.get("context_length", 0):
        return True
    attribute = _EQUAL.get(name)
    own = getattr(stated, attribute, None) if attribute else None
    if attribute == "head_dim" and own is None:
        own = stated.hidden_size // stated.num_attention_heads
    if isinstance(value, float) and isinstance(own, float):
        return math.isclose(value, own, rel_tol=1e-6)  # the file has float32
    return own is not None and bool(own == value)


# --- its tokenizer


def tokenizer(file: Path) -> Tokenizer:
    """Return the tokenizer in `file`, with its chat template.

    If transformers does not know the rule by which texts are split before merges, it falls back to GPT-2's. Raises
    HarnessError if that would be wrong.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    metadata = read(file).metadata
    kind, rule = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind is None:
        raise HarnessError(f"{file} holds no tokenizer: name the folder of one with tokenizer=")
    is_known = rule in GGUF_PRE_TOKENIZER_SPLITS or rule in (*_GPT2_SPLITS, *_DIGIT_SPLITS)
    if kind == "gpt2" and not is_known:
        raise HarnessError(
            f"{file} splits texts by llama.cpp's rule '{rule}' before it makes tokens, which transformers does not "
            "know: name the folder of its tokenizer with tokenizer="
        )
    with foreign_code.no_hub(is_trusted=False), contents.alone(file, [file.name]) as folder:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), gguf_file=file.name)
    if kind == "gpt2" and rule in _DIGIT_SPLITS:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    _remove_surplus(tokenizer, int(metadata["tokenizer.ggml.tokens"]))
    _require_space_rule(tokenizer, metadata, file)
    return tokenizer


def _remove_surplus(tokenizer: Tokenizer, count: int) -> None:
    """Remove from a tokenizer what transformers adds to the `count` tokens of a file: GPT-2's `<|endoftext|>`."""
    from tokenizers import Tokenizer as Backend

    if len(tokenizer) <= count:
        return
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < count]
    tokenizer._tokenizer = Backend.from_str(json.dumps(content))


def _require_space_rule(tokenizer: Tokenizer, metadata: dict[str, Any], file: Path) -> None:
    """Raise HarnessError if a SentencePiece tokenizer puts a space before a text although `file` says otherwise."""
    first = next(iter(tokenizer.tokenize("A")), "")
    if metadata.get("tokenizer.ggml.add_space_prefix") is False and first.startswith("\u2581"):
        raise HarnessError(
            f"{file} says that no space is put before a text, and transformers puts one: name the folder of its "
            "tokenizer with tokenizer="
        )


# --- its weights


class Weights(NamedTuple):
    """The dequantised weights of a file, and what transformers reports about loading them."""

    model: Model
    """The model into which transformers' loader put the weights. It refuses to be saved, cast or quantised."""
    outcome: dict[str, Any]


def load(file: Path, stated: ModelConfig, dtype: torch.dtype, *, is_lenient: bool = False) -> Weights:
    """Return the weights in `file`, dequantised into `dtype`, in the model that the configuration `stated` describes.

    Raises HarnessError, unless `is_lenient`, if a tensor of the file has no place in the model.
    """
    from transformers import AutoModelForCausalLM, GgufConfig

    with contents.alone(file, [file.name]) as folder:
        model, outcome = AutoModelForCausalLM.from_pretrained(
            str(folder),
            gguf_file=file.name,
            config=stated,
            dtype=dtype,
            quantization_config=GgufConfig(dequantize=True),  # never kernels that compute on packed blocks
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    if not is_lenient:
        outcome = {**outcome, "unexpected_keys": {*outcome["unexpected_keys"], *_without_place(file, model)}}
    return Weights(model, outcome)


def _without_place(file: Path, model: Model) -> list[str]:
    """Return the names of tensors in `file` that have no place in the model and that transformers skips silently."""
    from transformers.integrations.gguf import is_gguf_arch_supported
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    header = read(file)
    if is_gguf_arch_supported(header.architecture):  # these it reports
        return []
    processor = TENSOR_PROCESSORS.get(header.architecture, TensorProcessor)(config=model.config.to_dict())
    places = set(get_gguf_hf_weights_map(model, processor))
    names = [tensor.name for tensor in header.tensors if tensor.name != ROPE_FACTORS]
    return [name for name in names if name not in places and name.removesuffix(".weight") not in places]
