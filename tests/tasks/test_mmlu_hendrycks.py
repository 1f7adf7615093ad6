"""`mmlu_hendrycks`: the original prompt byte for byte, and averages with and without anatomy."""

from __future__ import annotations

from lm_eval.tasks import TaskManager

from harness.common.resources import folder
from harness.tasks.catalogue import Catalogue
from support import mirrors

SHOTS = [{"question": f" Shot {i}? ", "choices": ["w", "x", "y", "z"], "answer": i % 4} for i in range(5)]
ASKED = {"question": "Which is {{ it }}?\n", "choices": ["one", "2", "three ", "4"], "answer": 2}
HEADER = "The following are multiple choice questions (with answers) about  college biology.\n\n"
GOLDEN = (
    HEADER
    + "".join(f" Shot {i}? \nA. w\nB. x\nC. y\nD. z\nAnswer: {'ABCD'[i % 4]}\n\n" for i in range(5))
    + "Which is {{ it }}?\n\nA. one\nB. 2\nC. three \nD. 4\nAnswer:"
)
# Sizes of hendrycks/test's categories.py (anatomy in Other) and of lm-eval's and the ChatGLM tables' (in STEM).
SIZES = {
    "STEM": 3018,
    "Humanities": 4705,
    "Social sciences": 3077,
    "Other": 3242,
    "STEM, anatomy in it": 3153,
    "Other, anatomy not in it": 3107,
}


def test_the_prompt_equals_the_original(tmp_path):
    mirrors.write(tmp_path, "cais/mmlu", "college_biology", dev=SHOTS, test=[ASKED])
    built = mirrors.task("mmlu_hendrycks_college_biology", tmp_path)
    assert mirrors.requests(built) == [(GOLDEN, f" {letter}") for letter in "ABCD"]


def test_every_subject_has_a_task_and_a_description_with_its_name():
    index = TaskManager(include_defaults=False, include_path=[str(folder("tasks") / "mmlu_hendrycks")]).task_index
    subjects = [entry.cfg for entry in index.values() if entry.kind.name == "TASK"]
    assert len(subjects) == 57
    for config in subjects:
        name = config["dataset_name"]
        assert config["task"] == f"mmlu_hendrycks_{name}"
        assert config["description"] == HEADER.replace("college biology", name.replace("_", " "))


def test_averages_weigh_questions_and_place_anatomy_by_their_name(data):
    tasks = Catalogue().load(["mmlu_hendrycks"], data)
    sizes = {name: len(task.documents) for name, task in tasks.tasks.items()}
    averages = {declared.average.name: declared.average for declared in tasks.averages}
    assert all(average.weight == "sample" for average in averages.values())
    assert sum(sizes[name] for name in averages["mmlu_hendrycks"].tasks) == 14042
    for name, size in SIZES.items():
        assert sum(sizes[member] for member in averages[f"mmlu_hendrycks/{name}"].tasks) == size
