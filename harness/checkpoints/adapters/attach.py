"""Put a PEFT adapter on a base, every key in its place, and take it off again.

PEFT itself only warns when keys are missing and says nothing of surplus ones, so an adapter trained on another base
may load as a no-op. Here every key must find its place; `harness.checkpoints.probe` asks whether it changes answers.

Not here: what prompt learning makes of its weights (`harness.checkpoints.adapters.prompt_learning`).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from harness.checkpoints import discovery, files
from harness.checkpoints.adapters import prompt_learning
from harness.errors import HarnessError

Weights = dict[str, torch.Tensor]


def method(folder: Path) -> str:
    """Return the adapter's PEFT method, such as `LORA`.

    Raises HarnessError where the configuration names none or one that is not supported.
    """
    config = files.read_json(folder / files.ADAPTER_CONFIG)
    name = str(config.get("peft_type") or "")
    if not name:
        raise HarnessError(f"{folder / files.ADAPTER_CONFIG} names no peft_type: fetch or save the adapter again")
    if name in prompt_learning.UNSUPPORTED:
        supported = ", ".join(prompt_learning.METHODS)
        raise HarnessError(f"{folder} is a {name} adapter, which is not supported: of prompt learning, {supported} are")
    if config.get("alora_invocation_tokens"):
        raise HarnessError(f"{folder} is an activated LoRA, which waits for certain tokens: that is not supported")
    return name


def is_prompt_learning(folder: Path) -> bool:
    """Tell whether the adapter in `folder` is a root cache rather than a change of weights."""
    return method(folder) in prompt_learning.METHODS


def base_of(folder: Path) -> tuple[str, str | None]:
    """Return the base that the adapter in `folder` was trained on, as (path or hub name, revision).

    A relative path is looked for beside the adapter first, then in the working directory.
    Raises HarnessError where the adapter names none.
    """
    base = stated_base(folder)
    if base is None:
        raise HarnessError(f"{folder} does not say which base it belongs to: name it, as BASE,adapter={folder}")
    revision = files.read_json(folder / files.ADAPTER_CONFIG).get("revision")
    beside = folder / base
    return (str(beside.resolve()), revision) if beside.is_dir() else discovery.base_here(folder, base, revision)


def stated_base(folder: Path) -> str | None:
    """Return the base that the adapter in `folder` names, as it names it, or None."""
    base = files.read_json(folder / files.ADAPTER_CONFIG).get("base_model_name_or_path")
    return base if base and isinstance(base, str) else None


def attach(base: torch.nn.Module, folder: Path, weights: Weights) -> Any:
    """Return `base` wrapped in the adapter of `folder`, as PEFT's own model in evaluation mode.

    Raises HarnessError if its `weights` do not fit: modules the base lacks, missing, surplus or wrongly sized keys.
    """
    import peft

    _widen(base, weights, folder)
    wrong_base = f"adapter {folder} does not fit this base"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT warns about is checked, and raised, below
        try:
            config = peft.PeftConfig.from_pretrained(str(folder))
        except Exception as error:  # an unknown method is a KeyError, an unsuitable value whatever its class raises
            message = f"{folder / files.ADAPTER_CONFIG} cannot be used ({files.reason(error)})"
            raise HarnessError(f"{message}: save the adapter again, or update peft if its method is new") from error
        try:
            config.inference_mode = True
            model = peft.PeftModelForCausalLM(base, config)
            outcome = peft.set_peft_model_state_dict(model, weights)
        except Exception as error:  # PEFT checks few of the values it reads, and fails wherever one does not suit
            sizes = [line.strip().rstrip(".") for line in str(error).splitlines() if "size mismatch" in line]
            detail = sizes[0] if sizes else files.reason(error)  # of sizes, the first line says only "Error(s)"
            advice = "name the base it was trained on, or save it again if its configuration was edited"
            raise HarnessError(f"{wrong_base}: {detail}; {advice}") from error
        expected = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    _require_all(wrong_base, "lacks keys", sorted(set(expected) - set(weights)))
    # PEFT saves resized embeddings that it also trains under two names, and reads one.
    twice = {key for key in weights if ".modules_to_save" in key and key.replace(".modules_to_save", "") in weights}
    _require_all(wrong_base, "has keys without a place", sorted(set(outcome.unexpected_keys) - twice))
    model.eval()
    return model


def detach(model: Any, before: list[tuple[str, int]]) -> Any:
    """Return the base out of PEFT's `model`, or None where it is not what it was `before` (see `identities`)."""
    from peft.utils import ModulesToSaveWrapper

    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            module.set_adapter([])  # else PEFT leaves the trained copy in the original's place
    try:
        base = model.unload()
    except (AttributeError, NotImplementedError):  # not every method can be taken off
        return None
    return base.eval() if identities(base) == before else None


