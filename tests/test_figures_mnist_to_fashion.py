"""Pictures, figures and the laboratory of the chapter from MNIST to Fashion-MNIST."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlutils.figures import mnist_to_fashion as figures


def test_pictures_come_back_from_hexadecimal_digits():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    assert np.array_equal(figures.from_hex(pictures.tobytes().hex()), pictures)


@pytest.mark.parametrize("text", ["", "00ff0a"])
def test_part_of_a_picture_is_refused(text):
    with pytest.raises(ValueError, match="positive multiple of 2×2"):
        figures.from_hex(text, size=2)


def test_neck_lab_shows_originals_and_copies_in_turn():
    pictures = {
        name: np.full((4, 28, 28), value, np.uint8) for name, value in (("digits", 3), ("clothes", 9))
    }
    errors = {64: {"digits": 0.01, "clothes": 0.0254}, 16: {"digits": 0.1, "clothes": 0.2}}
    found = {
        width: {
            name: {"error": error, "copies": (pictures[name] + more).tobytes().hex()}
            for name, error in errors[width].items()
        }
        for width, more in ((64, 1), (16, 2))
    }
    lab = figures.neck_lab(pictures, found, start=64)
    assert lab["width"] == [64, 16]
    assert lab["start"] == {"width": 64}
    said = lab["describe"](width=64)
    assert said == "64 numbers for 784 pixels: mean squared error 0.010 on digits and 0.025 on clothes."
    figure = lab["draw"](width=16)
    shown = [int(ax.images[0].get_array()[0, 0]) for ax in figure.axes[::4]]
    assert shown == [3, 5, 9, 11]
    plt.close(figure)
