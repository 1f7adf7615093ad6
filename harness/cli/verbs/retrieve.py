"""`harness retrieve`: find the passages of a corpus that answer questions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import stopping
from harness.cli.options import Data, split_names
from harness.common.terminal import echo
from harness.errors import HarnessError


class Method(StrEnum):
    """How passages are ranked."""

    bm25 = "bm25"
    dense = "dense"


def retrieve(
    corpus: Annotated[
        str,
        typer.Option(metavar="FILE", help="Rows with a text: a file, a folder, or ORG/NAME:CONFIG in --data."),
    ],
    questions: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Rows with a query and either gold (ids) or laws and response; named like --corpus.",
        ),
    ],
    method: Annotated[
        Method, typer.Option(metavar="NAME", help="Rank by bm25 (words) or dense (an encoder's vectors).")
    ] = Method.bm25,
    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="For dense: folder or hub name for sentence-transformers.")
    ] = None,
    query_prefix: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="For dense: put this text before each query, if the encoder was trained with it."
        ),
    ] = "",
    at: Annotated[
        str, typer.Option("-k", "--at", metavar="NUMBERS", help="Measure recall and hits at these cut-offs.")
    ] = "1,3,10",
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Write at most N passages per question.")] = 3,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write a .jsonl file for 'harness run --articles'."),
    ] = None,
    data: Annotated[Path | None, Data] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="For dense: use cpu, cuda or cuda:1.")] = None,
) -> None:
    """Retrieve passages for questions, and measure recall.

    Recall is the share of a question's right passages that are found, averaged over questions.
    """
    from harness.cli.views.retrieval import show_retrieval
    from harness.retrieval.retrieve import Encoding, Retrieval, retrieve

    cut_offs = _cut_offs(at)
    if (method is Method.dense) != (encoder is not None):
        raise HarnessError("--method dense and --encoder NAME go together: give both, or neither for BM25")
    if output is not None and output.suffix != ".jsonl":
        raise HarnessError(f"-o {output} is not a .jsonl file: name one, one line of JSON is written per question")
    with stopping.says("No passages were written: run the same command again to start anew."):
        result = retrieve(
            Retrieval(
                corpus=corpus,
                questions=questions,
                data=data,
                encoding=None if encoder is None else Encoding(encoder, query_prefix, device),
                cut_offs=cut_offs,
                top=top,
            )
        )
    show_retrieval(result)
    if output is not None:
        result.write(output, top)
        echo(f"{output}: up to {top} passages for each question")


def _cut_offs(text: str) -> list[int]:
    """Return the cut-offs (numbers of passages) in `text`, sorted. Raises HarnessError if one is not above 0."""
    numbers = split_names([text])
    if not numbers or not all(number.isascii() and number.isdigit() and int(number) for number in numbers):
        raise HarnessError(f"--at {text} is not a list of numbers above 0: write, for example, 1,3,10")
    return sorted({int(number) for number in numbers})
