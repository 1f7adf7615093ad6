"""The folder of a finished stage: a checkpoint that transformers and PEFT load, with the record of its training.

Not here: what a training saves before it ends (`harness.training.loop`).
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

from harness.checkpoints import contents, files, origin
from harness.checkpoints.types import Model
from harness.common import atomic_write, places
from harness.training import lineage as lineages
from harness.training.lineage import Lineage
from harness.training.sources import Source

NEW = "new"
"""Tag of the hidden folder that is being written."""
STATE = "trainer_state.json"
_SETS = ("target_modules", "modules_to_save", "exclude_modules")
"""Settings that PEFT holds as sets and writes in a different order each time."""


def save(model: Model, source: Source, lineage: Lineage, state: Path | None, folder: Path) -> None:
    """Write the folder of a stage, so that it either is complete or does not exist.

    `state` is the Trainer's record of losses. Raises StorageError if the folder cannot be written.
    """
    with (
        places.writing(folder, "choose another --output"),
        atomic_write.folder(folder, tag=NEW, replace=True) as hidden,
    ):
        if lineage.base_fingerprint is None:
            _save_weights(model, source, hidden)
        else:
            _save_adapter(model, source, hidden)
        if state is not None:
            (hidden / STATE).write_bytes(state.read_bytes())
        lineages.write(lineage, hidden)


def relative(source: Source, folder: Path) -> str | None:
    """Return the path of an adapter's base as seen from the adapter's `folder`; None if it goes by a hub's name."""
    base = source.located.base.resolve()
    return None if origin.known_as(str(base)) else Path(os.path.relpath(base, folder.resolve())).as_posix()


def _save_weights(model: Any, source: Source, hidden: Path) -> None:
    from transformers import GenerationConfig

    base = source.located.base
    dtype = source.saved_dtype()
    model.to(dtype)
    model.config.dtype = dtype
    if base.is_dir() and (base / contents.GENERATION_CONFIG).is_file():
        model.generation_config = GenerationConfig.from_pretrained(str(base))
    model.save_pretrained(hidden)
    source.tokenizer.save_pretrained(hidden)


def _save_adapter(model: Any, source: Source, hidden: Path) -> None:
    located = source.located
    known = origin.known_as(str(located.base.resolve()))  # a model in the hub's cache goes by its name
    # A path is absolute, so that PEFT itself finds it from every working directory.
    model.peft_config["default"].base_model_name_or_path = known.name if known else str(located.base.resolve())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The vocabulary is that of the base; to check this, PEFT would look for the base on the hub.
        model.save_pretrained(hidden, save_embedding_layers=False)
    (hidden / "README.md").unlink(missing_ok=True)  # PEFT's card, which says nothing but a path
    file = hidden / files.ADAPTER_CONFIG
    content = json.loads(file.read_text(encoding="utf-8"))
    for name in _SETS:
        if isinstance(content.get(name), list):
            content[name] = sorted(content[name])
    file.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")
