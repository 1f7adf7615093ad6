"""`harness retrieve`: what a question needs, found in a corpus."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.metrics.stats.estimates import Estimate
    from harness.retrieval.index import Index


class Method(StrEnum):
    """How passages are ranked."""

    bm25 = "bm25"
    dense = "dense"


def retrieve(
    corpus: Annotated[
        str, typer.Option(metavar="FILE", help="Rows with a text: a file, a folder, or ORG/NAME:CONFIG in --data.")
    ],
    questions: Annotated[
        str,
        typer.Option(metavar="FILE", help="Rows with a query, and with gold (ids), or laws and response; as --corpus."),
    ],
    method: Annotated[
        Method, typer.Option(metavar="NAME", help="bm25, by words; dense, by an encoder's vectors.")
    ] = Method.bm25,
    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="For dense: a folder or a hub name for sentence-transformers.")
    ] = None,
    query_prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="For dense: put before every query, as its encoder was trained.")
    ] = "",
    at: Annotated[str, typer.Option("-k", "--at", metavar="NUMBERS", help="Cut-offs of recall and hits.")] = "1,3,10",
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Passages a question that are written.")] = 3,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="A .jsonl file, for 'harness run --articles'.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="HARNESS_DATA", metavar="DIR", help="A mirror of data sets: DIR/<org>/<name>.")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="For dense: cpu, cuda or cuda:1.")] = None,
) -> None:
    """Retrieve passages for questions, and tell how many of the right ones are among them.

    Recall is the mean over questions of the share of each one's own right passages.
    """
    from harness.common import progress
    from harness.errors import HarnessError
    from harness.retrieval import files
    from harness.retrieval import index as retrieval

    ks = _cut_offs(at)
    if (method is Method.dense) != (encoder is not None):
        raise HarnessError("--method dense and --encoder NAME go together: give both, or neither for BM25")
    if output is not None and output.suffix != ".jsonl":
        raise HarnessError(f"-o {output} is not a .jsonl file: what is written is a line of JSON a question")
    with progress.status("reading the corpus and the questions"):
        known = files.corpus(files.files(corpus, data))
        asked = files.questions(files.files(questions, data), known)
    texts = [passage.text for passage in known.passages]
    encode = retrieval.sentence_encoder(encoder, device) if encoder is not None else None
    with progress.bar("indexing", len(texts), "passages") as bar:
        index: Index
        if encode is None:
            index = retrieval.WordIndex(texts, bar.advance)
        else:
            index = retrieval.DenseIndex(texts, encode, str(encoder), query_prefix, bar.advance)
    with progress.bar("searching", len(asked), "questions") as bar:
        found = index.search([one.query for one in asked], max(top, *ks), bar.advance)
    typer.echo(f"{index.description}: {len(texts):,} passages, {len(asked):,} questions")
    if known.replaced:
        typer.echo(f"{known.replaced:,} articles of earlier texts of a law are left out")
    ids = [[known.passages[hit.place].id for hit in hits] for hits in found]
    _show(retrieval.evaluate(asked, ids, ks))
    if output is not None:
        files.write(output, asked, [hits[:top] for hits in found], known.passages)
        typer.echo(f"{output}: up to {top} passages for each question")


def _cut_offs(text: str) -> list[int]:
    from harness.cli import names
    from harness.errors import HarnessError

    listed = names(text)
    if not listed or not all(one.isascii() and one.isdigit() and int(one) for one in listed):
        raise HarnessError(f"--at {text} is not a list of numbers above 0: write, for one, 1,3,10")
    return sorted({int(one) for one in listed})


def _show(measured: dict[tuple[str, str], Estimate]) -> None:
    from rich.table import Table

    from harness.cli.views import tables

    if not measured:
        typer.echo("no question says what is right for it, so nothing is measured")
        return
    table = Table("right", "measure")
    for heading in ("score", "95 % interval", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (kind, measure), one in measured.items():
        between = "" if one.low is None or one.high is None else f"{100 * one.low:.1f}–{100 * one.high:.1f}"
        table.add_row(kind, measure, f"{100 * one.value:.1f} %", between, f"{one.n:,}")
    tables.console().print(table)
