"""Training a student."""

from __future__ import annotations

import shlex
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

from stainstream.api import load  # noqa: E402 (torch is optional)
from stainstream.cli.main import app  # noqa: E402
from stainstream.errors import ModelError, UsageError  # noqa: E402
from stainstream.frame import RGB8  # noqa: E402
from stainstream.model import find  # noqa: E402
from stainstream.sources.image import read_image  # noqa: E402
from stainstream.training import pairs  # noqa: E402
from stainstream.training.distil import Fast, Glass, Paper, Shape, apply, fit_fast, fit_paper, likeness  # noqa: E402
from stainstream.training.networks import ResnetGenerator, StainNet  # noqa: E402
from stainstream.training.run import RUN, Run, TeacherSettings  # noqa: E402
from stainstream.training.student import StudentSettings, train, white_shift  # noqa: E402
from stainstream.training.translate import steady, tensor, translate  # noqa: E402
from stainstream.training.white import with_white  # noqa: E402
from tests.graphs import card  # noqa: E402

TISSUE: RGB8 = np.ascontiguousarray(
    read_image(Path(__file__).parents[2] / "stainstream/sources/tissue.jpg").image[:256, :256]
)
TAUGHT: RGB8 = np.clip(TISSUE.astype(int) * [0.6, 0.7, 0.9] + 10, 0, 255).astype(np.uint8)
PAIRS = pairs.Pairs([TISSUE], [TAUGHT], "a map")


def test_the_fast_recipe_learns_keeps_white_and_becomes_a_table(tmp_path: Path) -> None:
    settings = StudentSettings(recipe=Fast(steps=300, pixels=4096), tile=64)
    model = train(PAIRS, settings, tmp_path / "mine", card())
    assert model.card is not None
    metrics = model.card.metrics
    assert metrics["psnr_to_teacher_db"] > 25
    assert metrics["white_shift_levels"] <= 2
    assert "StainNet" in model.card.method
    assert "fast" in model.card.method
    with load(tmp_path / "mine", "lut_numpy") as normalize:
        white = np.full((16, 16, 3), 255, np.uint8)
        assert np.abs(normalize(white).astype(int) - 255).max() <= 2
    for file in ("preview.jpg", "student.pth", "losses.csv", "losses.png"):
        assert (tmp_path / "mine" / file).stat().st_size > 0


@pytest.mark.parametrize(("glass", "shift"), [("white", [0, 18, 8]), ("light", [0, 0, 0])])
def test_light_gray_becomes_what_the_teacher_made_of_it_unless_it_shall_stay(glass: Glass, shift: list[int]) -> None:
    gray: RGB8 = np.random.default_rng(0).integers(232, 242, (256, 256, 3), np.uint8)
    pink = (gray - np.array([0, 18, 8])).astype(np.uint8)
    network = fit_fast([(TISSUE, TAUGHT), (gray, pink)], Shape(), Fast(steps=300, pixels=4096, glass=glass), 0)
    np.testing.assert_allclose((gray.astype(int) - apply(network, gray)).mean(axis=(0, 1)), shift, atol=3)
    assert white_shift(network) == 0


def test_nothing_of_an_image_is_lost_beside_its_tiles() -> None:
    image = TISSUE[:200, :150]
    tiles, tests = pairs.cut(pairs.Pairs([image], [image], ""), 64, 0, 0.3)
    strips = pairs.rest(pairs.Pairs([image], [image], ""), 64)
    assert sum(given.size for given, _ in [*tiles, *tests, *strips]) == image.size
    assert pairs.rest(PAIRS, 64) == []


def test_the_papers_recipe_improves_and_keeps_the_best(tmp_path: Path) -> None:
    tiles, tests = pairs.cut(PAIRS, 32, 0, 0.3)
    assert (len(tiles), len(tests)) == (45, 19)
    fit_paper(tiles, tests, Shape(), Paper(epochs=1), 0, tmp_path)
    start = float((tmp_path / "losses.csv").read_text().splitlines()[1].split(",")[2])
    network = fit_paper(tiles, tests, Shape(), Paper(epochs=12), 0, tmp_path)
    reached = [float(row.split(",")[2]) for row in (tmp_path / "losses.csv").read_text().splitlines()[1:]]
    assert max(reached) > start + 2
    assert likeness(network, tests) == pytest.approx(max(reached))


