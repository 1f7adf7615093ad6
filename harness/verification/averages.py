"""The numbers of a report computed again from the values in its samples: scores, averages, and results.json.

Not here: whether the values are right (`harness.verification.rescoring`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.metrics.stats import estimates
from harness.metrics.stats.estimates import Average, Estimate
from harness.reports.numbers_in_words import counted
from harness.reports.report import RATINGS, Manifest, Report, Score, TaskInfo
from harness.runs.lm_eval_results import NOT_AVAILABLE
from harness.runs.scores import estimate
from harness.tasks import bounds
from harness.tasks.bounds import Bounds
from harness.tasks.task_metrics import Metric
from harness.verification.checks import UNKNOWN, Check, concluded, different_fields, equal, shown, shown_apart
from harness.verification.samples import Samples

Key = tuple[str, str, str]
"""A task, a metric and a filter."""


class Numbers:
    """The scores of one report, computed again."""

    def __init__(
        self, report: Report, samples: Mapping[str, Samples], aggregates: Mapping[str, Mapping[str, float]]
    ) -> None:
        """Compute the scores of tasks from `samples`.

        `aggregates` has numbers of tasks whose answers were scored again, by task and by lm-eval's result key
        (`bleu,none`). Only they cover metrics that are neither means nor ratios.
        """
        self._manifest, self._samples, self._aggregates = report.manifest, samples, aggregates
        self._report = report
        self._computed: dict[Key, Estimate] = {}
        self._claimed = {
            (score.task, score.metric, score.filter): score for score in report.manifest.scores if not score.average
        }
        self._problems: dict[str, list[str]] = {}
        self._unknown: dict[str, list[str]] = {}
        for score in report.manifest.scores:
            if not score.average:
                self._add_task(score)
        for score in report.manifest.scores:
            if score.average:
                self._add_average(score)

    def checks(self) -> Iterator[Check]:
        """Yield a check for each task and average with a score, and for results.json."""
        counts = {name: 0 for name in self._manifest.tasks if name in self._samples}
        for score in self._manifest.scores:
            counts[score.task] = counts.get(score.task, 0) + 1
        for name, count in counts.items():
            problems, unknown = self._problems.get(name, []), self._unknown.get(name, [])
            if problems or not unknown:
                detail = (
                    f"{counted(count, 'score')} computed again from the samples" if count else "no score is claimed"
                )
                yield concluded("averages", name, problems, detail)
            if unknown:
                yield Check("averages", name, UNKNOWN, "; ".join(unknown))
        try:
            results = self._report.results
        except HarnessError as error:
            yield concluded("results.json", None, [str(error)], "")
            return
        problems = list(_differences(results, self._manifest))
        yield concluded("results.json", None, problems, "the numbers, versions and counts of the manifest")

    def _add_task(self, score: Score) -> None:
        where = f"{score.metric},{score.filter}"
        samples = self._samples.get(score.task)
        if samples is None:
            self._note(self._unknown if score.task in self._manifest.tasks else self._problems, score, "no samples")
            return
        if score.members != [score.task]:
            self._note(self._problems, score, f"{where} names {', '.join(score.members) or 'nothing'} as its tasks")
        if score.metric not in samples.metrics and not self._is_agreement(score):
            self._note(self._problems, score, f"{where} has no values in the samples")
            return
        try:
            computed = self._estimate(score, samples)
        except (HarnessError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            problem = f"{where} cannot be computed from its samples ({error or type(error).__name__})"
            self._note(self._problems, score, problem)
            return
        if computed is None:
            reason = "the raters' single ratings are" if self._is_agreement(score) else "its aggregation is"
            self._note(self._unknown, score, f"{where}: {reason} not at hand")
            return
        self._compare(score, computed)

    def _estimate(self, score: Score, samples: Samples) -> Estimate | None:
        """Return the estimate of a task's score, or None if its aggregation is not known."""
        rows = [row for row in samples.rows if row["filter"] == score.filter]
        values = [row[score.metric] for row in rows if row.get(score.metric) is not None]
        if self._manifest.protocol.recorded == RATINGS:
            return None if self._is_agreement(score) else estimates.mean_estimate(values, fraction=score.fraction)
        metric = Metric(score.metric, score.filter, score.higher_is_better, score.fraction, score.aggregation or "")
        has_types = all(isinstance(value, Mapping) for value in values)
        has_numbers = bool(values) and all(isinstance(value, int | float) for value in values)
        aggregation = score.aggregation
        is_ours = aggregation == "ratio" or (aggregation == "macro_f1" and has_types)
        if values and (is_ours or (aggregation == "mean" and has_numbers)):
            return estimate(metric, rows, value=0.0)
        number = self._aggregates.get(score.task, {}).get(f"{score.metric},{score.filter}")
        return None if number is None else estimate(metric, rows, value=number)

    def _is_agreement(self, score: Score) -> bool:
        """Return whether a score is the agreement of raters, about which samples contain nothing."""
        samples = self._samples.get(score.task)
        is_absent = samples is not None and score.metric not in samples.metrics
        return self._manifest.protocol.recorded == RATINGS and is_absent and score.metric.endswith("_alpha")

    def _add_average(self, score: Score) -> None:
        known = {
            task: self._computed[task, score.metric, score.filter]
            for task in score.members
            if (task, score.metric, score.filter) in self._computed
        }
        where = f"{score.metric},{score.filter}"
        if outside := [task for task in score.members if task not in self._manifest.tasks]:
            self._note(self._problems, score, f"{where} averages {outside[0]}, which the report does not have")
            return
        if lacking := [task for task in score.members if task not in known]:
            self._note(self._unknown, score, f"{where}: the score of {lacking[0]} is not known")
            return
        assert score.average is not None
        average = Average(score.task, tuple(score.members), score.average)
        numbers = estimates.averages([average], known)
        if score.task not in numbers:
            self._note(self._problems, score, f"{where} is an average over no task")
            return
        self._compare(score, numbers[score.task])
        members = [self._claimed[task, score.metric, score.filter] for task in score.members]
        limits = {member.task: Bounds(member.chance, member.ceiling) for member in members}
        claims = {
            **bounds.of_average(average, known, limits)._asdict(),
            "primary": all(member.primary for member in members),
        }
        if len({(member.higher_is_better, member.fraction) for member in members}) == 1:
            claims |= {"higher_is_better": members[0].higher_is_better, "fraction": members[0].fraction}
        for difference in different_fields(score.model_dump(), claims):
            self._note(self._problems, score, f"{where}: {difference}")

    def _compare(self, score: Score, computed: Estimate) -> None:
        if not score.average:
            self._computed[score.task, score.metric, score.filter] = computed
        for difference in different_fields(score.model_dump(), computed._asdict()):
            self._note(self._problems, score, f"{score.metric},{score.filter}: {difference}")

    def _note(self, notes: dict[str, list[str]], score: Score, note: str) -> None:
        notes.setdefault(score.task, []).append(note)


