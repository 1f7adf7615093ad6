"""The files of a checkpoint: where they are, and whether they are complete.

No weight is loaded: headers and sizes reveal a truncated shard or a missing file before gigabytes are read.
Not here: the hash of a file (`harness.common.hashes`).
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from harness.checkpoints import index_files, limits, safetensors_header
from harness.common import places
from harness.errors import HarnessError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files that hold or list the weights of a whole model, in the order of preference."""
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
"""Files that hold the weights of an adapter, in the order of preference."""
# Files of a tokenizer that hold a vocabulary; without any of them there are only settings.
_TOKENIZER_CORE = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "ice_text.model",
)
_LFS_POINTER = b"version https://git-lfs"
_FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_FOREIGN = ("*.safetensors", "*.bin", "*.pth", "*.pt", "*.ckpt", "*.msgpack", "*.h5")
# Torch files that are no model's weights.
_OTHER_TORCH = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state*", "scaler.pt")
# A pickle lists the tensors of its file; one of 150,000 tensors takes 30 MB.
_PICKLE_BYTES = 64 << 20
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def find(path: str, revision: str | None = None, *, code: bool = False) -> Path:
    """Return the local folder of a checkpoint. If `path` is no folder on this machine, fetch it from the hub.

    A GGUF file is a whole checkpoint, so its own path is returned.

    With `code`, Python files are fetched too. The hub is reached through huggingface_hub, so `HF_ENDPOINT`,
    `HF_HUB_OFFLINE` and its cache apply. Raises HarnessError if there is neither such a folder nor such a model.
    """
    try:
        local = Path(path).expanduser()
        is_there, is_folder, is_link = local.exists(), local.is_dir(), local.is_symlink()
    except (OSError, RuntimeError) as error:  # too long for a file system, or no such user
        raise HarnessError(f"there is no folder {path} ({reason(error)}): check the path") from error
    if is_folder:
        places.require_readable(local)
        return local
    if is_there and local.suffix.lower() == ".gguf":
        return local
    if is_there:
        raise HarnessError(f"{path} is a file: name the folder that holds it")
    if is_link:
        raise HarnessError(f"{path} is a link to {local.readlink()}, which does not exist: create the link again")
    if not _HUB_NAME.fullmatch(path) or path.startswith(".") or path.lower().endswith(".gguf"):
        kind = "file" if path.lower().endswith(".gguf") else "folder"
        raise HarnessError(f"there is no {kind} {path}: check the path")
    return _fetch(path, revision, code)


def code_of(name: str) -> Path:
    """Return the local folder of the code of the model `name` on the hub, of which transformers takes the newest.

    Raises HarnessError if it cannot be fetched.
    """
    return _snapshot(name, None, ["*.py"], [])


def _fetch(name: str, revision: str | None, code: bool) -> Path:
    # ChatGLM's code is only read, as text: it says which generation the weights are (`chatglm.layout`).
    include = ["*.json", "*.safetensors", "*.model", "*.tiktoken", "*.txt", "*.jinja", "*_chatglm.py"]
    include += ["*.py"] if code else []
    # Subfolders hold other formats and a training's checkpoints; `consolidated` files are the same weights again.
    exclude = ["*/*", "consolidated*"]
    folder = _snapshot(name, revision, include, exclude)
    if any(folder.glob("*.safetensors")):
        return folder
    return _snapshot(name, revision, [*include, "*.bin"], exclude)


def _snapshot(name: str, revision: str | None, include: list[str], exclude: list[str]) -> Path:
    """Return the folder of the files of the model `name` that match `include` and not `exclude`, fetched if needed."""
    from huggingface_hub import errors, snapshot_download

    fetch = f"hf download {name}" + (f" --revision {revision}" if revision else "")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=include, ignore_patterns=exclude))
    except errors.GatedRepoError as error:
        message = f"'{name}' is a gated model: accept its terms on its page on the hub, then log in with hf auth login"
        raise HarnessError(message) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise HarnessError(f"'{name}' is neither a folder here nor a model on the hub: check the name") from error
    except errors.RevisionNotFoundError as error:
        raise HarnessError(f"'{name}' has no revision '{revision}' on the hub: check the revision") from error
    except errors.LocalEntryNotFoundError as error:
        message = (
            f"'{name}' is not a folder here, and the hub cannot be reached: fetch it where there is a network, {fetch}"
        )
        raise HarnessError(message) from error
    except Exception as error:  # the HTTP library raises its own types, and it is not always the same library
        raise HarnessError(f"'{name}' cannot be fetched from the hub ({reason(error)}): try again, {fetch}") from error


