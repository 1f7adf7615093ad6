"""The manifest of a run: what the report says about its checkpoint, protocol, engine and machine.

Not here: the shape of a manifest (`harness.reports.report`), or scores (`harness.runs.task_results`).
"""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import datetime

import harness
from harness.backends.local import HarnessLM
from harness.checkpoints import history
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.reference import parse
from harness.engine.decoding import families
from harness.errors import HarnessError
from harness.reports import public_paths
from harness.reports.checkpoint_info import CheckpointInfo, TrainingInfo
from harness.reports.numbers_in_words import counted
from harness.reports.report import Engine, Manifest, Protocol
from harness.retrieval import articles
from harness.runs import environment
from harness.runs.options import Options, chat_template_digest, template_arguments
from harness.runs.task_results import TaskResults

_PER_TASK = (
    *("truncated", "generations", "thoughts", "unfinished_thoughts"),
    *("empty_answers", "cut_answers", "answers_of_unknown_ending"),
)
"""Fields of `Work` that the manifest states for each task, but not for the whole run."""


def manifest(
    lm: HarnessLM,
    results: TaskResults,
    options: Options,
    created: datetime,
    seconds: float,
    *,
    shuffled: int | None = None,
) -> Manifest:
    """Return the manifest of a run that took `seconds`; `shuffled` is the field of that name in `Protocol`."""
    checkpoint = lm.checkpoint
    return Manifest(
        harness=harness.__version__,
        created=created.isoformat(timespec="seconds"),
        seconds=seconds,
        checkpoint=_checkpoint_info(checkpoint, keep_paths=options.keep_paths),
        protocol=_protocol(checkpoint, options, shuffled),
        tasks=results.infos,
        scores=results.scores(),
        engine=_engine(lm, environment.peak_memory(checkpoint.device)),
        environment=environment.describe(checkpoint.device),
        notes=[*_notes(checkpoint, lm, options), *results.all_notes()],
        failed=results.failed,
    )


def public_reference(text: str) -> str:
    """Return the text of a checkpoint reference with reduced paths; other text is reduced as one path."""
    try:
        return str(parse(text).with_paths(public_paths.in_reference))
    except HarnessError:
        return public_paths.in_reference(text)


def paths(located: Located, options: Options) -> list[str]:
    """Return the paths that notes on a run may mention."""
    reference, config = located.reference, located.adapter_config
    values = [
        *(reference.path, reference.adapter, reference.tokenizer),
        *(located.base, located.base_name, located.tokenizer, located.adapter, config.base if config else None),
        *(options.output, options.data, options.articles, *options.include, *options.tasks),
    ]
    return [str(value) for value in values if value is not None]


def _checkpoint_info(checkpoint: Checkpoint, *, keep_paths: bool) -> CheckpointInfo:
    located, adapter_parameters = checkpoint.located, checkpoint.adapter_parameters
    return CheckpointInfo(
        name=checkpoint.name,
        reference=str(located.reference if keep_paths else located.reference.with_paths(public_paths.in_reference)),
        kind=located.kind,
        quantization=located.quantization_name,
        base=located.base_name,
        adapter=None if located.adapter is None else str(located.adapter),
        fingerprint=checkpoint.fingerprint,
        architecture=type(checkpoint.plain_model).__name__,
        dtype=str(located.dtype).removeprefix("torch."),
        device=str(located.device),
        parameters=checkpoint.parameters,
        trainable_share=_share(adapter_parameters, checkpoint.parameters),
        memory_bytes=checkpoint.memory_bytes,
        max_length=checkpoint.max_length,
        virtual_tokens=located.virtual_tokens,
        adapter_effect=checkpoint.adapter_effect,
        training=_training_info(located, keep_paths=keep_paths),
    )


def _training_info(located: Located, *, keep_paths: bool) -> TrainingInfo | None:
    trained = history.of(located)
    if trained is None:
        return None
    facts = trained.model_dump(exclude={"name", "settings", "parent", "versions", "evaluations", "quantize"})
    parent = trained.parent if keep_paths else public_reference(trained.parent)
    evaluations = [
        {name: number if math.isfinite(number) else None for name, number in evaluation.items()}
        for evaluation in trained.evaluations
    ]
    return TrainingInfo(stage=trained.name, method=trained.method, parent=parent, evaluations=evaluations, **facts)


def _share(adapter_parameters: int | None, base_parameters: int) -> float | None:
    """Return the adapter's share of all parameters, or None for a base without adapter."""
    return None if adapter_parameters is None else adapter_parameters / (base_parameters + adapter_parameters)


def _protocol(checkpoint: Checkpoint, options: Options, shuffled: int | None) -> Protocol:
    return Protocol(
        limit=options.limit,
        seed=options.seed,
        num_fewshot=options.num_fewshot,
        chat_template=chat_template_digest(checkpoint.tokenizer) if options.apply_chat_template else None,
        chat_template_arguments=template_arguments(checkpoint.located, options),
        fewshot_as_multiturn=options.apply_chat_template,
        system_instruction=options.system_instruction,
        max_gen_toks=options.max_gen_toks,
        stride=options.stride,
        articles=None if options.articles is None else articles.digest(options.articles),
        shuffled=shuffled,
    )


def _engine(lm: HarnessLM, peak_memory_bytes: int) -> Engine:
    work = {key: value for key, value in asdict(lm.work).items() if key not in _PER_TASK}
    return Engine(walk=lm.engine.walk_choice.walk.value, peak_memory_bytes=peak_memory_bytes, **work)


def _notes(checkpoint: Checkpoint, lm: HarnessLM, options: Options) -> list[str]:
    notes = list(checkpoint.notes)
    if lm.work.truncated:
        notes.append(
            f"{lm.work.truncated:,} of {lm.work.requests:,} requests had their prompt cut on the left to fit the "
            f"context of {checkpoint.max_length:,} tokens"
        )
    if note := _marks_note(checkpoint, lm):
        notes.append(note)
    notes += lm.journal_notes()
    notes += lm.engine.notes()
    notes += lm.conversations.notes(lm.encoder, checkpoint.eos_ids, options.system_instruction)
    if options.articles:
        notes.append(f"prompts with articles of law use those of {options.articles.name}")
    return notes


def _marks_note(checkpoint: Checkpoint, lm: HarnessLM) -> str:
    """Return a note if the marks of thoughts that `think=` names were found nowhere, else an empty text."""
    think, work = checkpoint.located.reference.think, lm.work
    if think is None or think == families.NO_MARKS or not work.generations or work.thoughts:
        return ""
    if families.shows(checkpoint.tokenizer, think):
        return ""
    return (
        f"the marks {lm.marks[0]} (think=) occur in none of {counted(work.generations, 'answer')}, and neither in the "
        "tokenizer's tokens nor in the chat template"
    )
