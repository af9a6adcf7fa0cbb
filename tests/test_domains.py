"""Domains, splits, label budgets, and labels that training cannot reach."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tlutils.domains import Domain, DomainPair, Labelled, TestSet, as_images, digest_split


def make_labelled(num_examples=40, num_classes=4, channels=1, size=8):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(num_examples, channels, size, size, generator=generator)
    return Labelled(x, torch.arange(num_examples) % num_classes, num_classes)


def make_domain(name="toy", num_classes=4, size=8, class_names=None):
    data = make_labelled(num_classes=num_classes, size=size)
    names = class_names or tuple("abcdefgh"[:num_classes])
    return Domain(
        name, data, make_labelled(8, num_classes, size=size), TestSet(data.x, data.y, num_classes), names
    )


# -- labelled examples ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "y", "error", "message"), [
    (torch.zeros(3, 2), torch.tensor([0, 1]), ValueError, "3 examples and y has 2"),
    (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), ValueError, "empty domain"),
    (torch.zeros(2, 2), torch.tensor([0, 5]), ValueError, "expected 0 to 1"),
    (torch.zeros(2, 2), torch.tensor([0, -1]), ValueError, "from -1 to 0"),
    (torch.full((2, 1, 2, 2), 200.0), torch.tensor([0, 1]), ValueError, "from 200 to 200; expected"),
    (torch.full((2, 1, 2, 2), -0.5), torch.tensor([0, 1]), ValueError, "Divide bytes by 255"),
    (torch.tensor([[1.0], [float("nan")]]), torch.tensor([0, 1]), ValueError, "NaN or infinite"),
    (torch.zeros(2, 2, dtype=torch.uint8), torch.tensor([0, 1]), TypeError, "floating-point"),
    (torch.zeros(2, 2), torch.tensor([0.0, 1.0]), TypeError, "int64"),
])  # fmt: skip
@pytest.mark.parametrize("kind", [Labelled, TestSet])
@pytest.mark.usefixtures("as_reader")
def test_malformed_examples_are_refused(kind, x, y, error, message):
    with pytest.raises(error, match=message):
        kind(x, y, 2)


def test_one_class_is_no_task():
    with pytest.raises(ValueError, match="num_classes is 1"):
        Labelled(torch.zeros(2, 2), torch.tensor([0, 0]), 1)


def test_per_class_draws_exactly_k_of_each():
    data = make_labelled(41)
    drawn = data.per_class(3, seed=0)
    assert drawn.class_counts().tolist() == [3, 3, 3, 3]
    rows = {tuple(row.flatten().tolist()) for row in drawn.x}
    assert len(rows) == 12, "drawn without replacement"


def test_per_class_is_seeded_and_nested():
    data = make_labelled()
    five, same, other = data.per_class(5, seed=1), data.per_class(5, seed=1), data.per_class(5, seed=2)
    assert torch.equal(five.x, same.x)
    assert not torch.equal(five.x, other.x)
    two = data.per_class(2, seed=1)
    rows = {tuple(row.flatten().tolist()) for row in five.x}
    assert all(tuple(row.flatten().tolist()) in rows for row in two.x)


def test_per_class_refuses_more_than_there_are():
    with pytest.raises(ValueError, match=r"asked for 11 labels per class, but class 0 has only 10"):
        make_labelled().per_class(11, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        make_labelled().per_class(0, seed=0)


# -- sealed labels ---------------------------------------------------------------------------------------


def test_no_public_attribute_of_a_test_set_or_target_is_a_label_vector():
    pair = DomainPair(make_domain(), make_domain())
    for thing in (pair.target, pair.target.test):
        attributes = {name: getattr(thing, name) for name in dir(thing) if not name.startswith("_")}
        tensors = [value for value in attributes.values() if isinstance(value, torch.Tensor)]
        assert tensors, "the images are there"
        assert all(value.is_floating_point() for value in tensors), "and nothing of integer type"
        assert not any(isinstance(value, Labelled | Domain) for value in attributes.values())


def test_test_set_is_not_iterable_and_says_that_it_is_sealed():
    sealed = make_domain().test
    with pytest.raises(TypeError):
        iter(sealed)
    assert "sealed" in repr(sealed)
    assert len(sealed.subset(torch.tensor([0, 3]))) == 2


def test_target_gives_labels_only_by_budget():
    target = DomainPair(make_domain(), make_domain()).target
    assert target.label_budget(2, seed=0).class_counts().tolist() == [2, 2, 2, 2]
    assert len(target.label_budget("all")) == 40
    assert len(target.validation_budget()) == 8
    with pytest.raises(ValueError, match="'all'"):
        target.label_budget("everything")


# -- pairs -----------------------------------------------------------------------------------------------


def test_pair_refuses_different_shapes():
    with pytest.raises(ValueError, match=r"\(1, 8, 8\).*\(1, 16, 16\)"):
        DomainPair(make_domain(), make_domain(size=16))


def test_pair_refuses_different_classes_unless_told():
    digits, clothes = make_domain(), make_domain(class_names=("w", "x", "y", "z"))
    with pytest.raises(ValueError, match="is_same_task=False"):
        DomainPair(digits, clothes)
    assert DomainPair(digits, clothes, is_same_task=False).target.class_names == ("w", "x", "y", "z")


# -- images ----------------------------------------------------------------------------------------------


def test_as_images_stays_within_its_range_at_every_size():
    white = np.full((40, 28, 28, 1), 255, np.uint8)
    for size in (4, 8, 12, 16, 20, 32):
        assert float(as_images(white, size=size, channels=1).max()) <= 1


def test_as_images_scales_and_moves_channels():
    images = np.zeros((1, 2, 2, 3), np.uint8)
    images[0, 0, 1] = (255, 0, 51)
    x = as_images(images, size=2, channels=3)
    assert x.shape == (1, 3, 2, 2)
    assert x[0, :, 0, 1].tolist() == pytest.approx([1.0, 0.0, 0.2])


def test_grey_is_luma():
    images = np.full((1, 4, 4, 3), (255, 0, 0), np.uint8)
    assert as_images(images, size=4, channels=1).unique().item() == pytest.approx(0.299)


def test_constant_images_stay_constant_when_resized():
    x = as_images(np.full((2, 8, 8, 1), 51, np.uint8), size=28, channels=3)
    assert x.shape == (2, 3, 28, 28)
    assert torch.allclose(x, torch.tensor(0.2), atol=1e-6)


@pytest.mark.parametrize(("images", "kwargs", "error", "message"), [
    (np.zeros((1, 2, 2, 1)), {}, TypeError, "float64; expected uint8"),
    (np.zeros((2, 2, 1), np.uint8), {}, ValueError, r"shape \(2, 2, 1\)"),
    (np.zeros((1, 2, 2, 4), np.uint8), {}, ValueError, "1 or 3"),
    (np.zeros((1, 2, 2, 1), np.uint8), {"channels": 2}, ValueError, "channels is 2"),
])  # fmt: skip
def test_as_images_refuses_what_is_no_image(images, kwargs, error, message):
    with pytest.raises(error, match=message):
        as_images(images, **{"size": 2, "channels": 1, **kwargs})


# -- the split -------------------------------------------------------------------------------------------

SPLIT = """
import numpy as np
from tlutils.domains import digest_split
images = np.random.default_rng(0).integers(0, 256, (50, 4, 4), dtype=np.uint8)
print("".join(str(int(chosen)) for chosen in digest_split(images, 0.3)))
"""


def test_split_is_the_same_in_every_process():
    outputs = {
        subprocess.run([sys.executable, "-c", SPLIT], env={"PYTHONHASHSEED": seed}, check=True,
                       capture_output=True, text=True).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1
    assert set(outputs.pop().strip()) == {"0", "1"}


def test_split_follows_content_not_order():
    images = np.random.default_rng(1).integers(0, 256, (300, 4), dtype=np.uint8)
    order = np.random.default_rng(2).permutation(300)
    assert (digest_split(images, 0.2)[order] == digest_split(images[order], 0.2)).all()
    copies = np.concatenate([images, images])
    assert (digest_split(copies, 0.2)[:300] == digest_split(copies, 0.2)[300:]).all()


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_split_has_about_the_share_asked_for(fraction):
    images = np.arange(8000, dtype=np.uint32).reshape(4000, 2)
    # Four standard errors of a binomial share of 4000.
    margin = 4 * (fraction * (1 - fraction) / 4000) ** 0.5
    assert digest_split(images, fraction).mean() == pytest.approx(fraction, abs=margin)


def test_split_grows_with_the_share():
    images = np.arange(500, dtype=np.uint16).reshape(500, 1)
    assert (digest_split(images, 0.1) <= digest_split(images, 0.4)).all()


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_split_refuses_a_share_out_of_range(fraction):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        digest_split(np.zeros((2, 2), np.uint8), fraction)


def test_domain_from_embedded_data_is_cut_without_overlap():
    domain = Domain.from_dataset("digits8x8", size=16, validation_fraction=0.2)
    assert domain.train.x.shape[1:] == (1, 16, 16)
    assert domain.class_names == tuple("0123456789")
    parts = [{row.numpy().tobytes() for row in x} for x in (domain.train.x, domain.validation.x)]
    assert not parts[0] & parts[1]
    assert 0.1 < len(domain.validation) / (len(domain.train) + len(domain.validation)) < 0.3
    assert 0 <= domain.train.x.min() < domain.train.x.max() <= 1