def exists(path: str) -> bool:
    """Return whether `path` exists on this machine, after expanding `~`."""
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError):  # too long for a file system, or no such user
        return False


def is_adapter(folder: Path) -> bool:
    """Return whether `folder` holds a PEFT adapter rather than a whole model.

    The weights decide, because some trainers save the base's config.json beside an adapter. The value head that TRL's
    PPO saves as pytorch_model.bin is not a model.
    Raises HarnessError if the folder holds an adapter and a whole model, because transformers would attach the adapter
    without being asked to.
    """
    if not places.is_file(folder / ADAPTER_CONFIG):
        return False
    if any(places.is_file(folder / name) and not _is_value_head(folder / name) for name in WEIGHTS):
        raise HarnessError(
            f"{folder} holds both a whole model and an {ADAPTER_CONFIG}, so it is unclear which to load: "
            "move one of them to a folder of its own"
        )
    return True


def has_tokenizer(folder: Path) -> bool:
    """Return whether `folder` holds a tokenizer, not just settings of one."""
    return any(places.is_file(folder / name) for name in _TOKENIZER_CORE) or any(folder.glob("*.tiktoken"))


def read_json(file: Path, limit: int = limits.CONFIG_BYTES) -> dict[str, Any]:
    """Return the JSON object in `file`.

    Raises HarnessError if the file is missing, has more than `limit` bytes, or holds something else.
    """
    if not places.is_file(file):
        raise HarnessError(f"{file.parent} has no {file.name}: it is not a complete checkpoint folder")
    try:
        if not file.stat().st_size:
            raise ValueError("it is empty")
        limits.require_size(file, limit)
        content = limits.parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise places.explained(error, file) from error
    except ValueError as error:
        check_no_pointer(file)
        raise HarnessError(f"{file} is not valid JSON ({error}): fetch or save the checkpoint again") from error
    if not isinstance(content, dict):
        raise HarnessError(f"{file} does not hold a JSON object: fetch or save the checkpoint again")
    return content


def weight_files(folder: Path) -> list[Path]:
    """Return the model's weight files in name order, after checking that each exists and is complete.

    Raises HarnessError naming the file that is missing or truncated. If `folder` is a GGUF file, it is the only one.
    """
    if folder.is_file():
        return [folder]
    listing = weight_listing(folder)
    files = [listing]
    if listing.suffix == ".json":
        files = index_files.named_files(listing, read_json(listing, limits.JSON_BYTES))
    for file in files:
        check_complete(file)
    return files


def weight_listing(folder: Path) -> Path:
    """Return the file that holds or lists the model's weights, as transformers chooses it; raise HarnessError if none.

    It is the file that config.json names as `transformers_weights`, else the first of `WEIGHTS` in the folder.
    """
    config = folder / "config.json"
    named = read_json(config).get("transformers_weights") if places.is_file(config) else None
    if named is not None:
        index_files.require_inside(config, str(named))
        if not places.is_file(folder / str(named)):
            raise HarnessError(f"{folder} has no {named}, which its config.json names as its weights: fetch it again")
        return folder / str(named)
    listing = next((folder / name for name in WEIGHTS if places.is_file(folder / name)), None)
    if listing is None:
        raise _no_weights(folder)
    return listing


def unread_weights(folder: Path) -> list[str]:
    """Return the names of files in `folder` that hold or list weights of a whole model, but are not read.

    As in transformers, safetensors are read rather than pickles, and a single file rather than the shards in an index.
    """
    if folder.is_file():
        return []
    return [name for name in WEIGHTS if (folder / name).is_file() and folder / name != weight_listing(folder)]


