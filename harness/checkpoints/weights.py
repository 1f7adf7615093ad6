"""Read the weights of a base: every key in its place, none left over, none invented.

transformers fills missing keys with random numbers and skips surplus ones, and only warns; here both are errors.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from harness.checkpoints import configs, contents, files, gguf, packed, quantization
from harness.checkpoints.chatglm import rotary
from harness.checkpoints.chatglm import weights as chatglm_weights
from harness.checkpoints.chatglm.weights import Shards
from harness.checkpoints.located import Located
from harness.checkpoints.types import Model, ModelConfig
from harness.common.progress import SILENT, Bar
from harness.errors import HarnessError

# Buffers that older libraries saved and newer ones compute.
_OLD_BUFFERS = re.compile(r"\.(masked_bias|position_ids|rotary_emb\.inv_freq)$")


class Loaded(NamedTuple):
    """A base's model, and what of its files is not in it."""

    model: Model
    """The model on its device, in evaluation mode."""
    ignored: list[str]
    """Names of weights that have no place in the model, which `allow_unexpected_keys` lets pass."""


def load(located: Located, bar: Bar = SILENT) -> Loaded:
    """Return the base's model; `bar` counts the weights that are in it.

    Raises HarnessError if weights cannot be read, are missing, have no place, or do not fit into memory.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig

    quantized = located.quantization
    on_the_fly = {"quantization_config": quantized.config} if quantized and not quantized.saved else {}
    _require_scales(located)
    # _require_fit says in one sentence what transformers would print in its load report.
    logger = logging.getLogger("transformers.modeling_utils")
    previous, logger.level = logger.level, logging.CRITICAL
    try:
        code = located.reference.trust_remote_code
        names = contents.model_files(located.base, code=code)
        with configs.building(located), _counted(bar), contents.alone(located.base, names, code=code) as folder:
            plain = _plain(located)
            config = _config(located)
            if plain and plain.has_one_table:
                config = copy.deepcopy(config)
                config.tie_word_embeddings = True
            model_class = plain.model_class if plain else AutoModelForCausalLM
            model, outcome = model_class.from_pretrained(
                None if plain else str(folder),
                config=config,
                **({"state_dict": plain.state} if plain else {}),
                dtype=located.dtype,
                device_map={"": located.device} if located.device.type == "cuda" or quantized else None,
                **on_the_fly,
                trust_remote_code=code,
                weights_only=True,
                ignore_mismatched_sizes=True,  # listed in `outcome`, and raised below
                output_loading_info=True,
            )
            if plain and (folder / contents.GENERATION_CONFIG).is_file():
                model.generation_config = GenerationConfig.from_pretrained(str(folder))
        outcome = plain.outcome if plain and plain.outcome else outcome
    except torch.OutOfMemoryError as error:
        raise HarnessError(
            f"{located.base} does not fit into the memory of {located.device}: try dtype=bfloat16"
        ) from error
    except HarnessError:
        raise
    except Exception as error:  # safetensors, pickle, zip and the configuration classes each raise their own types
        problem = f"the weights in {located.base} cannot be loaded"
        raise configs.explained(error, problem, "fetch or save the checkpoint again", located.reference) from error
    finally:
        logger.level = previous
    ignored = _require_fit(located, outcome)
    _require_positions(model, located)
    quantization.disable_bfloat16_kernels(model)
    if located.reference.rope == "published":
        rotary.use_published(model)
    if located.device.type == "cpu" and located.layout is None:
        _copy_from_files(model)
    # Quantised weights are on their device already, and bitsandbytes does not allow moving them.
    model.name_or_path = str(located.base)
    return Loaded((model if quantized else model.to(located.device)).eval(), ignored)


@contextmanager
def _counted(bar: Bar) -> Iterator[None]:
    """Let `bar`, instead of transformers' own bar, count the weights that it puts into models in the `with` block."""
    from transformers import core_model_loading

    def counted(weights: Collection[Any], **_: object) -> Iterator[Any]:
        bar.expect(len(weights))
        for weight in weights:
            yield weight
            bar.advance(1)

    own = core_model_loading.tqdm
    core_model_loading.tqdm = counted
    try:
        yield
    finally:
        core_model_loading.tqdm = own


class _Plain(NamedTuple):
    """Weights whose names or numbers were changed before transformers puts them into a model."""

    model_class: Any
    state: Mapping[str, Any]
    """The tensors, or what yields them, by name."""
    outcome: dict[str, Any] | None
    """What transformers reported about loading these weights. None if it reports only when they are put into a
    model."""
    has_one_table: bool = False
    """Whether the output layer is the table of embeddings."""


