"""The site's main document: checkpoints, scores, steps and protocols, as JSON for the page's scripts.

Numbers are given as they are shown, rounded once, here; scripts only place them.

Not here: values by document (`harness.leaderboard.vectors`), or texts of samples (`harness.leaderboard.texts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import __version__
from harness.leaderboard.changes import Change, Step
from harness.leaderboard.families import families
from harness.leaderboard.lineage import Edge, Stated
from harness.leaderboard.sentences import Sentence
from harness.leaderboard.table import Cell, Row, Series, Table
from harness.reports import numbers_in_words
from harness.reports.report import Manifest
from harness.verdicts import wording


def series(table: Table) -> list[Series]:
    """Return the series of all scores: the table's columns, then the lines of the sections, each once."""
    listed = {line.key: line for line in table.columns}
    for section in table.sections:
        for block in section.blocks:
            for line in block.lines:
                listed.setdefault(line.key, line)
    return list(listed.values())


def document(
    table: Table,
    steps: Sequence[Step],
    sentences: Sequence[Sentence],
    stated: Mapping[str, Stated],
    refused: Mapping[tuple[int, int], str],
    title: str,
) -> dict[str, Any]:
    """Return the document. `refused` says for (row, series) why a score cannot be compared with any other."""
    lines = series(table)
    edges = [step.edge for step in steps]
    return {
        "title": title,
        "made": table.made,
        "version": __version__,
        "reports": table.reports,
        "sentences": [sentence._asdict() for sentence in sentences],
        "checkpoints": [_checkpoint(number, row, edges, stated) for number, row in enumerate(table.rows)],
        "columns": [_column(number, line, table, refused) for number, line in enumerate(lines)],
        "families": families(table.columns),
        "steps": [_step(step) for step in steps],
    }


# --- checkpoints


def _checkpoint(number: int, row: Row, edges: Sequence[Edge], stated: Mapping[str, Stated]) -> dict[str, Any]:
    manifests = [report.manifest for report in row.reports]
    info = manifests[-1].checkpoint
    edge = next((edge for edge in edges if edge.child == number), None)
    training = None if info.training is None else info.training.model_dump()
    corpora = stated[info.name].corpora if info.name in stated else ()
    return {
        "id": row.short,
        "name": info.name,
        "label": f"{info.name} ({row.short})" if row.namesake else info.name,
        "otherNames": list(row.other_names),
        "kind": info.kind,
        "quantization": info.quantization,
        "created": row.created,
        "parent": None if edge is None else edge.parent,
        "relation": None if edge is None else edge.relation,
        "facts": _facts(manifests[-1]),
        "training": training,
        "corpora": list(corpora),
        "cost": _cost(row),
        "reports": [
            _report(manifest, row.tasks(report)) for manifest, report in zip(manifests, row.reports, strict=True)
        ],
    }


def _facts(manifest: Manifest) -> dict[str, str]:
    """Return what is known of a checkpoint, as text by name; names are those of the page's dictionary."""
    info = manifest.checkpoint
    facts = {
        "base": info.base,
        "adapter": info.adapter or "",
        "architecture": info.architecture or "",
        "parameters": "" if info.parameters is None else numbers_in_words.parameters(info.parameters),
        "trainable": "" if info.trainable_share is None else f"{100 * info.trainable_share:.3g} %",
        "effect": "" if info.adapter_effect is None else f"{info.adapter_effect:.3g}",
        "dtype": info.dtype or "",
        "device": info.device or "",
        "context": "" if info.max_length is None else f"{info.max_length:,}",
        "memory": "" if info.memory_bytes is None else numbers_in_words.memory(info.memory_bytes),
        "reference": info.reference,
        "fingerprint": info.fingerprint,
    }
    return {name: text for name, text in facts.items() if text}


def _cost(row: Row) -> dict[str, float | None]:
    """Return what evaluating a checkpoint cost, over the reports from which its scores come."""
    used = list({id(entry.report): entry.report.manifest for entry in row.entries.values()}.values())
    engines = [manifest.engine for manifest in used if manifest.engine is not None]
    fresh = [engine for engine in engines if not engine.answered_from_journal]
    tokens = sum(engine.tokens_fed + engine.tokens_generated for engine in engines)
    busy = sum(engine.scoring_seconds + engine.generation_seconds for engine in fresh)
    worked = sum(engine.tokens_fed + engine.tokens_generated for engine in fresh)
    return {
        "tokens": tokens or None,
        "seconds": sum(manifest.seconds for manifest in used) if engines else None,
        "speed": worked / busy if busy else None,
        "peak": max((engine.peak_memory_bytes for engine in engines), default=None),
        "bytes": row.checkpoint.memory_bytes,
        "parameters": row.checkpoint.parameters,
    }


