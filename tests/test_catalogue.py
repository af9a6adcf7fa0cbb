"""What the catalogue says must agree with torchvision and with itself."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
import torchvision

from tlutils.catalogue import REGISTRY, look_up, nearest_names

FILES = [pytest.param(file, id=file.path) for info in REGISTRY.values() for file in info.files]


def checksums_of_torchvision() -> dict[str, set[str]]:
    """Return the checksums that torchvision gives for each file name; two sets share some names."""
    sets = torchvision.datasets
    pairs = [*sets.MNIST.resources, *sets.FashionMNIST.resources]
    pairs += [(name, md5) for reader in (sets.USPS, sets.SVHN) for _, name, md5 in reader.split_list.values()]
    pairs += [(sets.CIFAR10.filename, sets.CIFAR10.tgz_md5)]
    return {name: {md5 for other, md5 in pairs if other == name} for name, _ in pairs}


@pytest.mark.parametrize("file", FILES)
def test_checksum_is_torchvisions(file):
    assert file.md5 in checksums_of_torchvision()[file.path.rpartition("/")[2]]


@pytest.mark.parametrize("file", FILES)
def test_official_source_and_a_mirror_elsewhere(file):
    hosts = [urlsplit(url).hostname for url in file.urls]
    assert len(set(hosts)) == len(hosts) >= 2
    assert all(url.endswith("/" + file.path.rpartition("/")[2]) for url in file.urls)


@pytest.mark.parametrize(
    "info", [info for info in REGISTRY.values() if info.files], ids=lambda info: info.name
)
def test_official_source_is_the_makers(info):
    assert {urlsplit(file.urls[0]).hostname for file in info.files} <= {
        urlsplit(info.url).hostname,
        "fashion-mnist.s3-website.eu-central-1.amazonaws.com",  # named on the page of its makers
    }


@pytest.mark.parametrize("info", REGISTRY.values(), ids=lambda info: info.name)
def test_entry_is_complete(info):
    assert REGISTRY[info.name] is info
    for text in (info.title, info.licence, info.citation):
        assert text
    assert re.fullmatch(r"https?://\S+", info.url)
    assert len(set(info.class_names)) == len(info.class_names) == 10
    assert info.image_shape[2] in (1, 3)


def test_an_entry_is_found_by_its_name_alone():
    registry = {"mnist": 1, "usps": 2}
    assert look_up(registry, "usps", "data set") == 2
    with pytest.raises(ValueError, match="no data set 'MINST'") as caught:
        look_up(registry, "MINST", "data set")
    assert str(caught.value).endswith(". Did you mean 'mnist'? There are: mnist, usps.")


def test_far_names_are_not_offered():
    assert nearest_names("???", iter(("mnist", "usps"))) == " There are: mnist, usps."


def test_sizes_are_the_files_sizes(data_root):
    checked = 0
    for info in REGISTRY.values():
        for file in info.files:
            if file.is_checked and (data_root / file.path).is_file():
                assert (data_root / file.path).stat().st_size == file.num_bytes
                checked += 1
    assert checked >= 8
    assert REGISTRY["mnist"].num_bytes == 9_912_422 + 28_881 + 1_648_877 + 4_542
