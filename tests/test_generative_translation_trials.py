"""Trials of translators: what they measure, and that pairs are pairs."""

import numpy as np
import pytest
import torch

from tlutils.figures.cyclegan import unpack
from tlutils.generative import translation_trials as trials
from tlutils.runtime import new_generator


@pytest.fixture
def little(monkeypatch):
    """Let the trials run on a few made-up pairs: the photo is the grey image in all channels, inverted."""
    trials.grey_and_photo.cache_clear()
    trials.photo_reader.cache_clear()
    images = torch.rand(40, 1, 16, 16, generator=new_generator(0)).mul(255).byte().permute(0, 2, 3, 1).numpy()

    class Split:
        def __init__(self, images):
            self.images, self.labels = images, np.arange(len(images)) % 10

    pictures = {"mnist": images, "photo_digits": 255 - np.repeat(images, 3, axis=3)}
    monkeypatch.setattr(trials.datasets, "load", lambda name, _split: Split(pictures[name]))
    monkeypatch.setattr(trials, "NUM_TRAIN", 14)
    monkeypatch.setattr(trials, "NUM_PAIRS", 12)
    yield
    trials.grey_and_photo.cache_clear()
    trials.photo_reader.cache_clear()


@pytest.mark.usefixtures("little")
def test_no_pair_is_in_the_training_and_held_out_pairs_are_pairs():
    grey, photo, held_grey, held_photo = trials.grey_and_photo()
    assert held_photo.y.tolist() == [n % 10 for n in range(28, 40)]
    photo, held_photo = photo.x, held_photo.x
    assert [len(part) for part in (grey, photo, held_grey, held_photo)] == [14, 14, 12, 12]
    distances = torch.cdist((1 - photo[:, :1]).flatten(1), grey.flatten(1))
    assert distances.min() > 0.1
    assert torch.allclose(1 - held_photo[:, :1], held_grey, atol=1e-6)


@pytest.mark.usefixtures("little")
def test_the_photo_trial_measures_both_ways():
    found = trials.photo_trial(0.0, seed=0, num_rounds=2)
    assert unpack(found["images"]["there"], 10, 3, 16, 16).shape == (10, 3, 16, 16)
    here = unpack(found["images"]["here"], 10, 1, 16, 16)
    x, _, held_grey, held_photo = trials.grey_and_photo()
    held_photo = held_photo.x
    assert found["to grey"] == pytest.approx((here - held_grey[:10]).abs().mean().item(), abs=0.02)
    assert found["to grey, as it is"] == pytest.approx((held_photo[:, :1] - held_grey).abs().mean().item())
    assert found["to grey, mean image"] == pytest.approx((x.mean(dim=0) - held_grey).abs().mean().item())
    assert found == trials.photo_trial(0.0, seed=0, num_rounds=2)
    assert trials.photo_trial(1.0, seed=1, num_rounds=1)["images"] == {}


@pytest.mark.usefixtures("little")
def test_the_reader_of_photographs_takes_grey_images():
    grey = torch.rand(3, 1, 16, 16, generator=new_generator(1))
    reader = trials.photo_reader(2)
    assert torch.equal(reader(grey), reader.reader(grey.expand(-1, 3, -1, -1)))


def test_an_autoencoder_learns_to_repeat():
    x = torch.zeros(64, 1, 16, 16)
    x[:, :, 4:12, 4:12] = 1
    short, long = (trials.repeating_network(x, seed=0, num_steps=n) for n in (1, 40))
    errors = [(network(x) - x).square().mean().item() for network in (short, long)]
    assert errors[1] < 0.2 * errors[0]


def test_the_halves_are_an_encoder_and_a_decoder():
    network = trials.image_translator(16)
    code = network[: trials.NUM_ENCODER_LAYERS](torch.zeros(1, 1, 16, 16))
    assert code.shape == (1, 48, 4, 4)
    assert torch.equal(network[trials.NUM_ENCODER_LAYERS :](code), network(torch.zeros(1, 1, 16, 16)))


@pytest.mark.usefixtures("data_root")
def test_the_halves_trial_reports_shares_and_errors():
    found = trials.halves_trial(seed=0, num_rounds=1)
    assert {*found} == {"own", "second", "measure", "frechet"}
    assert all(0 <= found[name] <= 1 for name in ("own", "second", "measure"))
    assert found["frechet"] > 0
