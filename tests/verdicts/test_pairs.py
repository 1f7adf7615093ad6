"""Samples of two reports, joined: against pandas' merge and by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.verdicts.pairs import IncomparableError, Pairs, join
from support.answered import Answers, report


def joined(root: Path, baseline: Answers, candidate: Answers, protocol: Any = None) -> Pairs:
    first = report(root / "a", "base", {"law": baseline})
    second = report(root / "b", "cand", {"law": candidate}, protocol=protocol)
    found = join(first, second, "law")
    assert list(found) == ["none"]
    return found["none"]


def scores(pairs: Pairs) -> list[tuple[float, float]]:
    return list(zip(pairs.baseline["acc"].to_pylist(), pairs.candidate["acc"].to_pylist(), strict=True))


def test_equal_documents_stand_side_by_side(tmp_path: Path) -> None:
    found = joined(tmp_path, Answers([1, 0, 1]), Answers([0, 0, 1]))
    assert scores(found) == [(1, 0), (0, 0), (1, 1)]
    assert (found.n, found.left_out, found.clusters) == (3, 0, None)
    assert not found.tainted.any()


def test_documents_in_another_order_are_found_and_those_of_one_report_only_are_counted(tmp_path: Path) -> None:
    baseline = Answers([1, 2, 3, 4], documents=["a", "b", "c", "d"], fraction=False)
    found = joined(tmp_path, baseline, Answers([30, 50, 10], documents=["c", "e", "a"], fraction=False))
    assert scores(found) == [(1, 10), (3, 30)]
    assert found.left_out == 3


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.lists(st.integers(0, 3), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_nth_of_equal_documents_goes_with_the_nth(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], second: list[int]
) -> None:
    root = tmp_path_factory.mktemp("twice")
    sides = [
        Answers([float(i) for i in range(len(documents))], documents=documents, fraction=False)
        for documents in (first, second)
    ]
    expected = [
        (float(i), float([j for j, other in enumerate(second) if other == one][first[:i].count(one)]))
        for i, one in enumerate(first)
        if first[:i].count(one) < second.count(one)
    ]
    if not expected:
        with pytest.raises(IncomparableError, match="none in common"):
            joined(root, *sides)
        return
    found = joined(root, *sides)
    assert scores(found) == expected
    assert found.left_out == len(first) + len(second) - 2 * len(expected)


def test_other_prompts_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(
        IncomparableError, match="different prompts of 2 of 2 documents: the text of the prompts differs"
    ):
        joined(tmp_path, Answers([1, 0]), Answers([1, 0], prompt="Think. "))


def test_the_reason_is_what_was_asked_otherwise(tmp_path: Path) -> None:
    other = Answers([1, 0], prompt="Example. ", info={"num_fewshot": 1})
    with pytest.raises(IncomparableError, match="1-shot instead of 0-shot; a chat template"):
        joined(tmp_path, Answers([1, 0]), other, {"chat_template": "abc"})


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [
        ({"max_gen_toks": 64}, "up to 64 new tokens instead of the task's own limit of new tokens"),
        ({"stride": 8}, "different windows of the texts"),
        ({"chat_template_arguments": {"enable_thinking": False}}, "different arguments of the chat template"),
    ],
)
def test_settings_of_a_run_that_prompts_cover_are_reasons(
    tmp_path: Path, protocol: dict[str, Any], reason: str
) -> None:
    with pytest.raises(IncomparableError, match=f"different prompts of 2 of 2 documents: {reason}"):
        joined(tmp_path, Answers([1, 0]), Answers([1, 0], prompt="x"), protocol)


def test_one_document_with_another_prompt_is_enough(tmp_path: Path) -> None:
    first = report(tmp_path / "a", "base", {"law": Answers([1, 0, 1], documents=["a", "b", "c"])})
    second = report(tmp_path / "b", "cand", {"law": Answers([1, 0, 1], documents=["a", "b", "d"])})
    mixed = report(tmp_path / "c", "mixed", {"law": Answers([1, 0, 1], documents=["a", "b", "c"], prompt="x")})
    assert join(first, second, "law")["none"].n == 2
    with pytest.raises(IncomparableError, match="different prompts of 2 of 2 documents"):
        join(second, mixed, "law")


@pytest.mark.parametrize(("what", "value"), [("version", "2"), ("dataset", "other/law"), ("split", "train")])
def test_another_task_of_that_name_is_refused(tmp_path: Path, what: str, value: str) -> None:
    with pytest.raises(IncomparableError, match=f"different {what}: {value} instead of "):
        joined(tmp_path, Answers([1, 0]), Answers([1, 0], info={what: value}))


def test_texts_read_in_other_windows_are_refused(tmp_path: Path) -> None:
    """Whose samples are asked the same; only the task's hash knows of windows."""
    with pytest.raises(IncomparableError, match="windows of different length"):
        joined(tmp_path, Answers([2.5], fraction=False), Answers([2.5], fraction=False, info={"prompt_hash": "x"}))


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IncomparableError, match="none in common"):
        joined(tmp_path, Answers([1], documents=["a"]), Answers([1], documents=["b"]))


