"""The settings of a verification: where data, definitions and the checkpoint are on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.common import places
from harness.errors import HarnessError
from harness.reports.report import Manifest, Report
from harness.runs.options import Options
from harness.tasks.own_files import file_tasks
from harness.tasks.own_files.question_files import COMPARISONS


@dataclass(frozen=True)
class Settings:
    """Where to find what a report was made of."""

    model: str | None = None
    """The checkpoint reference, or the path of recorded predictions. None means what the report names."""
    data: Path | None = None
    """A mirror of data sets: `DIR/<org>/<name>`."""
    files: tuple[str, ...] = ()
    """The files that tasks of the report were made of, as `--tasks` names them: `my.jsonl`, `ppl:FILE`."""
    articles: Path | None = None
    """The file of retrieved articles that prompts contained."""
    include: tuple[Path, ...] = ()
    """Additional folders with task definitions."""

    def require_existing(self) -> None:
        """Raise HarnessError if a file or a folder does not exist."""
        if self.data is not None and not self.data.is_dir():
            lack = places.lack(self.data)
            raise HarnessError(f"the data folder {self.data} {lack}: name a mirror with --data or HARNESS_DATA")
        if self.articles is not None and not places.is_file(self.articles):
            raise HarnessError(f"there is no file {self.articles}: check --articles")
        for folder in self.include:
            if not folder.is_dir():
                raise HarnessError(f"--include-path {folder} is not a folder")
        for name in self.files:
            file_tasks.source(name)

    def require_use(self, manifests: Sequence[Manifest]) -> None:
        """Raise HarnessError if a file in `files` is no task of the reports, or if no prompt contained `articles`."""
        reports = "this report" if len(manifests) == 1 else "these reports"
        tasks = list(dict.fromkeys(task for manifest in manifests for task in (*manifest.tasks, *manifest.failed)))
        for name in self.files:
            if file_tasks.task_name(name) not in tasks:
                own = [task for task in tasks if file_tasks.is_of_file(task)]
                listed = f"it has {', '.join(own[:6])}{', …' if len(own) > 6 else ''}" if own else "no task is a file"
                raise HarnessError(f"{name} is not a task of {reports} ({listed}): check --task")
        if self.articles is not None and all(manifest.protocol.articles is None for manifest in manifests):
            raise HarnessError(f"no prompt of {reports} contained retrieved articles: leave --articles out")

    def task_name(self, task: str) -> str:
        """Return the name by which to load the report's `task`: that of its file if `files` contains the file."""
        return next((name for name in self.files if file_tasks.task_name(name) == task), task)

    def options(self, report: Report, names: tuple[str, ...], *, articles: Path | None = None) -> Options:
        """Return the options by which the run of `report` evaluated the tasks `names`."""
        protocol = report.manifest.protocol
        return Options(
            tasks=names,
            output=report.folder,
            data=self.data,
            num_fewshot=0 if protocol.recorded else protocol.num_fewshot,
            limit=protocol.limit,
            seed=protocol.seed,
            apply_chat_template=protocol.chat_template is not None,
            system_instruction=protocol.system_instruction,
            chat_template_arguments=protocol.chat_template_arguments,
            max_gen_toks=protocol.max_gen_toks,
            stride=protocol.stride,
            articles=articles,
            comparisons=_comparisons(report, names),
            include=self.include,
        )


def _comparisons(report: Report, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values that `--metric` must have had in the run, for the test sets among `names`."""
    tasks = {file_tasks.task_name(name) for name in names if file_tasks.is_test_set(name)}
    metrics = [score.metric for score in report.manifest.scores if score.task in tasks]
    return tuple(dict.fromkeys(option for metric in metrics for option in COMPARISONS if _is_of(metric, option)))


def _is_of(metric: str, option: str) -> bool:
    """Return whether `--metric` with the value `option` asks for `metric`. `rouge`, for one, asks for several."""
    return metric == option or (option in ("rouge", "bleu") and metric.startswith(option))
