"""Charges that a text names in whole, or by the part of a selective charge that applies."""

from __future__ import annotations

import itertools

import pytest

from harness.metrics.lawbench import selective_charges
from harness.metrics.lawbench.labels import CHARGES
from harness.metrics.lawbench.selective_charges import named_charges


def test_every_label_with_alternatives_has_its_alternatives() -> None:
    selective = {charge.replace("[", "").replace("]", "").replace("|", "、") for charge in selective_charges._SELECTIVE}
    assert selective == {charge for charge in CHARGES if "、" in charge}


@pytest.mark.parametrize("charge", CHARGES)
def test_a_charge_named_in_whole_is_that_charge(charge: str) -> None:
    assert named_charges(f"犯{charge}罪") == {charge}


@pytest.mark.parametrize(
    ("text", "charges"),
    [
        ("贩卖毒品罪", {"走私、贩卖、运输、制造毒品"}),
        ("贩卖、制造毒品罪", {"走私、贩卖、运输、制造毒品"}),
        ("贩卖和运输毒品", {"走私、贩卖、运输、制造毒品"}),
        ("掩饰、隐瞒犯罪所得罪", {"掩饰、隐瞒犯罪所得、犯罪所得收益"}),
        ("盗窃枪支罪", {"盗窃、抢夺枪支、弹药、爆炸物"}),
        ("盗窃危险物质罪", {"盗窃、抢夺枪支、弹药、爆炸物、危险物质"}),
        ("盗窃罪和包庇罪", {"盗窃", "窝藏、包庇"}),
        ("包庇毒品犯罪分子", {"包庇毒品犯罪分子"}),
        ("窝藏毒品", {"窝藏、转移、隐瞒毒品、毒赃"}),
        ("合同诈骗", {"合同诈骗"}),
        ("虚开增值税专用发票", {"虚开增值税专用发票、用于骗取出口退税、抵扣税款发票"}),
        ("购买了毒品，持有枪", set()),
        ("", set()),
    ],
)
def test_a_part_of_a_selective_charge_names_it(text: str, charges: set[str]) -> None:
    assert named_charges(text) == charges


def test_a_name_of_several_charges_is_the_expected_one() -> None:
    wide = "组织、强迫、引诱、容留、介绍卖淫"
    assert named_charges("强迫卖淫", {wide}) == {wide}
    assert named_charges("强迫卖淫") == {"强迫卖淫"}


def test_charges_between_others_are_all_named() -> None:
    for first, second in itertools.islice(itertools.permutations(("诈骗", "抢劫", "逃税"), 2), 6):
        assert named_charges(f"{first}罪、{second}罪") == {first, second}