def _differences(results: Mapping[str, Any], manifest: Manifest) -> Iterator[str]:
    """Yield in words where results.json contradicts the manifest."""
    by_name = results.get("results")
    if not isinstance(by_name, Mapping):
        yield "there are no 'results'"
        return
    claimed = {(score.task, f"{score.metric},{score.filter}"): score for score in manifest.scores}
    is_rated = manifest.protocol.recorded == RATINGS
    for (task, key), score in claimed.items():
        entry = by_name.get(task)
        if not isinstance(entry, Mapping):
            yield f"{task} is missing"
            continue
        if not equal(entry.get(key), score.value):
            number, claim = shown_apart(entry.get(key), score.value)
            yield f"{task}, {key}: {number}, the manifest says {claim}"
        metric, _, filter = key.partition(",")
        error = entry.get(f"{metric}_stderr,{filter}")
        if not is_rated and not equal(error, NOT_AVAILABLE if score.stderr is None else score.stderr):
            number, claim = shown_apart(error, score.stderr)
            yield f"{task}, standard error of {key}: {number}, the manifest says {claim}"
        groups = results.get("groups")
        group = groups.get(task) if isinstance(groups, Mapping) else None
        if score.average and not (isinstance(group, Mapping) and equal(group.get(key), score.value)):
            yield f"groups, {task}, {key}: not {shown(score.value)} as in the manifest"
    for task, entry in by_name.items():
        yield from _unclaimed(task, entry, claimed)
    if not is_rated:
        for task, info in manifest.tasks.items():
            yield from _other_task(results, task, info, [score for score in manifest.scores if score.task == task])


def _unclaimed(task: str, entry: object, claimed: Mapping[tuple[str, str], Score]) -> Iterator[str]:
    """Yield the numbers of a task for which the manifest has no score."""
    for key, value in entry.items() if isinstance(entry, Mapping) else ():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if "," in key and "_stderr," not in key and is_number and (task, key) not in claimed:
            yield f"{task}, {key}: {shown(value)}, of which the manifest says nothing"


def _other_task(results: Mapping[str, Any], task: str, info: TaskInfo, scores: Sequence[Score]) -> Iterator[str]:
    """Yield what results.json says differently of a task: its version, few-shot examples, documents and directions."""

    def entry(name: str) -> Any:
        part = results.get(name)
        return part.get(task) if isinstance(part, Mapping) else None

    if str(entry("versions")) != info.version:
        yield f"{task}: version {shown(entry('versions'))}, the manifest says {info.version}"
    if info.num_fewshot is not None and entry("n-shot") != info.num_fewshot:
        yield f"{task}: {shown(entry('n-shot'))} few-shot examples, the manifest says {info.num_fewshot}"
    better = entry("higher_is_better")
    for score in scores:
        if not isinstance(better, Mapping) or better.get(score.metric) is not score.higher_is_better:
            yield f"{task}: higher_is_better of {score.metric} is not {score.higher_is_better} as in the manifest"
    samples = entry("n-samples")
    counts = samples if isinstance(samples, Mapping) else {}
    if counts.get("effective") not in (info.documents, max((score.n for score in scores), default=0)):
        yield f"{task}: {shown(counts.get('effective'))} samples, not {info.documents}"
    if counts.get("original") != info.documents_in_split:
        yield f"{task}: {shown(counts.get('original'))} documents in the split, not {info.documents_in_split}"
