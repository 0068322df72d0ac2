"""The classifier of table 3: augmentations, networks, intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stainstream.errors import ModelError
from stainstream.tables.cells import Cells, split
from stainstream.tables.intervals import classified
from stainstream.training.augment import augmented, hed_scaled, toned
from stainstream.training.classifiers import NETWORKS, built

_RNG = np.random.default_rng(0)
_IMAGE = _RNG.integers(40, 256, (24, 20, 3), dtype=np.uint8)


def test_hed_is_that_of_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    factors = np.array([0.8, 1.2, 0.75])
    given = (_IMAGE / 255.0).astype(np.float32)
    expected = np.clip(color.hed2rgb(color.rgb2hed(given) * factors), 0, 1)
    assert np.abs(hed_scaled(given, factors) - expected).max() < 1e-3


def test_brightness_and_contrast() -> None:
    given = np.full((4, 4, 3), 0.4, np.float32)
    given[0] = 0.6
    assert np.allclose(toned(given, 1.25, 1.0), given * 1.25)
    flat = toned(given, 1.0, 0.75)
    assert flat.std() == pytest.approx(given.std() * 0.75, rel=1e-4)
    assert flat.mean() == pytest.approx(given.mean(), rel=1e-4)


def test_an_experiment_augments_what_the_paper_says() -> None:
    assert augmented(_IMAGE, "E1", np.random.default_rng(0)) is _IMAGE
    for experiment in ("E2", "E3"):
        one, again, other = (augmented(_IMAGE, experiment, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert one.shape == _IMAGE.shape
        assert one.dtype == np.uint8
        assert np.array_equal(one, again)
        assert not np.array_equal(one, other)
    pair = [augmented(_IMAGE, each, np.random.default_rng(1)) for each in ("E2", "E3")]
    assert not np.array_equal(pair[0], pair[1])


@pytest.mark.parametrize(("name", "parameters", "key"), [
    ("resnet18", 11_176_512, "layer4.1.bn2.running_var"),
    ("resnet50", 23_508_032, "layer4.2.conv3.weight"),
])  # fmt: skip
def test_residual_networks_have_torchvisions_names_and_sizes(name: str, parameters: int, key: str) -> None:
    network = NETWORKS[name]()
    body = sum(each.numel() for label, each in network.named_parameters() if not label.startswith("fc."))
    assert body == parameters
    assert {key, "layer2.0.downsample.1.running_mean", "conv1.weight", "fc.bias"} <= network.state_dict().keys()
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_weights_of_a_file_are_taken_but_for_the_last_layer(tmp_path: Path) -> None:
    weights = NETWORKS["resnet18"]().state_dict()
    weights["fc.weight"], weights["fc.bias"] = torch.zeros(1000, 512), torch.zeros(1000)
    torch.save(weights, tmp_path / "r.pth")
    made = built("resnet18", tmp_path / "r.pth")
    assert torch.equal(made.state_dict()["layer1.0.conv1.weight"], weights["layer1.0.conv1.weight"])
    with pytest.raises(ModelError, match="it is not of small"):
        built("small", tmp_path / "r.pth")


def test_measures_are_scikit_learns_and_lie_in_their_intervals() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels, clusters = _RNG.random(200) < 0.6, np.arange(200) // 8
    called = [labels ^ (_RNG.random(200) < 0.2) for _ in range(3)]
    found = classified(called, labels, clusters)
    for key, of in (("recall", "recall_score"), ("precision", "precision_score"), ("f1", "f1_score")):
        expected = np.mean([getattr(metrics, of)(labels, each) for each in called])
        assert found[key].value == pytest.approx(expected)
    assert found["accuracy"].value == pytest.approx(np.mean([(each == labels).mean() for each in called]))
    for each in found.values():
        assert each.low is not None
        assert each.high is not None
        assert each.low < each.value < each.high


def test_no_image_has_cells_on_both_sides() -> None:
    labels = np.arange(120) % 2 == 0
    cells = Cells(np.zeros((120, 4, 4, 3), np.uint8), labels, np.array([f"{k // 5}" for k in range(120)]))
    rest, part, how = split(cells, 0.25, 0)
    assert how == "by cluster image"
    assert not set(rest.clusters) & set(part.clusters)
    assert len(part) == 30
    single = Cells(cells.images, labels, np.array(["one"] * 120))
    assert "cell by cell" in split(single, 0.25, 0)[2]
