"""Every combination of answers ends in one method, every method can be reached, links lead somewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tlutils import chooser
from tlutils.chooser import METHODS, QUESTIONS, ROWS, choose, chooser_html, combinations

CHAPTERS = Path(__file__).resolve().parent.parent / "chapters"


def test_every_combination_ends_in_exactly_one_row():
    found = list(combinations())
    assert len(found) == 3 * 2 * 4 * 2 * 3
    for answers in found:
        rows = [name for name, needed in ROWS if chooser._applies(needed, answers)]
        assert len(rows) == 1, (answers, rows)
        assert choose(answers) == rows[0]


def test_every_method_and_every_row_can_be_reached():
    assert {choose(answers) for answers in combinations()} == set(METHODS)
    for _, needed in ROWS:
        assert any(chooser._applies(needed, answers) for answers in combinations()), needed


def test_every_answer_to_every_question_matters():
    for question, (_, options) in QUESTIONS.items():
        reached = {
            option: [choose(answers) for answers in combinations() if answers[question] == option]
            for option in options
        }
        assert len({tuple(methods) for methods in reached.values()}) == len(options), question


def test_rows_name_only_what_there_is():
    for name, needed in ROWS:
        assert name in METHODS
        for question, allowed in needed.items():
            assert set(allowed.split()) <= set(QUESTIONS[question][1])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_says_reason_cost_and_risk_and_its_chapter_is_there(method):
    assert (CHAPTERS / f"{method.chapter}.ipynb").is_file()
    assert method.family in ("examples", "features", "parameters", "nothing")
    for sentence in (method.reason, method.cost, method.risk):
        assert re.fullmatch(r"[A-Z].{20,}\.", sentence)


def test_no_labels_never_lead_to_a_method_that_trains_on_them():
    for answers in combinations():
        if answers["labels"] == "none":
            assert choose(answers) not in (
                "fine_tuning",
                "probing",
                "boosting",
                "meta_learning",
                "target_only",
            )
        if answers["source"] == "model":
            assert choose(answers) not in ("weighting", "boosting", "coral", "deep_alignment")


class Page(HTMLParser):
    """Collects what the tests ask of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("input", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_works_by_keyboard_and_by_ear():
    page = Page(chooser_html())
    assert page.open == []
    count = {
        tag: sum(tag == other for other, _ in page.tags) for tag in ("fieldset", "legend", "input", "label")
    }
    assert count["fieldset"] == count["legend"] == len(QUESTIONS) == 5
    assert count["input"] == count["label"] == sum(len(options) for _, options in QUESTIONS.values())
    inputs = [attrs for tag, attrs in page.tags if tag == "input"]
    assert {attrs["type"] for attrs in inputs} == {"radio"}, "native controls take the keyboard"
    assert sum("checked" in attrs for attrs in inputs) == len(QUESTIONS)
    assert [attrs for tag, attrs in page.tags if attrs.get("role") == "status"]
    shown = [attrs for tag, attrs in page.tags if "data-method" in attrs and "hidden" not in attrs]
    assert [attrs["data-method"] for attrs in shown] == ["deep_alignment"]


def test_the_page_asks_nobody_and_is_the_same_each_time():
    page = chooser_html()
    assert page == chooser_html()
    assert not re.search(r"https?:|//|fetch|XMLHttp|localStorage|cookie", page)
    assert all("src" not in attrs for _, attrs in Page(page).tags)
    assert {attrs["href"] for tag, attrs in Page(page).tags if tag == "a"} == {
        f"{method.chapter}.html" for method in METHODS.values()
    }


def test_the_page_is_shown_in_a_notebook(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    chooser.show()
    assert shown[0].data == chooser_html()


@pytest.mark.usefixtures("as_reader")
def test_answers_that_do_not_exist_are_refused():
    good = next(combinations())
    with pytest.raises(ValueError, match="labels is 'some'; expected one of"):
        choose({**good, "labels": "some"})
    with pytest.raises(ValueError, match="expected one to each of"):
        choose({"labels": "none"})
