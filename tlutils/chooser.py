"""Which method for which situation: five questions, a decision table, and its form on the static page.

The table is data. Its rows name, per question, the answers to which they apply; the tests walk through every
combination of answers and check that exactly one row applies.
"""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Template

__all__ = ["METHODS", "QUESTIONS", "ROWS", "Method", "choose", "chooser_html", "combinations", "show"]


@dataclass(frozen=True)
class Method:
    """What the chooser answers.

    Parameters
    ----------
    name
        In a few words.
    family
        What is transferred: "examples", "features", "parameters" or "nothing".
    reason, cost, risk
        One sentence each: why it fits, what it takes, how it fails.
    chapter
        File name of the chapter that explains it, without ending.
    """

    name: str
    family: str
    reason: str
    cost: str
    risk: str
    chapter: str


# Question → its text and its answers, both as key → text. The first answer of each is chosen at the start.
QUESTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "labels": (
        "How many labels does the target have?",
        {"none": "none", "few": "a few per class", "many": "enough to train on"},
    ),
    "source": (
        "What is at hand of the source?",
        {"examples": "its examples with their labels", "model": "only a trained model"},
    ),
    "change": (
        "What differs between source and target?",
        {
            "appearance": "how the same things look or are measured",
            "inputs": "how often which inputs occur; the rule is the same",
            "proportions": "how frequent the classes are",
            "rule": "the rule from input to label, or I do not know",
        },
    ),
    "model": (
        "What can be trained?",
        {"network": "a network, features included", "fixed": "a classifier on given features"},
    ),
    "task": (
        "How do the tasks relate?",
        {"same": "same classes", "other": "other classes", "many": "many small tasks, and more to come"},
    ),
}

METHODS: dict[str, Method] = {
    "deep_alignment": Method(
        "Deep alignment: train the features until the domains look alike",
        "features",
        "Without target labels the features must be made common to both domains, and you can train them.",
        "A training with two batches a step, source and target; some minutes to hours.",
        "If class proportions differ, alike features mix the classes; nothing tells you without labels.",
        "deep_alignment",
    ),
    "coral": Method(
        "CORAL: turn and stretch the source until its covariance is that of the target",
        "features",
        "The features are given, so align them by a linear map; means and covariances need no labels.",
        "One formula; needs clearly more target examples than features.",
        "Covariances do not say where the classes went; standardising each domain may do as much.",
        "coral",
    ),
    "weighting": Method(
        "Importance weighting: count source examples as often as they occur in the target",
        "examples",
        "The rule is the same and only the frequency of inputs differs: that is what weights correct.",
        "A classifier that tells the domains apart, or a small optimisation.",
        "In many dimensions few examples carry all the weight; watch the effective sample size.",
        "importance_weighting",
    ),
    "boosting": Method(
        "TrAdaBoost: let a few target labels decide which source examples to believe",
        "examples",
        "Part of the source contradicts the target, and your labels can find out which part.",
        "Some dozen trainings of a small classifier.",
        "With very few labels it believes noise, and it cannot bring an example back.",
        "importance_weighting",
    ),
    "label_shift": Method(
        "Correct the class proportions of the model's answers",
        "nothing",
        "The same classes look the same and are only more or less frequent; no feature need be touched.",
        "Seconds: estimate the proportions from the answers, and weigh the probabilities.",
        "Wrong if the classes also look different; aligning features here would do harm.",
        "domains_and_shift",
    ),
    "fine_tuning": Method(
        "Fine-tuning: start from the source's parameters and train on with target labels",
        "parameters",
        "There are labels to train on and a network that has already learned something similar.",
        "A training that is shorter than from scratch; tune the learning rate.",
        "With few labels the whole network overfits or forgets: train few layers, or with a small rate.",
        "fine_tuning",
    ),
    "probing": Method(
        "Linear probing: keep the features, train a new head",
        "parameters",
        "Few labels suffice for a linear classifier, not for the features below it.",
        "Seconds to minutes; the features are computed once.",
        "The features may lack what the new task asks for; then the head cannot find it.",
        "fine_tuning",
    ),
    "meta_learning": Method(
        "Learn a starting point over many tasks (meta-learning)",
        "parameters",
        "With many small tasks one can learn what they share, and give each new one a good start.",
        "A large training over all tasks, once; each new task then takes some steps.",
        "A new task that is unlike the others starts in the wrong place.",
        "method_families",
    ),
    "target_only": Method(
        "Train on the target; use the source only if it proves a gain",
        "nothing",
        "With enough labels and given features the target needs no help.",
        "What you would pay anyway, and one comparison at equal budget.",
        "Habit: adding the source without the comparison can lose accuracy.",
        "negative_transfer",
    ),
    "as_it_is": Method(
        "Use the source model as it is, and buy a few labels to measure it",
        "parameters",
        "Without source examples and without labels there is little to adapt with.",
        "Nothing to train; the labels buy a measurement first.",
        "Nobody knows how wrong it is until it has been measured.",
        "what_transfers",
    ),
    "labels_first": Method(
        "Buy labels first: no method can find a new rule in unlabelled examples",
        "nothing",
        "The rule or the classes are new, and unlabelled examples say nothing about them.",
        "Some labels per class; then ask again.",
        "Any alignment will run, report success, and may point anywhere.",
        "negative_transfer",
    ),
}

