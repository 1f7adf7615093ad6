"""The report: the folder that a run leaves behind, there all at once or not at all.

    manifest.json           identity, protocol, environment, timings: `Manifest`
    results.json            lm-eval's result schema, so that its tools read it
    samples/<task>.parquet  one row per document and filter: `SAMPLE_COLUMNS`, then one column per metric

A folder that has a manifest is a complete report, whatever killed the process that wrote it.

Not here: writing one (`harness.reports.writer`), torch, lm-eval, or any judgement about the numbers. What reads
reports imports only this.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.common import validation
from harness.errors import HarnessError

FORMAT = 1
MANIFEST = "manifest.json"
RATINGS = "ratings"
"""`Protocol.recorded` of ratings, which are of answers and no answers themselves."""

# Columns of samples/<task>.parquet before the metrics. `prompt` is the whole text asked, before any cut to the context;
# zstd makes the repeated few-shot prefix cheap. For a multiple-choice document `choices`, `logprobs` (natural log,
# summed over the choice's tokens) and `greedy` (the choice is what greedy decoding would have said) have one entry per
# choice; for a generation `responses` has one per repeat. Documents of one `cluster` share a text, null ones nothing
# that is known; `tainted` documents were seen in training, null where nobody looked. Older reports lack both.
SAMPLE_COLUMNS = pa.schema(
    [
        ("doc_id", pa.int64()),
        ("filter", pa.string()),
        ("doc_hash", pa.string()),
        ("prompt_hash", pa.string()),
        ("target_hash", pa.string()),
        ("cluster", pa.string()),
        ("tainted", pa.bool_()),
        ("prompt", pa.string()),
        ("target", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("logprobs", pa.list_(pa.float64())),
        ("greedy", pa.list_(pa.bool_())),
        ("responses", pa.list_(pa.string())),
        ("prediction", pa.string()),
    ]
)

ADDED = ("cluster", "tainted")
"""Columns that older reports lack, and that are null there."""


class Strict(BaseModel):
    """Unknown keys are refused, so that a newer format is never half understood."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckpointInfo(Strict):
    """Which checkpoint answered."""

    name: str
    reference: str
    kind: str
    """`base`, `lora`, `prefix_tuning`, …; `recorded` where predictions of unknown origin were scored."""
    quantization: str | None = None
    """`int8`, `nf4`, `gptq`, …; None for plain weights."""
    base: str
    adapter: str | None = None
    fingerprint: str
    """sha256 of everything that decides the answers: weights, adapter, tokenizer, configuration, dtype; of recorded
    predictions, of the predictions."""
    architecture: str | None = None
    dtype: str | None = None
    device: str | None = None
    parameters: int | None = None
    """None, as the three before it and `max_length`, where only predictions are known."""
    trainable_share: float | None = None
    """Share of the parameters that the adapter holds; None for a base."""
    memory_bytes: int | None = None
    """What weights, adapter and root cache take in memory."""
    max_length: int | None = None
    """Context length in tokens, those of the root cache not counted."""
    virtual_tokens: int = 0
    """Tokens of the context that the root cache takes."""
    adapter_effect: float | None = None
    """Largest absolute logit difference that the adapter makes on the probe; None for a base."""


class TaskInfo(Strict):
    """How one task was asked, and what it cost."""

    version: str
    dataset: str
    """Hub name, and configuration where there is one: `cais/mmlu:anatomy`."""
    split: str
    num_fewshot: int | None
    """None where predictions were recorded elsewhere."""
    documents: int
    """Documents scored."""
    documents_in_split: int
    prompt_hash: str
    """sha256 over all samples' prompt hashes in document order: equal means every prompt is equal."""
    truncated: int
    """Requests whose prompt lost tokens on its left to fit the context."""
    seconds: float
    tokens_fed: int
    tokens_generated: int
    thoughts: int = 0
    """Generations that thought aloud before they answered, or did not answer."""
    unfinished_thoughts: int = 0
    """Those whose thought never ended; their answer is the empty text."""


class Protocol(Strict):
    """What decides the prompts, beside the tasks themselves."""

    limit: int | None = None
    seed: int
    num_fewshot: int | None = None
    chat_template: str | None = None
    """sha256 of the chat template applied; None where none was."""
    chat_template_arguments: dict[str, Any] = {}
    """What the template was given beside the conversation, such as `enable_thinking`."""
    fewshot_as_multiturn: bool = False
    system_instruction: str | None = None
    max_gen_toks: int | None = None
    """New tokens a generation may have, where the run overrides what its task says."""
    stride: int | None = None
    """New tokens of each window of a text longer than the context, where the run says; else half the context."""
    articles: str | None = None
    """sha256 of the retrieved articles that prompts had in place of the data's own; None where there were none."""
    shuffled: int | None = None
    """The seed of the random order in which documents were asked, block by block, until each task's verdict was clear;
    None where all were asked, from the first to the last."""
    recorded: str | None = None
    """The format of recorded predictions that were scored: how they were asked for is not known beyond what it says."""


class Engine(Strict):
    """How the requests were answered, and the work it took."""

    walk: Literal["pack", "snapshot", "plain"]
    scoring_seconds: float
    generation_seconds: float
    requests: int
    answered_from_journal: int
    tokens_fed: int
    """Tokens of prompts and continuations that went through the model, padding not counted."""
    tokens_generated: int
    peak_memory_bytes: int
    """Of the process on a CPU, of the allocator on a GPU."""


