"""Every solution passes its check, every stub fails it, and a wrong name is answered with the nearest."""

import matplotlib.pyplot as plt
import pytest

from chapters import PATHS, exercises, tagged
from tlutils.exercises import check, quiz, verdict

ALL = [pytest.param(path, exercise, id=exercise.name) for path in PATHS for exercise in exercises(path)]


@pytest.fixture(scope="module")
def namespace():
    """Run a chapter's imports cell once; give each use a copy of what it defines."""
    known = {}

    def of(path):
        if path not in known:
            (imports,) = tagged(path, "imports")
            scope = {"__name__": "__main__"}
            with plt.rc_context():
                exec(compile(imports["source"], str(path), "exec"), scope)
            known[path] = scope
        return dict(known[path])

    return of


@pytest.mark.parametrize(("path", "exercise"), ALL)
def test_the_solution_passes_its_check(path, exercise, namespace):
    assert exercise.solution, "the solution stands in the chapter"
    scope = namespace(path)
    exec(compile(exercise.solution, exercise.name, "exec"), scope)
    is_right, sentence = verdict(exercise.name, eval(exercise.answer, scope))
    assert is_right, sentence
    assert len(sentence) > 10


@pytest.mark.parametrize(("path", "exercise"), ALL)
def test_the_stub_fails_its_check_and_is_told_why(path, exercise, namespace):
    scope = namespace(path)
    exec(compile(exercise.stub, exercise.name, "exec"), scope)
    is_right, sentence = verdict(exercise.name, eval(exercise.answer, scope))
    assert not is_right
    assert len(sentence) > 10


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_chapter_has_exercises_with_two_hints_each_and_a_quiz(path):
    found = exercises(path)
    assert 3 <= len(found) <= 5
    assert [exercise.num_hints for exercise in found] == [2] * len(found)
    assert all(exercise.name.startswith(f"{path.stem}/") for exercise in found)
    assert len({exercise.label for exercise in found}) == len(found)
    assert tagged(path, "quiz"), "and a quiz"
    outputs = [output for cell in tagged(path, "check") for output in cell["outputs"]]
    assert all("Not yet:" in "".join(output["text"]) for output in outputs), "stored with the stubs"


def test_check_prints_its_verdict(capsys):
    check(ALL[0].values[1].name, ...)
    assert capsys.readouterr().out == "Not yet: replace the ... by your answer.\n"


def test_an_answer_that_stops_is_explained():
    def stops(*_args, **_kwargs):
        raise ZeroDivisionError("division by zero")

    named = [exercise.values[1] for exercise in ALL if "def " in exercise.values[1].stub]
    is_right, sentence = verdict(named[0].name, stops)
    assert not is_right
    assert "ZeroDivisionError" in sentence


def test_unknown_exercises_offer_the_nearest():
    chapter, _, name = ALL[0].values[1].name.partition("/")
    with pytest.raises(ValueError, match=rf"did you mean \[.*'{name}'"):
        verdict(f"{chapter}/{name}x", 1)
    with pytest.raises(ValueError, match="no exercises for the chapter 'nowhere'"):
        verdict("nowhere/else", 1)


@pytest.mark.parametrize(("questions", "message"), [
    ([], "question"),
    ([{"question": "?", "options": [{"text": "a", "correct": True, "reason": "r"}]}], "option"),
    ([{"question": "?", "options": [{"text": "a", "correct": False, "reason": "r"},
                                    {"text": "b", "correct": False, "reason": "r"}]}], "correct"),
    ([{"question": "?", "options": [{"text": "a", "correct": True, "reason": ""},
                                    {"text": "b", "correct": False, "reason": "r"}]}], "reason"),
])  # fmt: skip
def test_a_quiz_without_a_right_answer_or_a_reason_is_refused(questions, message):
    with pytest.raises(ValueError, match=message):
        quiz(questions)
