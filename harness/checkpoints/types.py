"""Names for the objects of transformers and PEFT that harness passes around, for annotations only.

At run time they are strings, so a module that only names these types need not import transformers, which takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Model: TypeAlias = "PreTrainedModel | PeftModel"
"""A causal language model, with PEFT's wrapper around it if an adapter is attached."""
ModelConfig: TypeAlias = "PreTrainedConfig"
"""The configuration of a model, or of its text part."""
Tokenizer: TypeAlias = "PreTrainedTokenizerBase"
"""A slow or fast tokenizer."""
