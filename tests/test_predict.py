import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import satkit
from satkit.__main__ import main
from satkit.data.aviary import Aviary
from satkit.predict import predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = satkit.TrainSettings.for_profile(
        "smoke", pretrained=False, runs_dir=str(tmp_path_factory.mktemp("runs"))
    )
    return satkit.train(settings)


@pytest.fixture
def photographs(tmp_path):
    """A folder with photographs of all kinds, and two files that are none."""
    folder = tmp_path / "photographs"
    (folder / "deeper").mkdir(parents=True)
    bird = Image.fromarray(Aviary("test", size=120).drawing(0).image).resize((300, 200))
    bird.save(folder / "colour.jpg")
    bird.convert("L").save(folder / "grey.png")
    bird.convert("CMYK").save(folder / "cmyk.jpg")
    bird.convert("P").save(folder / "deeper" / "palette.gif")
    Image.fromarray(np.full((50, 40), 40_000, np.uint16)).save(folder / "sixteen.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    bird.save(folder / "turned.jpg", exif=turned)
    (folder / "cut.jpg").write_bytes((folder / "colour.jpg").read_bytes()[:2000])
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("not a photograph")
    return folder


def where(run, folder) -> list[str]:
    return ["--checkpoint", str(run.dir), "--out", str(folder / "out")]


def test_boxes_and_overlays(run, photographs, tmp_path):
    found = predict([photographs], run.dir, tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "boxes.csv")
    assert json.loads((tmp_path / "out" / "boxes.json").read_text()) == found.boxes.to_dict(
        "records"
    )
    assert len(table) == len(list((tmp_path / "out" / "overlays").iterdir())) == 6
    assert (table["x0"] < table["x1"]).all() and (table["y0"] < table["y1"]).all()
    assert (table["x1"] <= table["width"]).all() and (table["y1"] <= table["height"]).all()
    sizes = {row.file.split("/")[-1]: (row.width, row.height) for row in table.itertuples()}
    assert sizes["colour.jpg"] == (300, 200)
    assert sizes["turned.jpg"] == (200, 300)  # as it is displayed
    assert set(table["threshold"]) == {run.metrics["threshold"]}
    assert set(table["class"]) <= set(run.provenance["classes"])


def test_unreadable_files_are_named_and_skipped(run, photographs, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["predict", str(photographs), *where(run, tmp_path)])
    assert stop.value.code == 1
    errors = capsys.readouterr().err
    assert "cut.jpg" in errors and "empty.png" in errors
    assert len(pd.read_csv(tmp_path / "out" / "boxes.csv")) == 6


def test_exit_code_0_where_all_are_readable(run, photographs, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["predict", str(photographs / "grey.png"), *where(run, tmp_path)])
    assert stop.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"paths": ["nowhere.jpg"]}, r"nowhere\.jpg"),
        ({"checkpoint": "no/run"}, "is no run"),
        ({"threshold": 1.5}, r"threshold is 1\.5"),
    ],
)
def test_bad_input(run, photographs, tmp_path, arguments, message):
    given = {"paths": [photographs], "checkpoint": run.dir, "out": tmp_path / "out", **arguments}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        predict(**given)
    assert not (tmp_path / "out").exists()


def test_folder_without_images(run, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        predict([tmp_path / "none"], run.dir, tmp_path / "out")
