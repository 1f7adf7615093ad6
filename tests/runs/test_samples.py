"""lm-eval's logged samples → rows of a report, for every kind of request."""

from __future__ import annotations

from typing import Any

from harness.runs import samples


def logged(arguments: list[tuple[Any, ...]], responses: list[Any], **changes: Any) -> dict[str, Any]:
    plain = {
        "doc_id": 0,
        "filter": "none",
        "doc_hash": "d",
        "target_hash": "t",
        "target": 1,
        "arguments": arguments,
        "resps": [[response] for response in responses],
        "filtered_resps": responses,
        "metrics": ["acc"],
        "acc": 1.0,
    }
    return {**plain, **changes}


def test_choices_and_prediction_are_continuations() -> None:
    row = samples.row(logged([("问", " A"), ("问", " B")], [(-2.0, False), (-1.0, True)]))
    assert (row["choices"], row["prediction"], row["target"]) == ([" A", " B"], "B", "B")
    assert (row["logprobs"], row["greedy"]) == ([-2.0, -1.0], [False, True])


def test_likelihoods_without_a_context_are_not_choices() -> None:
    arguments = [("问", "A"), ("问", "B"), ("", "A"), ("", "B")]
    row = samples.row(logged(arguments, [(-2.0, False), (-1.0, False), (-0.1, False), (-9.0, False)]))
    assert (row["choices"], row["prediction"], len(row["logprobs"])) == (["A", "B"], "B", 2)


def test_choices_with_their_own_contexts_begin_where_the_contexts_differ() -> None:
    arguments = [("小明说他", "累了"), ("小明说她", "累了")]
    row = samples.row(logged(arguments, [(-1.0, False), (-2.0, False)]))
    assert (row["choices"], row["prediction"], row["target"]) == (["他累了", "她累了"], "他累了", "她累了")


def test_a_generation_has_every_repeat_and_the_filtered_answer() -> None:
    sample = logged([("Q", {"until": ["\n"]})], ["12"], target="12", resps=[["is 12", "is 13"]], filtered_resps=["12"])
    row = samples.row(sample)
    assert (row["responses"], row["prediction"], row["target"]) == (["is 12", "is 13"], "12", "12")


def test_the_prompt_hash_covers_every_argument() -> None:
    first = [("Q", {"until": ["\n"]})]
    others = [[("Q", {"until": ["."]})], [("Q.", {"until": ["\n"]})], [*first, *first]]
    hashes = {samples.digest([list(request) for request in requests]) for requests in (first, *others)}
    assert len(hashes) == 4
