"""What can be asked, in words: a line a task, or everything about one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.data import facts as known_data
from harness.data.sources import DataSource
from harness.errors import HarnessError
from harness.tasks import bounds
from harness.tasks.catalogue import Catalogue
from harness.tasks.task import Metric, Task, TaskMetadata

_UNSTATED = "as lm-eval defines it"
"""The protocol of a task whose YAML states none."""


class Summary(NamedTuple):
    """A line of `harness tasks`."""

    name: str
    members: int
    """Tasks it stands for; 1 for a single task."""
    dataset: str
    at_hand: str
    """Whether the mirror has it: `yes`, `3 of 52`, or `no` and the command that fetches it."""
    protocol: str


class Description(NamedTuple):
    """Everything about one task or group."""

    name: str
    facts: dict[str, str]
    prompt: str
    """The first document's, exactly as a checkpoint would read it."""
    asked: tuple[str, ...]
    """The continuations scored after it, or the stop strings of a generation."""
    generates: bool


def summaries(data: Path | None, include: Sequence[Path] = ()) -> list[Summary]:
    """Return a line for each task and group worth listing."""
    catalogue = Catalogue(include)
    found = []
    for name in catalogue.names():
        protocol = _metadata(catalogue.config(name, own=True), name).protocol or _UNSTATED
        try:
            sources = catalogue.sources([name], data)
        except HarnessError as error:  # an empty folder in the mirror
            whole = catalogue.sources([name], None)
            found.append(Summary(name, len(whole), _named_data(whole.values()), f"no: {error}", protocol))
            continue
        here = sum(source.at_hand() for source in sources.values())
        dataset = _named_data(sources.values())
        found.append(Summary(name, len(sources), dataset, _at_hand(list(sources.values()), here), protocol))
    return found


def describe(
    name: str,
    data: Path | None,
    include: Sequence[Path] = (),
    num_fewshot: int | None = None,
    comparisons: Sequence[str] = (),
) -> Description:
    """Return everything about task or group `name`, with the prompt of its first document.

    Raises HarnessError on an unknown task, or on data that are not to be had.
    """
    catalogue = Catalogue(include, comparisons)
    leaves = list(catalogue.sources([name], data))
    tasks = catalogue.load([leaves[0]], data, num_fewshot=num_fewshot)
    (leaf, task), source = next(iter(tasks.tasks.items())), next(iter(tasks.sources.values()))
    between = bounds.stated(task)._asdict()
    arguments = [request.args for request in task.build_requests(limit=1)]
    generates = task.output_type == "generate_until"
    metadata = _metadata(catalogue.config(leaves[0]), leaves[0])
    facts = {
        "protocol": metadata.protocol or _UNSTATED,
        "tasks": f"{len(leaves)}, this is the first: {leaf}" if len(leaves) > 1 else "",
        "data": f"{source}, split {task.split}, {len(task.documents):,} documents",
        "at hand": _at_hand([source], int(source.at_hand())),
        "shots": str(task.num_fewshot),
        "metrics": ", ".join(map(_named, task.metrics)),
        **{key: _stated(number, task) for key, number in between.items() if number is not None},
        **known_data.facts(source.dataset, source.config),
        **metadata.facts,
        "version": task.version,
    }
    until = arguments[0][1].get("until") or [] if generates else []
    stops = [until] if isinstance(until, str) else until
    asked = stops if generates else [args[1] for args in arguments if len(args) > 1 and isinstance(args[1], str)]
    shown = {key: value for key, value in facts.items() if value}
    return Description(name, shown, str(arguments[0][0]), tuple(asked), generates)


def _named(metric: Metric) -> str:
    arrow = "higher" if metric.higher_is_better else "lower"
    kind = "" if metric.filter == "none" else f" ({metric.filter})"
    return f"{metric.name}{kind}, {arrow} is better"


def _stated(number: float, task: Task) -> str:
    return f"{100 * number:.4g} %" if task.metrics[0].fraction else f"{number:g}"


def _named_data(sources: Iterable[DataSource]) -> str:
    kinds = sorted({source.dataset for source in sources})
    return kinds[0] if len(kinds) == 1 else f"{len(kinds)} data sets"


def _at_hand(sources: Sequence[DataSource], here: int) -> str:
    if not here:
        return f"no: {sources[0].missing()}"
    return "yes" if here == len(sources) else f"{here} of {len(sources)}"


def _metadata(config: dict[str, Any], name: str) -> TaskMetadata:
    return TaskMetadata.of(config.get("metadata"), f"task {name}")
