"""Every notebook: in order, and green at the profile smoke from a folder of its own."""

from pathlib import Path

import nbformat
import pytest

from satkit import notebooks

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = notebooks.list_notebooks(FOLDER)


def test_series_is_in_order():
    assert NAMES, "there are no notebooks"
    assert notebooks.check(FOLDER) == []


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Return a folder outside the project; the notebooks' runs go there."""
    return tmp_path_factory.mktemp("series")


@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_at_smoke(name, elsewhere, monkeypatch):
    monkeypatch.chdir(elsewhere)
    (outcome,) = notebooks.run([name], "smoke", source_dir=FOLDER, out_dir=elsewhere / "out")
    assert outcome.error == ""
    assert outcome.status == "done"
    executed = nbformat.read(outcome.path, as_version=4)
    assert notebooks.figures_without_alt(executed) == []
