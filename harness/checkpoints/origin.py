"""Which trainer wrote a checkpoint folder, and where the base of an adapter is.

Folders written by LLaMA-Factory, ms-swift, TRL, transformers' Trainer and PEFT's `save_pretrained` are recognised.
No weight is read, no pickle is executed, no network is used.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from harness.checkpoints import ancestry, files
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.reference import STEP_FOLDER
from harness.common import safe_load
from harness.errors import HarnessError

HARNESS = "harness train"
STATE = "trainer_state.json"
ARGUMENTS = "training_args.bin"
# Package of the arguments class that is pickled in training_args.bin → trainer. ms-swift and LLaMA-Factory build on
# TRL, and all on transformers, so the first package that occurs decides.
_PACKAGES = {
    "swift": "ms-swift",
    "llamafactory": "LLaMA-Factory",
    "llmtuner": "LLaMA-Factory",  # its name before version 0.8
    "trl": "TRL",
    "transformers": "transformers' Trainer",
}
# Tag of the model card, which lies at the top of an output folder → trainer.
_TAGS = {"llama-factory": "LLaMA-Factory", "trl": "TRL"}


class Origin(NamedTuple):
    """The trainer that wrote a folder, and when during the training; a field is None if no file states it."""

    trainer: str
    """`harness train`, `LLaMA-Factory`, `ms-swift`, `TRL`, `transformers' Trainer` or `PEFT`."""
    step: int | None = None
    """Number of optimiser steps."""
    epoch: float | None = None
    """Number of passes over the training data."""

    def __str__(self) -> str:
        """Return the origin in words: `LLaMA-Factory, step 300, epoch 1.5`."""
        step = [] if self.step is None else [f"step {self.step:,}"]
        epoch = [] if self.epoch is None else [f"epoch {self.epoch:.4g}"]
        return ", ".join([self.trainer, *step, *epoch])


class KnownModel(NamedTuple):
    """A model as a hub knows it."""

    name: str
    """`ORG/NAME`."""
    hub: str
    """`Hugging Face` or `ModelScope`: the same name may be a different model on the other hub."""
    revision: str | None = None
    """Branch, tag or commit on that hub; None if unknown."""


# --- who left a folder


def origin_of(folder: Path) -> Origin | None:
    """Return which trainer wrote `folder`, at which step and epoch, or None if no file states the trainer.

    Trainer, step and epoch are read from files that the trainers' own code writes: this project's own training.json
    (whose epochs are those of each corpus, so none is returned), ms-swift's args.json, the class
    pickled in training_args.bin (only its name is read), LLaMA-Factory's trainer_log.jsonl, the tags of a model card,
    and transformers' trainer_state.json. Damaged files are ignored.
    """
    record = ancestry.record(folder) or {}
    if isinstance(record.get("key"), str):
        steps = record.get("steps")
        return Origin(HARNESS, steps if isinstance(steps, int) and steps else None)
    trainer = _trainer(folder)
    if trainer is None:
        return None
    state = _json(folder / STATE)
    step, epoch = state.get("global_step"), state.get("epoch")
    if step is None and (match := STEP_FOLDER.fullmatch(folder.resolve().name)):
        step = int(match[1])
    return Origin(
        trainer,
        step if isinstance(step, int) else None,
        float(epoch) if isinstance(epoch, int | float) else None,
    )


def _trainer(folder: Path) -> str | None:
    if _is_swift(_json(folder / "args.json")):
        return "ms-swift"
    packages = {name.partition(".")[0] for name in files.pickled_classes(folder / ARGUMENTS)}
    by_arguments = next((trainer for package, trainer in _PACKAGES.items() if package in packages), None)
    if by_arguments not in (None, _PACKAGES["transformers"]):
        return by_arguments
    # Older LLaMA-Factory used transformers' arguments; its log is in the output folder, above the checkpoints.
    is_step = STEP_FOLDER.fullmatch(folder.resolve().name)
    places = [folder, folder.resolve().parent] if is_step else [folder]
    if any((place / "trainer_log.jsonl").is_file() for place in places):
        return "LLaMA-Factory"
    tags = _tags(folder / "README.md")
    by_card = next((trainer for tag, trainer in _TAGS.items() if tag in tags), None)
    if by_card or by_arguments:
        return by_card or by_arguments
    if (folder / STATE).is_file():
        return _PACKAGES["transformers"]
    return "PEFT" if (folder / files.ADAPTER_CONFIG).is_file() else None


def _is_swift(arguments: dict[str, Any]) -> bool:
    # Older versions of ms-swift wrote no swift_version, but no other trainer's args.json has these two keys.
    return "swift_version" in arguments or ("model_dir" in arguments and "template" in arguments)


def _json(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file`, {} if it is missing or damaged."""
    try:
        return files.read_json(file)
    except (HarnessError, OSError):
        return {}


