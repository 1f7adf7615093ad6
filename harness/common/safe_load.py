r"""YAML and JSON of other people, read within limits.

A few bytes can do great damage. Aliases that repeat one another (`&b [*a, *a, *a]`) fill the memory, ten thousand
brackets overflow a parser's stack, and no calculation takes an integer of a thousand digits. Every YAML text is read
here, and so is the JSON of data, recorded answers, reports and baselines. A text beyond a limit raises
`UnsafeContentError`, a ValueError whose message is the reason. What is read is plain values: no tag makes an object of
another kind.

The limits are far above what people write: the largest of lm-eval 0.4.13's 13,986 definitions has 62,570 bytes, 765
values and depth 7. The largest text within the limits takes seconds to read.

Not here: sentences that name the file (each caller's), archives and parquet (`harness.common.unpacking`), the JSON of
checkpoints (`harness.checkpoints.limits` and `harness.checkpoints.tokenizer_files`), JSON that this program wrote
itself, or JSON in a model's answer, where metrics take any error of `json.loads` for a wrong answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError

YAML_BYTES = 4 * 2**20
"""Largest size of a YAML text in bytes."""
YAML_NODES = 100_000
"""Largest number of values in a YAML text. A value repeated by aliases counts at each repetition."""
DEPTH = 64
"""Largest number of lists and objects nested within one another."""
DIGITS = 308
"""Largest number of digits of an integer; every integer within it has a float."""
JSON_BYTES = 512 * 2**20
"""Largest size of a JSON file that is read whole (`json_file`)."""


class ContentError(ValueError):
    """A text that cannot be read; the message says why, on one line, without naming the file."""


class UnsafeContentError(ContentError):
    """A text that exceeds a limit."""


def yaml_file(file: Path, loader: type[Any] | None = None, *, strict: bool = False) -> Any:
    """Return the value of the YAML in `file`, as `yaml_text` does. Raises OSError and ContentError."""
    return yaml_text(read_yaml(file), loader, strict=strict)


def read_yaml(file: Path) -> bytes:
    """Return the bytes of a YAML `file`, for `yaml_text`. Raises OSError, and UnsafeContentError if it is too large."""
    return _read(file, YAML_BYTES)


def yaml_text(text: str | bytes, loader: type[Any] | None = None, *, strict: bool = False) -> Any:
    """Return the value of a YAML `text`; bytes are read as UTF-8, or as UTF-16 if they begin with its byte order mark.

    `loader` is a PyYAML loader class that knows more tags than the safe one. If a mapping states a key twice, PyYAML
    takes the last value, and it reads 1:30 as 90, 0x10 as 16 and 010 as 8; with `strict`, such texts are refused.
    Raises ContentError if `text` is not YAML or is
    refused, and UnsafeContentError if it exceeds a limit; tags that only `loader` knows may raise other errors.
    """
    import yaml

    if len(text) > YAML_BYTES:
        raise UnsafeContentError(f"it has more than {YAML_BYTES:,} bytes")
    safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is seven times as fast
    try:
        _check_yaml(yaml.parse(text, Loader=safe))
        if strict:
            _require_plain(yaml.compose(text, Loader=safe), safe)
        return yaml.load(text, Loader=loader or safe)
    except ContentError:
        raise
    except yaml.YAMLError as error:
        # A mark names the text as PyYAML was given it; the caller names the file.
        message = re.sub(r' in "<[\w ]+>"', "", " ".join(str(error).split()))
        raise ContentError(message[:300]) from error
    except (ValueError, OverflowError, RecursionError) as error:  # a date such as 2024-13-01
        if loader is not None:
            raise
        raise ContentError(f"a value cannot be read: {' '.join(str(error).split())[:200]}") from error


def settings_file(file: Path, noun: str, option: str) -> object:
    """Return the content of a YAML file of settings, a `noun` such as "policy" that is named by `option`.

    Raises HarnessError if the file cannot be read or is not YAML.
    """
    try:
        return yaml_file(file, strict=True)
    except OSError as error:
        raise HarnessError(f"the {noun} {file} cannot be read ({error}): check {option}") from error
    except ContentError as error:
        raise HarnessError(f"the {noun} {file} is not valid YAML ({error}): correct it") from error


def yaml_line(text: str | bytes, path: Sequence[str]) -> int:
    """Return the line of a YAML `text`, counted from 1, that states the value at `path`.

    `path` has the keys and positions that lead to the value, outermost first. If the text does not have all of it, the
    line is that of the last part that it has. The text is one that `yaml_text` has read.
    """
    import yaml

    node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    line = 1 if node is None else node.start_mark.line + 1
    for name in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == name), None)
        elif isinstance(node, yaml.SequenceNode) and name.isdecimal() and int(name) < len(node.value):
            pair = (node.value[int(name)],) * 2
        else:
            pair = None
        if pair is None:
            break
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line


class _Extent(NamedTuple):
    """How large a YAML value is with its aliases expanded."""

    nodes: int
    height: int


def _check_yaml(events: Any) -> None:
    """Raise UnsafeContentError if the YAML document of `events` exceeds a limit.

    No alias is expanded here, and nothing is read recursively.
    """
    import yaml

    anchors: dict[str, _Extent | None] = {}
    anchor: str | None
    open_nodes: list[tuple[str | None, int, int]] = []  # anchor, and nodes and height so far
    for event in events:
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            open_nodes.append((event.anchor, 1, 1))
            if event.anchor is not None:
                anchors[event.anchor] = None
            if len(open_nodes) > DEPTH:
                raise UnsafeContentError(f"it nests lists and objects more than {DEPTH} deep")
            continue
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            anchor, nodes, height = open_nodes.pop()
            extent = _Extent(nodes, height)
        elif isinstance(event, yaml.ScalarEvent):
            anchor, extent = event.anchor, _Extent(1, 0)
            _check_scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            target = anchors.get(str(event.anchor), _Extent(1, 0))  # the loader reports an unknown anchor
            if target is None:
                raise UnsafeContentError(f"the value '{event.anchor}' contains itself")
            anchor, extent = None, target
        elif isinstance(event, yaml.DocumentEndEvent):
            return  # the loader refuses a second document
        else:
            continue
        if anchor is not None:
            anchors[anchor] = extent
        if open_nodes:
            name, nodes, height = open_nodes[-1]
            open_nodes[-1] = (name, nodes + extent.nodes, max(height, extent.height + 1))
            if nodes + extent.nodes > YAML_NODES:
                raise UnsafeContentError(f"it has more than {YAML_NODES:,} values once its aliases are expanded")
            if len(open_nodes) + extent.height > DEPTH:
                raise UnsafeContentError(f"it nests lists and objects more than {DEPTH} deep")


def _require_plain(root: Any, loader: type[Any]) -> None:
    """Raise ContentError if, at or below the YAML node `root`, a key is repeated or a number is no plain decimal.

    What `<<` merges into a mapping may repeat its keys.
    """
    import yaml

    constructor = loader("")
    pending, visited = [root], {id(root)}
    while pending:
        node = pending.pop()
        children = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and not _DECIMAL.fullmatch(node.value):
            value = constructor.construct_object(node)
            raise ContentError(
                f"line {node.start_mark.line + 1} states {node.value[:60]}, which YAML reads as {value}: write a "
                "decimal number, or quote it if it is a text"
            )
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
            keys: set[object] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                    continue
                value = constructor.construct_object(key)
                if value in keys:
                    name = key.value if len(key.value) <= 60 else f"{key.value[:60]}…"
                    raise ContentError(f"line {key.start_mark.line + 1} states {name!r} again")
                keys.add(value)
        pending += [child for child in children if id(child) not in visited]
        visited |= {id(child) for child in children}


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_DECIMAL = re.compile(
    r"[-+]?(?:0|[1-9]\d*|0?\.\d+|(?:0|[1-9]\d*)\.\d*)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|nan)", re.IGNORECASE
)
_YAML_INTEGER = re.compile(
    r"[-+]?(?:0b(?P<binary>[01_]+)|0x(?P<hexadecimal>[0-9a-fA-F_]+)"
    r"|(?P<decimal>[0-9][0-9_]*)(?P<sixtieths>(?::[0-9_]+)*))"
)


def _check_scalar(event: Any) -> None:
    if len(event.value) <= DIGITS // 2:  # a hexadecimal digit is worth 1.2 decimal ones, a part of two digits 1.8
        return
    is_tagged = event.tag and event.tag.endswith((":int", ":float"))
    number = _YAML_INTEGER.fullmatch(event.value) if event.implicit[0] or is_tagged else None
    if number is None:
        is_long = is_tagged and len(event.value) > DIGITS
    elif number["decimal"] is None:
        bits = len((number["binary"] or "").replace("_", "")) + 4 * len((number["hexadecimal"] or "").replace("_", ""))
        is_long = bits > DIGITS * _BITS_PER_DIGIT
    else:
        is_long = len(number["decimal"].replace("_", "")) + 2 * number["sixtieths"].count(":") > DIGITS
    if is_long or (number and len(event.value) > 8 * DIGITS):  # and not thousands of underscores
        raise UnsafeContentError(f"a number has more than {DIGITS} digits")


_BITS_PER_DIGIT = math.log2(10)


def json_file(file: Path) -> Any:
    """Return the value of the JSON in `file`, which is read whole.

    Raises OSError, UnicodeDecodeError (which is a ValueError), and ValueError as `json_text` does.
    """
    return json_text(_read(file, JSON_BYTES).decode("utf-8"))


def json_text(text: str, **options: Any) -> Any:
    """Return the value of a JSON `text`; `options` are those of `json.loads`.

    Raises ValueError if `text` is not JSON, nests values more than `DEPTH` deep, or has an integer of more than
    `DIGITS` digits.
    """
    if text.count("[") + text.count("{") > DEPTH and _json_depth(text) > DEPTH:
        raise UnsafeContentError(f"it nests lists and objects more than {DEPTH} deep")
    if _LONG_NUMBER.search(text):
        options.setdefault("parse_int", _integer)
    return json.loads(text, **options)


_LONG_NUMBER = re.compile(rf"(?<!\d)\d{{{DIGITS + 1}}}")
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, or the rest of the text if it has no end: each character is read once."""
_BRACKETS = re.compile(r"[\[{]+|[\]}]+")


def _json_depth(text: str) -> int:
    """Return how deep `text` nests lists and objects, even if it is not valid JSON."""
    depth = deepest = 0
    for brackets in _BRACKETS.findall(_STRING.sub("", text)):
        depth += len(brackets) if brackets[0] in "[{" else -len(brackets)
        deepest = max(deepest, depth)
    return deepest


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS:
        raise UnsafeContentError(f"a number has more than {DIGITS} digits")
    return int(digits)


def _read(file: Path, most: int) -> bytes:
    """Return the bytes of `file`; raise UnsafeContentError if there are more than `most`, without reading them."""
    with file.open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise UnsafeContentError(f"it has more than {most:,} bytes")
    return data
