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


def test_a_share_may_differ_by_its_margin():
    """Ratios of shares near zero say nothing."""
    names = (("own", 0.002, "share"), ("wait", 0.4, "% of the time"))
    old = {n: goals.goal(v, 0.05, more=False, unit=unit) for n, v, unit in names}

    def measured(own, wait):
        now = {"own": own, "wait": wait}
        return {n: goals.goal(now[n], 0.05, more=False, unit=unit) for n, _, unit in names}

    assert goals.fallen(old, measured(0.05, 5.3)) == []
    assert goals.fallen(old, measured(-0.1, 0.0)) == []
    lines = goals.fallen(old, measured(0.06, 5.5))
    assert lines == ["own: 0.06 share, was 0.002", "wait: 5.5 % of the time, was 0.4"]


def test_a_new_device_is_judged_by_the_targets(tmp_path, monkeypatch):
    found = {"speed": goals.goal(3, 4), "memory": goals.goal(0.3, 0.4, more=False)}
    (tmp_path / "model_other_gpu.json").write_text(json.dumps({"goals": found}))
    monkeypatch.setattr(goals, "SCRIPTS", ())
    [line] = goals.regress(tmp_path)
    assert line == "model_other_gpu: speed: 3 x, target ≥ 4 x, and nothing to compare with"


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