def _tags(card: Path) -> list[str]:
    """Return the tags in the header of a model card; [] if the card has no tags or is damaged."""
    try:
        header = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8"), re.DOTALL)
        content = safe_load.yaml_text(header[1]) if header else None
    except (OSError, ValueError):
        return []
    tags = content.get("tags") if isinstance(content, dict) else None
    return [str(tag) for tag in tags] if isinstance(tags, list) else []


# --- where the base of an adapter is


class BaseLocation(NamedTuple):
    """Where to load the base of an adapter from."""

    name: str
    """The base's name as the adapter states it, or the name of the hub model or folder that is used in its place."""
    path: str
    """A folder, or a model's name on the hub."""
    revision: str | None
    """Branch, tag or commit on the hub."""


def base_of(adapter: AdapterConfig) -> BaseLocation:
    """Return the location of the base that `adapter` was trained on.

    The relative path that `harness train` records comes first. A relative path is resolved beside the adapter first,
    then in the working directory. A path on another machine is
    replaced only by what is certainly the same model. A path in the Hugging Face cache is replaced by that hub's name
    and commit. If ms-swift states that it trained from that hub, the hub's name is used. Otherwise, the model in this
    machine's ModelScope cache is used. Raises HarnessError if the adapter names no base.
    """
    folder, base = adapter.folder, adapter.base
    if base is None:
        raise HarnessError(f"{folder} does not say which base it belongs to: name it, as BASE,adapter={folder}")
    recorded = ancestry.recorded_base(folder)  # relative, so that a family of stages can be moved
    if recorded is not None:
        return BaseLocation(recorded, str((folder.resolve() / recorded).resolve()), adapter.revision)
    name, revision = _replacement(folder, base) or (base, adapter.revision)
    beside = folder / base
    if beside.is_dir():
        return BaseLocation(name, str(beside.resolve()), adapter.revision)
    return BaseLocation(name, name, revision)


def _replacement(adapter: Path, base: str) -> tuple[str, str | None] | None:
    """Return the (path or hub name, revision) that replaces another machine's path `base`; None if nothing does."""
    known = None if files.exists(base) else known_as(base, adapter)
    if known is None:
        return None
    if known.hub == "Hugging Face":
        return known.name, known.revision
    cached = next((folder for folder in _modelscope_folders(known) if folder.is_dir()), None)
    return None if cached is None else (str(cached), None)


def advice(adapter: Path, base: str) -> str:
    """Return what to do about a base that cannot be found, as a clause that follows `; `."""
    known = known_as(base, adapter)
    if known is None:
        return f"name its base, as BASE,adapter={adapter}"
    return f"it is {known.name} on {known.hub}: if you have that, name it, as BASE,adapter={adapter}"


def known_as(path: str, adapter: Path | None = None) -> KnownModel | None:
    """Return the hub's name of the model at `path` (of this or another machine), or None.

    The name is read from the path itself if it lies in a hub's cache, or from ms-swift's files in folder `adapter`.
    """
    cached = re.search(r"/models--([\w.-]+)/snapshots/([0-9a-f]+)/?$", path)
    if cached:
        return KnownModel(cached[1].replace("--", "/", 1), "Hugging Face", cached[2])
    arguments = _json(adapter / "args.json") if adapter is not None else {}
    if _is_swift(arguments) and path == arguments.get("model_dir") != arguments.get("model"):
        model, revision = arguments.get("model"), arguments.get("model_revision")
        if isinstance(model, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", model):
            hub = "Hugging Face" if arguments.get("use_hf") is True else "ModelScope"
            return KnownModel(model, hub, revision if isinstance(revision, str) else None)
    # ModelScope's cache has folders of snapshots now; its older layouts replace the dots of a name by `___`.
    cached = re.search(r"/models/([\w.-]+?)--([\w.-]+)/snapshots/([\w.-]+)/?$", path)
    if cached:
        return KnownModel(f"{cached[1]}/{cached[2]}", "ModelScope", cached[3])
    masked = re.search(r"/(?:modelscope/hub|models)/(?:models/)?([\w.-]+)/([\w.-]+)/?$", path)
    if masked and ("/modelscope/" in path or "___" in masked[2]):
        return KnownModel(f"{masked[1]}/{masked[2]}".replace("___", "."), "ModelScope")
    return None


def same_model(first: str, second: str) -> bool:
    """Return whether two paths or names of models have the same last part, even if a cache spells it differently."""
    return len({Path(known.name if (known := known_as(path)) else path).name for path in (first, second)}) == 1


def _modelscope_folders(known: KnownModel) -> list[Path]:
    """Return the folders in which ModelScope's client on this machine may keep a model, its newest layout first."""
    owner, _, model = known.name.partition("/")
    cache = os.environ.get("MODELSCOPE_CACHE")
    root = Path(cache).expanduser() if cache else Path.home() / ".cache" / "modelscope"
    older = [root / part / owner / model.replace(".", "___") for part in ("hub/models", "models", "hub", ".")]
    return [root / "models" / f"{owner}--{model}" / "snapshots" / (known.revision or "master"), *older]
