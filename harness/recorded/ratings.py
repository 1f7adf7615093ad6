"""Ratings, by people or by a judge model that ran elsewhere → reports. No judge model is called here.

A line of the file is one rating:

    {"id": 17, "criterion": "accuracy", "rating": 4, "rater": "B", "model": "sft"}

`model` may be left out; each model gets a report. An item's score is the mean of its ratings, and a criterion's score
is the mean over items, with its interval. The agreement of raters is a score of its own: Krippendorff's alpha for
intervals (`harness.metrics.stats.agreement`).

Not here: scoring answers (`harness.recorded.score`).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from statistics import fmean
from typing import NamedTuple

import harness
from harness.common import places, progress
from harness.errors import HarnessError
from harness.metrics.stats.agreement import alpha
from harness.metrics.stats.estimates import Estimate, mean_estimate
from harness.recorded.complaints import Complaints
from harness.recorded.files import File
from harness.recorded.lines import lines
from harness.reports.checkpoint_info import CheckpointInfo
from harness.reports.report import RATINGS, SAMPLE_COLUMNS, Manifest, Protocol, Report, Score, TaskInfo
from harness.reports.writer import ReportWriter, new_folder
from harness.runs import samples

ALPHA = "_alpha"
"""The suffix of a criterion's name for the agreement of raters on it."""
LARGEST = 1e100
"""Ratings must be smaller than this in absolute value, so that sums of squares are finite."""
RATERS = 10
"""The largest number of raters for which the report's notes give each rater's mean."""


class Rating(NamedTuple):
    """One rating of one item by one rater."""

    model: str
    id: str
    criterion: str
    rating: float
    rater: str


def score(
    file: Path, output: Path, *, task: str | None, name: str | None, keep_going: bool, keep_paths: bool = False
) -> Iterator[Report]:
    """Write and yield a report for each model that `file` contains ratings of.

    `task` names what was rated and `name` the model; both default to the file's name. Raises HarnessError about the
    first line that is malformed or repeats a rating; with `keep_going` such lines are left out and counted in the
    report. Reports keep absolute paths only with `keep_paths`.
    """
    if not places.is_file(file):
        raise HarnessError(f"there is no file {file}: check the path")
    complaints = Complaints(keep_going)
    with progress.status(f"reading {file.name}"):
        ratings = list(_read(file, complaints))
    if not ratings:
        raise HarnessError(f"{file} holds no ratings: write one per line, with id, criterion, rating and rater")
    if task and (task in (".", "..") or "/" in task or "\\" in task):
        raise HarnessError(f"--task {task} is a path: give what was rated a plain name")
    models = dict.fromkeys(rating.model for rating in ratings)
    if name and len(models) > 1:
        raise HarnessError(f"{file} rates {', '.join(models)}: leave --name out")
    for model in models:
        of_model = [rating for rating in ratings if rating.model == model]
        rated, report_name = task or file.stem, name or model or file.stem
        writer = ReportWriter(new_folder(output, report_name, datetime.now(UTC)), keep_paths=keep_paths)
        yield _report(file, writer, rated, report_name, of_model, complaints.messages)


def _read(file: Path, complaints: Complaints) -> Iterator[Rating]:
    first_places: dict[tuple[str, str, str, str], str] = {}
    for where, _, content in lines(File(PurePosixPath(file.name), str(file), "", file.read_bytes), complaints):
        rating, texts = content.get("rating"), [_text(content.get(key)) for key in ("id", "criterion", "rater")]
        if None in texts or (model := _text(content.get("model", ""))) is None:
            complaints.add(where, "has no 'id', 'criterion' and 'rater' that are texts or numbers")
            continue
        if isinstance(rating, bool) or not isinstance(rating, int | float) or not abs(rating) < LARGEST:
            complaints.add(where, "has no 'rating' that is a finite number")
            continue
        item, criterion, rater = (str(text) for text in texts)
        if criterion in ("", *SAMPLE_COLUMNS.names) or criterion.endswith(ALPHA):
            complaints.add(where, f"has a criterion {criterion!r}, a name with another meaning in reports: rename it")
            continue
        key = (model, item, criterion, rater)
        if key in first_places:
            complaints.add(where, f"repeats the rating of {criterion} of {item} by {rater} in {first_places[key]}")
            continue
        first_places[key] = where
        yield Rating(model, item, criterion, float(rating), rater)