def _report(manifest: Manifest, tasks: list[str]) -> dict[str, Any]:
    protocol, engine = manifest.protocol, manifest.engine
    return {
        "created": manifest.created[:16].replace("T", " "),
        "tasks": tasks,
        "protocol": protocol.model_dump(exclude_defaults=True),
        "seconds": numbers_in_words.duration(manifest.seconds),
        "device": manifest.checkpoint.device,
        "engine": None
        if engine is None
        else {
            **engine.model_dump(
                include={"walk", "requests", "answered_from_journal", "tokens_fed", "tokens_generated"}
            ),
            "peak": numbers_in_words.memory(engine.peak_memory_bytes),
        },
        "harness": manifest.harness,
        "environment": manifest.environment,
        "notes": manifest.notes,
        "failed": manifest.failed,
    }


# --- scores


def _column(number: int, line: Series, table: Table, refused: Mapping[tuple[int, int], str]) -> dict[str, Any]:
    score, key = line.first, line.key
    first = next(cell for cell in line.cells if cell)
    infos = first.report.manifest.tasks
    members = [task for task in score.members if task in infos]
    return {
        "task": key.task,
        "metric": key.metric,
        "filter": key.filter,
        "average": key.average,
        "aggregation": score.aggregation,
        "headline": number < len(table.columns),
        "primary": score.primary,
        "higher": score.higher_is_better,
        "fraction": score.fraction,
        "members": list(score.members),
        "n": line.n,
        "fewshot": line.num_fewshot,
        "chance": None if line.chance is None else _shown(line.chance, score.fraction),
        "ceiling": None if line.ceiling is None else _shown(line.ceiling, score.fraction),
        "data": sorted({f"{infos[task].dataset}, {infos[task].split}" for task in members}),
        "versions": sorted({infos[task].version for task in members}),
        "prompts": sorted({infos[task].prompt_hash[:12] for task in members}) if len(members) == 1 else [],
        "cells": [None if cell is None else _cell(cell) for cell in line.cells],
        "refused": {str(row): reason for (row, column), reason in refused.items() if column == number},
    }


def _cell(cell: Cell) -> dict[str, Any]:
    """Return one score; keys whose value is the usual one are left out."""
    score = cell.score
    answers = cell.answers
    infos = [cell.report.manifest.tasks[task] for task in score.members if task in cell.report.manifest.tasks]
    documents = sum(info.documents for info in infos)
    readable = [info for info in infos if info.not_understood is not None]
    entry = {
        "v": _shown(score.value, score.fraction),
        "text": numbers_in_words.value(score),
        "low": None if score.low is None else _shown(score.low, score.fraction),
        "high": None if score.high is None else _shown(score.high, score.fraction),
        "interval": numbers_in_words.interval(score),
        "n": score.n,
        "best": cell.leading,
        "untested": cell.leading and not cell.tested,
        "standing": cell.standing,
        "apart": [{"label": item.label, "reason": item.reason} for item in cell.differences],
        "limited": str(cell.conditions.protocol.limit) if cell.limited and not cell.differences else "",
        "doubtful": answers.is_doubtful,
        "answers": answers.sentence(score.task),
        "unread": sum(info.not_understood or 0 for info in readable) or None,
        "cut": sum(info.cut_answers or 0 for info in infos) or None,
        "documents": documents if documents != score.n else None,
    }
    return {
        name: value
        for name, value in entry.items()
        if value is not None and value is not False and value not in ("", [])
    }


def _shown(value: float, fraction: bool) -> float:
    """Return a number in the unit of the page, percent for fractions, with six significant digits."""
    return float(f"{100 * value if fraction else value:.6g}")


# --- steps


def _step(step: Step) -> dict[str, Any]:
    return {
        "parent": step.edge.parent,
        "child": step.edge.child,
        "relation": step.edge.relation,
        "verdict": step.verdict,
        "changes": [_change(change) for change in step.changes],
        "refused": [{"column": item.column, "reason": item.reason} for item in step.refused],
    }


def _change(change: Change) -> dict[str, Any]:
    judgement = change.judgement
    comparison, score = judgement.comparison, judgement.score
    interval = comparison.interval
    return {
        "column": change.column,
        "difference": _shown(comparison.difference, score.fraction),
        "text": wording.difference(comparison),
        "low": None if interval is None else _shown(interval.low, score.fraction),
        "high": None if interval is None else _shown(interval.high, score.fraction),
        "p": comparison.p_value,
        "corrected": change.p_corrected,
        "outcome": change.outcome,
        "verdict": judgement.verdict,
        "reason": wording.reason(judgement),
        "signs": [sign.text for sign in judgement.signs],
    }
