"""Put a PEFT adapter on a base with every key in its place, and take it off again.

PEFT only warns about missing keys and ignores surplus ones, so an adapter trained on another base may load without any
effect. Here every key must have its place; `harness.checkpoints.probe` then checks that the adapter changes answers.

Not here: prompt learning (`harness.checkpoints.adapters.prompt_learning`).
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch

from harness.checkpoints import files
from harness.checkpoints.adapters import entries, prompt_learning
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.chatglm import lora, prefix
from harness.checkpoints.types import Model
from harness.errors import HarnessError

Weights = dict[str, torch.Tensor]
_NAMED = re.compile(r"(\.lora_\w+)\.default(?=\.|$)")


def attach(base: torch.nn.Module, adapter: AdapterConfig, weights: Weights) -> Model:
    """Return `base` wrapped in the adapter, as PEFT's own model in evaluation mode.

    Raises HarnessError if keys of the adapter's `weights` are missing, surplus or wrongly sized, or belong to modules
    that the base lacks. Raises it, too, if the adapter's configuration names modules or layers that the base lacks.
    """
    import peft

    folder = adapter.folder
    mismatch = f"adapter {folder} does not fit this base"
    is_renamed = lora.has_published_names(weights, base.config)
    weights = lora.weights(weights, base.config) if is_renamed else weights
    _widen(base, weights, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT warns about is checked, and raised, below
        try:
            config = peft.PeftConfig.from_pretrained(str(folder))
        except Exception as error:  # a KeyError for an unknown method, any type for an unsuitable value
            message = f"{adapter.file} cannot be used ({files.reason(error)})"
            raise HarnessError(f"{message}: save the adapter again, or update peft if its method is new") from error
        if is_renamed:
            config = _renamed(config, adapter, base)
        entries.require_matches(adapter, config, base)
        try:
            config.inference_mode = True
            model = peft.PeftModelForCausalLM(base, config)
            outcome = peft.set_peft_model_state_dict(model, weights)
        except Exception as error:  # PEFT validates few of the values it reads, and fails wherever one is unsuitable
            sizes = [line.strip().rstrip(".") for line in str(error).splitlines() if "size mismatch" in line]
            detail = sizes[0] if sizes else files.reason(error)  # for sizes, the first line says only "Error(s)"
            advice = "name the base it was trained on, or save it again if its configuration was edited"
            raise HarnessError(f"{mismatch}: {detail}; {advice}") from error
        expected = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    _require_none(mismatch, "lacks keys", sorted(set(expected) - set(weights)))
    # PEFT saves resized embeddings that it also trains under two names, and reads one.
    duplicates = {
        key for key in weights if ".modules_to_save" in key and key.replace(".modules_to_save", "") in weights
    }
    _require_none(mismatch, "has keys without a place", sorted(set(outcome.unexpected_keys) - duplicates))
    model.eval()
    return model


def _renamed(config: Any, adapter: AdapterConfig, base: Model) -> Any:
    """Return PEFT's `config` of a LoRA that names ChatGLM's published modules, with the names of the `base`'s modules.

    Raises HarnessError if an entry matches no published module, or cannot be put on the base.
    """
    names = lora.published_modules(base.config)
    entries.require_matches_in(adapter, config, names)
    return lora.peft_config(config, base, f"adapter {adapter.folder}")


def detach(model: Model, parameters: list[tuple[str, int]]) -> Model:
    """Return the base inside PEFT's `model`, or None if it cannot be restored.

    The result is None if unloading the adapter fails or does not restore exactly these `parameters` (see `identities`).
    """
    from peft.utils import ModulesToSaveWrapper

    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            module.set_adapter([])  # otherwise PEFT leaves the trained copy in place of the original
    try:
        base = model.unload()
    except (AttributeError, NotImplementedError):  # some methods cannot be taken off
        return None
    return base.eval() if identities(base) == parameters else None


def identities(model: torch.nn.Module) -> list[tuple[str, int]]:
    """Return the name and identity of every parameter, to check later that a model still has the very same ones."""
    return [(name, id(parameter)) for name, parameter in model.named_parameters()]


def check_fit(adapter: AdapterConfig, empty: Model) -> None:
    """Raise HarnessError if the adapter's keys or sizes do not fit `empty`, the base's model on the meta device.

    An adapter that brings embeddings of its own, or starts from the base's weights, passes here. It can only be checked
    against the base's numbers, as `attach` does.
    """
    import peft

    weights, mismatch = read(adapter), f"adapter {adapter.folder} does not fit this base"
    if adapter.is_prompt_learning:
        prompt_learning.check_fit(adapter, weights, empty.config)
        return
    is_renamed = lora.has_published_names(weights, empty.config)
    weights = lora.weights(weights, empty.config) if is_renamed else weights
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            config = peft.PeftConfig.from_pretrained(str(adapter.folder))
            config = _renamed(config, adapter, empty) if is_renamed else config
            entries.require_matches(adapter, config, empty)
            model = peft.PeftModelForCausalLM(empty, config)
            expected = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
        except ValueError as error:
            if "not found in the base model" not in str(error):
                return
            raise HarnessError(f"{mismatch}: {files.reason(error)}; name the base it was trained on") from error
        except HarnessError:
            raise
        except Exception:  # an initialisation that needs numbers
            return
    if any("embed" in key or "lm_head" in key for key in weights):
        return
    _require_none(mismatch, "lacks keys", sorted(set(expected) - set(weights)))
    wrong = [key for key in expected if expected[key].shape != weights[key].shape]
    sizes = [f"{key} is {tuple(weights[key].shape)}, not {tuple(expected[key].shape)}" for key in wrong]
    _require_none(mismatch, "has other sizes", sorted(sizes))


def parameter_count(model: Model) -> int:
    """Return the number of parameters of the adapter on PEFT's `model`."""
    import peft

    tensors = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    return sum(int(tensor.numel()) for tensor in tensors.values())


