"""What a person may say of an evaluation, stated once for the verbs that do one: `run`, and `gate` and `compare`.

A verb takes all of it as one parameter, an `Evaluation`, under the decorator `with_evaluation`.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from harness.cli import names
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.runs.options import Options

Model = typer.Option(metavar="CHECKPOINT", help="PATH_OR_HUB_ID[,key=value…]; repeat it for several.")
Tasks = typer.Option(metavar="NAMES", help="Tasks, groups, globs, FILE.jsonl, ppl:FILE; separated by commas.")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How checkpoints are to be asked, as it was typed; each field is an option."""

    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="How answers in FILE.jsonl are compared: exact_match, contains, number, rouge, bleu.",
        ),
    ] = None
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Shots, where a task does not insist on 0.")
    ] = None
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first so many documents of each task.")
    ] = None
    seed: Annotated[int, typer.Option(metavar="N", help="Of few-shot draws and sampled text; 1234 is lm-eval's.")] = (
        1234
    )
    apply_chat_template: Annotated[bool, typer.Option("--apply-chat-template", help="Ask as in a chat.")] = False
    system_instruction: Annotated[str | None, typer.Option(metavar="TEXT", help="Put before every prompt.")] = None
    chat_template_args: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="For the chat template; repeat it for several.")
    ] = None
    max_gen_toks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="New tokens of an answer, in place of the task's limit.")
    ] = None
    stride: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="New tokens a window of ppl:FILE; default: half the context.")
    ] = None
    articles: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Articles for prompts of legal_consult, as 'harness retrieve' writes them."),
    ] = None
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where reports go.")] = Path(
        "reports/runs"
    )
    data: Annotated[
        Path | None, typer.Option(envvar="HARNESS_DATA", metavar="DIR", help="A mirror of data sets: DIR/<org>/<name>.")
    ] = None
    device: Annotated[str | None, typer.Option(metavar="NAME", help="cpu, cuda or cuda:1; default: the first GPU.")] = (
        None
    )
    dtype: Annotated[str | None, typer.Option(metavar="NAME", help="auto, float32, bfloat16 or float16.")] = None
    include_path: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A folder with more task definitions.")
    ] = None
    allow_inactive_adapter: Annotated[
        bool, typer.Option("--allow-inactive-adapter", help="Evaluate an adapter that changes nothing.")
    ] = False

    def options(self, tasks: list[str]) -> Options:
        """Return what a run is asked to do: all this, on `tasks`, of which each may name several."""
        from harness.checkpoints.reference import check_dtype
        from harness.common import progress, slow_imports

        with progress.status("loading libraries"), slow_imports.importing():
            from harness.runs.options import Options

        return Options(
            tasks=tuple(name for listed in tasks for name in names(listed)),
            comparisons=names(self.metric),
            output=self.output,
            data=self.data,
            num_fewshot=self.num_fewshot,
            limit=self.limit,
            seed=self.seed,
            apply_chat_template=self.apply_chat_template,
            system_instruction=self.system_instruction,
            chat_template_arguments=_arguments(self.chat_template_args or []),
            max_gen_toks=self.max_gen_toks,
            stride=self.stride,
            articles=self.articles,
            device=self.device,
            dtype=self.dtype and check_dtype(self.dtype, "--dtype"),
            include=tuple(self.include_path or ()),
            allow_inactive_adapter=self.allow_inactive_adapter,
        )

    def refuse_without_model(self, tasks: list[str] | None) -> None:
        """Raise HarnessError if anything was said of an evaluation; the data folder is the environment's, too."""
        said = [one.name for one in fields(self) if one.name != "data" and getattr(self, one.name) != one.default]
        if tasks:
            said.insert(0, "tasks")
        if said:
            option = "--" + said[0].replace("_", "-")
            raise HarnessError(f"{option} is for --model, which is evaluated first: name one, or leave it out")


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
    named = {one.name for one in options}

    @functools.wraps(verb)
    def told(**given: Any) -> None:
        evaluation = Evaluation(**{name: value for name, value in given.items() if name in named})
        verb(**{name: value for name, value in given.items() if name not in named}, evaluation=evaluation)

    parameters: list[inspect.Parameter] = []
    for one in inspect.signature(verb, eval_str=True).parameters.values():
        parameters += options if one.name == "evaluation" else [one.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
    told.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    told.__annotations__ = {one.name: one.annotation for one in parameters}
    return told


def _arguments(pairs: list[str]) -> dict[str, Any]:
    """Return KEY=VALUE pairs as a dictionary, values read as JSON where they are JSON (true, 3), else as text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key.isidentifier() or not equals or not value.strip():
            raise HarnessError(f"--chat-template-args {pair} is not KEY=VALUE: write, for one, enable_thinking=false")
        try:
            found[key] = json.loads(value, parse_constant=str)  # NaN is a word, no number a template knows
        except ValueError:
            found[key] = value
    return found
