"""The samples of a task made again: its documents and prompts as they are now, and the recorded answers scored.

No model is loaded, so nothing here shows that the checkpoint gave these answers.

Not here: the numbers of a report (`harness.verification.averages`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.errors import HarnessError
from harness.recorded.answers import Response, Responses
from harness.recorded.formats import own_reports
from harness.recorded.join import Joined
from harness.recorded.replay import Replay
from harness.reports.report import Report, TaskInfo
from harness.reports.report import Score as ReportScore
from harness.reports.writer import sample_table
from harness.runs.parts import of_parts
from harness.runs.samples import Row
from harness.runs.task_results import TaskResults, identity
from harness.verification.checks import HOLDS, UNKNOWN, Check, concluded, different_fields, equal, shown_apart
from harness.verification.prompts import Built, Renderer
from harness.verification.samples import Samples, decoded
from harness.verification.settings import Settings
from harness.verification.tasks import LoadedTask

_COUNTS = (
    *("answers", "empty_answers", "unfinished_thoughts", "cut_answers"),
    *("not_understood", "doubtful_documents"),
)
"""The manifest's counts of answers that can be counted again from samples."""
_SCORE_FIELDS = ("higher_is_better", "fraction", "aggregation", "primary", "chance", "ceiling")
"""The fields of a score that a task's definition decides, unlike its value."""


_MUTUAL_INFORMATION = "acc_mutual_info"
"""The metric of lm-eval that compares the likelihood of a choice with and without its question."""


class Rescored(NamedTuple):
    """A task of a report, made again."""

    samples: Samples
    """The rows of those documents that the task still has."""
    info: TaskInfo
    scores: list[ReportScore]
    aggregates: dict[str, float]
    """The task's number for each of lm-eval's result keys (`bleu,none`)."""
    prompt_problem: str
    """Why prompts are not those of the run. Empty if they should be the same."""
    unknown: tuple[str, ...] = ()
    """The metrics for which reports lack a part of the answers."""


class Task(NamedTuple):
    """One task of a report, with its samples as they are stored."""

    report: Report
    name: str
    samples: Samples

    @property
    def info(self) -> TaskInfo:
        """What the manifest says of the task."""
        return self.report.manifest.tasks[self.name]


def rescore(stored: Task, loaded: LoadedTask, renderer: Renderer, settings: Settings) -> Rescored:
    """Return the task with its recorded answers scored again.

    Raises HarnessError if its documents or answers do not fit the task as it is now.
    """
    name, task = stored.name, loaded.task
    names = (settings.task_name(name),)
    responses = _responses(stored, task.output_type)
    task.repeats = _repeats(responses)
    built = renderer.build(task, settings.options(stored.report, names))
    places = sorted(place for place in responses if place in built.requests)
    if not places:
        raise HarnessError(f"the data at hand have none of its documents, but {len(task.documents):,} others")
    unknown = _complete(responses, built, places)
    replay = Replay(_joined(name, responses, len(task.documents), task.repeats), is_read=True)
    with task.scored_by(loaded.score or task.score):
        with task.restricted_to(places, task.documents, built.requests):
            outcome = task.evaluate(replay)
        samples, failures = outcome.pop("samples")[name], outcome.pop("unscorable")
        requests = [request for place in places for request in built.requests[place]]
        outcome = of_parts(task, outcome, samples, requests, failures)
    aggregates = {
        key: float(value)
        for key, value in outcome["results"][name].items()
        if key.partition(",")[0] not in unknown
        and "," in key
        and "_stderr," not in key
        and isinstance(value, int | float)
    }
    results = TaskResults(loaded.tasks)
    rows = results.add(name, outcome, replay.work, 0.0)
    table = sample_table(rows, task.metric_names)
    problem = built.problem or loaded.without_articles
    return Rescored(decoded(table), results.infos[name], results.scores(), aggregates, problem, unknown)


# --- answers ----------------------------------------------------------------------------------------------------------