def _no_weights(folder: Path) -> HarnessError:
    """Return the error for a folder with none of the `WEIGHTS`; it says what the folder has instead, and what to do."""
    inside = sorted(file.name for file in folder.glob("*-of-*"))
    shards = [match for match in map(index_files.SHARD.fullmatch, inside) if match]
    if shards:
        total, index = int(shards[0][3]), WEIGHTS[1] if shards[0][4] == "safetensors" else WEIGHTS[3]
        return HarnessError(
            f"{folder} has {len(shards)} of {total} shards ({shards[0][0]}{', …' if len(shards) > 1 else ''}) but not "
            f"their index {index}, which says where each weight is: fetch or save the checkpoint again"
        )
    if advice := lacking_config(folder):
        return HarnessError(f"{folder} holds the weights of an adapter but no {ADAPTER_CONFIG}: {advice}")
    advice = _merge_shards(folder) or checkpoints_inside(folder)
    if not advice and (names := _foreign_weights(folder)):
        advice = f"it has {names}, which transformers does not read; convert it to a transformers checkpoint"
    return HarnessError(
        f"{folder} has no weights ({', '.join(WEIGHTS)}): {advice or 'it is not a complete checkpoint folder'}"
    )


def lacking_config(folder: Path) -> str:
    """Return the advice to copy adapter_config.json into a `folder` with only an adapter's weights; "" otherwise."""
    if not any(places.is_file(folder / name) for name in ADAPTER_WEIGHTS) or (folder / ADAPTER_CONFIG).exists():
        return ""
    above = folder.resolve().parent / ADAPTER_CONFIG
    source = str(above) if above.is_file() else f"the {ADAPTER_CONFIG} in the output folder of the training"
    return f"copy {source} into it"


def _foreign_weights(folder: Path) -> str:
    """Return the names of up to two files that may hold weights but that transformers does not read; "" if none."""
    files = {file.name for pattern in _FOREIGN for file in folder.glob(pattern)}
    others = {file.name for pattern in _OTHER_TORCH for file in folder.glob(pattern)} | set(ADAPTER_WEIGHTS)
    return ", ".join(sorted(files - others)[:2])


def adapter_weights(folder: Path) -> Path:
    """Return the weight file of the adapter in `folder`, after checking that it exists and is complete.

    Raises HarnessError if it is missing or truncated.
    """
    file = next((folder / name for name in ADAPTER_WEIGHTS if places.is_file(folder / name)), None)
    if file is None:
        raise HarnessError(
            f"{folder} has an {ADAPTER_CONFIG} but no weights ({' or '.join(ADAPTER_WEIGHTS)}): "
            "fetch or save the adapter again"
        )
    check_complete(file)
    return file


def check_complete(file: Path) -> None:
    """Raise HarnessError if a weight file is missing or truncated, judging by its header and size alone."""
    if not places.is_file(file):
        raise HarnessError(f"weights are missing: {file} does not exist; fetch or save the checkpoint again")
    check_no_pointer(file)
    if file.stat().st_size == 0:
        raise HarnessError(f"{file} is truncated to 0 bytes: fetch or save it again")
    if file.suffix == ".safetensors":
        header = safetensors_header.read(file)
        if not header.tensors:
            raise HarnessError(f"{file} lacks weights, it holds only a header: save the checkpoint again")
        expected, size = header.size, file.stat().st_size
        if size > expected:
            raise HarnessError(f"{file} is damaged ({size:,} bytes, not {expected:,}): fetch or save it again")
        if size < expected:
            raise HarnessError(f"{file} is truncated ({size:,} of {expected:,} bytes): fetch or save it again")
    elif not zipfile.is_zipfile(file) and not _is_old_torch(file):
        raise HarnessError(f"{file} is truncated or not a torch file ({file.stat().st_size:,} bytes): fetch it again")


def check_no_pointer(file: Path) -> None:
    """Raise HarnessError if `file` is only the pointer that git checks out in its place without git-lfs installed."""
    with file.open("rb") as stream:
        if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise HarnessError(f"{file} is a git-lfs pointer, not the file itself: run git lfs pull in its folder")


def partitioned(where: Path, empty: list[str]) -> HarnessError:
    """Return the error for weights in `where` whose tensors, named in `empty`, have no elements.

    Under DeepSpeed ZeRO-3 every process holds only a part of each weight, with an empty placeholder where the weight
    belongs. A trainer that saves without gathering the parts saves the placeholders.
    """
    tensors = f"{len(empty):,} empty tensor{'s' * (len(empty) > 1)}"
    return HarnessError(
        f"{where} holds {tensors} (such as {min(empty)}): it was saved under DeepSpeed ZeRO-3 without gathering the "
        "weights, so it cannot be loaded; save it again with stage3_gather_16bit_weights_on_model_save, or merge the "
        "training's shards with zero_to_fp32.py"
    )


