"""A user's own photographs: read upright, localized, reported, and nothing private copied."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import satkit
from satkit import photos
from satkit.data import read_image
from satkit.data.aviary import draw_bird
from satkit.lab import localization, localize_photo
from satkit.notebooks import configure
from satkit.predict import heat_of, predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = satkit.TrainSettings.for_profile(
        "smoke", pretrained=False, runs_dir=str(tmp_path_factory.mktemp("runs"))
    )
    return satkit.train(settings)


@pytest.fixture
def folder(tmp_path):
    return photos.sample_photos(tmp_path / "photos", count=4, size=96)


def test_samples_are_turned_files_that_read_upright(folder):
    true = photos.read_boxes(folder)
    for number, turn in enumerate((1, 6, 3, 8)):
        file = folder / f"photo_{number}.jpg"
        exif = Image.open(file).getexif()
        assert exif[0x0112] == turn and exif.get_ifd(0x8825)  # it has a place
        drawing = draw_bird([0, number], 96, label=3 * number % 20)
        seen = np.asarray(read_image(file)).astype(int)
        assert np.abs(seen - drawing.image).mean() < 12  # JPEG's loss, far from a turned picture
        assert true[file.name].tolist() == drawing.boxes[:1].tolist()


def test_report_has_alt_texts_and_iou_and_no_exif(run, folder, tmp_path):
    (folder / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    out = tmp_path / "out"
    found = predict([folder], run.dir, out)
    assert "Save it as JPEG" in next(iter(found.unreadable.values()))
    table = photos.with_iou(found.boxes, folder)
    own = table.loc[0, ["x0", "y0", "x1", "y1"]].to_numpy(float)[None]
    truth = photos.read_boxes(folder)["photo_0.jpg"]
    assert table.loc[0, "iou"] == satkit.boxes.iou(own, truth)[0, 0]
    page = photos.write_report(found, table, run, out).read_text()
    assert page.count("<img") == page.count('alt="Heat map') == 4
    assert "phone.HEIC" in page and run.provenance["commit"][:8] in page
    assert str(folder) not in page and "http" not in page
    for row in table.itertuples():
        assert row.overlay in page and not dict(Image.open(out / row.overlay).getexif())
        assert f"IoU with the drawn box {row.iou:.2f}" in page


def test_without_drawn_boxes_there_is_no_iou(run, folder, tmp_path):
    (folder / "boxes.csv").unlink()
    found = predict([folder], run.dir, tmp_path / "out")
    table = photos.with_iou(found.boxes, folder)
    assert table["iou"].isna().all() and "IoU" not in photos.describe(table.loc[0])


def test_description_says_where_the_box_lies():
    row = {"file": "a/b.jpg", "width": 100, "height": 100, "x0": 0, "y0": 70, "x1": 20, "y1": 100,
           "class": "finch", "score": 0.5, "iou": float("nan")}  # fmt: skip
    assert photos.describe(pd.Series(row)) == (
        "Heat map and box over b.jpg: the box lies at the bottom left and takes 6 % of the "
        "picture; class finch (50 %)."
    )


def test_drawn_boxes_must_be_of_files_that_are_there(folder):
    (folder / "boxes.csv").write_text("file,x0,y0,x1,y1\nother.jpg,0,0,5,5\n")
    with pytest.raises(ValueError, match=r"names 'other.jpg', which is not in"):
        photos.read_boxes(folder)


def test_heic_in_a_folder_is_named_and_not_passed_over(run, tmp_path):
    (tmp_path / "only.heic").write_bytes(b"\0\0\0\x18ftypheic")
    found = predict([tmp_path], run.dir, tmp_path / "out")
    assert len(found.boxes) == 0 and "Most Compatible" in next(iter(found.unreadable.values()))


def test_photographs_are_sorted_out_before_the_work(folder):
    (folder / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    readable, reasons = photos.sort_out(folder)
    assert [file.name for file in readable] == [f"photo_{i}.jpg" for i in range(4)]
    assert [file.name for file in reasons] == ["a.heic"]
    for file in readable:
        file.unlink()
    with pytest.raises(ValueError, match=r"none of the 1 images.*Save it as JPEG"):
        photos.sort_out(folder)


def test_configure_stops_where_the_photographs_are_not(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"photos = .*no such folder"):
        configure("15", photos=str(tmp_path / "nowhere"))


def test_widget_shows_a_static_picture_first_and_follows_its_slider(run, folder, monkeypatch):
    shown = []
    monkeypatch.setattr("satkit.lab.shell.show", shown.append)
    widget = localize_photo(run, folder / "photo_1.jpg", threshold=0.4)
    assert "threshold 0.40" in shown[0].alt
    (upload, slider), view, said = widget.children[0].children, *widget.children[1:3]
    assert said.value == shown[0].alt and f'alt="{shown[0].alt}"' in view.value
    slider.value = 0.8
    assert "threshold 0.80" in said.value and "threshold 0.80" in view.value

    def uploaded(name, content):
        return ({"name": name, "type": "image/jpeg", "size": len(content),
                 "content": memoryview(content), "last_modified": datetime.now(UTC)},)  # fmt: skip

    upload.value = uploaded("mine.jpg", (folder / "photo_2.jpg").read_bytes())
    assert said.value.startswith("mine.jpg: ")
    upload.value = uploaded("bad.heic", b"nothing")
    assert "HEIC" in said.value


def test_localization_names_the_share_of_the_box(run, folder):
    heat = heat_of(run.model(), run, read_image(folder / "photo_0.jpg"))
    everything = localization(heat, 0.0, run.provenance["classes"], "one.jpg")
    box = heat.box(0.0)
    share = 100 * (box[2] - box[0]) * (box[3] - box[1]) / heat.map.size
    assert f"takes {share:.0f} % of the picture" in everything.alt
    assert len(everything.figure.axes) == 3
