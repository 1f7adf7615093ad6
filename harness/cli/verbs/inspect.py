"""`harness inspect`: what a checkpoint is."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import AllowInactiveAdapter


def inspect(
    model: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="PATH_OR_HUB_ID[,key=value…].")],
    load: Annotated[
        bool, typer.Option("--load", help="Load the weights too: test the adapter, count parameters.")
    ] = False,
    allow_inactive_adapter: Annotated[bool, AllowInactiveAdapter] = False,
) -> None:
    """Show what a checkpoint is.

    Prints its kind, base, adapter, quantisation, size, context, tokenizer, letters and fingerprint.
    """
    from harness.backends import letters
    from harness.backends.encoding import Encoder
    from harness.checkpoints import discovery, inspection, loading
    from harness.checkpoints.reference import parse
    from harness.cli.views import tables
    from harness.engine.decoding import families

    for reference in discovery.expand([parse(model)]):
        located = loading.locate(reference)
        checkpoint = loading.load(located, allow_inactive_adapter=allow_inactive_adapter) if load else None
        facts = inspection.facts(located, checkpoint)
        tokenizer = checkpoint.tokenizer if checkpoint else loading.load_tokenizer(located)
        if thoughts := families.describe(tokenizer, reference.think):
            facts["thoughts"] = thoughts
        for context, form in letters.after_usual_beginnings(Encoder(tokenizer)).items():
            facts[f"letters after {context}"] = str(form)
        tables.show_facts(located.name, facts)