def _plain(located: Located) -> _Plain | None:
    """Return the weights of a GGUF file, of packed layers or in ChatGLM's layout; None if transformers reads them."""
    if located.layout is not None:
        shards = Shards(files.weight_files(located.base))
        has_one_table = chatglm_weights.shares_embeddings(shards, located.layout)
        stored = chatglm_weights.state(shards, located.layout, has_one_table=has_one_table)
        return _Plain(type(configs.empty_model(located)), stored, None, has_one_table)
    if located.packing is not None:
        state = packed.unpacked(located.base, located.packing, located.dtype)
        return _Plain(type(configs.empty_model(located)), state, None)
    if not located.base.is_file():
        return None
    is_lenient = located.reference.allow_unexpected_keys
    loaded = gguf.load(located.base, located.config, located.dtype, is_lenient=is_lenient)
    return _Plain(type(loaded.model), loaded.model.state_dict(), loaded.outcome)


def _config(located: Located) -> ModelConfig:
    """Return the base's configuration, with the settings of `located.quantization` if it was saved quantised."""
    quantized = located.quantization
    if quantized is None or not quantized.saved:
        return located.config
    config = copy.deepcopy(located.config)
    settings = quantized.config.to_dict()
    # Which to_dict leaves out.
    is_dequantised = {"dequantize": True} if getattr(quantized.config, "dequantize", False) else {}
    config.quantization_config = {**settings, **is_dequantised}
    return config


def _copy_from_files(model: Model) -> None:
    """Copy the weights of `model` that are files mapped into memory.

    Otherwise a file that is written again in place, as trainers do, changes the answers of a running evaluation, or
    ends it with SIGBUS.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if type(tensor) in (torch.nn.Parameter, torch.Tensor):  # bitsandbytes' own types are computed, not mapped
            tensor.data = tensor.data.clone()


def _require_positions(model: Model, located: Located) -> None:
    """Raise HarnessError if max_length= exceeds the learned positions, or the stated context if RoPE is dynamic.

    Rotary positions of other kinds have no limit.
    """
    stated, requested = configs.context_length(located.config), located.reference.max_length or 0
    if requested > stated:
        if any(rope.get("rope_type") == "dynamic" for rope in configs.ropes(located.config)):
            raise HarnessError(
                f"{located.base} stretches its positions with the longest prompt so far, so that answers beyond "
                f"{stated} tokens depend on their order: leave max_length out, or set it to at most {stated}"
            )
        for name, module in model.named_modules():
            is_learned = name.endswith(("wpe", "embed_positions", "position_embeddings")) and hasattr(module, "weight")
            if is_learned and requested > module.weight.shape[0]:
                raise HarnessError(
                    f"max_length={requested} is more than the {stated} tokens that {located.base} learned "
                    "positions for: leave it out, or set it lower"
                )


def _require_scales(located: Located) -> None:
    """Raise HarnessError if weights that compressed-tensors stored as integers or 8-bit floats have no scale.

    transformers would take the unscaled numbers for the weights.
    """
    quantized = located.quantization
    if quantized is None or not quantized.saved or quantized.name != "compressed-tensors":
        return
    dtypes = files.tensor_dtypes(files.weight_files(located.base))
    coded = [name for name, dtype in dtypes.items() if name.endswith(".weight") and dtype.startswith(("I", "U", "F8"))]
    coded += [name for name in dtypes if name.endswith(".weight_packed")]
    missing = [scale for name in coded if (scale := f"{name.rpartition('.')[0]}.weight_scale") not in dtypes]
    if missing:
        raise HarnessError(
            f"{located.base} lacks weights ({min(missing)}): without their scale its integers mean nothing; fetch or "
            "save the checkpoint again"
        )


def _require_fit(located: Located, outcome: dict[str, Any]) -> list[str]:
    """Raise HarnessError if `outcome`, transformers' report on loading, lists missing, surplus or wrongly sized keys.

    Return the names of the surplus ones if the reference allows them.
    If tensors have no elements, the error says that the checkpoint was saved under DeepSpeed ZeRO-3.
    """
    empty = [key for key, saved, _ in outcome["mismatched_keys"] if 0 in tuple(saved)]
    if empty:
        raise files.partitioned(located.base, empty)
    sizes = [f"{key} is {tuple(saved)}, not {tuple(expected)}" for key, saved, expected in outcome["mismatched_keys"]]
    complaints = [("has weights of other sizes", sizes), ("lacks weights", outcome["missing_keys"])]
    unexpected = sorted(key for key in outcome["unexpected_keys"] if not _OLD_BUFFERS.search(key))
    if not located.reference.allow_unexpected_keys:
        complaints.append(("has weights without a place", unexpected))
    for complaint, keys in complaints:
        if keys:
            examples, more = ", ".join(sorted(keys)[:2]), f" and {len(keys) - 2} more" if len(keys) > 2 else ""
            advice = "; allow_unexpected_keys=true ignores them" if "place" in complaint else ""
            source = "its header" if located.base.is_file() else "its config.json"
            raise HarnessError(
                f"{located.base} {complaint} ({examples}{more}): {source}, a {located.config.model_type}, "
                f"describes another model{advice}"
            )
    return unexpected
