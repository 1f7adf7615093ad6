"""Patterns whose matching may take for ever are recognised, in every form, and those in use are not."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.common.patterns import may_hang

HANGING = [
    *["(a|a)*", "(?:a|a)+$", "(a|aa)+$", r"(\w|\d)+x", "(a{1,99}){1,99}b", r"(\d{1,3})+$", "((a{1,9}){1,9}){1,9}b"],
    *["(aa|aaa)+b", "(a|b|ab)*c", "(a|aa){30}", "(a?a)*b", "(a?){50}a{50}", "(a+b?)+", "(?:(a?|)b)*c", "(a{2,}){3}x"],
    *["(?:(?:a*|b*)c)+$", "((a|b)*c|b)*d", "(?:a(?:b|c)?|ab)*d", "(?:a|a)*+", "(?>(a|a)*)b", "(?=(a|a)*b)a"],
    *[
        r"(\p{L}|[a-z])+!",
        "(?i)(a|A)+!",
        "([^a]|b)*c",
        r"(.|\n)*x",
        r"(\x61|a)+$",
        r"(?:\s|\n)+$",
        r"([\p{Lu}]|[A-Z])*!",
    ],
    *["(?x)( a | a )* b", "([a[b]]|a)*c", "([[:alpha:]]|a)*c", "a{1,9}+$", r"(?<x>a|\g<x>b)", "(?:0|00|\\d)+z"],
    *[
        "a*" * 13 + "b",
        "a*" * 13 + "|b",
        "a?" * 30 + "a" * 30,
        "(" * 500 + "a" + ")" * 500,
        "a{99999999999999999999999}",
    ],
]
IN_USE = [
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\s*[\r\n]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*",
    r"(?:.*?(?:language|text).*?(?:self_attn|attn|mlp).*?(?:k_proj|v_proj|q_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.mlp)",
    *[
        "[一-龥぀-ゟ゠-ヿ]+",
        r"(?:\\.|[^\"\\])*",
        r"(\w+\.)+\w+",
        "(q_proj|k_proj)+",
        "(ab|a)*",
        "(a*b)*",
        "(?:[a-z]{2,3}-)*x",
    ],
    *[
        r"(?:\d{1,3},)*\d+",
        "(?:[0-9a-f]{2}:){5}[0-9a-f]{2}",
        "(?P<n>a)(?P=n)+",
        r"(?>\p{L}+|\d+)",
        "",
        "[",
        "(",
        ")",
        "*",
    ],
    *[r"layers\.(?:[^.]+\.)*weight", r"(?:[+-.]\d+)*", r"(?:[^\W\d_]+[\d.]+)*"],
    "(?:" + "|".join(f"layers{number}x" for number in range(100)) + ")+",
    "|".join(f"model.layers.{number}.self_attn.q_proj" for number in range(500)),
]


@pytest.mark.parametrize("pattern", HANGING)
def test_a_pattern_that_can_match_in_ever_more_ways_may_hang(pattern: str) -> None:
    assert may_hang(pattern)


@pytest.mark.parametrize("pattern", IN_USE)
def test_a_pattern_in_use_does_not(pattern: str) -> None:
    assert not may_hang(pattern)


ATOMS = st.sampled_from(["a", "b", "c", "[ab]", "[^a]", r"\w", "."])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: (
        st.tuples(inner, inner).map("(?:{0[0]}|{0[1]})".format)
        | st.tuples(inner, inner).map("".join)
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "{1,9}", "{3}", "{2,}"])).map("(?:{0[0]}){0[1]}".format)
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(PATTERNS)
def test_python_matches_the_others_at_once(pattern: str) -> None:
    if may_hang(pattern):
        return
    for text in ("a" * 26, "ab" * 13, "abc" * 9, "aab" * 9):
        start = time.process_time()
        re.match(pattern + "!", text)
        assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "text", ["(ab|cd)", "[a]", "a", "(", "a?", "[丁z]", "(?:ab|ac|a)+|", "[[a]", "\\p{L}", "(?i)", "a|", "{1}"]
)
def test_the_judgement_itself_takes_no_time(text: str) -> None:
    start = time.process_time()
    may_hang(text * (20_000 // len(text)))
    assert time.process_time() - start < 3
