"""What of a checkpoint learns: all its weights, a LoRA on it, or a prefix before it.

Not here: the loop (`harness.training.stages`).
"""

from __future__ import annotations

import re
from typing import Any

from harness.training.recipe import Stage


def prepare(model: Any, stage: Stage) -> Any:
    """Return `model` with what `stage` trains able to learn, and nothing else.

    LoRA: Hu et al. 2021, arXiv 2106.09685, on all linear layers. Prefix: P-tuning v2, Liu et al. 2021, arXiv
    2110.07602, keys and values before every layer, as PEFT's prefix tuning has them.
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


def _linear(model: Any) -> str:
    """Return a pattern of the names of all linear layers but the output's.

    A pattern, since PEFT writes a list of names (or "all-linear") in another order each time, and so would give the
    same adapter another fingerprint.
    """
    output = model.get_output_embeddings()
    kinds = [(name, type(layer).__name__) for name, layer in model.named_modules() if layer is not output]
    names = sorted({name.rpartition(".")[2] for name, kind in kinds if kind in ("Linear", "Conv1D")})
    return rf".*\.({'|'.join(map(re.escape, names))})"