class Score(Strict):
    """One number of a report, in the metric's own unit."""

    task: str
    """A task, or the name of an average."""
    metric: str
    filter: str
    value: float
    stderr: float | None
    low: float | None
    high: float | None
    """Ends of the 95 % interval; None where the metric is not a mean over samples."""
    n: int
    higher_is_better: bool
    fraction: bool
    """Per-sample values lie in [0, 1]: shown as a percentage."""
    aggregation: str | None = None
    """The function that makes a task's number of its samples' values: `mean`, `ratio` of [numerator, denominator], …"""
    average: Literal["task", "sample"] | None
    """None for a task; for an average, what has equal weight in it."""
    members: list[str]
    """The tasks that an average is over; for a task, itself."""
    primary: bool
    """The metric (and filter) that stands for the task where there is room for one."""
    headline: bool
    """The user asked for this task or group by name: it gets a column; its members do not."""
    chance: float | None = None
    """What knowing nothing scores."""
    ceiling: float | None = None
    """The most that can be scored, the least where less is better."""


class Manifest(Strict):
    """Everything about a run but its samples."""

    format: int = FORMAT
    harness: str
    created: str
    """UTC, ISO 8601."""
    seconds: float
    checkpoint: CheckpointInfo
    protocol: Protocol
    tasks: dict[str, TaskInfo]
    scores: list[Score]
    engine: Engine | None
    """None where recorded predictions were scored."""
    environment: dict[str, str]
    notes: list[str]
    """What a reader should know: an adapter trained on another base's name, prompts cut to the context length, …"""

    def stopped(self, task: str) -> str:
        """Return how much of `task` was asked until its verdict was clear, so that its numbers lean towards that.

        Empty where all was that there is, or that was to be asked.
        """
        asked = self.tasks[task]
        whole = min(asked.documents_in_split, self.protocol.limit or asked.documents_in_split)
        if self.protocol.shuffled is None or asked.documents >= whole:
            return ""
        return f"{task} was asked {asked.documents:,} of {whole:,} documents, until its verdict was clear"


@dataclass(frozen=True)
class Report:
    """A complete report on disk."""

    folder: Path
    manifest: Manifest = field(repr=False)

    @cached_property
    def results(self) -> dict[str, Any]:
        """results.json: lm-eval's schema."""
        loaded = _load_json(self.folder / "results.json")
        if not isinstance(loaded, dict):
            raise HarnessError(f"{self.folder / 'results.json'} does not hold a JSON object: run the evaluation again")
        return loaded

    def samples(self, task: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the samples of `task`, one row per document and filter, in document order.

        Raises HarnessError if the report has no such task or its file is damaged.
        """
        return pd.DataFrame(self.table(task, columns).to_pandas())

    def table(self, task: str, columns: Sequence[str] | None = None, *, without: Collection[str] = ()) -> pa.Table:
        """Return the same as an Arrow table, which is read sooner; all columns but those `without` where none is named.

        Raises as `samples`.
        """
        file = self.folder / "samples" / f"{task}.parquet"
        missing = f"report {self.folder} has no samples of task '{task}'"
        if task not in self.manifest.tasks:
            raise HarnessError(f"{missing} (it has: {', '.join(self.manifest.tasks) or 'none'})")
        if not file.is_file():
            raise HarnessError(f"{missing}: {file} is missing, run the evaluation again")
        try:
            named = columns or [name for name in pq.read_schema(file).names if name not in without]
            found = pq.read_table(file, columns=list(named))
        except (pa.ArrowException, OSError) as error:
            raise HarnessError(f"{file} cannot be read ({error}): run the evaluation again") from error
        for name in ADDED:
            if name not in found.column_names and (name in columns if columns else name not in without):
                found = found.append_column(name, pa.nulls(found.num_rows, SAMPLE_COLUMNS.field(name).type))
        return found


def read(folder: Path) -> Report:
    """Return the report in `folder`.

    Raises HarnessError if there is none, or if its manifest is malformed or of a newer format.
    """
    file = folder / MANIFEST
    if not file.is_file():
        what = "is not a report: it has no manifest.json" if folder.is_dir() else "does not exist"
        raise HarnessError(f"{folder} {what}; give the folder that 'harness run' printed")
    raw = _load_json(file)
    if isinstance(raw, dict) and raw.get("format") != FORMAT:
        raise HarnessError(
            f"{file} has report format {raw.get('format')!r}, this version reads {FORMAT}: update harness"
        )
    try:
        return Report(folder, Manifest.model_validate(raw))
    except ValidationError as error:
        problem = validation.first_problem(error)
        raise HarnessError(
            f"{file} is not a valid manifest ({problem.path}: {problem.message}): run the evaluation again"
        ) from error


def find(paths: Iterable[Path]) -> list[Report]:
    """Return every report at or below `paths`, oldest first, each once.

    Raises HarnessError if a path does not exist or holds no report at all.
    """
    found: dict[Path, Report] = {}
    for path in paths:
        inside = [path] if (path / MANIFEST).is_file() else sorted(m.parent for m in _manifests(path))
        if not inside:
            read(path)  # raises: says whether the folder is missing or only has no manifest
        found.update((folder.resolve(), read(folder)) for folder in inside)
    return sorted(found.values(), key=lambda report: (report.manifest.created, report.folder))


def holds_any(path: Path) -> bool:
    """Return whether there is a report at or below `path`."""
    return any(True for _ in _manifests(path))


def _manifests(path: Path) -> Iterator[Path]:
    # Hidden folders are reports being written.
    for root, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if MANIFEST in files:
            folders[:] = []
            yield Path(root) / MANIFEST


def _load_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{file} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise HarnessError(
            f"{file} is not valid JSON ({error}): the report is damaged, run the evaluation again"
        ) from error
