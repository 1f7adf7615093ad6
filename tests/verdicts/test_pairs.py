"""Joined samples of two reports, compared with brute force and with expectations written by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.verdicts.pairs import IncomparableError, Pairs, join
from support.answered import Answers, report


def joined(root: Path, baseline: Answers, candidate: Answers, protocol: Any = None) -> Pairs:
    first = report(root / "a", "base", {"law": baseline})
    second = report(root / "b", "cand", {"law": candidate}, protocol=protocol)
    by_filter = join(first, second, "law")
    assert list(by_filter) == ["none"]
    return by_filter["none"]


def scores(pairs: Pairs) -> list[tuple[float, float]]:
    return list(zip(pairs.baseline["acc"].to_pylist(), pairs.candidate["acc"].to_pylist(), strict=True))


def test_equal_documents_are_paired(tmp_path: Path) -> None:
    pairs = joined(tmp_path, Answers([1, 0, 1]), Answers([0, 0, 1]))
    assert scores(pairs) == [(1, 0), (0, 0), (1, 1)]
    assert (pairs.n, pairs.left_out, pairs.clusters) == (3, 0, None)
    assert not pairs.tainted.any()


def test_order_does_not_matter_and_unpaired_documents_are_counted(tmp_path: Path) -> None:
    baseline = Answers([1, 2, 3, 4], documents=["a", "b", "c", "d"], fraction=False)
    pairs = joined(tmp_path, baseline, Answers([30, 50, 10], documents=["c", "e", "a"], fraction=False))
    assert scores(pairs) == [(1, 10), (3, 30)]
    assert pairs.left_out == 3


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.lists(st.integers(0, 3), min_size=1, max_size=12))
@settings(
    max_examples=settings.default.max_examples // 2,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_repeated_documents_are_paired_in_order(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], second: list[int]
) -> None:
    root = tmp_path_factory.mktemp("twice")
    sides = [
        Answers([float(i) for i in range(len(documents))], documents=documents, fraction=False)
        for documents in (first, second)
    ]
    expected = [
        (float(i), float([j for j, other in enumerate(second) if other == document][first[:i].count(document)]))
        for i, document in enumerate(first)
        if first[:i].count(document) < second.count(document)
    ]
    if not expected:
        with pytest.raises(IncomparableError, match="none in common"):
            joined(root, *sides)
        return
    pairs = joined(root, *sides)
    assert scores(pairs) == expected
    assert pairs.left_out == len(first) + len(second) - 2 * len(expected)


def test_different_prompts_are_refused_with_the_cause(tmp_path: Path) -> None:
    with pytest.raises(
        IncomparableError, match="different prompts of 2 of 2 documents: the text of the prompts differs"
    ):
        joined(tmp_path, Answers([1, 0]), Answers([1, 0], prompt="Think. "))


def test_the_cause_names_the_different_settings(tmp_path: Path) -> None:
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
def test_run_settings_that_change_prompts_are_causes(tmp_path: Path, protocol: dict[str, Any], reason: str) -> None:
    with pytest.raises(IncomparableError, match=f"different prompts of 2 of 2 documents: {reason}"):
        joined(tmp_path, Answers([1, 0]), Answers([1, 0], prompt="x"), protocol)


def test_one_document_with_a_different_prompt_is_enough(tmp_path: Path) -> None:
    first = report(tmp_path / "a", "base", {"law": Answers([1, 0, 1], documents=["a", "b", "c"])})
    second = report(tmp_path / "b", "cand", {"law": Answers([1, 0, 1], documents=["a", "b", "d"])})
    mixed = report(tmp_path / "c", "mixed", {"law": Answers([1, 0, 1], documents=["a", "b", "c"], prompt="x")})
    assert join(first, second, "law")["none"].n == 2
    with pytest.raises(IncomparableError, match="different prompts of 2 of 2 documents"):
        join(second, mixed, "law")


@pytest.mark.parametrize(("field", "value"), [("version", "2"), ("dataset", "other/law"), ("split", "train")])
def test_a_different_task_of_the_same_name_is_refused(tmp_path: Path, field: str, value: str) -> None:
    with pytest.raises(IncomparableError, match=f"different {field}: {value} instead of "):
        joined(tmp_path, Answers([1, 0]), Answers([1, 0], info={field: value}))


def test_texts_in_different_windows_are_refused(tmp_path: Path) -> None:
    """The samples have equal prompts; only the hash of the task depends on the windows."""
    with pytest.raises(IncomparableError, match="windows of different length"):
        joined(tmp_path, Answers([2.5], fraction=False), Answers([2.5], fraction=False, info={"prompt_hash": "x"}))


def test_reports_without_common_documents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IncomparableError, match="none in common"):
        joined(tmp_path, Answers([1], documents=["a"]), Answers([1], documents=["b"]))


def test_a_question_whose_right_answer_was_edited_is_different_data(tmp_path: Path) -> None:
    """The prompt is the same, the document is not: it was not left out by one of the checkpoints."""
    first = report(tmp_path / "a", "base", {"law": Answers([1, 0, 1])})
    second = report(tmp_path / "b", "cand", {"law": Answers([1, 1, 1])})
    file = second.folder / "samples" / "law.parquet"
    table = pq.read_table(file)
    edited = ["another", *table["doc_hash"].to_pylist()[1:]]
    place = table.column_names.index("doc_hash")
    pq.write_table(table.set_column(place, "doc_hash", pa.array(edited)), file)
    with pytest.raises(IncomparableError, match="different data: 1 of 3 questions have another right answer"):
        join(first, second, "law")


def test_a_task_that_one_report_lacks_is_refused(tmp_path: Path) -> None:
    first = report(tmp_path / "a", "base", {"law": Answers([1])})
    second = report(tmp_path / "b", "cand", {"math": Answers([1])})
    with pytest.raises(IncomparableError, match="cand was not evaluated on it"):
        join(first, second, "law")


def test_clusters_are_numbered_and_other_documents_get_their_own(tmp_path: Path) -> None:
    names = ["p", None, "q", "p", None]
    pairs = joined(tmp_path, Answers([1, 0, 1, 0, 1], clusters=names), Answers([1, 0, 1, 0, 1], clusters=names))
    assert pairs.clusters is not None
    p, alone, q, again, other = pairs.clusters.tolist()
    assert p == again
    assert len({p, alone, q, other}) == 4
    assert sorted(set(pairs.clusters.tolist())) == [0, 1, 2, 3]


@pytest.mark.parametrize("names", [None, [None, None, None], ["a", "b", "c"]])
def test_documents_without_clusters_have_no_numbers(tmp_path: Path, names: Any) -> None:
    assert joined(tmp_path, Answers([1, 0, 1], clusters=names), Answers([1, 0, 1])).clusters is None


def test_an_older_baseline_takes_the_candidates_clusters(tmp_path: Path) -> None:
    pairs = joined(tmp_path, Answers([1, 0, 1]), Answers([1, 0, 1], clusters=["a", "a", "b"]))
    assert pairs.clusters is not None
    assert pairs.clusters.tolist() == [0, 0, 1]


def test_taint_of_either_report_counts(tmp_path: Path) -> None:
    pairs = joined(
        tmp_path, Answers([1, 0, 1], tainted=[True, None, False]), Answers([1, 0, 1], tainted=[None, None, True])
    )
    assert pairs.tainted.tolist() == [True, False, True]
    assert scores(pairs.where(~pairs.tainted)) == [(0, 0)]


def test_lengths_are_means_over_generated_answers(tmp_path: Path) -> None:
    responses = ["", " 中文\n", ["abc", "abcde"]]
    pairs = joined(tmp_path, Answers([1, 0, 1], responses=responses), Answers([1, 0, 1]))
    assert pairs.baseline["length"].to_pylist() == [0, 2, 4]
    assert pairs.candidate["length"].to_pylist() == [None, None, None]
    assert "prompt" not in pairs.baseline.column_names


def test_places_are_the_most_likely_and_the_right_choice(tmp_path: Path) -> None:
    answers = Answers(
        [1, 0, 1, 0],
        choices=[[" silk", " salt"], ["silk", "silk ", "iron"], ["tea"], ["tea", "rice"]],
        logprobs=[[-3.0, -1.0], [-2.0, -math.inf, -2.0], [-1.0], [-math.inf, -5.0]],
        targets=["salt", "silk", "wine", "rice"],
    )
    pairs = joined(tmp_path, answers, Answers([1, 0, 1, 0]))
    assert pairs.baseline["place"].to_pylist() == [1, 0, 0, 1]
    assert pairs.baseline["target_place"].to_pylist() == [1, 0, None, 1]
    assert pairs.candidate["place"].to_pylist() == pairs.candidate["target_place"].to_pylist() == [None] * 4


def test_a_large_join_is_fast(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(5_000)
    values = np.arange(5_000.0)
    pairs = joined(
        tmp_path,
        Answers(values.tolist(), fraction=False),
        Answers(values[order].tolist(), documents=order.tolist(), fraction=False),
    )
    assert scores(pairs) == [(i, i) for i in range(5_000)]
