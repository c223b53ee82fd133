"""The command line: what it prints, and exit codes 0 done, 1 failed, 2 bad input."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from satkit import __main__ as cli
from satkit import doctor, notebooks, results, training
from satkit.course import sandbox
from satkit.data.prepare import prepare
from satkit.settings import TrainSettings


@pytest.fixture
def call(capsys):
    """Run the command line; return exit code, output and errors."""

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.mark.parametrize(
    "command", ["doctor", "run", "train", "evaluate", "runs", "predict", "data", "ledger", "course"]
)
def test_every_command_has_help(call, command):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert f"Usage: python -m satkit {command}" in out


def test_help_of_train_lists_every_setting(call):
    _, out, _ = call("train", "--help")
    assert "regularizer ('none')" in out and "spatial_blocks (3)" in out
    for name in TrainSettings.model_fields:
        assert f"\n  {name}: " in out
    assert "epochs: passes over the training images (lab: 2; smoke: 1; paper: 30)" in out
    assert "weight_decay: of matrices and tokens (lab: 0.05)" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "-p", "epohcs", "3"], "no setting 'epohcs'. Did you mean 'epochs'"),
        (["train", "-p", "epochs", "many"], "bad input: epochs = 'many': "),
        (["train", "-p", "epochs"], "-p takes a name and a value"),
        (["train", "-p", "thresholds", "0.5 1.5"], "thresholds must lie in 0-1"),
        (["train", "--profile", "lap"], "profile is 'lap'"),
        (["train", "--out", "/nowhere/a.json"], "--out is '/nowhere/a.json', but there is no"),
        (["evaluate", "/nowhere/run"], "'/nowhere/run' is no run"),
        (
            ["predict", "/nowhere.jpg", "--checkpoint", "/nowhere/run", "--out", "out"],
            "'/nowhere/run' is no run",
        ),
        (["runs", "/nowhere"], "no runs in '/nowhere'"),
        (["data", "cubs"], "Did you mean 'cub'"),
        (["data", "cub", "--root", "/nowhere"], "/nowhere"),
        (["ledger", "/nowhere.csv"], "there is no result file '/nowhere.csv'"),
        (["ledger", "--out", "/nowhere/ledger.csv"], "there is no folder"),
        (["run", "05", "--all"], "name some notebooks, or give --all"),
        (["run", "0_start"], "no notebook '0_start'"),
        (["run", "00", "-p", "sead", "3"], "Did you mean 'seed'"),
        (["run", "--al"], "--al"),
    ],
)
def test_bad_input_ends_with_2_and_one_message(call, words, message):
    code, _, err = call(*words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [["run", "99"], ["train", "-p", "epochs", "-3"]])
def test_bad_input_needs_no_torch(words):
    code = (
        "import sys; from satkit import __main__ as cli\n"
        f"try: cli.main({words})\n"
        "except SystemExit as stopped: print(stopped.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"


def test_failure_ends_with_1(call, monkeypatch):
    def fail(*_, **__):
        raise FloatingPointError("the loss is not finite")

    monkeypatch.setattr(training, "train", fail)
    code, out, err = call("train")
    assert (code, err) == (1, "failed: the loss is not finite\n")
    assert out == "train: sat on aviary, epochs 2, seed 0; the run goes to runs/default\n"


def test_interruption_ends_with_130(call, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupt)
    code, _, err = call("train")
    assert code == 130
    assert "run the same again to go on" in err


def test_run_ends_with_1_if_a_notebook_failed(call, monkeypatch, tmp_path):
    outcome = notebooks.Outcome("00", "failed", 1.0, tmp_path, "cell [1]: ZeroDivisionError")
    monkeypatch.setattr(notebooks, "run", lambda *_, **__: [outcome])
    assert call("run", "--all")[0] == 1


def test_run_passes_names_profile_and_parameters_on(call, monkeypatch):
    seen = []
    monkeypatch.setattr(notebooks, "run", lambda *words, **more: seen.append((words, more)) or [])
    code, _, _ = call("run", "05", "--profile", "smoke", "-p", "lr", "-1", "--no-site", "--force")
    assert code == 0
    assert seen == [
        ((["05"], "smoke", {"lr": "-1"}, "build/notebooks"), {"force": True}),
    ]


def test_train_then_evaluate_and_predict(call, tmp_path):
    small = ["-p", "runs_dir", str(tmp_path), "-p", "pretrained", "False"]
    result = tmp_path / "result.json"
    some = ["-p", "train_images", "8", "--out", str(result)]
    code, out, _ = call("train", "--profile", "smoke", *small, *some)
    assert code == 0
    folder = out.split("run: ")[1].strip()
    written = json.loads(result.read_text())
    assert written == json.loads(json.dumps(results.open_run(folder).summary()))
    assert written["run"] == folder and "classes" not in written["provenance"]
    numbers = results.open_run(folder).metrics
    code, out, _ = call("evaluate", folder, "--out", str(tmp_path / "again.json"))
    assert code == 0
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["gt_known"] == numbers["gt_known"]
    assert again["threshold"] == numbers["threshold"]
    assert f"threshold {numbers['threshold']:g}: chosen on held-out images" in out
    assert f"evaluate: run {Path(folder).name}: commit " in out and "; protocol sat on" in out
    code, out, _ = call("evaluate", folder, "-p", "protocol", "tscam")
    assert code == 0 and "protocol tscam" in out
    assert re.search(r"threshold 0\.1[02]?: chosen on these test images", out)  # the protocol's two
    Image.new("RGB", (80, 60), "green").save(tmp_path / "green.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    files = [str(tmp_path / name) for name in ("green.png", "broken.jpg")]
    code, out, err = call("predict", *files, "--checkpoint", folder, "--out", str(tmp_path / "p"))
    assert code == 1
    assert out.splitlines()[-1].startswith(
        "1 photographs localized by a run that was trained on aviary: "
    )
    assert "skipped: " in err and "broken.jpg" in err
    assert "green.png" in (tmp_path / "p" / "boxes.csv").read_text()
    code, out, _ = call("runs", str(tmp_path))
    assert code == 0 and re.search(rf"{folder} +finished .* smoke: dataset=aviary method=sat", out)
    assert f" {numbers['gt_known']:.1f} " in out
    code, _, err = call("evaluate", folder, "-p", "protcol", "tscam")
    assert code == 2 and "Did you mean 'protocol'" in err
    code, _, err = call("evaluate", folder, "-p", "lr", "1e-3")
    assert code == 2 and "evaluate has no parameter 'lr'" in err and "eval_images" in err
    (Path(folder) / "metrics.json").unlink()
    assert re.search(rf"{folder} +unfinished +smoke: ", call("runs", str(tmp_path))[1])
    code, _, err = call("evaluate", folder)
    assert code == 2 and "is not finished; give its train command again" in err


def test_doctor_says_what_is_there_and_what_is_slow(call, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "SHIPPED_WEIGHTS", tmp_path / "gone.safetensors")
    (tmp_path / "birds").mkdir()
    code, out, _ = call("doctor", "--data-root", str(tmp_path))
    assert code == 1
    assert "What will be slow" in out
    assert "the shipped backbone is missing" in out
    assert out.splitlines()[-1].startswith("ready for the lessons: no: the shipped backbone is")
    lines = {" ".join(line.split()[:2]): line for line in out.splitlines()}
    assert "embedded" in lines["data aviary"]
    assert f"found in {tmp_path / 'birds'}" in lines["data birds"]
    assert "not found" in lines["data cub"]
    monkeypatch.setattr(doctor, "SHIPPED_WEIGHTS", tmp_path / "there.safetensors")
    (tmp_path / "there.safetensors").write_bytes(b"x")
    code, out, _ = call("doctor")
    assert code == 0
    assert out.splitlines()[-1] == "ready for the lessons: yes"


def test_doctor_says_whether_exercises_can_be_graded_and_are_isolated(call, monkeypatch):
    monkeypatch.setattr(sandbox, "missing", lambda: ["no Landlock: it reads your files"])
    monkeypatch.setitem(doctor.EXTRAS, "course", ("no_such_module",))
    out = call("doctor")[1]
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert "cannot be released or graded" in lines["course"]
    assert "pip install '.[course]'" in lines["course"]
    assert lines["grading"].endswith("not isolated fully: no Landlock: it reads your files")
    assert out.splitlines()[-1] == "ready for the lessons: yes"  # which need none of it
    monkeypatch.setattr(sandbox, "missing", list)
    assert "submissions are isolated" in call("doctor")[1]


def test_data_says_of_every_set_where_it_is_and_how_to_get_it(call, monkeypatch, tmp_path):
    monkeypatch.setenv("SATKIT_DATA", str(tmp_path))
    for number in range(5):
        for name in ("cat", "dog"):
            path = tmp_path / "folder" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (number, 0, 0)).save(path)
    (tmp_path / "cub").mkdir()
    (tmp_path / "imagenet").mkdir()

    def line(name: str) -> str:
        code, out, _ = call("data")
        assert code == 0
        return next(line for line in out.splitlines() if line.startswith(f"{name} "))

    assert "embedded" in line("aviary")
    assert f"not in {tmp_path / 'openimages'}" in line("openimages")
    assert "python data_scripts/openimages.py download" in line("openimages")
    assert "incomplete. cub: looked for 'images.txt'" in line("cub")
    assert "data_scripts/imagenet.py verify --quick" in line("imagenet")
    assert " 8 / - / 2 " in line("folder") and str(tmp_path / "folder") in line("folder")
    prepare("folder", tmp_path / "folder", 16, workers=1)
    prepare("folder", tmp_path / "folder", 24, workers=1)
    assert " 8 / - / 2 " in line("folder") and " 16 24 " in line("folder")


def test_ledger_judges_result_files(call, tmp_path):
    lines = ["dataset,seed,given,gt_known", 'aviary,0,"{}",90', 'aviary,1,"{}",91']
    lines += [f'aviary,{seed},"{{""method"": ""tscam""}}",80' for seed in (0, 1)]
    (tmp_path / "results.csv").write_text("\n".join(lines))
    written = tmp_path / "ledger.csv"
    code, out, _ = call("ledger", str(tmp_path / "results.csv"), "--out", str(written))
    assert code == 0
    line = next(line for line in out.splitlines() if line.split()[:1] == ["sat_over_tscam"])
    assert "cub +10.75" in line and "+10.50 [+4.15, +16.85]" in line and "reproduced" in line
    assert "sat_over_tscam," in written.read_text()
    (tmp_path / "other.csv").write_text("dataset,seed\naviary,0\n")
    code, _, err = call("ledger", str(tmp_path / "other.csv"))
    assert code == 2 and "results name no settings" in err
