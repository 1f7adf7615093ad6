"""The folder of a finished stage: a checkpoint that transformers and PEFT load, with the record of its training.

Not here: what a training saves before it ends (`harness.training.loop`).
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.checkpoints import contents, files, origin
from harness.checkpoints.types import Model
from harness.common import atomic_write, places
from harness.training import chatglm_prefix
from harness.training import lineage as lineages
from harness.training.chatglm_prefix import PrefixTuned
from harness.training.lineage import Lineage
from harness.training.sources import Source

NEW = "new"
"""Tag of the hidden folder that is being written."""
STATE = "trainer_state.json"
_SETS = ("target_modules", "modules_to_save", "exclude_modules")
"""Settings that PEFT holds as sets and writes in a different order each time."""


def save(
    model: Model,
    source: Source,
    lineage: Lineage,
    state: Path | None,
    folder: Path,
    weights: Mapping[str, Any] | None = None,
) -> None:
    """Write the folder of a stage, so that it either is complete or does not exist.

    `state` is the Trainer's record of losses; `weights` are those of the model if it is spread over several devices.
    Raises StorageError if the folder cannot be written.
    """
    with (
        places.writing(folder, "choose another --output"),
        atomic_write.folder(folder, tag=NEW, replace=True) as hidden,
    ):
        if lineage.base_fingerprint is None:
            _save_weights(model, source, hidden, weights)
        else:
            _save_adapter(model, source, hidden, weights)
        if state is not None:
            (hidden / STATE).write_bytes(state.read_bytes())
        lineages.write(lineage, hidden)


def relative(source: Source, folder: Path) -> str | None:
    """Return the path of an adapter's base as seen from the adapter's `folder`; None if it goes by a hub's name."""
    base = source.located.base.resolve()
    return None if _on_hub(base) else Path(os.path.relpath(base, folder.resolve())).as_posix()


def _on_hub(base: Path) -> origin.KnownModel | None:
    """Return what the model in `base` is called on the hub from which PEFT fetches models, if it lies in its cache."""
    known = origin.known_as(str(base))
    return known if known is not None and known.hub == "Hugging Face" else None


def _save_weights(model: Any, source: Source, hidden: Path, weights: Mapping[str, Any] | None) -> None:
    from transformers import GenerationConfig

    base = source.located.base
    dtype = source.saved_dtype()
    if weights is None:
        model.to(dtype)
    else:
        weights = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    model.config.dtype = dtype
    model.generation_config = GenerationConfig()  # transformers refuses to save many published ones
    model.save_pretrained(hidden, state_dict=weights)
    contents.copy_generation_config(base, hidden)
    _save_tokenizer(source, hidden)


def _save_tokenizer(source: Source, hidden: Path) -> None:
    located = source.located
    if located.tokenizer.is_file() or located.layout is not None or located.reference.trust_remote_code:
        source.tokenizer.save_pretrained(hidden)
    else:
        contents.copy_tokenizer(located.tokenizer, hidden)


def _save_adapter(model: Any, source: Source, hidden: Path, weights: Mapping[str, Any] | None) -> None:
    located, base = source.located, source.located.base.resolve()
    known = _on_hub(base)
    # A path is absolute, so that PEFT itself finds it from every working directory.
    base_name = known.name if known else str(base)
    if isinstance(model, PrefixTuned):
        chatglm_prefix.save(model, located, base_name, hidden, weights)
    else:
        config = model.peft_config["default"]
        if getattr(config, "tokenizer_name_or_path", None) == str(located.tokenizer):  # a prompt began as a text
            config.tokenizer_name_or_path = base_name
        config.base_model_name_or_path = base_name
        config.revision = known.revision if known else None
        _save_by_peft(model, source, hidden, weights)
    if located.tokenizer != located.base:
        _save_tokenizer(source, hidden)


def _save_by_peft(model: Any, source: Source, hidden: Path, weights: Mapping[str, Any] | None) -> None:
    rows = int(model.get_input_embeddings().weight.shape[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The vocabulary is that of the base, unless the adapter brings one; PEFT would ask the hub.
        is_widened = rows != source.located.config.get_text_config().vocab_size
        model.save_pretrained(hidden, save_embedding_layers=is_widened, state_dict=weights)
    (hidden / "README.md").unlink(missing_ok=True)  # PEFT's card, which says nothing but a path
    file = hidden / files.ADAPTER_CONFIG
    content = json.loads(file.read_text(encoding="utf-8"))
    for name in _SETS:
        if isinstance(content.get(name), list):
            content[name] = sorted(content[name])
    file.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")