def stored_dtype(files: list[Path]) -> str | None:
    """Return torch's name of the dtype that most bytes of the weights have; None if no header names one."""
    sizes: Counter[str] = Counter()
    for file in files:
        if file.suffix == ".safetensors":
            for tensor in safetensors_header.read(file).tensors.values():
                if tensor.dtype in _FLOATS:
                    sizes[_FLOATS[tensor.dtype]] += tensor.end - tensor.start
    return sizes.most_common(1)[0][0] if sizes else None


def tensor_dtypes(files: list[Path]) -> dict[str, str]:
    """Return the dtype of each tensor in `files`, as safetensors names it; files of other formats are left out."""
    headers = [safetensors_header.read(file) for file in files if file.suffix == ".safetensors"]
    return {name: tensor.dtype for header in headers for name, tensor in header.tensors.items()}


def checkpoints_inside(folder: Path) -> str:
    """Return the advice to name a checkpoint inside `folder`, such as a training's last; "" if there is none."""
    inside = [path.parent for name in (*WEIGHTS, ADAPTER_CONFIG) for path in folder.glob(f"*/{name}")]
    if not inside:
        return ""
    newest = max(inside, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
    steps = {path.name for path in inside if path.name.startswith("checkpoint-")}
    pattern = f", or all of them as '{folder}/checkpoint-*'" if len(steps) > 1 else ""
    return f"name a checkpoint inside it, such as {newest}{pattern}"


def _merge_shards(folder: Path) -> str:
    """Return advice on how to merge the shards of DeepSpeed or FSDP in `folder`; "" if there are none."""
    if any(folder.glob("global_step*/*optim_states.pt")) or any(folder.glob("global_step*/*model_states.pt")):
        return "it holds only DeepSpeed's shards; run python zero_to_fp32.py . . in that folder to merge them"
    sharded = next((shard.parent for shard in folder.glob("pytorch_model_fsdp_*/*.distcp")), None)
    if sharded is not None:
        return f"it holds only FSDP's shards; run accelerate merge-weights {sharded} {folder} to merge them"
    return ""


def pickled_classes(file: Path) -> list[str]:
    """Return the full names of the classes to which the pickle in a torch file refers; [] if it has no pickle.

    Nothing is executed.
    """
    return [str(argument).replace(" ", ".") for operation, argument in _pickle(file) if operation == "GLOBAL"]


def _is_value_head(file: Path) -> bool:
    """Return whether a torch file holds only the value head of a PPO training."""
    texts = [str(text) for operation, text in _pickle(file) if operation in ("BINUNICODE", "SHORT_BINUNICODE")]
    names = [text for text in texts if text.endswith((".weight", ".bias"))]
    return bool(names) and all(name.startswith("v_head.") for name in names)


def _pickle(file: Path) -> list[tuple[str, Any]]:
    """Return the operations, with their arguments, of the pickle in a file from torch.save; [] if it is damaged."""
    if not zipfile.is_zipfile(file):
        return []
    try:
        with zipfile.ZipFile(file) as archive:
            inner = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
            if inner and archive.getinfo(inner).file_size > _PICKLE_BYTES:
                return []
            operations = pickletools.genops(archive.read(inner)) if inner else ()
            return [(operation.name, argument) for operation, argument, _ in operations]
    except Exception:  # a damaged file: zipfile, zlib and genops each raise their own types
        return []


def _is_old_torch(file: Path) -> bool:
    # Before torch 1.6, a file was a sequence of pickles; the first is a magic number in pickle protocol 2.
    with file.open("rb") as stream:
        return stream.read(2) == b"\x80\x02"


def bytes_on_disk(paths: list[Path]) -> int:
    """Return the total size of files in bytes."""
    return sum(path.stat().st_size for path in paths)


def reason(error: BaseException) -> str:
    """Return why a library failed: the first sentence of `error` on one line, with the error's type if needed."""
    if "Weights only load failed" in str(error):
        return "it holds pickled code, which is never run"
    text = re.split(r"(?<=\w)\. ", " ".join(str(error).split()))[0].rstrip(".:")
    text = text if len(text) <= 300 else text[:300] + "…"
    return f"{type(error).__name__} {text}".strip() if isinstance(error, LookupError) or not text else text
