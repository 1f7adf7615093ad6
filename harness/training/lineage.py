"""The record of a training, `training.json` in the folder of its checkpoint: what it was made from, and how it went.

It is written last, so a folder that has it is complete.

Not here: comparing the record with a base (`harness.checkpoints.ancestry`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.checkpoints import ancestry
from harness.common import hashes, safe_load
from harness.common.versions import ANSWERING, installed

RECORD = ancestry.RECORD
POINTS = 200
"""Largest number of points of a recorded curve."""


@dataclass(frozen=True)
class Lineage:
    """The record of one finished stage."""

    key: str
    """Digest of everything that decides the stage's weights."""
    name: str
    """Name of the stage."""
    recipe: str
    """Sha256 of the recipe file."""
    settings: dict[str, Any]
    """The stage as the recipe states it, defaults included."""
    seed: int
    parent: str
    """The stage or the checkpoint reference that it started from."""
    parent_key: str
    """The parent's `key` and the digest of its weights, or the fingerprint of a checkpoint that no recipe trained."""
    parent_fingerprint: str
    """The parent's fingerprint, as a run on the same machine reports it."""
    base: str | None
    """Path of an adapter's base, relative to the folder. None for weights of their own, and for a model of a hub."""
    base_fingerprint: str | None
    """Fingerprint of an adapter's base (`identity.content_of_base`); None for weights of their own."""
    threads: int | None = None
    """CPU threads that the recipe states."""
    reading: dict[str, Any] = field(default_factory=dict)
    """How each corpus is read, as `corpus.setting`; empty in records of older versions."""
    files: dict[str, str] = field(default_factory=dict)
    """Hashes of the tasks' files and the libraries' configurations that the stage names, by these names."""
    corpora: list[dict[str, Any]] = field(default_factory=list)
    """The corpora, as `harness.training.corpora.CorpusReport`."""
    validation: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0
    """Optimizer steps."""
    rows: int = 0
    """Rows that were read."""
    tokens: int = 0
    """Tokens that were read, prompts included, padding left out."""
    parameters: int = 0
    """Parameters that learned."""
    loss: float | None = None
    """Mean loss over about the last tenth of the steps, in nats per learned token; None for a merge."""
    curve: list[tuple[int, float]] = field(default_factory=list)
    """Steps and losses; of more than `POINTS` steps, means over equal stretches."""
    evaluations: list[dict[str, float]] = field(default_factory=list)
    """Validation losses and scores on tasks by `step`."""
    best: dict[str, Any] | None = None
    """The `step`, `metric` and `value` of the evaluation whose weights were kept; None for those of the last step."""
    seconds: float = 0.0
    """Wall-clock seconds of the training, those before an interruption left out."""
    resumed_at: int = 0
    """Step after which an interrupted training was continued; 0 if it was not interrupted."""
    processes: int = 1
    """Processes that trained together, each with a batch of its own."""
    quantize: str | None = None
    """The quantisation of the weights on which an adapter was trained, as in a checkpoint reference."""
    content: str = ""
    """Digest of the weights and settings that were saved (`content_digest`); empty in records of earlier versions."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that decide what is learned."""


def curve(losses: list[float]) -> list[tuple[int, float]]:
    """Return the losses of all steps as at most `POINTS` points: the last step of each stretch, and its mean loss."""
    width = -(-len(losses) // POINTS) or 1
    parts = [(start, losses[start : start + width]) for start in range(0, len(losses), width)]
    return [(start + len(part), sum(part) / len(part)) for start, part in parts]


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide what is learned."""
    return installed((*ANSWERING, "accelerate"))


def content_digest(folder: Path, *, with_tokenizer: bool = False) -> str:
    """Return the digest of a checkpoint's weights and configurations; empty if it has no weights. Raises OSError."""
    patterns = (*_WEIGHTS, *_CONFIGURATIONS, *(_TOKENIZERS if with_tokenizer else ()))
    files = sorted({file for pattern in patterns for file in folder.glob(pattern)})
    if not any(file.match(pattern) for file in files for pattern in _WEIGHTS):
        return ""
    return hashlib.sha256("".join(f"{file.name} {_digest(file)}\n" for file in files).encode()).hexdigest()


def _digest(file: Path) -> str:
    """Return the hash of a file; of an adapter's configuration, without the place of its base on this machine."""
    if file.name == "adapter_config.json":
        try:
            content = safe_load.json_file(file)
        except ValueError:  # damaged
            content = None
        if isinstance(content, dict):
            content.pop("base_model_name_or_path", None)
            return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return hashes.sha256(file)


_WEIGHTS = ("*.safetensors", "*.bin")
_CONFIGURATIONS = ("config.json", "adapter_config.json")
_TOKENIZERS = ("tokenizer*", "*.model", "vocab*", "merges.txt", "special_tokens_map.json", "chat_template*")


def write(lineage: Lineage, folder: Path) -> None:
    """Write the record of a stage, and the digest of what it saved, into its folder. Raises OSError."""
    lineage = replace(lineage, content=content_digest(folder))
    (folder / RECORD).write_text(json.dumps(asdict(lineage), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read(folder: Path) -> Lineage | None:
    """Return the record in `folder`; None if there is none, or one that this version does not read."""
    content = ancestry.record(folder)
    if content is None or not isinstance(content.get("key"), str):
        return None
    from pydantic import TypeAdapter, ValidationError

    try:
        lineage = TypeAdapter(Lineage).validate_python(content)
    except ValidationError:
        return None
    names = [entry.get(key) for entry in (*lineage.corpora, *lineage.validation) for key in ("name", "sha256")]
    return lineage if all(isinstance(name, str) for name in names) else None


def differences(before: object, now: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ between two stages, each as `name: before → now`; `before` may be damaged."""
    flat_before, flat_now = _flat(before), _flat(now)
    names = sorted({*flat_before, *flat_now})
    return [
        f"{name}: {flat_before.get(name, 'not set')} → {flat_now.get(name, 'not set')}"
        for name in names
        if flat_before.get(name) != flat_now.get(name)
    ]


def _flat(settings: object) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    if not isinstance(settings, Mapping):
        return flat
    for name, value in settings.items():
        flat |= dict(value) if name in ("arguments", "adapter") and isinstance(value, Mapping) else {name: value}
    return json.loads(json.dumps(flat, default=str)) if flat else {}
