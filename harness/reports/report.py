"""The report: the folder that a run leaves behind. It appears all at once or not at all.

    manifest.json           identity, protocol, environment, timings: `Manifest`
    results.json            lm-eval's result schema, so that lm-eval's tools can read it
    samples/<task>.parquet  one row per document and filter: `SAMPLE_COLUMNS`, then one column per metric
    SHA256SUMS              the hash of every other file (`harness.reports.sums`); older reports have none

A folder with a manifest is a complete report, even if the process that wrote it was killed.

Not here: writing reports (`harness.reports.writer`), torch, lm-eval, or any judgement about the numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import pyarrow as pa
from pydantic import AfterValidator, Field, ValidationError

from harness.common import parquet, places, safe_load, unpacking, validation
from harness.common.limits import Limit, documents_within
from harness.common.validation import Strict
from harness.errors import HarnessError
from harness.reports import public_paths
from harness.reports.checkpoint_info import CheckpointInfo

FORMAT = 1
MANIFEST = "manifest.json"
RATINGS = "ratings"
"""The value of `Protocol.recorded` for ratings, which judge answers but contain no answers."""

# The columns of samples/<task>.parquet before the metrics. `prompt` is the whole prompt, before any cut to the context
# length; zstd makes the repeated few-shot prefix cheap. For a multiple-choice document, `choices`, `logprobs` (natural
# log, summed over the choice's tokens) and `greedy` (whether greedy decoding would generate the choice) have one entry
# per choice; for a generation, `responses` has one entry per repeat, and `endings` says how each ended: `stop`, `empty`
# (without a visible character), `limit` (of tokens), `thought` (that never ended) or `unknown`. `understood` says
# whether the filter or metric understood the answer; null if it reads any text. Documents of the same `cluster` share a
# text; null means that no shared text is known. `tainted` says whether the document was seen in training; null means
# that nobody checked. Older reports lack these four columns.
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
        ("endings", pa.list_(pa.string())),
        ("prediction", pa.string()),
        ("understood", pa.bool_()),
    ]
)

ADDED_COLUMNS = ("cluster", "tainted", "endings", "understood")
"""Columns of samples that older reports lack. In such a report, they are read as null."""


class TaskInfo(Strict):
    """One task: its questions, and the work of answering them."""

    version: str
    dataset: Annotated[str, AfterValidator(public_paths.data_set)]
    """The data set's hub name, with its configuration if there is one: `cais/mmlu:anatomy`. Of an absolute path, it is
    only the end (`…/mc`), even if the file has the whole path, because the name decides comparability."""
    split: str
    num_fewshot: int | None
    """The number of few-shot examples; None for recorded predictions."""
    documents: int
    """The number of documents scored."""
    documents_in_split: int
    """The number of documents in the split."""
    failed_documents: list[int] = Field(default_factory=list)
    """The documents that could not be evaluated and were left out (`--keep-going`), by their place in the split."""
    prompt_hash: str
    """The sha256 of all samples' prompt hashes in document order; two tasks with equal values have equal prompts."""
    truncated: int
    """The number of requests whose prompt lost tokens on its left to fit the context length."""
    seconds: float
    """Wall-clock seconds spent on the task."""
    tokens_fed: int
    """The number of tokens that went through the model, without padding."""
    tokens_generated: int
    thoughts: int = 0
    """The number of generations with a thought before the answer, or with a thought but no answer."""
    unfinished_thoughts: int = 0
    """The number of generations whose thought never ended; the answer of such a generation is the empty text."""
    answers: int | None = None
    """The number of generated answers, one per document and repeat; 0 if choices are scored, None in old reports."""
    empty_answers: int = 0
    """The number of answers that ended without a visible character."""
    cut_answers: int | None = None
    """The number of answers that reached their limit of tokens; None if not known, as for recorded answers."""
    answer_limit: int | None = None
    """The limit of an answer in new tokens; None if it is not known."""
    not_understood: int | None = None
    """The number of documents in whose answer the primary metric understood nothing. None if the metric accepts any
    text."""
    doubtful_documents: int = 0
    """The number of documents whose answers are empty, cut, unfinished or not understood. If a document has several
    answers, most of them must be so."""


