"""Training a teacher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stainstream.errors import ModelError, UsageError  # noqa: E402 (torch is optional)
from stainstream.frame import RGB8  # noqa: E402
from stainstream.sources.image import read_image  # noqa: E402
from stainstream.training.checkpoint import read_tensors, save  # noqa: E402
from stainstream.training.networks import ResnetGenerator  # noqa: E402
from stainstream.training.ranks import Ranks  # noqa: E402
from stainstream.training.report import color_distance  # noqa: E402
from stainstream.training.run import Run, TeacherSettings, command, read_run  # noqa: E402
from stainstream.training.teacher import train  # noqa: E402
from stainstream.training.tiles import Side, read  # noqa: E402

TISSUE: RGB8 = np.ascontiguousarray(
    read_image(Path(__file__).parents[2] / "stainstream/sources/tissue.jpg").image[:256, :256]
)
TINY = TeacherSettings(
    filters=4, blocks=1, critic_filters=4, critic_layers=1, tile=32, epochs=1, decay_epochs=1, epoch_steps=20, pool=3
)


def _sides() -> tuple[Side, Side]:
    darker = np.clip(TISSUE.astype(int) * [0.6, 0.7, 0.9], 0, 255).astype(np.uint8)
    return Side(((TISSUE,),)), Side(((darker,),))


def _run(settings: TeacherSettings = TINY) -> Run:
    return Run(source=["a"], target=["b"], settings=settings)


def test_a_tiny_teacher_brings_the_colors_nearer(tmp_path: Path) -> None:
    chosen = msgspec.structs.replace(TINY, warmup=60, epochs=4, collage=2, average=0.9, rate=1e-3)
    run = train(_run(chosen), *_sides(), tmp_path, Ranks())
    assert run.distances[-1] < 0.8 * run.distances[0]
    assert (run.steps, run.total) == (160, 160)
    for file in ("latest_net_G_A.pth", "latest_net_G_B.pth", "average_net_G_A.pth"):
        ResnetGenerator.of(read_tensors(tmp_path / file))
    assert read_run(tmp_path) == run
    assert len(list((tmp_path / "samples").glob("*.png"))) == 6
    assert (tmp_path / "losses.png").stat().st_size > 1000
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 1 + 160 // 20


def test_the_command_of_a_run_is_the_one_that_makes_it() -> None:
    chosen = TeacherSettings(filters=8, average=0.998, symmetries=False)
    told = command(Run(source=["a b", "c"], target=["d"], settings=chosen), Path("out"))
    assert told == (
        "stainstream train teacher --source 'a b' --source c --target d --filters 8 --average 0.998 "
        "--no-symmetries --out out"
    )


def test_a_training_that_went_on_ends_as_one_that_never_stopped(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    train(_run(), *_sides(), whole, Ranks())
    # The first epoch alone, then as if it had been killed there: the files are those of its end.
    code = (
        "import os, signal, sys; from pathlib import Path; import tests.training.test_teacher as t;"
        "from stainstream.training import teacher as m; before = m._save\n"
        "def save(*a):\n    before(*a); os.kill(os.getpid(), signal.SIGKILL)\n"
        "m._save = save; t.train(t._run(), *t._sides(), Path(sys.argv[1]), t.Ranks())"
    )
    done = subprocess.run([sys.executable, "-c", code, parts], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL
    run = read_run(parts)
    assert run.steps == 20
    train(run, *_sides(), parts, Ranks(), resume=True)
    assert (parts / "losses.csv").read_bytes() == (whole / "losses.csv").read_bytes()
    for name in ("G_A", "G_B", "D_A", "D_B"):
        one, other = (read_tensors(each / f"latest_net_{name}.pth") for each in (whole, parts))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_another_trainings_state_is_refused(tmp_path: Path) -> None:
    train(_run(), *_sides(), tmp_path, Ranks())
    with pytest.raises(ModelError, match="not this training's"):
        train(_run(msgspec.structs.replace(TINY, blocks=2)), *_sides(), tmp_path, Ranks(), resume=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save(path, {"step": 1})
    good = path.read_bytes()
    (tmp_path / f".state.pt.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(ModelError, match=r"No space left.*the last good state\.pt is kept") as caught:
        save(path, {"step": 2, "pad": torch.zeros(10_000)})
    assert str(path) in str(caught.value)
    assert path.read_bytes() == good


def test_two_processes_train_one_teacher(tmp_path: Path) -> None:
    for name, image in zip(("a", "b"), (side.images()[0] for side in _sides()), strict=True):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), image)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += ["-m", "stainstream", "train", "teacher", "--source", str(tmp_path / "a"), "--target"]
    command += [str(tmp_path / "b"), "--out", str(tmp_path / "out"), "--device", "cpu", "--filters", "4"]
    command += ["--blocks", "1", "--critic-filters", "4", "--tile", "32", "--epochs", "1", "--decay-epochs", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--epoch-steps", "2"], capture_output=True, text=True, check=False, env=environment, timeout=240
    )
    assert done.returncode == 0, done.stderr
    run = read_run(tmp_path / "out")
    assert (run.processes, run.steps) == (2, 2)
    state = torch.load(tmp_path / "out" / "state.pt", weights_only=True)
    first, second = (pools[0] for pools in state["pools"])
    assert not torch.equal(first, second)  # each saw tiles of its own


def test_the_distance_of_colors_asks_for_no_pairs() -> None:
    turned = np.ascontiguousarray(TISSUE[::-1, ::-1])
    assert color_distance([TISSUE], [turned]) == 0
    brighter = np.clip(TISSUE.astype(int) + 10, 0, 255).astype(np.uint8)
    assert 3 < color_distance([TISSUE], [brighter]) < 10


def test_an_empty_folder_and_a_missing_one_are_named(tmp_path: Path) -> None:
    for folder, reason in ((tmp_path, "no images"), (tmp_path / "none", "no such folder")):
        with pytest.raises(UsageError, match=reason) as caught:
            read([folder], 32)
        assert str(folder) in str(caught.value)


def test_an_unreadable_image_is_named_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), TISSUE)
    (tmp_path / "bad.png").write_bytes(b"no image")
    cv2.imwrite(str(tmp_path / "small.png"), TISSUE[:20, :20])
    side = read([tmp_path], 32)
    assert (len(side.images()), side.skipped) == (1, 2)
    assert "bad.png" in caplog.text
    assert "small.png" in caplog.text


def test_tiles_too_small_are_an_error_that_says_so(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "small.png"), TISSUE[:20, :20])
    with pytest.raises(UsageError, match=r"holds a tile of 32x32 pixels.*--tile"):
        read([tmp_path], 32)


def test_a_tile_comes_from_anywhere_and_from_each_folder_alike() -> None:
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((40, 40, 3), 255, np.uint8)
    side = Side(((black, black, black), (white,)))
    rng = np.random.default_rng(0)
    shares = [side.tile(rng, 32).mean() / 255 for _ in range(400)]
    assert 0.4 < np.mean(shares) < 0.6
    assert side.count(32) == 3 * 4 + 1
    collage = side.tile(rng, 32, pieces=4)
    assert collage.shape == (32, 32, 3)
    assert 0 < collage.mean() < 255


def test_slides_give_fields_of_tissue(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("openslide")
    (tmp_path / "slide.svs").symlink_to(shared / "data" / "slides" / "CMU-1-Small-Region.svs")
    side = read([tmp_path], 64)
    assert len(side.images()) > 3
    assert all(image.shape == (512, 512, 3) and image.min(2).mean() < 235 for image in side.images())


def test_a_file_that_is_no_slide_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("openslide")
    (tmp_path / "broken.svs").write_bytes(b"not a slide")
    with pytest.raises(UsageError):
        read([tmp_path], 64)
