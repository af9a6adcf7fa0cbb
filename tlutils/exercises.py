"""Exercises that tell the reader what is wrong, and quizzes with a reason per option."""

from __future__ import annotations

import difflib
import importlib
import inspect
from typing import Any

__all__ = ["Wrong", "check", "verdict"]


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


def check(name: str, answer: Any) -> None:
    """Print whether `answer` solves the exercise `name`, and if not, what is wrong with it.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    is_right, sentence = verdict(name, answer)
    print(f"{'Correct:' if is_right else 'Not yet:'} {sentence}")
