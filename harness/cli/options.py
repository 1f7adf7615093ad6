"""Options that several verbs share.

A verb that evaluates checkpoints takes all options of an evaluation as one parameter, an `Evaluation`, under the
decorator `with_evaluation`.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from harness.common import paths
from harness.common.limits import Limit
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.runs.options import Options

Model = typer.Option(metavar="CHECKPOINT", help="Evaluate PATH_OR_HUB_ID[,key=value…]; repeat for several.")
Tasks = typer.Option(metavar="NAMES", help="Tasks, groups, globs, FILE.jsonl or ppl:FILE, separated by commas.")
Metric = typer.Option(
    metavar="NAMES",
    help="For FILE.jsonl: compare answers by exact_match, contains, number, rouge or bleu.",
)


def parse_limit(text: str) -> Limit:
    """Return the limit on documents that `text` spells; raise typer.BadParameter if `text` is no limit."""
    if re.fullmatch("[0-9]{1,18}", text) and int(text):
        return int(text)
    if re.fullmatch(r"0?\.[0-9]+", text) and float(text):
        return float(text)
    raise typer.BadParameter(
        f"'{text}' is neither a number of documents, such as 20, nor a share below 1, such as 0.25"
    )


DocumentLimit = typer.Option(
    parser=parse_limit, metavar="N", help="Evaluate only the first N documents of each task; 0.1 is a tenth of them."
)
Output = typer.Option("-o", "--output", metavar="DIR", help="Write reports to this folder.")
Data = typer.Option(envvar="HARNESS_DATA", metavar="DIR", help="Read data sets from this mirror: DIR/<org>/<name>.")
IncludePath = typer.Option(metavar="DIR", help="Add a folder of task definitions; repeat for several.")
AllowInactiveAdapter = typer.Option(
    "--allow-inactive-adapter", help="Accept an adapter that does not change the model."
)
KeepPaths = typer.Option("--keep-paths", help="Keep absolute paths in reports; default: only their ends.")
KeepGoing = typer.Option(
    "--keep-going", help="Leave out documents, tasks and checkpoints that fail, name them, and exit with 4."
)

REPORTS = Path("reports/runs")
"""Where reports are written by default."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The options of an evaluation as they were typed; each field is an option."""

    metric: Annotated[list[str] | None, Metric] = None
    num_fewshot: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Use N few-shot examples, except in tasks whose number is fixed at 0."),
    ] = None
    limit: Annotated[float | None, DocumentLimit] = None
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed for few-shot draws and sampled text; 1234 is lm-eval's default.")
    ] = 1234
    apply_chat_template: Annotated[
        bool, typer.Option("--apply-chat-template", help="Put prompts into the checkpoint's chat template.")
    ] = False
    system_instruction: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Put this text before every prompt.")
    ] = None
    chat_template_args: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Pass an argument to the chat template; repeat for several."),
    ] = None
    max_gen_toks: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Generate at most N tokens per answer, whatever the task says."),
    ] = None
    stride: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="For ppl:FILE: score N new tokens per window; default: half the context."
        ),
    ] = None
    articles: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Put articles from 'harness retrieve' into the prompts of legal_consult."),
    ] = None
    output: Annotated[Path, Output] = REPORTS
    data: Annotated[Path | None, Data] = None
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use cpu, cuda or cuda:1; default: the first GPU.")
    ] = None
    dtype: Annotated[
        str | None, typer.Option(metavar="NAME", help="Compute in auto, float32, bfloat16 or float16.")
    ] = None
    include_path: Annotated[list[Path] | None, IncludePath] = None
    allow_inactive_adapter: Annotated[bool, AllowInactiveAdapter] = False
    keep_paths: Annotated[bool, KeepPaths] = False
    keep_going: Annotated[bool, KeepGoing] = False

    def options(self, tasks: list[str]) -> Options:
        """Return the run options for an evaluation on `tasks`, each of which may be a list separated by commas."""
        from harness.checkpoints.reference import check_dtype
        from harness.common import progress, slow_imports
        from harness.tasks.own_files import task_lists

        with progress.status("loading libraries"), slow_imports.importing():
            from harness.runs.options import Options

        return Options(
            tasks=tuple(name for names in tasks for name in task_lists.split(names, keep_going=self.keep_going)),
            comparisons=split_names(self.metric),
            output=self.output,
            data=self.data,
            num_fewshot=self.num_fewshot,
            limit=self.limit,
            seed=self.seed,
            apply_chat_template=self.apply_chat_template,
            system_instruction=self.system_instruction,
            chat_template_arguments=_template_arguments(self.chat_template_args or []),
            max_gen_toks=self.max_gen_toks,
            stride=self.stride,
            articles=self.articles,
            device=self.device,
            dtype=self.dtype and check_dtype(self.dtype, "--dtype"),
            include=tuple(self.include_path or ()),
            allow_inactive_adapter=self.allow_inactive_adapter,
            keep_paths=self.keep_paths,
            keep_going=self.keep_going,
        )

    def refuse_without_model(self, tasks: list[str] | None) -> None:
        """Raise HarnessError if there are `tasks`, or if any option of an evaluation except `data` is set.

        `data` is no mistake, because an environment variable may set it for every verb.
        """
        names = [
            field.name for field in fields(self) if field.name != "data" and getattr(self, field.name) != field.default
        ]
        if tasks:
            names.insert(0, "tasks")
        if names:
            option = "--" + names[0].replace("_", "-")
            raise HarnessError(f"{option} is for --model, which is evaluated first: add --model, or drop {option}")


def with_evaluation(verb: Callable[..., None]) -> Callable[..., None]:
    """Return `verb` with an option for each field of `Evaluation` in place of its parameter `evaluation`."""
    hints = get_type_hints(Evaluation, include_extras=True)
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(Evaluation)
    ]
    names = {option.name for option in options}

    @functools.wraps(verb)
    def wrapper(**arguments: Any) -> None:
        evaluation = Evaluation(**{name: value for name, value in arguments.items() if name in names})
        others = {name: value for name, value in arguments.items() if name not in names}
        verb(**others, evaluation=evaluation)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb, eval_str=True).parameters.values():
        keyword = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        parameters += options if parameter.name == "evaluation" else [keyword]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def split_names(texts: list[str] | None) -> tuple[str, ...]:
    """Return the names in `texts`, lists separated by commas, each name once and in order; () if `texts` is None."""
    names = (name.strip() for text in texts or () for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def require_tasks(tasks: list[str] | None) -> list[str]:
    """Return `tasks`. Raises HarnessError if there are none."""
    if not tasks:
        raise HarnessError("name the tasks to evaluate --model on: --tasks NAMES (see 'harness tasks')")
    return tasks


def _template_arguments(pairs: list[str]) -> dict[str, Any]:
    """Return KEY=VALUE pairs as a dictionary; values that are JSON (true, 3) are read as such, all others are texts."""
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key.isidentifier() or not equals or not value.strip():
            raise HarnessError(f"--chat-template-args {pair} is not KEY=VALUE: write, say, enable_thinking=false")
        try:
            arguments[key] = json.loads(value, parse_constant=str)  # NaN is a word, not a number for a template
        except ValueError:
            arguments[key] = value
        paths.require_text(json.dumps(arguments[key], ensure_ascii=False), f"--chat-template-args {key}")
    return arguments
