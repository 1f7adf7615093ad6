"""Training methods, which decide which parameters of a checkpoint learn: all weights, a LoRA, or a prefix.

Not here: the training loop (`harness.training.stages`).
"""

from __future__ import annotations

import re
from typing import Any

from harness.checkpoints.types import Model
from harness.training.recipe import Stage


def prepare(model: Model, stage: Stage) -> Model:
    """Return `model` prepared so that only the parameters that `stage` trains can change.

    LoRA: Hu et al. 2021, arXiv 2106.09685, on all linear layers. Prefix: P-tuning v2, Liu et al. 2021, arXiv
    2110.07602, keys and values before every layer, as in PEFT's prefix tuning.
    """
    if stage.method == "full":
        return model
    import peft

    if stage.method == "lora":
        config: Any = peft.LoraConfig(
            r=stage.rank, lora_alpha=2 * stage.rank, target_modules=_linear(model), task_type="CAUSAL_LM"
        )
    else:
        config = peft.PrefixTuningConfig(num_virtual_tokens=stage.virtual_tokens, task_type="CAUSAL_LM")
    return peft.get_peft_model(model, config)


def _linear(model: Model) -> str:
    """Return a pattern that matches the names of all linear layers except the output layer.

    A pattern is needed because PEFT saves a list of names (or "all-linear") in another order each time. The same
    adapter would then have other fingerprints.
    """
    output = model.get_output_embeddings()
    classes = [(name, type(layer).__name__) for name, layer in model.named_modules() if layer is not output]
    names = sorted({name.rpartition(".")[2] for name, kind in classes if kind in ("Linear", "Conv1D")})
    return rf".*\.({'|'.join(map(re.escape, names))})"
