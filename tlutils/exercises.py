"""Exercises that tell the reader what is wrong, and quizzes with a reason per option."""

from __future__ import annotations

import difflib
import hashlib
import html
import importlib
import inspect
import math
import re
from collections.abc import Sequence
from string import Template
from typing import Any

__all__ = ["Wrong", "check", "quiz", "quiz_html", "verdict"]

# Plain HTML: radio buttons in a fieldset, one button, and a status line that screen readers announce. The
# reasons are in the page from the start, so that mathematics in them is typeset with the rest.
_QUESTION = Template("""\
<fieldset class="tl-quiz tex2jax_process">
<legend>$question</legend>
$options
<button type="button">Check</button>
<div role="status">
$reasons
</div>
<script>
(function () {
  const quiz = document.currentScript.parentElement;
  const inputs = [...quiz.querySelectorAll('input')];
  const reasons = [...quiz.querySelectorAll('[role="status"] p')];
  const hide = () => reasons.forEach(reason => { reason.hidden = true; });
  inputs.forEach(input => input.addEventListener('change', hide));
  quiz.querySelector('button').addEventListener('click', function () {
    hide();
    const chosen = inputs.findIndex(input => input.checked);
    reasons[chosen < 0 ? inputs.length : chosen].hidden = false;
  });
})();
</script>
</fieldset>""")


class Wrong(Exception):
    """An answer that is not right; the message says what was found and what to look at."""


def verdict(name: str, answer: Any) -> tuple[bool, str]:
    """Judge an answer: whether it is right, and the sentence for the reader.

    Parameters
    ----------
    name
        ``chapter/exercise``: the function `exercise` of the module ``tlutils.checks.chapter``. It raises
        `Wrong` or returns a sentence about the right answer.
    answer
        What the reader wrote: a value or a function. ``...`` stands for "not answered yet".

    Raises
    ------
    ValueError
        If there is no such exercise; the nearest names are offered.
    """
    chapter, _, exercise = name.partition("/")
    try:
        module = importlib.import_module(f"tlutils.checks.{chapter}")
    except ModuleNotFoundError as error:
        if error.name != f"tlutils.checks.{chapter}":  # something else is missing
            raise
        raise ValueError(f"there are no exercises for the chapter {chapter!r}") from error
    checks = {
        key: function
        for key, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and key[0] != "_"
    }
    if exercise not in checks:
        near = difflib.get_close_matches(exercise, checks, n=3, cutoff=0.4) or sorted(checks)
        raise ValueError(f"the chapter {chapter!r} has no exercise {exercise!r}; did you mean {near}?")
    if answer is ...:
        return False, "replace the ... by your answer."
    try:
        return True, checks[exercise](answer)
    except Wrong as wrong:
        return False, str(wrong)
    except Exception as error:  # whatever the reader's code raises is an answer to be explained
        return False, f"your code stopped with {type(error).__name__}: {error}"


def number(value: Any, what: str) -> float:
    """Return what a reader's code gave as a finite number, for the checks.

    Raises
    ------
    Wrong
        If it is no number, infinite or NaN; every comparison with NaN fails, so that it might pass a check.

    Examples
    --------
    >>> number("2", "the mean")
    2.0
    """
    try:
        found = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{what} is {value!r}; expected one number.") from None
    if not math.isfinite(found):
        raise Wrong(f"{what} is {found}; expected a finite number.")
    return found


def check(name: str, answer: Any) -> None:
    """Print whether `answer` solves the exercise `name`, and if not, what is wrong with it.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    is_right, sentence = verdict(name, answer)
    print(f"{'Correct:' if is_right else 'Not yet:'} {sentence}")


def _inline(text: str) -> str:
    """Return text as HTML, with `words in backticks` as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def quiz_html(questions: Sequence[dict[str, Any]]) -> str:
    """Return the HTML of a quiz. Arguments are those of `quiz`.

    The same questions give the same text, so that a stored notebook compares equal.

    Raises
    ------
    ValueError
        As in `quiz`.

    Examples
    --------
    >>> right = {"text": "yes", "correct": True, "reason": "It is."}
    >>> wrong = {"text": "no", "correct": False, "reason": "Look again."}
    >>> quiz_html([{"question": "Is 1 odd?", "options": [right, wrong]}]).count("<input")
    2
    """
    if not questions:
        raise ValueError("received a quiz of 0 questions; expected at least 1 question")
    return "\n".join(_question_html(question) for question in questions)


def _question_html(question: dict[str, Any]) -> str:
    """Return the HTML of one question after checking its form."""
    text, options = question["question"], question["options"]
    num_correct = sum(option["correct"] for option in options)
    if len(options) < 2 or num_correct != 1:
        raise ValueError(
            f"the question {text!r} has {len(options)} options, {num_correct} of them correct; "
            "expected at least 2 options and exactly 1 correct one"
        )
    if silent := [option["text"] for option in options if not option["reason"].strip()]:
        raise ValueError(f"the question {text!r} gives no reason for the options {silent}")
    group = "quiz-" + hashlib.sha256(text.encode()).hexdigest()[:12]
    labels = [
        f'<label><input type="radio" name="{group}"> <span>{_inline(option["text"])}</span></label>'
        for option in options
    ]
    reasons = [
        f"<p hidden><strong>{'Correct' if option['correct'] else 'Not quite'}.</strong> "
        f"{_inline(option['reason'])}</p>"
        for option in options
    ]
    reasons.append("<p hidden>Choose an answer first.</p>")
    return _QUESTION.substitute(question=_inline(text), options="\n".join(labels), reasons="\n".join(reasons))


def quiz(questions: Sequence[dict[str, Any]]) -> None:
    """Show a quiz: one answer per question, and for every option the reason why it is right or wrong.

    It works in a notebook and on the static page, by mouse and by keyboard, and fetches nothing.

    Parameters
    ----------
    questions
        Each ``{"question": str, "options": [{"text": str, "correct": bool, "reason": str}, ...]}`` with
        exactly one correct option. Words in backticks become code; mathematics goes between ``\\(`` and
        ``\\)``.

    Raises
    ------
    ValueError
        If there is no question, or one has fewer than two options, not exactly one correct option, or an
        option without reason.
    """
    from IPython.display import HTML, display

    display(HTML(quiz_html(questions)))
