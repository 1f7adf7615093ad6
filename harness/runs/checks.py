"""Checks before the first request: what would fail after hours of work, or silently change the meaning of a run."""

from __future__ import annotations

import inspect
import string
from collections.abc import Mapping
from typing import NamedTuple

from harness.backends import chat_probes, letters
from harness.backends.chat import ChatTemplate
from harness.backends.chat_probes import Findings
from harness.backends.encoding import Encoder
from harness.backends.letters import Letters
from harness.backends.local import HarnessLM
from harness.checkpoints import ancestry, configs, loading
from harness.checkpoints.adapters import attach
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.types import Tokenizer
from harness.engine import requests
from harness.engine.decoding import families
from harness.engine.decoding.settings import parse_settings
from harness.engine.decoding.thinking import Marks
from harness.errors import HarnessError
from harness.reports.numbers_in_words import first_and_count
from harness.runs.options import Options, prompt_settings, template_arguments
from harness.tasks.task import Task
from harness.tasks.task_set import TaskSet

LAST_POSITION = "last_position_logits"
"""The value of `metadata.reads` of tasks that read the logits of the prompt's last position."""


class Probed(NamedTuple):
    """A chat template, and what is wrong with it."""

    template: ChatTemplate
    findings: Findings


def before_loading(located: Located, options: Options) -> Probed | None:
    """Check a checkpoint without loading its weights; return its chat template if prompts are rendered by it.

    Raises HarnessError if the adapter does not fit the base or was trained on another one, if the options for its chat
    template cannot be used, if one of its marks of thoughts has no known counterpart, or if the template spoils
    questions.
    """
    tokenizer = loading.load_tokenizer(located)
    if options.apply_chat_template and not tokenizer.chat_template:
        raise HarnessError(f"{located.name} has no chat template: leave --apply-chat-template out")
    if not options.apply_chat_template and template_arguments(located, options):
        raise HarnessError(
            f"{located.name}: enable_thinking and --chat-template-args are variables of the chat template, which is "
            "not used: add --apply-chat-template"
        )
    for name in template_arguments(located, options):
        if name in _reserved_names():
            raise HarnessError(
                f"--chat-template-args {name} is a setting of transformers, not a variable of a template: leave it out"
            )
    if located.adapter_config is not None:
        ancestry.require_same_base(located)
        attach.check_fit(located.adapter_config, configs.empty_model(located))
    marks = _known_marks(located, tokenizer)
    return _probed(located, tokenizer, options, marks) if options.apply_chat_template else None


def _known_marks(located: Located, tokenizer: Tokenizer) -> tuple[Marks, ...]:
    """Return the marks of thoughts of `located`; raise HarnessError if its template has a mark without counterpart.

    The template counts even if prompts do not use it, because a model trained with a template may think without one.
    """
    learned = families.learn(tokenizer, located.reference.think)
    if learned.unhandled:
        raise HarnessError(
            f"the chat template of {located.name} has {learned.unhandled[0]!r}, a mark of thoughts whose counterpart "
            "is unknown, so that thoughts could count as answers: name both with the checkpoint's key think=START,END, "
            "or write think=none if it does not think"
        )
    return learned.marks


def _probed(located: Located, tokenizer: Tokenizer, options: Options, marks: tuple[Marks, ...]) -> Probed:
    """Return the probed chat template of `located`; raise HarnessError if it spoils questions."""
    template = ChatTemplate(located.name, tokenizer, template_arguments(located, options), marks)
    findings = chat_probes.probe(template)
    if findings.question:
        raise _spoiled(template, findings.question, "")
    return Probed(template, findings)


def require_history(probed: Probed, tasks: TaskSet) -> None:
    """Raise HarnessError if a task's prompts contain earlier answers that the chat template spoils."""
    needing = [name for name, task in tasks.tasks.items() if task.has_conversations]
    if probed.findings.history and needing:
        advice = f", or evaluate {first_and_count(needing, 'task')} with --num-fewshot 0 and without conversations"
        raise _spoiled(probed.template, probed.findings.history, advice)


def _spoiled(template: ChatTemplate, problem: str, advice: str) -> HarnessError:
    return HarnessError(
        f"the chat template of {template.name} {problem}: correct it, leave --apply-chat-template out{advice}"
    )


def _reserved_names() -> set[str]:
    """Return the names of transformers' own arguments, which a template's variables must not have."""
    from transformers import PreTrainedTokenizerBase

    parameters = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters.values()
    named = (parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD)
    return {"messages", *named}


def require_room(checkpoint: Checkpoint | Located, tasks: Mapping[str, Task]) -> None:
    """Raise HarnessError if a task's generations do not fit the checkpoint's context, or if a setting is unknown."""
    for name, task in tasks.items():
        if task.output_type == "generate_until":
            try:
                settings = parse_settings(task.generation_settings, None)
                requests.require_room([requests.Prompt([], settings)], checkpoint.max_length)
            except HarnessError as error:
                raise HarnessError(f"task {name} on {checkpoint.name}: {error}") from error


def require_letters(lm: HarnessLM, tasks: Mapping[str, Task], options: Options) -> None:
    """Raise HarnessError if a task reads the logits of answer letters and these are not single tokens.

    Such a task declares this in its YAML: `metadata: {reads: last_position_logits}`.
    """
    for name, task in tasks.items():
        if task.metadata.reads != LAST_POSITION:
            continue
        chat = lm.apply_chat_template if options.apply_chat_template else None
        lm.conversations.scores_continuations = task.scores_continuations
        task.build_requests(limit=1, chat_template=chat, **prompt_settings(options))
        tokens = answer_letters(task, lm.encoder)
        if tokens is None:
            tokens = letters.after(lm.encoder, str(task.requests[0].args[0]))
        task.reseed(options.seed)
        task.release_requests()
        if not tokens.are_single_tokens:
            raise HarnessError(
                f"task {name} reads one logit per letter, but for the tokenizer of {lm.checkpoint.name} the letters "
                f"are {tokens}: choose a task that scores whole answers"
            )


def answer_letters(task: Task, encoder: Encoder) -> Letters | None:
    """Return the tokens of the letters that a task scores after its first prompt, or None if it scores no letters."""
    built = task.requests
    if task.output_type != "multiple_choice" or not built:
        return None
    arguments = [request.args for request in built if request.doc_id == built[0].doc_id]
    answers = [str(answer) for _, answer in arguments]
    if len(answers) < 2 or [answer.strip() for answer in answers] != list(string.ascii_uppercase[: len(answers)]):
        return None
    return letters.after(encoder, str(arguments[0][0]), answers)