class Protocol(Strict):
    """The settings that decide the prompts, together with the tasks."""

    limit: Limit | None = None
    """How many documents of each task were evaluated, counted from the first: a number, or a share below 1. None means
    all."""
    seed: int
    """The seed of few-shot examples and of sampled text."""
    num_fewshot: int | None = None
    """The number of few-shot examples if the run overrides the tasks' own number; otherwise None."""
    chat_template: str | None = None
    """The sha256 of the chat template that was applied; None if no template was."""
    chat_template_arguments: dict[str, Any] = Field(default_factory=dict)
    """The variables that the chat template received besides the conversation, such as `enable_thinking`."""
    fewshot_as_multiturn: bool = False
    """Whether few-shot examples were turns of a conversation."""
    system_instruction: str | None = None
    max_gen_toks: int | None = None
    """The largest number of new tokens of a generation if the run overrides the tasks' own number; otherwise None."""
    stride: int | None = None
    """The number of new tokens in each window of a text longer than the context length. None means half the context
    length."""
    articles: str | None = None
    """The sha256 of the file whose retrieved articles replaced the data's own in prompts. None if no file did."""
    shuffled: int | None = None
    """The seed of the random order in which a gate evaluated documents, block by block, until each task's verdict was
    clear. None if all documents were evaluated, in the order of the data set."""
    recorded: str | None = None
    """The format of the recorded predictions that were scored; None for a run. Nothing else is known of the
    protocol under which recorded predictions arose."""


class Engine(Strict):
    """The work of the engine, which feeds prompts to the model, in one run."""

    walk: Literal["pack", "snapshot", "plain"]
    """How the engine went through the tree of the prompts' common beginnings (`harness.engine.walks`)."""
    scoring_seconds: float
    """Wall-clock seconds spent on log-likelihoods."""
    generation_seconds: float
    """Wall-clock seconds spent generating."""
    requests: int
    """The number of requests."""
    answered_from_journal: int
    """The number of requests whose answer was already in the journal (the store of computed answers)."""
    tokens_fed: int
    """The number of tokens of prompts and continuations that went through the model, without padding."""
    tokens_generated: int
    peak_memory_bytes: int
    """Peak memory in bytes: of the process on a CPU, of the allocator on a GPU."""


class Score(Strict):
    """One number of a report, in the metric's own unit."""

    task: str
    """The name of a task or of an average."""
    metric: str
    filter: str
    value: float
    stderr: float | None
    """The standard error; None if the metric has none, or if there are too few samples."""
    low: float | None
    """The lower end of the 95 % interval; None if the metric has none, or if there are too few samples."""
    high: float | None
    """The upper end of the 95 % interval."""
    n: int
    """The number of samples."""
    higher_is_better: bool
    fraction: bool
    """Whether every sample's value lies in [0, 1]: such scores are shown as percentages."""
    aggregation: str | None = None
    """The function from samples' values to the task's number: `mean`, `ratio` of [numerator, denominator], …"""
    average: Literal["task", "sample"] | None
    """For an average, what has equal weight in it (tasks, or samples); None for a task."""
    members: list[str]
    """The tasks of an average; for a task, the task itself."""
    primary: bool
    """Whether this metric and filter represent the task if there is room for only one number."""
    headline: bool
    """Whether the user named this task or group: it gets a column, and its members do not."""
    chance: float | None = None
    """The score of a model that knows nothing."""
    ceiling: float | None = None
    """The best possible score."""


class Manifest(Strict):
    """Everything about a run except its samples."""

    format: int = FORMAT
    harness: str
    """The version of harness that wrote the report."""
    created: str
    """The time when the run started, in UTC, ISO 8601."""
    seconds: float
    """Wall-clock seconds that the run took."""
    checkpoint: CheckpointInfo
    protocol: Protocol
    tasks: dict[str, TaskInfo]
    scores: list[Score]
    engine: Engine | None
    """The engine's work; None if recorded predictions were scored."""
    environment: dict[str, str]
    """Versions of libraries, and hardware, by name."""
    notes: list[str]
    """Sentences that a reader should know: an adapter trained on a base of another name, prompts that were cut, …"""
    failed: dict[str, str] = Field(default_factory=dict)
    """The tasks, averages and metrics (`TASK METRIC`) that have no score because something failed, with the reason."""

    @property
    def failed_documents(self) -> dict[str, int]:
        """The number of documents that failed and were left out, by task, where there are any."""
        return {name: len(info.failed_documents) for name, info in self.tasks.items() if info.failed_documents}

    @property
    def is_partial(self) -> bool:
        """Whether something failed and was left out."""
        return bool(self.failed or self.failed_documents)

    def early_stop(self, task: str) -> str:
        """Return a sentence on how early `task` stopped, or an empty text if all its documents were evaluated.

        If a gate stopped the task when the verdict was clear, the task's numbers lean towards that verdict.
        """
        info = self.tasks[task]
        planned = documents_within(self.protocol.limit, info.documents_in_split)
        if self.protocol.shuffled is None or info.documents >= planned:
            return ""
        return f"{task} was evaluated on {info.documents:,} of {planned:,} documents, until its verdict was clear"


