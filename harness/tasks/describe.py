"""Descriptions of tasks for people: one line for each task, or everything about one task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.data import facts as known_data
from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.tasks import bounds
from harness.tasks.catalogue import Catalogue
from harness.tasks.metadata import TaskMetadata
from harness.tasks.task import Task
from harness.tasks.task_metrics import Metric

_NO_PROTOCOL = "as lm-eval defines it"
"""The protocol of a task whose YAML states none."""


class Summary(NamedTuple):
    """A line of `harness tasks`."""

    name: str
    members: int
    """The number of tasks that the name stands for; 1 for a single task."""
    dataset: str
    at_hand: str
    """Whether the documents are on this machine: `yes`, `3 of 52` tasks, or `no:` and the command that fetches them."""
    protocol: str


class Description(NamedTuple):
    """Everything about one task or group."""

    name: str
    facts: dict[str, str]
    prompt: str
    """The first document's prompt, exactly as a checkpoint reads it."""
    endings: tuple[str, ...]
    """The continuations scored after the prompt, or the stop strings of a generated answer."""
    generates: bool
    """Whether the answer is a generated text."""


def summaries(data: Path | None, include: Sequence[Path] = ()) -> list[Summary]:
    """Return a line for each task and group worth listing; `data` is the mirror in which documents are looked for."""
    catalogue = Catalogue(include)
    lines = []
    for name in catalogue.names():
        try:
            protocol = _metadata(catalogue.config(name, own=True), name).protocol or _NO_PROTOCOL
        except HarnessError as error:  # one wrong definition must not hide the other tasks
            protocol = str(error)
        try:
            sources = list(catalogue.sources([name], data).values())
            at_hand = _at_hand(sources)
        except HarnessError as error:  # an empty folder in the mirror
            sources = list(catalogue.sources([name], None).values())
            at_hand = f"no: {error}"
        lines.append(Summary(name, len(sources), _dataset(sources), at_hand, protocol))
    return lines


def describe(
    name: str,
    data: Path | None,
    include: Sequence[Path] = (),
    num_fewshot: int | None = None,
    comparisons: Sequence[str] = (),
) -> Description:
    """Return everything about the task or group `name`, with the prompt of its first document.

    Raises HarnessError if the task is unknown or its documents cannot be loaded.
    """
    catalogue = Catalogue(include, comparisons)
    leaves = list(catalogue.sources([name], data))
    tasks = catalogue.load([leaves[0]], data, num_fewshot=num_fewshot)
    (leaf, task), source = next(iter(tasks.tasks.items())), next(iter(tasks.sources.values()))
    stated_bounds = bounds.stated(task)._asdict()
    arguments = [request.args for request in task.build_requests(limit=1)]
    metadata = _metadata(catalogue.config(leaves[0]), leaves[0])
    facts = {
        "protocol": metadata.protocol or _NO_PROTOCOL,
        "tasks": f"{len(leaves)}, this is the first: {leaf}" if len(leaves) > 1 else "",
        "data": f"{source}, split {task.split}, {len(task.documents):,} documents",
        "at hand": _at_hand([source]),
        "shots": str(task.num_fewshot),
        "metrics": ", ".join(map(_metric, task.metrics)),
        **{key: _bound(number, task) for key, number in stated_bounds.items() if number is not None},
        **known_data.facts(source.dataset, source.config),
        **metadata.facts,
        "notes": "; ".join(task.metadata.file_notes),
        "version": task.version,
    }
    generates = task.output_type == "generate_until"
    return Description(
        name,
        facts={key: value for key, value in facts.items() if value},
        prompt=str(arguments[0][0]),
        endings=tuple(_stops(arguments[0][1]) if generates else _continuations(arguments)),
        generates=generates,
    )


def _stops(settings: dict[str, Any]) -> list[str]:
    """Return the stop strings in the generation `settings` of a request."""
    until = settings.get("until") or []
    return [until] if isinstance(until, str) else list(until)


def _continuations(arguments: Iterable[tuple[Any, ...]]) -> list[str]:
    """Return the continuations in the arguments of scored requests; requests that score whole texts have none."""
    return [args[1] for args in arguments if len(args) > 1 and isinstance(args[1], str)]


def _metric(metric: Metric) -> str:
    direction = "higher" if metric.higher_is_better else "lower"
    kind = "" if metric.filter == "none" else f" ({metric.filter})"
    return f"{metric.name}{kind}, {direction} is better"


def _bound(number: float, task: Task) -> str:
    return f"{100 * number:.4g} %" if task.metrics[0].fraction else f"{number:g}"


def _dataset(sources: Iterable[DataSource]) -> str:
    names = sorted({source.dataset for source in sources})
    return names[0] if len(names) == 1 else f"{len(names)} data sets"


def _at_hand(sources: Sequence[DataSource]) -> str:
    """Return in words, as in `Summary.at_hand`, whether the documents of `sources` are on this machine."""
    count = sum(source.is_available() for source in sources)
    if not count:
        return f"no: {sources[0].remedy()}"
    return "yes" if count == len(sources) else f"{count} of {len(sources)}"


def _metadata(config: dict[str, Any], name: str) -> TaskMetadata:
    return TaskMetadata.of(config.get("metadata"), f"task {name}")