def _responses(stored: Task, output_type: str) -> dict[int, Responses]:
    """Return the recorded answers by document."""
    rows = stored.samples.by_document
    responses = {place: own_reports.responses(row) for place, row in rows.items()}
    if output_type == "loglikelihood_rolling":
        return {place: ((_likelihood(of_document[0][0], place),),) for place, of_document in responses.items()}
    return responses


def _likelihood(response: Response, place: int) -> float:
    """Return the log-likelihood of a whole text. Reports store it as a string."""
    try:
        return float(response[0] if isinstance(response, tuple) else response)
    except ValueError as error:
        raise HarnessError(f"document {place} has no log-likelihood of a text") from error


def _repeats(responses: Mapping[int, Responses]) -> int:
    """Return how often each request was answered.

    Raises HarnessError if documents differ in this number, naming one that is not as most are.
    """
    counts = {place: len(of_document[0]) for place, of_document in responses.items()}
    usual = Counter(counts.values()).most_common(1)[0][0]
    for place, count in counts.items():
        if count != usual:
            raise DamagedError(f"document {place} has {count} answers, others {usual}")
    return usual


class DamagedError(HarnessError):
    """Answers that no run can have left."""


def _complete(responses: dict[int, Responses], built: Built, places: Sequence[int]) -> tuple[str, ...]:
    """Give every request of the documents at `places` an answer; return the metrics that cannot be computed then.

    For mutual information, each choice makes two requests. Reports keep only the likelihood of the first, so the second
    gets NaN.

    Raises HarnessError if documents have fewer or more answers than the task makes requests, and DamagedError if only
    some documents do.
    """
    counts = {place: (len(responses[place]), len(built.requests[place])) for place in places}
    lacking = [place for place, (answers, requests) in counts.items() if answers != requests]
    if not lacking:
        return ()
    if all(requests == 2 * answers for answers, requests in counts.values()):
        for place, (answers, _) in counts.items():
            responses[place] = (*responses[place], *(((math.nan, False),) for _ in range(answers)))
        return (_MUTUAL_INFORMATION,)
    answers, requests = counts[lacking[0]]
    problem = f"document {lacking[0]} has {answers} answers, the task makes {requests} requests"
    raise DamagedError(problem) if len(lacking) < len(places) else HarnessError(problem)


def _joined(name: str, responses: Mapping[int, Responses], documents: int, repeats: int) -> Joined:
    by_place: list[Responses] = [responses.get(place, ()) for place in range(documents)]
    return Joined([None] * documents, by_place, repeats, [], name)


# --- comparisons ------------------------------------------------------------------------------------------------------


def checks(stored: Task, loaded: LoadedTask, again: Rescored, renderer: Renderer) -> Iterator[Check]:
    """Yield the checks of documents, prompts and scores."""
    name, first = stored.name, stored.samples.by_document
    present = again.samples.by_document
    same = {place for place, row in present.items() if row["doc_hash"] == first[place]["doc_hash"]}
    documents = list(_other_documents(stored, loaded, present))
    yield concluded("documents", name, documents, f"{len(first):,} documents of {again.info.dataset}, as at hand")
    yield _prompts(stored, again, renderer, same)
    if not same:
        yield Check("scores", name, UNKNOWN, "the data at hand have other documents")
        return
    problems = list(_other_scores(stored, again, same))
    left_out = len(first) - len(same)
    detail = (
        f"{len(same):,} answers scored again"
        + "".join(f", without {metric}" for metric in again.unknown)
        + (f"; {left_out:,} belong to other documents" if left_out else "")
    )
    if not left_out:
        problems += _other_claims(stored, again)
    if problems and again.info.version != stored.info.version:
        problems[0] += f"; the task is in version {again.info.version} now, {stored.info.version} in the report"
    yield concluded("scores", name, problems, detail)


