"""A report has every table, and images decoded late are the images."""

import numpy as np
import pytest
from torch import nn

from tlutils import models
from tlutils.step_report import JpegImages, step_report

PARTS = ["backbone.stage1", "backbone.stage2"]


def shades(num=6, size=8):
    images = np.stack([np.full((20, 20, 3), shade, dtype=np.uint8) for shade in (0, 102, 255) * (num // 3)])
    return JpegImages(images, [2, 0, 1] * (num // 3), size=size)


def test_jpeg_images_come_back_in_size_and_with_their_label():
    found = shades()
    assert len(found) == 6
    for index, (shade, label) in enumerate(((0.0, 2), (0.4, 0), (1.0, 1))):
        image, found_label = found[index]
        assert image.shape == (3, 8, 8)
        assert (image - shade).abs().max() < 0.02
        assert found_label == label
    with pytest.raises(ValueError, match="1 images and 2 labels"):
        JpegImages(np.zeros((1, 4, 4, 3), dtype=np.uint8), [0, 1], size=8)


def report(**options):
    settings = {"batch_size": 4, "num_steps": 1, "batch_sizes": (2, 4), "compiled": False}
    return step_report(lambda: models.residual_network(3), PARTS, shades(size=32), **settings | options)


def test_every_table_is_there_and_measured():
    found = report(device="cpu")
    assert [*found] == ["switches", "batch sizes", "loading"]
    assert [row["name"] for row in found["batch sizes"]] == ["2", "4"]
    assert [row["name"] for row in found["loading"]] == ["decoded in the loop", "decoded by a worker"]
    assert {"plain", "both memory savers"} < {row["name"] for row in found["switches"]}
    assert not any(row["skipped"] for table in found.values() for row in table)
    small, large = (row["peak_bytes"] for row in found["batch sizes"])
    assert small <= large


def test_compilation_is_a_row_unless_left_out(monkeypatch):
    monkeypatch.setattr("tlutils.step_cost.compile_obstacle", lambda _: "no compiler here")
    rows = {row["name"]: row for row in report(compiled=True)["switches"]}
    assert rows["torch.compile"]["skipped"] == "no compiler here"
    assert "torch.compile" not in {row["name"] for row in report()["switches"]}


@pytest.mark.parametrize("sizes", [{"batch_size": 3, "batch_sizes": (2,)}, {"batch_sizes": (2, 8)}])
def test_batches_that_cannot_be_are_refused(sizes):
    with pytest.raises(ValueError, match="expected at least 4"):
        report(**sizes)


def test_labels_of_all_classes_occur():
    assert max(shades().labels) == 2
    assert isinstance(models.residual_network(3).head, nn.Linear)