def read(adapter: AdapterConfig) -> Weights:
    """Return the tensors in the weight file of `adapter`, by name; of a ChatGLM prefix, its virtual tokens.

    Raises HarnessError if the file is missing or cannot be read, or if tensors in it are empty. Pickled code is never
    run.
    """
    if adapter.is_chatglm:
        return {prompt_learning.KEY: prefix.read(adapter.folder, adapter.virtual_tokens)}
    file = files.adapter_weights(adapter.folder)
    # Trainers that save the state of PEFT's model itself, such as ChatGLM-Tuning, leave the adapter's name in the keys.
    weights = {_NAMED.sub(r"\1", key): tensor for key, tensor in _tensors(file).items()}
    if empty := [key for key, tensor in weights.items() if not tensor.numel()]:
        raise files.partitioned(file, empty)
    return weights


def _tensors(file: Path) -> Weights:
    """Return the tensors in `file` by name; raise HarnessError if it cannot be read."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        weights = dict(torch.load(file, map_location="cpu", weights_only=True))
        if not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()):
            raise ValueError("it holds something other than tensors by name")
        return weights
    except Exception as error:  # safetensors, pickle and zip each raise their own types
        raise HarnessError(f"{file} cannot be read ({files.reason(error)}): fetch or save the adapter again") from error


def _widen(base: Model, weights: Weights, folder: Path) -> None:
    """Give `base` as many embedding rows as the adapter's file has, for tokens that training added.

    The new rows are filled by the adapter. In the base they are zeros, so that its answers without the adapter are
    always the same.
    """
    names = {id(module): name for name, module in base.named_modules()}
    ends = [module for module in (base.get_input_embeddings(), base.get_output_embeddings()) if module is not None]
    # Wrapped by PEFT, the weight of module X is `X.base_layer.weight`, `X.original_module.weight`, …
    prefixes = [f"base_model.model.{names.get(id(module))}." for module in ends]
    rows = [
        {int(w.shape[0]) for key, w in weights.items() if w.dim() and key.startswith(p) and key.endswith(".weight")}
        for p in prefixes
    ]
    before, after = len(ends[0].weight), max(set().union(*rows), default=0)
    if after <= before:
        return
    if not all(rows) and not getattr(base.config, "tie_word_embeddings", False):
        raise HarnessError(
            f"adapter {folder} adds rows to one embedding of the base and not to the other: save it again with "
            "save_embedding_layers=True"
        )
    base.resize_token_embeddings(after, mean_resizing=False)
    with torch.no_grad():
        for module in (base.get_input_embeddings(), base.get_output_embeddings()):
            if module is not None:
                module.weight[before:] = 0


def _require_none(mismatch: str, complaint: str, keys: list[str]) -> None:
    """Raise HarnessError with the `complaint` if there are any `keys`. Two keys are shown, the others are counted."""
    if keys:
        more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
        raise HarnessError(f"{mismatch}: it {complaint} ({', '.join(keys[:2])}{more}); name the base it was trained on")
