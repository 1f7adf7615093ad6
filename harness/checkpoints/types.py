"""Names for the objects of transformers and PEFT that harness passes around, for annotations only.

At run time they are strings: importing transformers takes seconds, and a module that only names a model need not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Model: TypeAlias = "PreTrainedModel | PeftModel"
"""A causal language model, with PEFT's wrapper around it where an adapter is attached."""
ModelConfig: TypeAlias = "PreTrainedConfig"
"""The configuration of a model, or of its text part."""
Tokenizer: TypeAlias = "PreTrainedTokenizerBase"
"""A slow or fast tokenizer."""
