"""`gsm8k_fixed`: every prompt begins with the same eight examples, and answers are compared as numbers."""

from __future__ import annotations

import pytest

from support import mirrors

SHOTS = [{"question": f"第{i}题？", "answer": f"想一想 <<{i}+1={i + 1}>>\n#### {i + 1}"} for i in range(9)]
ASKED = [{"question": "一千加二百？", "answer": "1000+200=1200\n#### 1,200"}, {"question": "零？", "answer": "#### 0"}]
SHARED = "".join(f"Question: 第{i}题？\nAnswer: 想一想 <<{i}+1={i + 1}>>\n#### {i + 1}\n\n" for i in range(8))


@pytest.fixture
def built(tmp_path):
    mirrors.write(tmp_path, "openai/gsm8k", "main", train=SHOTS, test=ASKED)
    return mirrors.task("gsm8k_fixed", tmp_path)


def test_every_prompt_begins_with_the_same_eight_examples(built):
    assert [prompt for prompt, _ in mirrors.requests(built)] == [
        f"{SHARED}Question: 一千加二百？\nAnswer:",
        f"{SHARED}Question: 零？\nAnswer:",
    ]


@pytest.mark.parametrize(
    ("response", "loose", "strict"),
    [
        ("1000 + 200 = 1,200\n#### 1,200", 1.0, 1.0),
        ("1000 + 200 = 1200\n#### 1200.", 1.0, 1.0),
        ("The answer is $1,200.00.", 1.0, 0.0),
        ("共１，２００元", 1.0, 0.0),
        ("#### 200", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_answers_are_compared_as_numbers(built, response, loose, strict):
    built.build_all_requests()
    for instance in built.instances:
        instance.resps = [response]
    built.apply_filters()
    first = built.instances[0]
    scores = {kind: built.process_results(first.doc, [text]) for kind, text in first.filtered_resps.items()}
    assert scores == {"last-number": {"exact_match": loose}, "strict-match": {"exact_match": strict}}
