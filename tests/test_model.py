"""Model folders, cards and digests."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from stainstream import model
from stainstream.errors import ModelError
from stainstream.model import Model, find, names, shelf, write
from tests.graphs import blur, card, negative

CARD = card()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder."""
    return write(tmp_path / "toy", negative().model().SerializeToString(), CARD).path


def test_what_is_written_is_found(folder: Path) -> None:
    found = find(folder)
    network = (folder / "model.onnx").read_bytes()
    digest = hashlib.sha256(network).hexdigest()
    assert found == Model(folder, msgspec.structs.replace(CARD, digest=digest))
    assert (found.path, found.network, found.name, found.digest) == (folder, folder / "model.onnx", "toy", digest)
    assert network == negative().model().SerializeToString()


def test_every_field_of_a_card_survives_its_file(tmp_path: Path) -> None:
    full = msgspec.structs.replace(
        CARD, rounding="truncate", default=True, created="2026-11-24", notes='"quoted"\nGröße', metrics={"psnr_db": 1.5}
    )
    written = write(tmp_path, b"network", full)
    assert find(tmp_path).card == written.card
    assert written.card == msgspec.structs.replace(full, digest=hashlib.sha256(b"network").hexdigest())


def test_a_folder_may_be_named_by_text_or_relatively(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for name in (str(folder), "toy", Path("toy"), "./toy/"):
        assert find(name).name == "toy"


def test_a_bare_onnx_file_is_a_model_without_a_card(tmp_path: Path) -> None:
    path = negative().save(tmp_path / "Inverse.ONNX")
    found = find(path)
    assert (found.card, found.name, found.network, found.path) == (None, "Inverse", path, path)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_default_is_a_model_of_the_shelf() -> None:
    found = find("default")
    assert found.card is not None
    assert found.card.default
    assert found.path.parent == shelf()
    assert found.name in names()
    assert find(found.name) == found


def test_one_model_of_the_shelf_is_the_default() -> None:
    defaults = [name for name in names() if (found := find(name).card) is not None and found.default]
    assert len(defaults) == 1


@pytest.mark.parametrize("name", names())
def test_a_model_of_the_shelf_is_named_as_its_folder_and_says_what_it_is(name: str) -> None:
    found = find(name).card
    assert found is not None
    assert found.name == name
    for text in ("method", "stain", "source", "target", "training_data", "license", "command", "authors"):
        assert getattr(found, text), text


def test_a_folder_of_that_name_goes_before_the_shelf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.rename(folder.parent / "default")
    monkeypatch.chdir(folder.parent)
    assert find("default").name == "toy"


@pytest.mark.parametrize("name", ["nothing", "", "x" * 5000, "no/such/folder", "nul\0byte", ".."])
def test_an_unknown_name_is_told_the_known_ones(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no model") as caught:
        find(name)
    assert f"one of default, {names()[0]}" in str(caught.value)
    assert str(caught.value).endswith("; run: stainstream models")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows enter every folder")
def test_a_folder_that_may_not_be_entered_is_an_error_of_ours(folder: Path) -> None:
    folder.chmod(0)
    try:
        with pytest.raises(ModelError):
            find(folder)
    finally:
        folder.chmod(0o755)


def test_a_missing_onnx_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*none\.onnx"):
        find(tmp_path / "none.onnx")


def test_a_folder_without_its_network_is_refused(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"cannot read .*model\.onnx"):
        find(folder)


def test_a_folder_named_like_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").mkdir()
    with pytest.raises(ModelError, match=r"cannot read .*a\.onnx"):
        find(tmp_path / "a.onnx")


def test_a_network_that_is_not_the_cards_is_refused(folder: Path) -> None:
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    blur().save(folder / "model.onnx")
    other = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    with pytest.raises(ModelError, match="refusing model 'toy'") as caught:
        find(folder)
    for part in (digest[:12], other[:12], "stainstream export"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: 'colour = "blue"\n' + text, "unknown field `colour`"),
        (lambda text: text + "\n[[[", "it is not TOML"),
        (lambda text: "", "missing required field"),
        (lambda text: text.replace('rounding = "nearest"', 'rounding = "up"'), "rounding"),
        (lambda text: text.replace("authors = [", "authors = [3, "), "authors"),
    ],
    ids=["unknown key", "no TOML", "empty", "another rounding", "wrong type"],
)
def test_a_wrong_card_is_refused_with_its_file_and_key(folder: Path, change: object, message: str) -> None:
    assert callable(change)
    path = folder / "card.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(change(text), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    with pytest.raises(ModelError, match="cannot use the model in") as caught:
        find(folder)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_card_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "card.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="it is not TOML"):
        find(folder)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot write the model folder"):
        write(tmp_path / "file" / "toy", b"", CARD)


def test_the_shelf_is_beside_the_package_or_inside_it() -> None:
    assert (shelf() / find("default").path.name / "model.onnx").is_file()
    package = Path(model.__file__).parent
    assert shelf() in (package / "shelf" / "engines", package.parent / "engines")