def test_a_task_that_one_was_not_asked_is_refused(tmp_path: Path) -> None:
    first = report(tmp_path / "a", "base", {"law": Answers([1])})
    second = report(tmp_path / "b", "cand", {"math": Answers([1])})
    with pytest.raises(IncomparableError, match="cand was not evaluated on it"):
        join(first, second, "law")


def test_clusters_are_numbered_and_documents_without_one_stand_alone(tmp_path: Path) -> None:
    named = ["p", None, "q", "p", None]
    found = joined(tmp_path, Answers([1, 0, 1, 0, 1], clusters=named), Answers([1, 0, 1, 0, 1], clusters=named))
    assert found.clusters is not None
    p, alone, q, again, other = found.clusters.tolist()
    assert p == again
    assert len({p, alone, q, other}) == 4
    assert sorted(set(found.clusters.tolist())) == [0, 1, 2, 3]


@pytest.mark.parametrize("named", [None, [None, None, None], ["a", "b", "c"]])
def test_documents_that_all_stand_alone_have_no_clusters(tmp_path: Path, named: Any) -> None:
    assert joined(tmp_path, Answers([1, 0, 1], clusters=named), Answers([1, 0, 1])).clusters is None


def test_clusters_of_an_older_baseline_are_the_candidates(tmp_path: Path) -> None:
    found = joined(tmp_path, Answers([1, 0, 1]), Answers([1, 0, 1], clusters=["a", "a", "b"]))
    assert found.clusters is not None
    assert found.clusters.tolist() == [0, 0, 1]


def test_taint_of_either_report_counts(tmp_path: Path) -> None:
    found = joined(
        tmp_path, Answers([1, 0, 1], tainted=[True, None, False]), Answers([1, 0, 1], tainted=[None, None, True])
    )
    assert found.tainted.tolist() == [True, False, True]
    assert scores(found.where(~found.tainted)) == [(0, 0)]


def test_lengths_are_of_the_answers_that_were_generated_of_several_the_mean(tmp_path: Path) -> None:
    said = ["", " 中文\n", ["abc", "abcde"]]
    found = joined(tmp_path, Answers([1, 0, 1], responses=said), Answers([1, 0, 1]))
    assert found.baseline["length"].to_pylist() == [0, 2, 4]
    assert found.candidate["length"].to_pylist() == [None, None, None]
    assert "prompt" not in found.baseline.column_names


def test_places_are_those_of_the_likeliest_and_of_the_right_choice(tmp_path: Path) -> None:
    chosen = Answers(
        [1, 0, 1, 0],
        choices=[[" silk", " salt"], ["silk", "silk ", "iron"], ["tea"], ["tea", "rice"]],
        logprobs=[[-3.0, -1.0], [-2.0, -math.inf, -2.0], [-1.0], [-math.inf, -5.0]],
        targets=["salt", "silk", "wine", "rice"],
    )
    found = joined(tmp_path, chosen, Answers([1, 0, 1, 0]))
    assert found.baseline["place"].to_pylist() == [1, 0, 0, 1]
    assert found.baseline["target_place"].to_pylist() == [1, 0, None, 1]
    assert found.candidate["place"].to_pylist() == found.candidate["target_place"].to_pylist() == [None] * 4


def test_a_large_join_takes_no_time_to_speak_of(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(5_000)
    values = np.arange(5_000.0)
    found = joined(
        tmp_path,
        Answers(values.tolist(), fraction=False),
        Answers(values[order].tolist(), documents=order.tolist(), fraction=False),
    )
    assert scores(found) == [(i, i) for i in range(5_000)]
