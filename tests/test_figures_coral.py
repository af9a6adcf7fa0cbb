"""Figures of the chapter `coral` show the classes and the pairs that they are given."""

import io

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
from sklearn.linear_model import LogisticRegression

from tlutils.figures import coral as figures


def test_class_clouds_tell_classes_apart_and_share_their_axes():
    x, y = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]]), np.array([0, 1, 1])
    figure = figures.class_clouds({"a": (x, y), "b": (x + 5, y)}, background=x)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    assert [len(points.get_offsets()) for points in figure.axes[0].collections] == [3, 1, 2]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["class 0", "class 1"]


def test_the_boundary_of_a_classifier_is_drawn_in_each_panel():
    x, y = np.array([[-1.0, 0.0], [1.0, 0.0], [-1.0, 1.0], [1.0, 1.0]]), np.array([0, 1, 0, 1])
    figure = figures.class_clouds({"a": (x, y), "b": (x, y)}, line=LogisticRegression().fit(x, y))
    for ax in figure.axes:
        line = np.concatenate([path.vertices for path in ax.collections[-1].get_paths()])
        assert np.abs(line[:, 0]).max() < 0.1, "the classes differ in the first coordinate alone"


def test_pair_arrows_run_from_before_to_after_and_show_who_loses():
    figure = figures.pair_arrows(["A → B", "B → A"], {"one": ([10.0, 30.0], [20.0, 25.0])}, xlabel="%")
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["A → B", "B → A"]
    assert [arrow.xy for arrow in ax.texts] == [(20.0, 1), (25.0, 0)]
    won, lost = (line.get_color() for line in ax.lines)
    assert won != lost


def test_photographs_stand_in_rows_and_columns_as_one_small_jpeg():
    red, blue = (np.full((8, 8, 3), colour, dtype=np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    shown = figures.photograph_sheet(
        {"a": np.stack([red, blue, blue]), "b": np.stack([red, red, blue])}, ["x", "y", "z"]
    )
    assert plt.get_fignums() == []
    assert len(shown.data) < 30_000
    pixels = np.asarray(PIL.Image.open(io.BytesIO(shown.data)).convert("RGB")).astype(int)
    is_red = (pixels[..., 0] > 200) & (pixels[..., 1:].max(axis=2) < 60)
    is_blue = (pixels[..., 2] > 200) & (pixels[..., :2].max(axis=2) < 60)
    assert is_red.sum() == pytest.approx(is_blue.sum(), rel=0.05), "three squares each"
    third = pixels.shape[1] // 3
    assert is_red[:, : third + 20].sum() > 0.6 * is_red.sum(), "two of three red ones are on the left"
    assert not is_red[:, 2 * third + 20 :].any()


def test_a_sheet_has_one_photograph_for_each_column():
    with pytest.raises(ValueError, match="shorter"):
        figures.photograph_sheet({"a": np.zeros((1, 8, 8, 3), dtype=np.uint8)}, ["x", "y"])