def test_the_papers_recipe_goes_on_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles, tests = pairs.cut(PAIRS, 32, 0, 0.3)
    whole = fit_paper(tiles, tests, Shape(), Paper(epochs=4), 0, tmp_path)
    rows = (tmp_path / "losses.csv").read_bytes()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    # A state from the middle, as a kill after the second epoch leaves it: of the same schedule.
    from stainstream.training import checkpoint, distil

    class Killed(Exception):
        pass

    def save(path: Path, values: dict[str, object]) -> None:
        kept(path, values)
        if values["epoch"] == 2:
            raise Killed

    kept = checkpoint.save
    monkeypatch.setattr(distil, "save", save)
    with pytest.raises(Killed):
        fit_paper(tiles, tests, Shape(), Paper(epochs=4), 0, tmp_path)
    monkeypatch.undo()
    again = fit_paper(tiles, tests, Shape(), Paper(epochs=4), 0, tmp_path, resume=True)
    assert (tmp_path / "losses.csv").read_bytes() == rows
    assert state["epoch"] == 4
    image = tensor(TISSUE[None])
    torch.testing.assert_close(again(image), whole(image), rtol=0, atol=0)


def test_a_network_with_3x3_layers_learns_from_patches(tmp_path: Path) -> None:
    settings = StudentSettings(recipe=Fast(steps=40, pixels=2048), shape=Shape(conv3x3=1), tile=64)
    model = train(PAIRS, settings, tmp_path, card())
    assert model.card is not None
    assert "1 of 3 convolutions 3x3" in model.card.method
    assert model.card.metrics["white_shift_levels"] <= 2


@pytest.mark.parametrize("shape", [Shape(), Shape(channels=7, layers=2), Shape(conv3x3=2), Shape(channels=4, layers=5)])
def test_white_is_pinned_and_nothing_else_is_changed(shape: Shape) -> None:
    torch.manual_seed(1)
    network = StainNet(shape.channels, shape.layers, shape.conv3x3).eval()
    pinned = with_white(network)
    assert len(pinned.state_dict()["rgb_trans.0.weight"]) == shape.channels + 1
    image = tensor(np.minimum(TISSUE[None, :64, :64], 240))
    with torch.inference_mode():
        torch.testing.assert_close(pinned(image), network(image), rtol=0, atol=1e-5)
        white = torch.ones(1, 3, 9, 9)
        assert network(white)[..., 4, 4].max() < 0.9
        torch.testing.assert_close(pinned(white)[..., 4, 4], torch.ones(1, 3), rtol=0, atol=1e-4)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, image in (("source", TISSUE), ("target", TAUGHT)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), image[..., ::-1])
    return tmp_path / "source", tmp_path / "target"


