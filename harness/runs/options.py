"""The options of a run: tasks, prompts, limits, and where data and reports are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.checkpoints.located import Located
from harness.checkpoints.types import Tokenizer
from harness.common.limits import Limit
from harness.tasks.task import FEWSHOT_SEED


@dataclass(frozen=True)
class Options:
    """The options of a run, the same for all its checkpoints."""

    tasks: tuple[str, ...]
    """Names of tasks, groups and tags, patterns, and files."""
    output: Path
    """The folder that gets a report folder for each checkpoint, and the journal."""
    data: Path | None = None
    """A mirror of data sets: `DIR/<org>/<name>`."""
    num_fewshot: int | None = None
    """The number of few-shot examples; None is each task's own."""
    limit: Limit | None = None
    """The number of documents of each task, from the first, or, below 1, their share; None is all."""
    seed: int = FEWSHOT_SEED
    """The seed of few-shot examples and of sampled text."""
    apply_chat_template: bool = False
    system_instruction: str | None = None
    chat_template_arguments: dict[str, Any] = field(default_factory=dict)
    """Variables for every checkpoint's chat template, besides the conversation."""
    max_gen_toks: int | None = None
    """The largest number of new tokens of a generation; None is each task's own."""
    stride: int | None = None
    """By how many tokens the windows move in which a text longer than the context is read; None is half the context."""
    articles: Path | None = None
    """A file of retrieved articles of law, which replace the articles in the prompts of tasks that show articles."""
    comparisons: tuple[str, ...] = ()
    """The metrics that compare answers in words in test sets that are files
    (`own_files.question_files.COMPARISONS`)."""
    device: str | None = None
    """The device of checkpoints whose reference names none."""
    dtype: str | None = None
    """The compute dtype of checkpoints whose reference names none."""
    include: tuple[Path, ...] = ()
    """Additional folders with task definitions."""
    allow_inactive_adapter: bool = False
    """Whether an adapter that changes no logit is evaluated rather than refused."""
    keep_paths: bool = False
    """Whether reports keep the absolute paths of this machine."""
    keep_going: bool = False
    """Whether documents, tasks and checkpoints that fail are left out and named, instead of ending the run."""


def prompt_settings(options: Options) -> dict[str, Any]:
    """Return the settings by which lm-eval renders prompts, as keywords of `evaluate()` and `build_all_requests()`.

    With a chat template, each few-shot example is a turn of its own, as in lm-eval's `simple_evaluate`.
    """
    return {
        "system_instruction": options.system_instruction,
        "apply_chat_template": options.apply_chat_template,
        "fewshot_as_multiturn": options.apply_chat_template,
    }


def template_arguments(located: Located, options: Options) -> dict[str, Any]:
    """Return the variables of a checkpoint's chat template; the checkpoint reference overrides the run's options."""
    enable_thinking = located.reference.enable_thinking
    checkpoint_arguments = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
    return {**options.chat_template_arguments, **checkpoint_arguments}


def chat_template_digest(tokenizer: Tokenizer) -> str | None:
    """Return the sha256 of the tokenizer's chat template, or None if it has none."""
    template = tokenizer.chat_template
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest() if template else None
