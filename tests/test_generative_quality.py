"""Measures of generated examples: by hand, against the formula in numpy, properties, errors."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from tlutils.generative import (
    class_shares,
    diversity,
    frechet_distance,
    nearest,
    precision_recall,
    recognised,
)
from tlutils.models import Classifier, lenet
from tlutils.runtime import new_generator

PIXELS = Classifier(nn.Flatten(), nn.Linear(3, 2))  # the features are the pixels themselves


def images(num, seed=0, shift=0.0):
    return torch.randn(num, 1, 1, 3, generator=new_generator(seed)) + shift


class TestFrechet:
    def test_equals_the_formula(self):
        real, fake = images(50), images(60, seed=1, shift=0.5) * torch.tensor([1.0, 2.0, 0.5])
        a, b = (x.flatten(1).double().numpy() for x in (real, fake))
        root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
        wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
        assert frechet_distance(PIXELS, real, fake) == pytest.approx(wanted, rel=1e-4)

    def test_zero_on_the_same_images_and_symmetric(self):
        real, fake = images(50), images(50, seed=1, shift=1.0)
        assert frechet_distance(PIXELS, real, real) == pytest.approx(0, abs=1e-4)
        assert frechet_distance(PIXELS, real, fake) == pytest.approx(
            frechet_distance(PIXELS, fake, real), rel=1e-4
        )

    def test_the_batch_size_does_not_matter(self):
        real, fake = images(50), images(50, seed=1)
        assert frechet_distance(PIXELS, real, fake, batch_size=7) == pytest.approx(
            frechet_distance(PIXELS, real, fake), rel=1e-4
        )

    def test_few_images_make_it_too_large(self):
        few, many = (
            np.mean([frechet_distance(PIXELS, images(n, s), images(n, 100 + s)) for s in range(10)])
            for n in (10, 200)
        )
        assert few > 3 * many

    def test_the_reader_is_left_as_it_was(self):
        reader = lenet(image_size=16, dropout=0.5).train()
        x = torch.rand(20, 1, 16, 16, generator=new_generator(0))
        assert frechet_distance(reader, x, x) == pytest.approx(0, abs=1e-3)
        assert reader.training
        assert next(reader.parameters()).dtype == torch.float32

    def test_refuses(self):
        with pytest.raises(ValueError, match=r"shape \(1, 1, 3\), generated \(1, 1, 4\)"):
            frechet_distance(PIXELS, images(5), torch.zeros(5, 1, 1, 4))
        with pytest.raises(ValueError, match="got 5 real and 1 generated examples; expected at least 2"):
            frechet_distance(PIXELS, images(5), images(1))


class TestPrecisionRecall:
    def test_the_same_distribution_and_another_place(self):
        precision, recall = precision_recall(PIXELS, images(300), images(300, seed=1))
        assert precision > 0.8
        assert recall > 0.8
        assert precision_recall(PIXELS, images(300), images(300, seed=1, shift=50.0)) == (0.0, 0.0)

    def test_one_sample_again_and_again_has_precision_without_recall(self):
        real = images(300)
        fake = real[:1] + 0.01 * images(300, seed=1)
        precision, recall = precision_recall(PIXELS, real, fake)
        assert precision == 1.0
        assert recall < 0.05

    def test_exchanging_the_sets_exchanges_the_shares(self):
        real, fake = images(100), images(100, seed=1, shift=0.7)
        assert precision_recall(PIXELS, real, fake) == precision_recall(PIXELS, fake, real)[::-1]

    def test_refuses(self):
        with pytest.raises(ValueError, match="k is 0"):
            precision_recall(PIXELS, images(5), images(5), k=0)
        with pytest.raises(ValueError, match="expected at least 4"):
            precision_recall(PIXELS, images(5), images(3), k=3)


class TestClasses:
    def test_shares_sum_to_one(self):
        reader = lenet(image_size=16).train()
        shares = class_shares(reader, torch.rand(30, 1, 16, 16, generator=new_generator(0)))
        assert shares.shape == (10,)
        assert shares.sum().item() == pytest.approx(1)
        assert reader.training

    def test_recognised_needs_a_class_per_image(self):
        with pytest.raises(ValueError, match="got 2 images and 3 classes"):
            recognised(lenet(image_size=16), torch.zeros(2, 1, 16, 16), torch.zeros(3, dtype=torch.long))


class TestNearestAndDiversity:
    def test_an_image_learnt_by_heart_is_its_own_neighbour(self):
        real = torch.rand(300, 1, 4, 4, generator=new_generator(0))
        chosen = torch.tensor([7, 250, 0])
        assert nearest(real, real[chosen]).tolist() == chosen.tolist()

    def test_in_parts_as_in_one(self):
        real, fake = images(40), images(230, seed=1)
        distances = ((fake.flatten(1)[:, None] - real.flatten(1)) ** 2).sum(2)
        assert torch.equal(nearest(real, fake), distances.argmin(1))

    def test_diversity(self):
        assert diversity(images(200), images(200, seed=1)) == pytest.approx(1, abs=0.1)
        assert diversity(images(200), images(1).expand(200, -1, -1, -1)) == pytest.approx(0, abs=1e-5)
        with pytest.raises(ValueError, match="expected at least 2"):
            diversity(images(5), images(1))
