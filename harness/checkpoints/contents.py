"""The files that a checkpoint consists of: all that its fingerprint covers, and all that libraries get to see.

Libraries choose files by rules of their own, which change with their versions: a key of a configuration may name other
weights, another tokenizer, another configuration. Therefore they never read the folder of a base or of a tokenizer, but
`alone`, a temporary folder with links to the listed files. A file that is not listed cannot be opened, so whatever
decides an answer has been hashed. Of an adapter's folder, peft is asked only for the configuration and the weights.

Code that a checkpoint brings could open any file. With `trust_remote_code`, the folder is read in place, and all of it
is listed except weights in other formats and what a training leaves.

Not here: whether files are complete (`harness.checkpoints.files`), or their hashes (`harness.checkpoints.identity`).
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.checkpoints import files, index_files
from harness.common import places

CONFIG, GENERATION_CONFIG, TOKENIZER_CONFIG = "config.json", "generation_config.json", "tokenizer_config.json"
TOKENIZER = (
    *("tokenizer.json", TOKENIZER_CONFIG, "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("vocab.json", "vocab.txt", "merges.txt", "dict.txt", "bpe.codes", "emoji.json", "normalizer.json"),
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "spm.model"),
    *("spm_char.model", "source.spm", "target.spm", "prophetnet.tokenizer", "ice_text.model", "tiktoken.model"),
    *("entity_vocab.json", "vocab-src.json", "vocab-tgt.json", "target_vocab.json", "byte_maps.json"),
    *("word_shape.json", "word_pronunciation.json"),
)
"""Files that decide how a tokenizer works: every name in transformers' `vocab_files_names`, and the files that
transformers reads besides these."""
_TOKENIZER_PATTERNS = ("*.tiktoken", "tekken*.json", "tokenizer.model.*", "additional_chat_templates/*.jinja")
_OTHER_WEIGHTS = re.compile(
    r"(pytorch_model|consolidated|tf_model|flax_model).*|.*\.(safetensors|gguf|ggml|h5|msgpack|onnx|ot|tflite|distcp)"
)
_TRAINING = re.compile(
    r"\..*|(checkpoint-|global_step)\d+|runs|wandb|__pycache__|events\.out\..*|trainer_state\.json|.*\.log"
    r"|(optimizer|scheduler|scaler|rng_state|training_args).*\.(pt|pth|bin)"
)
_TEMPORARY = "harness-checkpoint-"


def model_files(base: Path, *, code: bool = False) -> list[str]:
    """Return the names of the files in `base` that decide which model is loaded, relative to the folder.

    If `base` is a GGUF file, it is the only one. With `code`, they are nearly all files (see above). Raises
    HarnessError if weights are missing or truncated.
    """
    if base.is_file():
        return [base.name]
    weights = files.weight_files(base)
    if code:
        return _all_files(base)
    names = [*config_files(base), GENERATION_CONFIG, _relative(files.weight_listing(base), base)]
    return _existing(base, [*names, *(_relative(file, base) for file in weights)])


def config_files(base: Path) -> list[str]:
    """Return the names of the files in the folder `base` that decide its configuration; [] if it has none.

    There are several if config.json lists `configuration_files` for other versions of transformers.
    """
    return _existing(base, [CONFIG, *_listed_names(base / CONFIG, "configuration_files")])


def tokenizer_files(place: Path, *, code: bool = False) -> list[str]:
    """Return the names of the files in `place`, a folder or a GGUF file, that decide how its tokenizer works.

    They include the configuration, by which transformers chooses the tokenizer's class. With `code`, they are
    nearly all files (see above).
    """
    if place.is_file():
        return [place.name]
    if code:
        return _all_files(place)
    matches = [_relative(path, place) for pattern in _TOKENIZER_PATTERNS for path in sorted(place.glob(pattern))]
    versions = _listed_names(place / TOKENIZER_CONFIG, "fast_tokenizer_files")
    return _existing(place, [*config_files(place), *TOKENIZER, *versions, *matches])


def copy_generation_config(base: Path, target: Path) -> None:
    """Give the folder `target` the generation settings of `base`, or none if `base` has none.

    They are copied because transformers refuses to save many published ones.
    """
    (target / GENERATION_CONFIG).unlink(missing_ok=True)
    if places.is_file(base / GENERATION_CONFIG):
        shutil.copyfile(base / GENERATION_CONFIG, target / GENERATION_CONFIG)


def copy_tokenizer(place: Path, target: Path) -> None:
    """Copy the files of the tokenizer in the folder `place` as they are, since saving it may change what it does."""
    for name in tokenizer_files(place):
        if name not in config_files(place):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place / name, target / name)


@contextmanager
def alone(place: Path, names: Iterable[str], *, code: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that holds only the files `names` of `place`; with `code`, yield the folder itself.

    `place` is a folder, or a file in it. The temporary folder always has the same name, so that no library can learn
    anything from the name of the checkpoint's folder. Raises HarnessError if a name leads out of the folder.
    """
    folder = place.parent if place.is_file() else place
    if code:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, ignore_cleanup_errors=True) as temporary:
        copy = Path(temporary, "checkpoint")
        copy.mkdir()
        for name in names:
            index_files.require_inside(folder, name)
            with places.explaining(), (folder / name).open("rb"):  # what a library says of it names only the copy
                pass
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).symlink_to((folder / name).resolve())
        yield copy


def reason(error: BaseException) -> str:
    """Return why a library failed on a folder of `alone`, as `files.reason` does, without the temporary path."""
    return re.sub(rf"[^\s'\"`]*{_TEMPORARY}\w+/checkpoint", "the checkpoint", files.reason(error))


def _existing(folder: Path, names: Iterable[str]) -> list[str]:
    """Return those of `names` that are files in `folder`, each once, in order."""
    return [name for name in dict.fromkeys(names) if places.is_file(folder / name)]


def _all_files(folder: Path) -> list[str]:
    """Return the relative paths of all files in `folder` at any depth that code in it could be expected to read.

    Left out are hidden files, other weights than those that are loaded, and what a training leaves.
    """
    weights = set(files.weight_files(folder)) if any(places.is_file(folder / name) for name in files.WEIGHTS) else set()
    paths: list[Path] = []
    visited: set[str] = set()
    for place, folders, names in places.walk(folder, followlinks=True):
        if os.path.realpath(place) in visited:  # a link to a folder above
            folders.clear()
            continue
        visited.add(os.path.realpath(place))
        folders[:] = sorted(name for name in folders if not _TRAINING.fullmatch(name))
        paths += [Path(place, name) for name in sorted(names) if not _TRAINING.fullmatch(name)]
    return [_relative(path, folder) for path in paths if path in weights or not _OTHER_WEIGHTS.fullmatch(path.name)]


def _listed_names(file: Path, key: str) -> list[str]:
    """Return the names of files that the JSON object in `file` lists under `key`; [] if it lists none."""
    listed: Any = files.read_json(file).get(key) if places.is_file(file) else None
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    for name in names:
        index_files.require_inside(file, name)
    return names


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
