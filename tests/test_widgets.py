"""Labs: every frame is there, labelled, small, and the live form computes at any value."""

import base64
import html
import io
import json
import re

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from tlutils import widgets
from tlutils.widgets import static_lab


def draw(shift, width=1.0):
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.plot([0, shift], [0, width])
    return figure


def describe(shift, width=1.0):
    return f'shift {shift:.1f} & width {width:.0f} </script> "quoted"'


def parse(page):
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S).group(1))
    return data, re.search(r'<img class="tl-lab-frame" alt="(.*?)" src="(.*?)">', page, re.S)


def test_every_combination_has_its_frame_and_sentence():
    page = static_lab(draw, describe, label="?", shift=[0.0, 0.5, 1.0], width=[1.0, 2.0])
    data, _ = parse(page)
    assert data["texts"] == [["0", "0.5", "1"], ["1", "2"]]
    assert data["says"] == [describe(s, w) for s in (0.0, 0.5, 1.0) for w in (1.0, 2.0)]
    images = [Image.open(io.BytesIO(base64.b64decode(frame))) for frame in data["frames"]]
    assert len(images) == 6
    assert {(image.format, image.size) for image in images} == {("WEBP", (200, 100))}


def test_first_view_is_the_start_with_text_for_screen_readers():
    page = static_lab(draw, describe, label="How far?", start={"shift": 0.5}, names={"shift": "shift (m)"},
                      shift=[0.0, 0.5, 1.0])  # fmt: skip
    data, image = parse(page)
    assert html.unescape(image.group(1)) == describe(0.5)
    assert image.group(2).endswith(data["frames"][1])
    assert 'role="group" aria-label="How far?"' in page
    assert '<input type="range" min="0" max="2" step="1" value="1" aria-valuetext="0.5">' in page
    assert "<span>shift (m)</span>" in page
    assert 'aria-live="polite"' in page


def test_a_lab_without_a_description_says_its_values():
    data, image = parse(static_lab(draw, names={"width": "σ"}, shift=[0.0, 0.5], width=[1.0, 2.0]))
    assert data["says"] == [
        "shift 0, σ 1",
        "shift 0, σ 2",
        "shift 0.5, σ 1",
        "shift 0.5, σ 2",
    ]
    assert image.group(1) == "shift 0, σ 1"


def test_a_description_cannot_end_the_script():
    page = static_lab(draw, describe, label="?", shift=[0.0, 1.0])
    assert page.count("</script>") == 2, "the two script elements of the lab and no more"


def test_figures_are_closed():
    static_lab(draw, describe, label="?", shift=[0.0, 1.0])
    assert plt.get_fignums() == []


def test_page_asks_for_nothing_from_elsewhere():
    assert not re.search(r"https?://", static_lab(draw, describe, label="?", shift=[0.0, 1.0]))


@pytest.mark.parametrize(("axes", "options", "message"), [
    ({}, {}, "0 axes"),
    ({"a": [1, 2], "b": [1, 2], "c": [1, 2]}, {}, "3 axes"),
    ({"shift": [1.0]}, {}, "has 1 value"),
    ({"shift": [0.0, 1.0]}, {"start": {"shift": 0.3}}, "start value 0.3"),
    ({"shift": [0.0, 1.0]}, {"start": {"shft": 0.0}}, "shft"),
])  # fmt: skip
def test_impossible_labs_are_refused(axes, options, message):
    with pytest.raises(ValueError, match=message):
        static_lab(draw, describe, label="?", **options, **axes)


def test_a_lab_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(widgets, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"takes \d+ kB with its 2 frames; at most 1 kB"):
        static_lab(draw, describe, label="?", shift=[0.0, 1.0])


def test_one_output_carries_both_forms(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append((data, raw)))
    widgets.explore(draw, describe, label="How far?", shift=[0.0, 1.0])
    ((bundle, raw),) = shown
    assert raw
    assert bundle["text/plain"] == "[lab: How far?]"
    assert "tl-lab" in bundle["text/html"]
    view = bundle["application/vnd.jupyter.widget-view+json"]
    assert set(view) == {"version_major", "version_minor", "model_id"}
    assert re.fullmatch(r"[0-9a-f]{32}", view["model_id"])


def test_live_form_draws_at_any_value_between_the_ends():
    drawn = []

    def watch(**values):
        drawn.append(values)
        return draw(**values)

    box = widgets._live_widget(watch, describe, {}, {}, {"shift": [0.0, 0.5, 1.0]})
    slider, image, says = box.children
    slider.value = 0.25
    assert drawn == [{"shift": 0.0}, {"shift": 0.25}]
    assert bytes(image.value).startswith(b"\x89PNG")
    assert says.value == describe(0.25)


def test_values_that_are_no_floats_are_chosen_from_the_list():
    slider = widgets._slider(__import__("ipywidgets"), "labels", [1, 5, "all"], 5)
    assert [value for _, value in slider.options] == [1, 5, "all"]
    assert slider.value == 5
