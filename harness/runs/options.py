"""What a run is asked to do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.checkpoints.located import Located
from harness.tasks.task import FEWSHOT_SEED


@dataclass(frozen=True)
class Options:
    """What to ask, and how."""

    tasks: tuple[str, ...]
    output: Path
    """Folder that gets one report folder a checkpoint, and the journal."""
    data: Path | None = None
    """A mirror of data sets: `DIR/<org>/<name>`."""
    num_fewshot: int | None = None
    limit: int | None = None
    """The first so many documents of each task; None is all."""
    seed: int = FEWSHOT_SEED
    """Of the few-shot draws and of sampled text."""
    apply_chat_template: bool = False
    system_instruction: str | None = None
    chat_template_arguments: dict[str, Any] = field(default_factory=dict)
    """Given to every checkpoint's chat template beside the conversation."""
    max_gen_toks: int | None = None
    """New tokens a generation may have, in place of what its task says."""
    stride: int | None = None
    """New tokens of each window of a text longer than the context; None is half the context."""
    articles: Path | None = None
    """A file of retrieved articles, put in the prompts of tasks that have some, in place of their own."""
    comparisons: tuple[str, ...] = ()
    """How answers in words are compared, of tasks made of a file (`harness.tasks.own_files.questions.COMPARISONS`)."""
    device: str | None = None
    """Where a reference does not say."""
    dtype: str | None = None
    include: tuple[Path, ...] = ()
    """More folders with task definitions."""
    allow_inactive_adapter: bool = False


def prompt_settings(options: Options) -> dict[str, Any]:
    """Return how lm-eval is to render prompts, as keywords that `evaluate()` and `build_all_requests()` share.

    Few-shot examples become turns of their own under a chat template, as in lm-eval's `simple_evaluate`.
    """
    return {
        "system_instruction": options.system_instruction,
        "apply_chat_template": options.apply_chat_template,
        "fewshot_as_multiturn": options.apply_chat_template,
    }


def template_arguments(located: Located, options: Options) -> dict[str, Any]:
    """Return what a checkpoint's chat template is given beside the conversation; its own word comes last."""
    thinks = located.reference.enable_thinking
    return {**options.chat_template_arguments, **({} if thinks is None else {"enable_thinking": thinks})}


def chat_template_digest(tokenizer: Any) -> str | None:
    """Return the sha256 of the tokenizer's chat template, or None where it has none."""
    template = tokenizer.chat_template
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest() if template else None
