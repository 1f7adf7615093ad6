"""Inputs that are nearly valid: pieces of what models and programs write, joined, repeated, cut and damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

UNUSUAL = (
    *("", "\n", "\r\n", "\t", " ", "　", "\x00", "\x1b[31m", "\x7f", "\x85", "\u2028", "\ufeff", "\u200b", "\u202e"),
    *("\ud800", "\udfff", "\ufffe", "é", "e\u0301", "İ", "ß", "👩\u200d🔬", "①", "½", "²", "٣", "𝟗", "Ⅻ", "𠀀", "한"),
)
"""Spaces, control characters, halves of surrogate pairs, and letters that change their length or their class."""
NUMBERS = (
    *("0", "1", "12", "1,200", "1，200", "3.14", "-5", "+7", "1/2", "50%", "5‰", "1e999", "3×10^8", "10**9", "1e-7"),
    *(
        "9" * 400,
        "0." + "3" * 60,
        "二",
        "三十",
        "一百零五",
        "两亿",
        "〇",
        "半",
        "千分之三",
        "百万",
        "twenty-one",
        "half",
    ),
    *("NaN", "Infinity", "-0", "0x1F", "1_000", "１２３", "万", "亿", "元", "kg", "°C", "$", "-", "~", "至", ":"),
)
MARKS = (
    *(
        "答案是",
        "答案：",
        "正确答案为",
        "选",
        "不选",
        "错误",
        "A",
        "B",
        "ABD",
        "A、B",
        "(C)",
        "【D】",
        "D.",
        "Answer: ",
        "not ",
    ),
    *(
        "(",
        ")",
        "（",
        "）",
        "[",
        "]",
        "{",
        "}",
        "<",
        ">",
        "《",
        "》",
        "“",
        "”",
        "'",
        '"',
        "`",
        "```",
        "$",
        "\\",
        "|",
        "#",
        "*",
    ),
    *(
        ",",
        "，",
        "、",
        "；",
        "。",
        ".",
        ":",
        "：",
        "=",
        "\\boxed{",
        "\\frac{1}{2}",
        "</s>",
        "<|im_end|>",
        "第",
        "条",
        "款",
    ),
    *(
        "《民法典》第三条",
        "第一百二十条之一",
        "第12条第3款",
        "刑法",
        "罪名:",
        "类别:",
        "有期徒刑",
        "个月",
        "盗窃罪",
        "故意伤害",
    ),
    *(
        "(头, 关系, 尾)",
        "('人名', '甲')",
        "[{'entity': '甲', 'type': '人名'}]",
        '{"人名": ["甲"]}',
        "人名: 甲",
        "None",
        "无",
    ),
    *("类型#裙*颜色#白", "B-人名 I-人名 O", "原告：", "问题：", "1. ", "(1) ", "a) ", "Step 1: "),
)
THOUGHTS = (
    *(
        "<think>",
        "</think>",
        "<THINK>",
        "[THINK]",
        "[/THINK]",
        "<|channel|>analysis<|message|>",
        "<|message|>",
        "◁/think▷",
    ),
    *(
        "<|channel|>final<|message|>",
        "<|channel>thought\n",
        "<channel|>",
        "<thinking>",
        "</thinking>",
        "◁think▷",
        "\n\n",
    ),
    *("<|begin_of_thought|>", "<|end_of_thought|>", "<|begin_of_solution|>"),
    *("<|end_of_solution|>", "<reason>", "答案"),
)
TYPED = (
    *(
        ",",
        "=",
        ",adapter=",
        ",dtype=float32",
        ",max_length=",
        ",think=",
        "none",
        ",revision=",
        ",quantize=int8",
        '"',
        '""',
    ),
    *(
        "/",
        "~",
        "~nobody",
        "..",
        "a/b",
        "*",
        "[",
        "]",
        "?",
        "**",
        "ppl:",
        "file:",
        ".jsonl",
        "ceval",
        "9",
        ".5",
        "%",
        "0",
    ),
    *("https://user:secret@host/x", "/home/anybody/base", "C:\\Users\\x", "file:///tmp/x", "models--org--name/", "…"),
)


def texts(*pieces: str) -> st.SearchStrategy[str]:
    """Return texts of `pieces`, unusual characters and arbitrary ones, some of them repeated."""
    piece = st.sampled_from((*pieces, *UNUSUAL)) | st.sampled_from(pieces) | st.text(max_size=4)
    repeated = st.builds(lambda text, times: text * times, piece, st.sampled_from((1, 1, 1, 2, 7, 60)))
    return st.lists(repeated, max_size=10).map("".join)


_ODD = (None, True, -1, 0, 1 << 70, 1.5, 1e999, "", "x", "\ud800", "../x", "NaN", [], [[]], {}, {"x": None}, ["x", 1])


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _places(part, (*path, key))


@st.composite
def altered(draw: st.DrawFn, samples: Sequence[Any]) -> Any:
    """Return one of `samples`, values as of JSON, of which up to three parts are replaced or removed."""
    value = json.loads(json.dumps(draw(st.sampled_from(samples))))
    for _ in range(draw(st.integers(0, 3))):
        *path, last = (None, *draw(st.sampled_from(list(_places(value)))))
        odd = deepcopy(draw(st.sampled_from(_ODD)))
        if last is None:
            value = odd
            continue
        parent = value
        for key in path[1:]:
            parent = parent[key]
        if draw(st.booleans()):
            parent[last] = odd
        elif isinstance(parent, dict):
            del parent[last]
        else:
            parent.append(odd)
    return value


_TOKENS = (
    *(
        b"",
        b"\x00",
        b"\xff" * 8,
        b"\x7f" + b"\xff" * 7,
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\n",
        b"\r",
    ),
    *(
        b'"',
        b"'",
        b"\\",
        b"\\ud800",
        b",",
        b"\t",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"[" * 200,
        b'{"a":' * 200,
        b"9" * 5000,
    ),
    *(
        b"- ",
        b"&a",
        b"*a",
        b"!!python/object:os.system",
        b"!function x.y",
        b"<<: *a",
        b"---\n",
        b"2024-13-01",
        b"1e999",
    ),
    *(b"NaN", b"null", b"true", b"-1", b"0"),
    *(b"../", b"/etc/passwd", b"http://x/", "甲".encode(), "、".encode(), b" "),
)


_NUMBERS = tuple(
    number.to_bytes(size, "little")
    for size in (1, 4, 8)
    for number in (0, 1, 7, 9, (1 << 8 * size - 1) - 1, (1 << 8 * size) - 1)
)


@st.composite
def damaged(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """Return one of `samples` with up to four damages: bytes removed, replaced, inserted or repeated, or a lost end."""
    content = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        if draw(st.booleans()):
            number = draw(st.sampled_from(_NUMBERS))
            content = content[:start] + number + content[start + len(number) :]
            continue
        end = start + draw(st.sampled_from((0, 0, 1, 2, 4, 8, 100, len(content))))
        piece = draw(st.sampled_from(_TOKENS) | st.binary(max_size=8) | st.just(content[start:end] * 2))
        content = content[:start] + piece + content[end:]
    return content


def documents(*samples: Any) -> st.SearchStrategy[bytes]:
    """Return altered and damaged JSON texts of `samples`; JSON is YAML, too."""
    written = [json.dumps(sample, ensure_ascii=False).encode() for sample in samples]
    return altered(samples).map(lambda value: json.dumps(value).encode()) | damaged(written)