# Method, then what the answers must be; a question that is not named may have any answer.
ROWS: list[tuple[str, dict[str, str]]] = [
    ("labels_first", {"task": "other many", "labels": "none"}),
    ("meta_learning", {"task": "many", "labels": "few many"}),
    ("probing", {"task": "other", "labels": "few"}),
    ("fine_tuning", {"task": "other", "labels": "many", "model": "network"}),
    ("target_only", {"task": "other", "labels": "many", "model": "fixed"}),
    ("fine_tuning", {"task": "same", "labels": "many", "model": "network"}),
    ("target_only", {"task": "same", "labels": "many", "model": "fixed"}),
    ("fine_tuning", {"task": "same", "labels": "few", "model": "network"}),
    ("probing", {"task": "same", "labels": "few", "model": "fixed", "source": "model"}),
    ("label_shift", {"task": "same", "labels": "few", "model": "fixed", "source": "examples",
                     "change": "proportions"}),
    ("weighting", {"task": "same", "labels": "few", "model": "fixed", "source": "examples",
                   "change": "inputs"}),
    ("coral", {"task": "same", "labels": "few", "model": "fixed", "source": "examples",
               "change": "appearance"}),
    ("boosting", {"task": "same", "labels": "few", "model": "fixed", "source": "examples",
                  "change": "rule"}),
    ("labels_first", {"task": "same", "labels": "none", "change": "rule"}),
    ("label_shift", {"task": "same", "labels": "none", "change": "proportions"}),
    ("weighting", {"task": "same", "labels": "none", "change": "inputs", "source": "examples"}),
    ("deep_alignment", {"task": "same", "labels": "none", "change": "appearance", "source": "examples",
                        "model": "network"}),
    ("coral", {"task": "same", "labels": "none", "change": "appearance", "source": "examples",
               "model": "fixed"}),
    ("as_it_is", {"task": "same", "labels": "none", "change": "appearance inputs", "source": "model"}),
]  # fmt: skip


def combinations() -> Iterator[dict[str, str]]:
    """Yield every combination of answers, question → answer."""
    for answers in itertools.product(*(options for _, options in QUESTIONS.values())):
        yield dict(zip(QUESTIONS, answers, strict=True))


def choose(answers: Mapping[str, str]) -> str:
    """Return the key of the method for these answers.

    Parameters
    ----------
    answers
        Question → answer, one for each of `QUESTIONS`.

    Raises
    ------
    ValueError
        If a question is missing or unknown, or an answer is not among its answers.

    Examples
    --------
    >>> choose({"labels": "few", "source": "model", "change": "rule", "model": "network", "task": "same"})
    'fine_tuning'
    """
    if set(answers) != set(QUESTIONS):
        raise ValueError(
            f"received answers to {sorted(answers)}; expected one to each of {sorted(QUESTIONS)}"
        )
    for question, answer in answers.items():
        if answer not in QUESTIONS[question][1]:
            raise ValueError(f"{question} is {answer!r}; expected one of {[*QUESTIONS[question][1]]}")
    return next(name for name, needed in ROWS if _applies(needed, answers))


def _applies(needed: Mapping[str, str], answers: Mapping[str, str]) -> bool:
    """Say whether a row of the table applies to these answers."""
    return all(answers[question] in allowed.split() for question, allowed in needed.items())


_PAGE = Template("""\
<div class="tl-quiz tl-chooser" role="group" aria-label="Method chooser">
$questions
<div role="status">
$answers
</div>
<script type="application/json">$table</script>
<script>
(function () {
  const chooser = document.currentScript.parentElement;
  const table = JSON.parse(chooser.querySelector('script[type="application/json"]').textContent);
  function show() {
    const chosen = [...chooser.querySelectorAll('input:checked')].map(input => input.value).join(' ');
    chooser.querySelectorAll('[data-method]').forEach(answer => {
      answer.hidden = answer.dataset.method !== table[chosen];
    });
  }
  chooser.addEventListener('change', show);
  show();
})();
</script>
</div>""")

_ANSWER = Template("""\
<div data-method="$key"$hidden>
<p><strong>$name.</strong> What is transferred: $family.</p>
<p><em>Why:</em> $reason</p>
<p><em>Cost:</em> $cost</p>
<p><em>Risk:</em> $risk</p>
<p><a href="$chapter.html">Read the chapter</a></p>
</div>""")


def chooser_html() -> str:
    """Return the HTML of the chooser: radio buttons, and one answer that screen readers announce.

    It fetches nothing, stores nothing, and gives the same text each time. Without scripts it shows the answer
    to the first option of each question.

    Examples
    --------
    >>> chooser_html().count("<fieldset")
    5
    """
    start = {question: next(iter(options)) for question, (_, options) in QUESTIONS.items()}
    fields = []
    for question, (text, options) in QUESTIONS.items():
        buttons = "\n".join(
            f'<label><input type="radio" name="chooser-{question}" value="{key}"'
            f"{' checked' if key == start[question] else ''}> <span>{html.escape(label)}</span></label>"
            for key, label in options.items()
        )
        fields.append(f"<fieldset>\n<legend>{html.escape(text)}</legend>\n{buttons}\n</fieldset>")
    answers = [
        _ANSWER.substitute(
            key=key,
            hidden="" if key == choose(start) else " hidden",
            **{name: html.escape(value, quote=False) for name, value in vars(method).items()},
        )
        for key, method in METHODS.items()
    ]
    table = {" ".join(answers.values()): choose(answers) for answers in combinations()}
    return _PAGE.substitute(
        questions="\n".join(fields),
        answers="\n".join(answers),
        table=json.dumps(table, separators=(",", ":")),
    )


def show() -> None:
    """Show the chooser in a notebook."""
    from IPython.display import HTML, display

    display(HTML(chooser_html()))
