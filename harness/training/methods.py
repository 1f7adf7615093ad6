"""Training methods, which decide which parameters of a checkpoint learn: all weights, or those of a PEFT adapter.

LoRA: Hu et al. 2021, arXiv 2106.09685, on all linear layers unless the stage says otherwise; on quantised weights, it
is QLoRA (Dettmers et al. 2023, arXiv 2305.14314). Prefix: P-tuning v2, Liu et al. 2021, arXiv 2110.07602, keys and
values before every layer. P-tuning: Liu et al. 2021, arXiv 2103.10385. Prompt tuning: Lester et al. 2021, arXiv
2104.08691.

Not here: the training loop (`harness.training.loop`).
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from harness.checkpoints.chatglm import lora as chatglm_lora
from harness.checkpoints.located import Located
from harness.checkpoints.types import Model
from harness.errors import HarnessError, did_you_mean
from harness.training import chatglm_prefix, settings
from harness.training.recipe import Stage


def require_trainable(located: Located, stage: Stage) -> None:
    """Raise HarnessError if `stage` cannot train the checkpoint `located`."""
    quantized = located.quantization
    if stage.method == "full" and (quantized is not None or located.stored_as is not None):
        raise HarnessError(
            f"{located.name} has {located.quantization_name} weights, which cannot learn: train an adapter on it "
            "(method: lora), or start from the weights it was made from"
        )
    name = "" if quantized is None else quantized.name
    if name.startswith(("int8", "chatglm-")) and stage.adapter.get("use_dora"):
        raise HarnessError(f"{located.name}: DoRA needs the base's own weights, which {name} does not give: use int4")
    if stage.packing and located.layout is not None and located.layout.generation == 1:
        raise HarnessError(
            f"{located.name}: a ChatGLM-6B reads contexts in both directions, so examples cannot share a row: set "
            "packing: false"
        )
    recomputes = stage.arguments.get("gradient_checkpointing") or stage.arguments.get("activation_checkpointing")
    if recomputes and stage.method == "prefix" and located.layout is None:
        raise HarnessError(
            f"{located.name}: recomputed layers would not see the prefix: set gradient_checkpointing: false for the "
            "stage, and activation_checkpointing, too"
        )
    if located.layout is not None and stage.method in ("p-tuning", "prompt"):
        raise HarnessError(f"{located.name}: a ChatGLM is trained with method: full, lora or prefix")


def prepare(model: Model, stage: Stage, tokenizer: Path | None = None) -> Model:
    """Return `model` prepared so that only the parameters that `stage` trains can change.

    `tokenizer` is the folder of its tokenizer, for a prompt that begins as the embeddings of a text. Raises
    HarnessError if PEFT cannot put such an adapter on the model.
    """
    if stage.method == "full":
        return model.requires_grad_(True)
    if stage.method == "prefix" and chatglm_prefix.is_chatglm(model.config):
        return chatglm_prefix.new(model, stage.adapter)
    import peft

    values = dict(stage.adapter)
    if stage.method != "lora" and int(values.get("num_virtual_tokens") or 0) < 1:
        raise HarnessError("num_virtual_tokens, the length of what is learned in tokens, is a number from 1: state it")
    if stage.method == "lora":
        values["target_modules"] = _targets(model, values.get("target_modules"))
    if str(values.get("prompt_tuning_init", "")).upper().endswith("TEXT") and tokenizer is not None:
        values.setdefault("tokenizer_name_or_path", str(tokenizer))
    kind = getattr(peft, settings.ADAPTERS[stage.method][0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = kind(task_type="CAUSAL_LM", **values)
            if stage.method == "lora":
                config = chatglm_lora.renamed(config, model)
                _require_modules(model, config)
            return peft.get_peft_model(model, config)
    except Exception as error:  # PEFT checks few values, and fails wherever one is unsuitable
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise HarnessError(f"PEFT cannot put this {stage.method} adapter on the base ({reason}): correct it") from error


def _targets(model: Model, stated: object) -> str | list[str]:
    """Return which modules get a LoRA: those that are `stated`, else all linear layers except the output layer.

    A pattern is needed for the latter because PEFT saves a list of names (or "all-linear") in another order each time.
    The same adapter would then have other fingerprints.
    """
    if isinstance(stated, list):
        return [str(name) for name in stated]
    if isinstance(stated, str) and stated != "all-linear":
        names = [name for name, _ in model.named_modules()]
        if stated not in names and any(name.endswith(f".{stated}") for name in names):
            raise HarnessError(f"target_modules '{stated}' is a pattern for whole names: write a list, [{stated}]")
        return stated
    output = model.get_output_embeddings()
    modules: list[tuple[str, Any]] = [(name, layer) for name, layer in model.named_modules() if layer is not output]
    names = sorted({name.rpartition(".")[2] for name, layer in modules if _is_linear(layer)})
    return rf".*\.({'|'.join(map(re.escape, names))})"


def _require_modules(model: Model, config: Any) -> None:
    """Raise ValueError if a name in `target_modules` or `modules_to_save` is none of the model's modules.

    PEFT passes over it if another name is one.
    """
    ends = {name.split(".", dots)[-1] for name, _ in model.named_modules() for dots in range(name.count(".") + 1)}
    for setting in ("target_modules", "modules_to_save"):
        entries = getattr(config, setting, None)
        for entry in sorted(entries) if isinstance(entries, set | list) else ():
            if entry not in ends:
                raise ValueError(f"{setting} has '{entry}', and the base has no such module{did_you_mean(entry, ends)}")


def _is_linear(layer: Any) -> bool:
    import torch

    return isinstance(layer, torch.nn.Linear) or type(layer).__name__ == "Conv1D"