def _other_documents(stored: Task, loaded: LoadedTask, present: Mapping[int, Row]) -> Iterator[str]:
    info = stored.info
    source = identity(loaded.task, loaded.tasks.sources.get(stored.name))
    claims = {**{key: source[key] for key in ("dataset", "split")}, "documents_in_split": len(loaded.task.documents)}
    yield from different_fields(info.model_dump(), claims)
    rows = stored.samples.by_document
    columns = ["doc_hash", "target_hash", "target"]
    if any(row["cluster"] is not None for row in rows.values()):  # older reports have no clusters
        columns.append("cluster")
    different = [
        place
        for place, row in rows.items()
        if place not in present or any(row[column] != present[place][column] for column in columns)
    ]
    if different:
        place = different[0]
        is_absent = place not in present
        yield (
            f"{len(different):,} of {len(rows):,} documents differ from the data at hand, the first is {place}"
            + (", which is missing there" if is_absent else "")
        )


def _prompts(stored: Task, again: Rescored, renderer: Renderer, same: set[int]) -> Check:
    if renderer.other_template:
        return concluded("prompts", stored.name, [renderer.other_template], "")
    if again.prompt_problem:
        return Check("prompts", stored.name, UNKNOWN, again.prompt_problem)
    if not same:
        return Check("prompts", stored.name, UNKNOWN, "the data at hand have other documents")
    problems = list(different_fields(stored.info.model_dump(), {"num_fewshot": again.info.num_fewshot}))
    first, present = stored.samples.by_document, again.samples.by_document
    columns = ("prompt_hash", "prompt", "choices")
    different = [
        (place, column)
        for place in sorted(same)
        for column in columns
        if first[place][column] != present[place][column]
    ]
    if different:
        places = dict.fromkeys(place for place, _ in different)
        place, column = different[0]
        problems.append(f"{len(places):,} of {len(same):,} prompts differ, the first is document {place} ({column})")
    count = f"{len(same):,} prompts rendered again, {again.info.num_fewshot or 0}-shot"
    return (
        Check("prompts", stored.name, HOLDS, count) if not problems else concluded("prompts", stored.name, problems, "")
    )


def _other_scores(stored: Task, again: Rescored, same: set[int]) -> Iterator[str]:
    """Yield how values of documents differ, one sentence for each metric."""
    claimed, computed = stored.samples.by_key, again.samples.by_key
    for metric in stored.samples.metrics:
        if metric not in again.samples.metrics:
            yield f"the task as it is now does not compute '{metric}'"
    columns = [*(metric for metric in again.samples.metrics if metric not in again.unknown), "understood"]
    has_prompts = not again.prompt_problem or any(row["responses"] is not None for row in again.samples.rows)
    columns += ["prediction"] if has_prompts else []
    if all(row["understood"] is None for row in stored.samples.rows):
        columns.remove("understood")
    for column in columns:
        different = [
            key
            for key, row in computed.items()
            if key[0] in same and not (key in claimed and equal(claimed[key].get(column), row[column]))
        ]
        if different:
            place, filter = different[0]
            before, after = claimed.get(different[0], {}).get(column), computed[different[0]][column]
            documents = len({key[0] for key in different})
            texts = shown_apart(before, after)
            yield (
                f"{column} of {documents:,} of {len(same):,} documents differs, the first is document {place} "
                f"({filter}): {texts[0]} in the report, {texts[1]} scored again"
            )


def _other_claims(stored: Task, again: Rescored) -> Iterator[str]:
    """Yield what the manifest says differently of the answers and of each score's definition."""
    claimed = {name: value for name, value in stored.info.model_dump().items() if name in _COUNTS}
    computed = again.info.model_dump(include=set(_COUNTS))
    if claimed["answers"] is not None:
        yield from different_fields(claimed, computed)
    manifest = stored.report.manifest
    by_key = {(score.metric, score.filter): score for score in again.scores if score.task == stored.name}
    of_task = {(score.metric, score.filter): score for score in manifest.scores if score.task == stored.name}
    for key, score in of_task.items():
        if key not in by_key and key[0] not in again.unknown:
            yield f"the task as it is now has no score {','.join(key)}"
        if key not in by_key:
            continue
        expected = {field: getattr(by_key[key], field) for field in _SCORE_FIELDS}
        yield from (f"{','.join(key)}: {item}" for item in different_fields(score.model_dump(), expected))
    for key in by_key:
        if key not in of_task:
            yield f"the manifest lacks the score {','.join(key)}"