def test_translated_tiles_are_paired_by_name(folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    source, target = folders
    cv2.imwrite(str(source / "2.png"), TISSUE)
    found = pairs.of([str(target)], [source], [], 64)
    np.testing.assert_array_equal(found.given[0], TISSUE)
    np.testing.assert_array_equal(found.wanted[0], TAUGHT)
    assert found.skipped == 1
    assert "2.png" in caplog.text


def test_a_checkpoint_teaches_by_its_file(folders: tuple[Path, Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(4, 1)
    torch.save(network.state_dict(), tmp_path / "latest_net_G_A.pth")
    found = pairs.of([str(tmp_path / "latest_net_G_A.pth")], [folders[0]], [], 64)
    np.testing.assert_array_equal(found.wanted[0], translate(network.eval(), TISSUE, 256))


def test_a_classic_method_teaches(folders: tuple[Path, Path]) -> None:
    found = pairs.of(["reinhard"], [folders[0]], [folders[1]], 64)
    before, after = (np.abs(each.astype(int) - TAUGHT).mean() for each in (TISSUE, found.wanted[0]))
    assert after < before / 2
    with pytest.raises(UsageError, match="--target"):
        pairs.of(["reinhard"], [folders[0]], [], 64)


def test_what_is_no_teacher_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no teacher 'unknown'.*reinhard"):
        pairs.of(["unknown"], [folders[0]], [], 64)
    torch.save(StainNet().state_dict(), tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"missing model\.1\.bias.*unexpected rgb_trans\.0\.bias"):
        pairs.of([str(tmp_path / "other.pth")], [folders[0]], [], 64)
    (tmp_path / "pickle.pth").write_bytes(b"\x80\x02c__builtin__\nopen\n.")
    with pytest.raises(ModelError, match="refusing"):
        pairs.of([str(tmp_path / "pickle.pth")], [folders[0]], [], 64)


def test_a_steady_network_treats_a_color_alike_in_every_image() -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(4, 1).eval()
    piece = TISSUE[:64, :64]
    beside = [np.hstack([piece, np.full((64, 64, 3), level, np.uint8)]) for level in (0, 255)]
    change = [np.abs(np.subtract(*(translate(network, each, 128)[:, :32].astype(int) for each in beside))).max()]
    steady(network, [TISSUE])
    change += [np.abs(np.subtract(*(translate(network, each, 128)[:, :32].astype(int) for each in beside))).max()]
    assert change[0] > 3
    assert change[1] <= 1


def test_several_teachers_teach_their_mean(folders: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = folders
    (tmp_path / "darker").mkdir()
    cv2.imwrite(str(tmp_path / "darker" / "1.png"), (TAUGHT // 2)[..., ::-1])
    found = pairs.of([str(target), str(tmp_path / "darker"), str(target)], [source], [], 64)
    np.testing.assert_allclose(found.wanted[0], (2.0 * TAUGHT + TAUGHT // 2) / 3, atol=0.501)
    assert found.teacher == "the mean of 3 teachers (2 x translated tiles in target; translated tiles in darker)"


def test_the_command_of_each_teacher_is_kept(folders: tuple[Path, Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    for seed in (1, 2):
        (tmp_path / f"t{seed}").mkdir()
        torch.save(ResnetGenerator(4, 1).state_dict(), tmp_path / f"t{seed}" / "latest_net_G_A.pth")
        settings = TeacherSettings(filters=4, blocks=1, tile=64, seed=seed)
        run = Run(source=["mine"], target=["look"], settings=settings, steps=7)
        (tmp_path / f"t{seed}" / RUN).write_bytes(msgspec.json.encode(run))
    found = pairs.of([str(tmp_path / "t1"), str(tmp_path / "t2")], [folders[0]], [], 64)
    assert found.teacher == "the mean of 2 teachers (2 x our StainGAN, 1 blocks of width 16, 7 steps)"
    first, second = found.command.split(" && ")
    assert "--seed 1 --out" in first
    assert "--seed 2 --out" in second


def test_teachers_of_different_images_have_no_mean(folders: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = folders
    cv2.imwrite(str(source / "2.png"), TISSUE[::-1, :, ::-1])
    with pytest.raises(UsageError, match=r"cannot take the mean of .*target.* and ruifrok: .* 1 and 2 of them"):
        pairs.of([str(target), "ruifrok"], [source], [source], 64)


def test_a_student_is_drawn_to_the_affine_map_next_to_its_teacher() -> None:
    bent = np.rint(255 * (TISSUE / 255.0) ** 2).astype(np.uint8)
    known = np.column_stack([TISSUE.reshape(-1, 3), np.ones(TISSUE.size // 3)])
    straight = (known @ np.linalg.lstsq(known, bent.reshape(-1, 3), rcond=None)[0]).reshape(TISSUE.shape)
    students = [
        apply(fit_fast([(TISSUE, bent)], Shape(), Fast(steps=200, pixels=2048, affine=share), 0), TISSUE)
        for share in (0.0, 1.0)
    ]
    away = [np.abs(each - np.clip(straight, 0, 255)).mean() for each in students]
    assert away[1] < 1.5
    assert away[0] > 2 * away[1]


def test_the_card_names_all_teachers_and_how_to_repeat_it(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"--teacher={folders[1]}", f"--teacher={folders[0]}", f"--source={folders[0]}", f"--out={tmp_path / 'm'}"]
    words = ["train", "student", *words, "--steps", "5", "--affine", "0.5", "--tile", "64"]
    monkeypatch.setattr("sys.argv", ["stainstream", *words])
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    made = find(str(tmp_path / "m")).card
    assert made is not None
    assert "the mean of 2 teachers (translated tiles in target; translated tiles in source)" in made.method
    assert made.command == shlex.join(["stainstream", *words])
