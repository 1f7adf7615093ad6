"""The checkpoint from which a stage starts: everything that `harness run` evaluates, as a model that can learn.

Not here: what of it learns (`harness.training.methods`).
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from harness.checkpoints import ancestry, configs, contents, files, identity, loading, probe, weights
from harness.checkpoints.adapters import attach, merging, prompt_learning
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.checkpoints.types import Model, Tokenizer
from harness.common.progress import Bar
from harness.errors import HarnessError
from harness.training import chatglm_prefix, methods
from harness.training.corpora import TokenizerOfStage
from harness.training.recipe import Stage

_METHODS = {"LORA": "lora", "PREFIX_TUNING": "prefix", "P_TUNING": "p-tuning", "PROMPT_TUNING": "prompt"}
"""The method of a stage by PEFT's name for it."""


_SHORTEST = 2
"""Length of the shortest example in tokens: the first token of a text is not learned."""


class Source:
    """The checkpoint from which one stage starts, located but not loaded."""

    def __init__(self, reference: CheckpointReference, stage: Stage, *, is_start: bool = True) -> None:
        """Locate it. Without `is_start`, it is an ancestor of where the stage starts, whose tokenizer is the same.

        Raises HarnessError if it is not a checkpoint, or not one that the stage can start from.
        """
        if reference.dtype is None and stage.method == "full":
            reference = replace(reference, dtype="float32")  # weights that are rounded at each step learn little
        self.located: Located = loading.locate(reference)
        self._stage = stage
        self._tokenizer: Tokenizer | None = None
        self._base_fingerprint: str | None = None
        if is_start:
            self._require_start()

    def _require_start(self) -> None:
        """Raise HarnessError if the stage cannot start from the checkpoint."""
        stage, adapter = self._stage, self.located.adapter_config
        if stage.method == "merge":
            merging.require_mergeable(self.located)
            return
        methods.require_trainable(self.located, stage)
        if adapter is not None and stage.method != _METHODS.get(adapter.method):
            raise HarnessError(
                f"{self.located.name} has a {self.located.kind} adapter: continue it with that method, or merge it "
                "first ('harness merge', or a stage with method: merge)"
            )
        if adapter is not None and stage.adapter:
            raise HarnessError(
                f"a continued adapter keeps its own settings: remove {', '.join(sorted(stage.adapter))} from the stage"
            )
        if adapter is not None and adapter.method == "P_TUNING":
            raise HarnessError(
                f"{self.located.name}: PEFT saves what a P-tuning learned without the network that learned it, so it "
                "cannot be continued: train a new one on its base"
            )

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        if self._tokenizer is None:
            self._tokenizer = loading.load_tokenizer(self.located)
        return self._tokenizer

    @property
    def max_length(self) -> int:
        """Length of an example in tokens: the stage's or, if the context is shorter and none is stated, the context's.

        Raises HarnessError if the stage's is longer than the context.
        """
        context = self.located.max_length
        if self.located.layout is None:  # ChatGLM's prefixes take no positions
            virtual_tokens = int(self._stage.adapter.get("num_virtual_tokens") or 0)
            if context - virtual_tokens < _SHORTEST:
                raise HarnessError(
                    f"num_virtual_tokens {virtual_tokens:,} leaves no room in the {context:,} tokens that "
                    f"{self.located.name} reads: set it lower"
                )
            context -= virtual_tokens
        if self._stage.max_length <= context:
            return self._stage.max_length
        if "max_length" in self._stage.model_fields_set:
            raise HarnessError(
                f"max_length {self._stage.max_length:,} is more than the {context:,} tokens that {self.located.name} "
                "reads: set it to at most that"
            )
        return context

    def encoding(self) -> TokenizerOfStage:
        """Return the tokenizer, and what identifies it."""
        return TokenizerOfStage(self.tokenizer, identity.tokenizer_fingerprint(self.located), self._ends())

    def fingerprint(self) -> str:
        """Return the fingerprint of the checkpoint."""
        return identity.fingerprint(self.located)

    @property
    def base_fingerprint(self) -> str:
        """The fingerprint of its base's weights and configuration, as they were when they were loaded."""
        if self._base_fingerprint is None:
            self._base_fingerprint = identity.content_of_base(self.located.base)
        return self._base_fingerprint

    def model(self, bar: Bar) -> Model:
        """Return the model, with the parameters that the stage trains able to learn.

        Raises HarnessError if it cannot be loaded, if its tokenizer has ids that it has no embeddings for, or if its
        adapter was trained on another base.
        """
        located = self.located
        ancestry.require_same_base(located)
        before = self.base_fingerprint
        loaded = weights.load(located, bar)
        if identity.content_of_base(located.base) != before:
            raise HarnessError(f"{located.name} was changed while it was read: give the command again")
        rows = int(loaded.model.get_input_embeddings().weight.shape[0])
        marks = configs.context_marks(located.config)
        probe.check_vocabulary(self.tokenizer, located.tokenizer, rows, located.base, marks)
        if located.adapter_config is None:
            return methods.prepare(loaded.model, self._stage, located.tokenizer)
        return self._continued(loaded.model)

    def _continued(self, base: Model) -> Model:
        """Return `base` with its adapter, which learns further."""
        adapter = self.located.adapter_config
        assert adapter is not None
        if adapter.is_chatglm:
            return chatglm_prefix.continued(base, adapter)
        if not adapter.is_prompt_learning:
            model = attach.attach(base, adapter, attach.read(adapter))
            model.set_requires_grad(model.active_adapters, requires_grad=True)
            return model
        return _continued_prompt(base, adapter)

    def saved_dtype(self) -> Any:
        """Return the dtype in which the base's weights are stored: that of most of their bytes."""
        import torch

        name = files.stored_dtype(files.weight_files(self.located.base))
        if name is not None:
            return getattr(torch, name)
        stated = getattr(self.located.config, "dtype", None)  # pickled weights have no header
        return stated if isinstance(stated, torch.dtype) else torch.float32

    def _ends(self) -> tuple[int, ...]:
        """Return the ids that end an answer when the checkpoint is evaluated."""
        from transformers import GenerationConfig

        stated: Any = getattr(self.located.config, "eos_token_id", None)
        if self.located.base.is_dir() and (self.located.base / contents.GENERATION_CONFIG).is_file():
            stated = GenerationConfig.from_pretrained(str(self.located.base)).eos_token_id
        ids = stated if isinstance(stated, list) else [stated]
        own = getattr(self.tokenizer, "ending_ids", ())
        return tuple(sorted({*(int(i) for i in ids if isinstance(i, int)), *own}))


def fingerprint(reference: CheckpointReference) -> str:
    """Return the fingerprint of a checkpoint as a run of the same reference on this machine reports it."""
    return identity.fingerprint(loading.locate(reference))


def _continued_prompt(base: Model, adapter: AdapterConfig) -> Model:
    """Return `base` behind what the prompt-learning `adapter` learned, which learns further.

    PEFT saves what a projection made of its weights, and not the projection; a prefix learns on without it.
    """
    import peft

    tensors = attach.read(adapter)
    prompt_learning.check_fit(adapter, tensors, base.config)
    config = peft.PeftConfig.from_pretrained(str(adapter.folder))
    settings = {"inference_mode": False, "prefix_projection": False, "prompt_tuning_init": "RANDOM"}
    for name, value in settings.items():
        if hasattr(config, name):
            setattr(config, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(base, config)
    weight = model.prompt_encoder["default"].embedding.weight
    weight.data.copy_(tensors[prompt_learning.KEY])
    return model
