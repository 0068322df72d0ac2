"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# A busy machine is no defect of what is tested.
hypothesis.settings.register_profile("stainstream", deadline=None)
hypothesis.settings.load_profile("stainstream")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    from stainstream.engines.gpu import absent

    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and (reason := absent()) is not None:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and checkpoints beside the checkout."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's cache out of the tests."""
    import os

    os.environ["STAINSTREAM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
