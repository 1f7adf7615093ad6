"""`harness run`: evaluate checkpoints on tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import discard_output, names

if TYPE_CHECKING:
    from harness.checkpoints.reference import CheckpointReference
    from harness.runs.options import Options


def run(
    model: Annotated[
        list[str], typer.Option(metavar="CHECKPOINT", help="PATH_OR_HUB_ID[,key=value…]; repeat it for several.")
    ],
    tasks: Annotated[
        list[str],
        typer.Option(metavar="NAMES", help="Tasks, groups, globs, FILE.jsonl, ppl:FILE; separated by commas."),
    ],
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="How answers in FILE.jsonl are compared: exact_match, contains, number, rouge, bleu.",
        ),
    ] = None,
    num_fewshot: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Shots, where a task does not insist on 0.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first so many documents of each task.")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Of few-shot draws and sampled text; 1234 is lm-eval's.")
    ] = 1234,
    apply_chat_template: Annotated[bool, typer.Option("--apply-chat-template", help="Ask as in a chat.")] = False,
    system_instruction: Annotated[str | None, typer.Option(metavar="TEXT", help="Put before every prompt.")] = None,
    chat_template_args: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="For the chat template; repeat it for several.")
    ] = None,
    max_gen_toks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="New tokens of an answer, in place of the task's limit.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="New tokens a window of ppl:FILE; default: half the context.")
    ] = None,
    articles: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Articles for prompts of legal_consult, as 'harness retrieve' writes them."),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where reports go.")] = Path(
        "reports/runs"
    ),
    data: Annotated[
        Path | None, typer.Option(envvar="HARNESS_DATA", metavar="DIR", help="A mirror of data sets: DIR/<org>/<name>.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="cpu, cuda or cuda:1; default: the first GPU.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(metavar="NAME", help="auto, float32, bfloat16 or float16.")] = None,
    include_path: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A folder with more task definitions.")
    ] = None,
    allow_inactive_adapter: Annotated[
        bool, typer.Option("--allow-inactive-adapter", help="Evaluate an adapter that changes nothing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")] = False,
) -> None:
    """Evaluate checkpoints on tasks; each gets a report folder.

    A checkpoint's keys: adapter, dtype, quantize, device, revision, tokenizer, max_length, trust_remote_code,
    allow_unexpected_keys, enable_thinking and name.
    """
    from harness import libraries, progress
    from harness.checkpoints.reference import check_dtype, parse

    with progress.status("loading libraries"), libraries.importing():
        from harness.runs.options import Options

    options = Options(
        tasks=tuple(name for listed in tasks for name in names(listed)),
        comparisons=names(metric),
        output=output,
        data=data,
        num_fewshot=num_fewshot,
        limit=limit,
        seed=seed,
        apply_chat_template=apply_chat_template,
        system_instruction=system_instruction,
        chat_template_arguments=_arguments(chat_template_args or []),
        max_gen_toks=max_gen_toks,
        stride=stride,
        articles=articles,
        device=device,
        dtype=dtype and check_dtype(dtype, "--dtype"),
        include=tuple(include_path or ()),
        allow_inactive_adapter=allow_inactive_adapter,
    )
    references = [parse(text) for text in model]
    if dry_run:
        _forecast(references, options)
    else:
        _run(references, options)


def _arguments(pairs: list[str]) -> dict[str, Any]:
    """Return KEY=VALUE pairs as a dictionary, values read as JSON where they are JSON (true, 3), else as text."""
    import json

    from harness.errors import HarnessError

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


def _run(references: list[CheckpointReference], options: Options) -> None:
    from harness import libraries, progress
    from harness.cli import tables

    with progress.status("loading libraries"), libraries.importing():
        from harness.runs.run import JOURNAL, run
    done = []
    try:
        for report in run(references, options):
            done.append(report)
            try:
                tables.show_report(report)
                typer.echo(f"report: {report.folder}\n")
            except OSError:  # nobody reads any more (| head), or the disk is full: what is left is still evaluated
                discard_output()
    except KeyboardInterrupt:
        kept = "".join(f"\n  {report.folder}" for report in done) or " none"
        typer.echo(f"\ninterrupted. Complete reports:{kept}", err=True)
        if (options.output / JOURNAL).exists():
            journal = options.output / JOURNAL
            typer.echo(f"Answers so far are in {journal}: the same command goes on from there.", err=True)
        raise typer.Exit(130) from None


def _forecast(references: list[CheckpointReference], options: Options) -> None:
    from harness.cli import tables
    from harness.runs.estimate import forecast

    for one in forecast(references, options):
        tables.show_forecast(one)