def identities(model: torch.nn.Module) -> list[tuple[str, int]]:
    """Return every parameter's name and identity, to tell whether a model still has the very same ones."""
    return [(name, id(parameter)) for name, parameter in model.named_parameters()]


def check_fit(folder: Path, empty: Any) -> None:
    """Raise HarnessError if the adapter's keys or sizes do not fit the base's architecture `empty` (on meta).

    What needs numbers to tell (an adapter that brings its own embeddings, or starts from the base's weights) passes
    here and is for `attach` to judge.
    """
    import peft

    weights, wrong_base = read(folder), f"adapter {folder} does not fit this base"
    if is_prompt_learning(folder):
        prompt_learning.check_fit(folder, weights, empty.config)
        return
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            model = peft.PeftModelForCausalLM(empty, peft.PeftConfig.from_pretrained(str(folder)))
            expected = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
        except ValueError as error:
            if "not found in the base model" not in str(error):
                return
            raise HarnessError(f"{wrong_base}: {files.reason(error)}; name the base it was trained on") from error
        except Exception:  # an initialisation that cannot do without numbers
            return
    if any("embed" in key or "lm_head" in key for key in weights):
        return
    _require_all(wrong_base, "lacks keys", sorted(set(expected) - set(weights)))
    wrong = [key for key in expected if expected[key].shape != weights[key].shape]
    sizes = [f"{key} is {tuple(weights[key].shape)}, not {tuple(expected[key].shape)}" for key in wrong]
    _require_all(wrong_base, "has other sizes", sorted(sizes))


def parameter_count(model: Any) -> int:
    """Return the number of parameters that the adapter on `model` itself holds."""
    import peft

    held = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    return sum(int(value.numel()) for value in held.values())


def rewrites_base(folder: Path) -> bool:
    """Tell whether PEFT changes the base's own weights as it attaches this adapter: its biases, or as `rounds_base`."""
    bias = files.read_json(folder / files.ADAPTER_CONFIG).get("bias")
    return bias not in (None, "none") or rounds_base(folder)


def rounds_base(folder: Path) -> bool:
    """Tell whether PEFT takes the adapter's start off the base's weights (PiSSA, OLoRA, …), which rounds them."""
    how = files.read_json(folder / files.ADAPTER_CONFIG).get("init_lora_weights")
    return isinstance(how, str) and how.startswith(("pissa", "olora", "corda", "loftq"))


def read(folder: Path) -> Weights:
    """Return the tensors that the adapter's file holds, by name; raise HarnessError if it cannot be read."""
    file = files.adapter_weights(folder)
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        weights = dict(torch.load(file, map_location="cpu", weights_only=True))
        if not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in weights.items()):
            raise ValueError("it holds something else than tensors by name")
        return weights
    except Exception as error:  # safetensors, pickle and zip each raise their own
        raise HarnessError(f"{file} cannot be read ({files.reason(error)}): fetch or save the adapter again") from error


def _widen(base: Any, weights: Weights, folder: Path) -> None:
    """Give `base` as many embedding rows as the adapter's file brings, for pieces that training added.

    The rows come with the adapter; those of the base are zeros, so that what it answers without the adapter is fixed.
    """
    names = {id(module): name for name, module in base.named_modules()}
    both = [module for module in (base.get_input_embeddings(), base.get_output_embeddings()) if module is not None]
    # Wrapped by PEFT, a module's own weight is `X.base_layer.weight`, `X.original_module.weight`, …
    prefixes = [f"base_model.model.{names.get(id(module))}." for module in both]
    rows = [
        {int(w.shape[0]) for key, w in weights.items() if w.dim() and key.startswith(p) and key.endswith(".weight")}
        for p in prefixes
    ]
    before, after = len(both[0].weight), max(set().union(*rows), default=0)
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


def _require_all(what: str, complaint: str, keys: list[str]) -> None:
    if keys:
        more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
        raise HarnessError(f"{what}: it {complaint} ({', '.join(keys[:2])}{more}); name the base it was trained on")