@dataclass(frozen=True)
class Report:
    """A complete report on disk."""

    folder: Path
    manifest: Manifest = field(repr=False)

    @cached_property
    def results(self) -> dict[str, Any]:
        """The content of results.json, in lm-eval's schema.

        Raises HarnessError if the file is missing or damaged.
        """
        content = _load_json(self.folder / "results.json")
        if not isinstance(content, dict):
            raise HarnessError(f"{self.folder / 'results.json'} does not hold a JSON object: run the evaluation again")
        return content

    def samples(self, task: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the samples of `task`, one row per document and filter, in document order.

        Raises HarnessError if the report has no such task or its file is damaged.
        """
        return pd.DataFrame(self.table(task, columns).to_pandas())

    def table(self, task: str, columns: Sequence[str] | None = None, *, without: Collection[str] = ()) -> pa.Table:
        """Return the samples of `task` as an Arrow table, which is faster to read.

        Without `columns`, all columns are read except those in `without`. Raises HarnessError as `samples` does.
        """
        file = self.folder / "samples" / f"{task}.parquet"
        missing = f"report {self.folder} has no samples of task '{task}'"
        if task not in self.manifest.tasks:
            raise HarnessError(f"{missing} (it has: {', '.join(self.manifest.tasks) or 'none'})")
        if file.parent != self.folder / "samples":
            raise HarnessError(f"{missing}: the name has a separator of paths, so the report is damaged")
        if not places.is_file(file):
            raise HarnessError(f"{missing}: {file} is missing, run the evaluation again")
        try:
            with places.explaining(file), parquet.open_table(file) as opened:
                names = columns or [name for name in opened.schema_arrow.names if name not in without]
                unpacking.check_parquet(file, names)
                table = opened.read(columns=list(names))
            table.validate(full=True)  # otherwise text that is not UTF-8 fails only where it is used
        except (pa.ArrowException, OSError, unpacking.UnsafeArchiveError) as error:
            raise HarnessError(f"{file} cannot be read ({error}): run the evaluation again") from error
        for name in ADDED_COLUMNS:
            if name not in table.column_names and (name in columns if columns else name not in without):
                table = table.append_column(name, pa.nulls(table.num_rows, SAMPLE_COLUMNS.field(name).type))
        return table


def read(folder: Path) -> Report:
    """Return the report in `folder`.

    Raises HarnessError if there is no report, or if its manifest is malformed or of a newer format.
    """
    file = folder / MANIFEST
    if not places.is_file(file):
        complaint = "is not a report: it has no manifest.json" if folder.is_dir() else places.lack(folder)
        raise HarnessError(f"{folder} {complaint}; name the folder that 'harness run' printed")
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

    Raises HarnessError if a path does not exist or contains no report.
    """
    reports: dict[Path, Report] = {}
    for path in paths:
        folders = [path] if places.is_file(path / MANIFEST) else sorted(file.parent for file in _manifests(path))
        if not folders:
            read(path)  # raises HarnessError: the folder is missing, or has no manifest
        reports.update((folder.resolve(), read(folder)) for folder in folders)
    return sorted(reports.values(), key=lambda report: (report.manifest.created, report.folder))


def holds_any(path: Path) -> bool:
    """Return whether there is a report at or below `path`."""
    return any(True for _ in _manifests(path))


def _manifests(path: Path) -> Iterator[Path]:
    """Yield the manifests below `path`, except those in hidden folders, which are reports being written."""
    for root, folders, files in places.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if MANIFEST in files:
            folders[:] = []
            yield Path(root) / MANIFEST


def _load_json(file: Path) -> Any:
    try:
        return safe_load.json_file(file)
    except OSError as error:
        raise places.explained(error, file) from error
    except ValueError as error:
        raise HarnessError(
            f"{file} is not valid JSON ({error}): the report is damaged, run the evaluation again"
        ) from error
