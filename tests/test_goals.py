"""What benchmarks say of their goals, and what counts as slower than before."""

import json

import pytest

from benchmarks import goals


def test_a_goal_is_reached_on_its_side():
    assert goals.goal(5, 4)["reached"] and not goals.goal(3, 4)["reached"]
    assert goals.goal(0.3, 0.4, more=False)["reached"]
    assert not goals.goal(0.5, 0.4, more=False)["reached"]


def test_a_ratio_that_fell_by_a_fifth_is_named():
    old = {"speed": goals.goal(10, 8), "memory": goals.goal(0.4, 0.5, more=False)}
    assert goals.fallen(old, {"speed": goals.goal(8.1, 8), "memory": goals.goal(0.49, 1)}) == []
    lines = goals.fallen(old, {"speed": goals.goal(7.9, 8), "memory": goals.goal(0.51, 1)})
    assert [line.split(":")[0] for line in lines] == ["speed", "memory"]
    assert "7.9 x, was 10" in lines[0]


def test_seconds_are_not_compared_and_a_lost_ratio_is_named():
    old = {"s": goals.goal(1, 2, more=False, unit="s"), "x": goals.goal(2, 1)}
    assert goals.fallen(old, {}) == ["x: is no longer measured"]


def test_regress_compares_with_the_committed_file(tmp_path, monkeypatch):
    committed, new = tmp_path / "results", tmp_path / "new"
    for folder, value in ((committed, 10.0), (new, 5.0)):
        folder.mkdir()
        content = {"goals": {"speed": goals.goal(value, 8)}}
        (folder / "boxes.json").write_text(json.dumps(content))
    (new / "model_other_gpu.json").write_text(json.dumps({"goals": {}}))
    monkeypatch.setattr(goals, "RESULTS", committed)
    monkeypatch.setattr(goals, "SCRIPTS", ())
    assert goals.regress(new) == ["boxes: speed: 5 x, was 10"]


def test_only_the_part_between_its_markers_changes():
    page = "a\n<!-- boxes -->\nold\n<!-- /boxes -->\nb\n"
    assert goals.replace_part(page, "boxes", "new\n") == page.replace("old", "new")
    with pytest.raises(ValueError, match="no markers <!-- model -->"):
        goals.replace_part(page, "model", "")


def test_the_page_shows_what_the_result_files_hold():
    page = goals.PAGE.read_text()
    goals.write_page()
    assert goals.PAGE.read_text() == page
