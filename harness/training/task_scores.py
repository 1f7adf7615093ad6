"""Scores on tasks of a model in training, answered by the engine as `harness run` answers them.

The model answers as it is in memory: no weights are copied and no files are written. It is the model that a run would
load from the stage's folder, except that its weights are not yet rounded to the dtype in which they are saved.

Not here: when it is evaluated (`harness.training.trainer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from harness.checkpoints.adapters import prompt_learning
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.checkpoints.types import Model
from harness.errors import HarnessError
from harness.runs import checks, live
from harness.runs.options import Options
from harness.tasks.task_set import TaskSet
from harness.training import chatglm_prefix
from harness.training.chatglm_prefix import PrefixTuned
from harness.training.recipe import Stage
from harness.training.sources import Source


def metrics(stage: Stage, data: Path | None) -> Mapping[str, bool]:
    """Return what the tasks of `stage` measure, and whether more of it is better.

    `data` is a mirror of data sets. Raises HarnessError if a task cannot be loaded.
    """
    with _words_of_a_recipe():
        return _names(live.load(_options(stage, data)))


class TaskScores:
    """The tasks of a stage, loaded once and measured at each evaluation."""

    def __init__(self, source: Source, stage: Stage, data: Path | None) -> None:
        """Load the tasks. Raises HarnessError if one cannot be loaded, or if the checkpoint cannot answer by them."""
        self._source, self._options = source, _options(stage, data)
        with _words_of_a_recipe():
            checks.before_loading(source.located, self._options)
            self._tasks = live.load(self._options)
            in_context = not chatglm_prefix.is_chatglm(source.located.config)
            tokens = int(stage.adapter.get("num_virtual_tokens", 0)) if in_context else 0
            room = source.located.max_length - tokens
            checks.require_room(source.located._replace(max_length=room), self._tasks.tasks)
        self.metrics: Mapping[str, bool] = _names(self._tasks)
        """What is measured, `TASK` or `TASK/METRIC`, and whether more of it is better."""

    def measure(self, model: Model, advance: Callable[[int], None]) -> dict[str, float]:
        """Return the scores of `model`, which is in evaluation mode; `advance` is called with numbers of new answers.

        Raises HarnessError if it cannot answer a task.
        """
        with _as_loaded(model):
            scores = live.scores(self._checkpoint(model), self._tasks, self._options, advance)
        return {str(key): score for key, score in scores.items()}

    def _checkpoint(self, model: Model) -> Checkpoint:
        located, root = self._source.located, EMPTY
        if isinstance(model, PrefixTuned):
            layers = model.cache(1).layers
            root, model = RootCache(tuple((layer.keys.detach(), layer.values.detach()) for layer in layers)), model.base
        elif _learns_prompt(model):
            root = _root(model, located.dtype)
            if located.adapter_config is None:  # else they are subtracted already
                located = located._replace(max_length=located.max_length - root.length)
            if located.max_length < 1:
                raise HarnessError("the virtual tokens fill the context: set a smaller num_virtual_tokens")
            model = model.get_base_model()
        return Checkpoint(
            located, model, self._source.tokenizer, "in training", self._source.encoding().ends, parameters=0, root=root
        )


def _options(stage: Stage, data: Path | None) -> Options:
    return Options(
        tasks=tuple(stage.evaluate),
        output=Path("unused"),
        data=data,
        limit=stage.evaluate_limit,
        comparisons=tuple(stage.evaluate_metric),
        num_fewshot=stage.evaluate_num_fewshot,
        max_gen_toks=stage.evaluate_max_gen_toks,
        apply_chat_template=stage.evaluate_apply_chat_template,
    )


def _names(tasks: TaskSet) -> dict[str, bool]:
    return {str(key): better for key, better in live.metrics(tasks).items()}


@contextmanager
def _words_of_a_recipe() -> Iterator[None]:
    """Let a HarnessError on an option of `harness run` name the setting of a stage that stands for it."""
    try:
        yield
    except HarnessError as error:
        message = str(error)
        for option in ("metric", "num-fewshot", "max-gen-toks", "apply-chat-template"):
            message = message.replace(f"--{option}", f"evaluate_{option.replace('-', '_')}:")
        raise HarnessError(message) from error


def _learns_prompt(model: Model) -> bool:
    configuration = getattr(model, "peft_config", {}).get("default")
    return bool(configuration is not None and configuration.is_prompt_learning)


def _root(model: Model, dtype: torch.dtype) -> RootCache:
    """Return the root cache of the virtual tokens that `model` is learning."""
    configuration = model.peft_config["default"]
    adapter = AdapterConfig(
        folder=Path("the adapter in training"),
        method=str(configuration.peft_type.value),
        base=None,
        revision=None,
        trains_biases=False,
        truncates_base=False,
        uses_dora=False,
        init_lora_weights=None,
        virtual_tokens=int(configuration.num_virtual_tokens),
        is_for_encoder_decoder=False,
        num_attention_heads=None,
        named_modules=(),
        defaults=(),
    )
    with torch.no_grad():
        learned = {prompt_learning.KEY: model.get_prompt_embedding_to_save("default")}
    prompt_learning.check_fit(adapter, learned, model.config)
    return prompt_learning.root_cache(adapter, learned, model.get_base_model(), dtype)


@contextmanager
def _as_loaded(model: Model) -> Iterator[None]:
    """Decode without the base's own generation settings while the block runs, as a loaded checkpoint does."""
    from transformers import GenerationConfig

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    base = base.base if isinstance(base, PrefixTuned) else base
    before, base.generation_config = base.generation_config, GenerationConfig()
    try:
        yield
    finally:
        base.generation_config = before
