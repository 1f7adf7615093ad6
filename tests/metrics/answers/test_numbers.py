"""The last number of an answer, by cases and by properties."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import cn2an
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.answers.number_digits import MOST_DIGITS
from harness.metrics.answers.numbers import is_number, is_same_number, last_number
from support.growth import is_proportional

CASES = [
    pytest.param(text, None if value is None else Fraction(str(value)), id=f"{group}: {text!r}")
    for name in ("numbers.yaml", "ordinary_numbers.yaml")
    for group, cases in yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8")).items()
    for text, value in cases
]
WIDE = str.maketrans("0123456789,.-/", "０１２３４５６７８９，．－／")
SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
SURROUNDINGS = [
    ("", ""),
    ("一共是", "个。"),
    ("小明有5个苹果，所以答案是：", "。"),
    ("解：3+4=7，因此结果为 ", " 元，谢谢！"),
    ("The answer is ", "."),
    ("Each of the 4 costs $2, so the total is ", " dollars."),
    ("**", "**"),
    ("$", "$"),
    ("\\(x = ", "\\)"),
    ("So \\boxed{", "} for 2 reasons, not 3."),
    ("第一步，设单价为2元。\n答：", "元"),
]
NOT_UNDERSTOOD = [
    "2^10",
    "x^2",
    "3:30",
    "10-20",
    "1.2.3",
    "0xFF",
    "\\sqrt{2}",
    "5π",
    "2√3",
    "1e999999999",
    "2+3",
    "1/0",
]

integers = st.integers(-(10**12), 10**12)
surroundings = st.sampled_from(SURROUNDINGS)


@pytest.mark.parametrize(("text", "value"), CASES)
def test_cases(text, value):
    assert last_number(text) == value


def spellings(number):
    """Return the spellings of an integer in digits."""
    texts = [str(number), f"{number:,}", f"{number:_}", f"{number:,}".replace(",", "{,}")]
    texts += [f"{number:,}".replace(",", separator) for separator in ("\\,", ",\\!", "\u202f", "\u2009", "'")]
    texts += [text.replace("-", "−") for text in texts[:2]]
    return [*texts, f"{number:,}".translate(WIDE), f"{number}.00"]


@given(integers, surroundings)
def test_an_integer_reads_the_same_in_every_spelling_and_sentence(number, around):
    for text in spellings(number):
        assert last_number(text.join(around)) == number, text


@given(st.decimals(-(10**6), 10**6, places=3), surroundings)
def test_a_decimal_is_read_exactly(number, around):
    assert last_number(f"{number:f}".join(around)) == Fraction(number)


@given(st.integers(-999, 999), st.integers(1, 999), surroundings)
def test_a_fraction_is_read_exactly(top, bottom, around):
    sign, size = "-" if top < 0 else "", abs(top)
    for text in (f"{top}/{bottom}", f"{sign}\\frac{{{size}}}{{{bottom}}}", f"\\dfrac{{{top}}}{{{bottom}}}"):
        assert last_number(text.join(around)) == Fraction(top, bottom), text


@given(st.integers(1, 99), st.integers(1, 99), st.integers(2, 99), surroundings)
def test_a_mixed_number_is_the_sum_of_its_parts(whole, top, more, around):
    part = Fraction(top, top + more)
    written = f"{top}/{top + more}", f"\\frac{{{top}}}{{{top + more}}}"
    for text in (f"{whole} {written[0]}", f"{whole}{written[1]}", f"{whole} {written[1]}"):
        assert last_number(text.join(around)) == whole + part, text


@given(st.decimals(-10, 10, places=2), st.integers(-40, 40), surroundings)
def test_a_power_of_ten_reads_as_decimal_reads_it(digits, exponent, around):
    expected = Fraction(Decimal(f"{digits:f}E{exponent}"))
    raised = str(exponent).translate(SUPERSCRIPT)
    for text in (
        f"{digits:f}e{exponent}",
        f"{digits:f}E{exponent:+}",
        f"{digits:f}×10^{exponent}",
        f"{digits:f} × 10^{{{exponent}}}",
        f"{digits:f}*10^({exponent})",
        f"{digits:f} \\times 10^{{{exponent}}}",
        f"{digits:f} \\cdot 10^{{{exponent}}}",
        f"{digits:f}x10**{exponent}",
        f"{digits:f}·10{raised}",
        f"{digits:f}×10<sup>{exponent}</sup>",
    ):
        assert last_number(text.join(around)) == expected, text


@given(st.integers(0, 10**16 - 1))
def test_chinese_numerals_read_as_cn2an_writes_them(number):
    for mode in ("low", "up"):
        assert last_number(cn2an.an2cn(number, mode)) == number
    if number > 10:
        assert last_number(f"答案是{cn2an.an2cn(number)}，谢谢。") == number


@given(st.integers(1, 99_999), st.sampled_from(["万", "亿", "百万", "千万"]))
def test_a_scale_multiplies_as_for_cn2an(number, scale):
    text = f"{Decimal(number) / 100:f}{scale}"
    expected = Fraction(number, 100) * cn2an.cn2an(f"一{scale}", "smart")
    assert last_number(f"收入为{text}元。") == last_number(text) == expected


@given(st.integers(1, 9999), st.integers(1, 9), surroundings)
def test_a_scale_may_be_followed_by_a_smaller_one(large, small, around):
    assert last_number(f"{large}万{small}千".join(around)) == large * 10**4 + small * 10**3


@given(
    st.integers(-999, 999),
    st.sampled_from(
        [
            "cm²",
            " cm^2",
            " m2",
            "km/h",
            "%",
            "\\%",
            "℃",
            "元",
            " dollars",
            " kg",
            "^\\circ",
            "\\text{ cm}^2",
            "平方米",
            " m/s²",
        ]
    ),
    surroundings,
)
def test_a_unit_does_not_change_the_number(number, unit, around):
    assert last_number(f"{number}{unit}".join(around)) == number


@given(
    st.integers(1, 10**9),
    st.sampled_from(
        [" (48+24)", "（48+24）", " (= 3 × 6)", " (see step 2)", "元（3元×6）", " kg (2.2 lb) (about)", "!", "!!"]
    ),
    surroundings,
)
def test_a_gloss_or_an_exclamation_behind_a_number_does_not_change_it(number, gloss, around):
    before, behind = around
    if "boxed" not in before and before != "$" and "\\(" not in before:  # a factorial in a formula
        assert last_number(f"{before}{number:,}{gloss}{behind}") == number


@given(
    st.integers(0, 99_999),
    st.integers(0, 99_999).map(str).filter(lambda digits: len(digits) != 3),
    st.sampled_from(["", " €", " kg", "%", "元", " million", "亿"]),
    surroundings,
)
def test_a_decimal_comma_is_not_understood(whole, decimals, unit, around):
    assert last_number(f"{whole},{decimals}{unit}".join(around)) is None
    assert not is_number(f"{whole},{decimals}")


@pytest.mark.parametrize(
    ("prediction", "reference", "is_same"),
    [
        ("占比为 25%。", "0.25", True),
        ("占比为 25%。", "25", True),
        ("25%", "25%", True),
        ("0.25", "25%", True),
        ("1/4", "25%", True),
        ("百分之二十五", "0.25", True),
        ("120%", "1.2", True),
        ("120%", "120", True),
        ("100%", "1", True),
        ("25‰", "2.5%", True),
        ("25 permille", "0.025", True),
        ("25 per mille", "2.5%", True),
        ("3‱", "0.0003", True),
        ("0.25%", "0.25", False),
        ("0.25%", "25%", False),
        ("0.25", "25", False),
        ("25", "0.25", False),
        ("2.5%", "0.25", False),
        ("2^10", "2^10", False),
        ("none", "none", False),
        ("1,200", "1200.0", True),
    ],
)
def test_a_percentage_equals_its_number_and_its_share(prediction, reference, is_same):
    assert is_same_number(prediction, reference) == is_same_number(reference, prediction) == is_same


COMPOUNDS = [
    *("{}英尺{}英寸", "{} ft {} in", "{} feet, {} inches", "{}小时{}分钟", "{} hours and {} minutes", "{}h {}min"),
    *("{} lb {} oz", "{} gallons {} quarts", "{}元{}角", "{} km {} m", "{} years, {} months", "{}斤{}两", "{}'{}\""),
]
DATES = [
    *(
        "May {1}, {0}",
        "{1} May {0}",
        "{1}th of June",
        "Aug. {1}",
        "the {1}th of Dec. {0}",
        "{0}年5月{1}日",
        "{0}-05-{1}",
    ),
    *("October {0}", "Monday, March {1}", "{1}/05/{0}", "{0} Nov {1}", "at {1}:30 pm", "{1}点30分", "half past {1}"),
]
RANGES = [
    *("between {} and {}", "from {} to {}", "{}-{}", "{} ~ {}", "{}至{}", "介于{}和{}之间", "{} or {}", "{}或者{}"),
    *("{} < x < {}", "{} \\le x \\le {}", "x≥{1}", "x ≠ {1}", "{}±{}", "{} plus or minus {}", "{} mod {}"),
]


@given(st.sampled_from([*COMPOUNDS, *RANGES]), st.integers(2, 999), st.integers(2, 99), surroundings)
def test_compound_quantities_and_ranges_are_never_plain_numbers(notation, first, second, around):
    text = notation.format(first + 100, second)
    assert last_number(text.join(around)) is None, text
    assert not is_number(text)


@given(
    st.sampled_from(DATES),
    st.integers(1900, 2100),
    st.integers(10, 28),
    surroundings.filter(lambda around: "dollars" not in around[1] and around[1] != "元"),  # 5月10日元 ends with yen
)
def test_dates_and_times_are_never_plain_numbers(notation, year, day, around):
    text = notation.format(year, day)
    assert last_number(text.join(around)) is None, text
    assert not is_number(text)


@pytest.mark.parametrize("notation", NOT_UNDERSTOOD)
@pytest.mark.parametrize("around", SURROUNDINGS, ids=str)
def test_a_notation_that_is_not_understood_yields_no_number(notation, around):
    assert last_number(notation.join(around)) is None
    assert not is_number(notation)


@pytest.mark.parametrize(
    "text",
    [
        "1,200",
        "-3/4",
        "3 1/2",
        "½",
        " 18. ",
        "５％",
        "-$3",
        "−3",
        "1.5。",
        "3×10^8",
        "\\frac{1}{2}",
        "3万",
        "2 million",
        "三",
    ],
)
def test_is_number_accepts_one_number(text):
    assert is_number(text)


@pytest.mark.parametrize(
    "text",
    ["2024/05/01", "1,3,4", "3 1 2", "5-3", "18元", "36 cm²", "x", "", "%", "3.5.1", "一共", "5 apples", "\\boxed{A}"],
)
def test_is_number_rejects_other_texts(text):
    assert not is_number(text)


FRAGMENTS = [
    *"0159.,，-−+*×/^(){}[]$%!:~_ \n'eExkM√π½²⁸年月日个元点分之半又负零一三十百万亿第是",
    "\\frac", "\\boxed", "\\text", "\\sqrt", "\\times", "10", "**", "and ", "five ", "hundred ", "cm",
    "<sup>", "</sup>",
]  # fmt: skip


@given(st.one_of(st.text(), st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join)))
def test_every_text_can_be_read(text):
    value = last_number(text)
    assert not is_number(text) or value is not None


@pytest.mark.parametrize("count", [4_301, MOST_DIGITS])
def test_a_number_of_many_digits_is_exact(count):
    assert last_number("答案是" + "7" * count) == 7 * (10**count - 1) // 9
    assert last_number(f"0.{'7' * (count - 1)}") == Fraction(7 * (10 ** (count - 1) - 1) // 9, 10 ** (count - 1))


@pytest.mark.parametrize(
    "text", ["7" * (MOST_DIGITS + 1), "0." + "7" * 10**5, "1e10001", "10^{-99999}", "3×10^999999999"]
)
def test_a_number_too_long_to_be_written_out_is_not_understood(text):
    assert last_number(text) is None
    assert not is_number(text)


REPEATED = [
    "1/", "1 ", "\\frac{1}{", "\\boxed{", "\\sqrt{", "10^{", "*1", "三万", "三点", "百分之", "five ", "f(1", "½",
    "1 (", "1 (2) ", "1（", "1,5 ", "5!", "5! ", "1 (=", "1 < ", "May 5 ", "1 or ", "between 1 and ", "<a", "负 的",
]  # fmt: skip


@pytest.mark.sampled(9)
@pytest.mark.parametrize("fragment", REPEATED)
def test_time_is_linear_in_the_text(fragment):
    assert is_proportional(last_number, fragment, 500 // len(fragment), 4_000 // len(fragment))


def test_importing_the_module_stays_light():
    heavy = "torch", "pandas", "numpy", "cn2an", "datasets"
    code = f"import harness.metrics.answers.numbers, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