def _text(value: object) -> str | None:
    """Return a text or a number as a text, or None if `value` is neither."""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _report(
    file: Path, new_report: ReportWriter, task: str, name: str, ratings: Sequence[Rating], complaints: Sequence[str]
) -> Report:
    started, created = time.perf_counter(), datetime.now(UTC)
    items = list(dict.fromkeys(rating.id for rating in ratings))
    criteria = list(dict.fromkeys(rating.criterion for rating in ratings))
    rated = {criterion: _by_item(ratings, criterion) for criterion in criteria}
    means = {criterion: {item: fmean(values) for item, values in rated[criterion].items()} for criterion in criteria}
    rows = [_row(place, item, means) for place, item in enumerate(items)]
    with new_report as writer:
        writer.write_samples(task, rows, criteria)
        scores = [
            score
            for place, criterion in enumerate(criteria)
            for score in _scores(task, criterion, rated[criterion], means[criterion], primary=not place)
        ]
        content = hashlib.sha256(repr(sorted(ratings)).encode()).hexdigest()
        manifest = Manifest(
            harness=harness.__version__,
            created=created.isoformat(timespec="seconds"),
            seconds=time.perf_counter() - started,
            checkpoint=CheckpointInfo(name=name, reference=str(file), kind="rated", base=name, fingerprint=content),
            protocol=Protocol(seed=0, recorded=RATINGS),
            tasks={task: _info(file, items, criteria, time.perf_counter() - started)},
            scores=scores,
            engine=None,
            environment={},
            notes=list(_notes(task, ratings, items, rated, complaints)),
        )
        results = {task: {f"{score.metric},none": score.value for score in scores}}
        return writer.finish(manifest, {"results": results}, [str(file)])


def _by_item(ratings: Sequence[Rating], criterion: str) -> dict[str, list[float]]:
    """Return the ratings of each item under one criterion."""
    by_item: dict[str, list[float]] = {}
    for rating in ratings:
        if rating.criterion == criterion:
            by_item.setdefault(rating.id, []).append(rating.rating)
    return by_item


def _row(place: int, item: str, means: dict[str, dict[str, float]]) -> samples.Row:
    return {
        "doc_id": place,
        "filter": "none",
        "doc_hash": samples.digest(item),
        "prompt_hash": samples.digest(["rated", item]),
        "target_hash": samples.digest(""),
        "prompt": item,
        "target": "",
        "prediction": "",
        **{criterion: by_item.get(item) for criterion, by_item in means.items()},
    }


def _info(file: Path, items: Sequence[str], criteria: Sequence[str], seconds: float) -> TaskInfo:
    return TaskInfo(
        version="1",
        dataset=f"ratings of {', '.join(criteria)}",
        split=file.name,
        num_fewshot=None,
        documents=len(items),
        documents_in_split=len(items),
        prompt_hash=samples.digest(sorted(items)),
        truncated=0,
        seconds=seconds,
        tokens_fed=0,
        tokens_generated=0,
    )


def _scores(
    task: str, criterion: str, rated: dict[str, list[float]], means: dict[str, float], *, primary: bool
) -> Iterator[Score]:
    yield _score(task, criterion, mean_estimate(list(means.values())), primary=primary)
    agreement = alpha(rated.values())
    if math.isfinite(agreement):
        paired = sum(len(values) > 1 for values in rated.values())
        yield _score(task, f"{criterion}{ALPHA}", Estimate(agreement, None, None, None, paired), primary=False)


def _score(task: str, metric: str, estimate: Estimate, *, primary: bool) -> Score:
    return Score(
        task=task,
        metric=metric,
        filter="none",
        **estimate._asdict(),
        higher_is_better=True,
        fraction=False,
        average=None,
        members=[task],
        primary=primary,
        headline=True,
    )


def _notes(
    task: str,
    ratings: Sequence[Rating],
    items: Sequence[str],
    rated: dict[str, dict[str, list[float]]],
    complaints: Sequence[str],
) -> Iterator[str]:
    by_rater: dict[str, list[float]] = {}
    for rating in ratings:
        by_rater.setdefault(rating.rater, []).append(rating.rating)
    means = ", ".join(f"{rater} {fmean(values):.2f}" for rater, values in by_rater.items())
    with_means = f", whose own means are {means}" if len(by_rater) <= RATERS else ""
    yield f"{task}: {len(ratings):,} ratings by {len(by_rater):,} raters{with_means}"
    for criterion, by_item in rated.items():
        if len(by_item) < len(items):
            yield f"{task}: {len(items) - len(by_item):,} of {len(items):,} items have no rating of {criterion}"
        if not any(len(values) > 1 for values in by_item.values()):
            yield f"{task}: no item has two ratings of {criterion}, so agreement is not known"
        elif not math.isfinite(alpha(by_item.values())):
            yield f"{task}: all ratings of {criterion} that could differ are equal, so agreement is not known"
    if complaints:
        yield f"{task}: {len(complaints):,} lines were left out ({complaints[0]})"
