"""Parameters, running and checking of notebooks, on toys that the tests make."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import IPython
import nbformat
import papermill
import pytest

from satkit import configure, notebooks

TOY = """\
# %% [markdown]
# # A toy
#
# ## What you will learn
#
# That $x^2$ is a formula. **Time:** 2 minutes to run.

# %% tags=["parameters"]
profile = "lab"  # which set of values
epochs = 0  # passes; 0: as the profile says
target_area = 0.0  # of the object
seed = 0  # of everything

# %%
import satkit

settings = satkit.configure(
    "01_toy", profile=profile, epochs=epochs, target_area=target_area, seed=seed
)

# %%
import sys

print("epochs", settings.train.epochs, "python", sys.executable)

# %% [markdown]
# ## Take-away
# ## References
"""
#: Needs nothing of satkit, so that its kernel starts at once.
PLAIN = """\
# %% tags=["parameters"]
seed = 0  # of everything

# %%
{code}
"""


def write(folder: Path, **sources: str) -> Path:
    """Write notebooks from py:percent sources, as `make notebooks` does."""
    (folder / "notebooks" / "source").mkdir(parents=True, exist_ok=True)
    for name, text in sources.items():
        (folder / "notebooks" / "source" / f"{name}.py").write_text(text)
    notebooks.pair(folder / "notebooks")
    return folder / "notebooks"


@pytest.fixture
def injected(monkeypatch):
    """Pretend to be a kernel in which papermill injected a cell."""

    def pretend(*cells: str) -> None:
        shell = SimpleNamespace(user_ns={"In": ["", *cells]})
        monkeypatch.setattr(IPython, "get_ipython", lambda: shell)

    return pretend


# ---- configure -----------------------------------------------------------------------------------


def test_configure_fills_in_the_profile_and_prints_a_table(capsys):
    settings = configure("05", profile="smoke", epochs=0, target_area=0.3, seed=0, images=0)
    assert (settings.epochs, settings.target_area, settings.images) == (1, 0.3, 16)
    assert settings.train.seed == 0 and settings.train.profile == "smoke"
    table = capsys.readouterr().out.splitlines()
    assert table[0] == "05: settings"
    assert table[2].split() == ["epochs", "1", "from", "the", "profile"]
    assert table[3].split() == ["target_area", "0.3", "as", "given"]


def test_configure_without_training_parameters_makes_no_training_settings():
    settings = configure("01", profile="paper", seed=3, images=7)
    assert settings.train is None
    assert (settings.seed, settings.images) == (3, 7)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epohcs": 3}, r"no parameter 'epohcs'\. Did you mean 'epochs'\?.*target_area"),
        ({"epochs": -1}, "epochs = -1: .*greater than or equal to 1"),
        ({"epochs": "many"}, "epochs = 'many': .*valid integer"),
        ({"target_area": 1.5}, "target_area = 1.5: .*less than or equal to 1"),
        ({"thresholds": "0.2 1.2"}, "thresholds must lie in 0-1"),
        ({"profile": "labb"}, "profile = 'labb': .*'smoke', 'lab' or 'paper'. Did you mean 'lab'"),
        ({"images": -2}, "images = -2"),
        ({"dataset": "cubs"}, "dataset = 'cubs': .*butterflies"),
    ],
)
def test_configure_stops_on_bad_input(parameters, message):
    with pytest.raises(ValueError, match=message):
        configure("05", **parameters)


def test_configure_stops_where_the_data_are_not(tmp_path):
    with pytest.raises(FileNotFoundError, match="set data_root to the folder"):
        configure("05", dataset="cub", data_root=str(tmp_path / "nowhere"))


def test_what_reads_no_data_set_needs_none(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "_data_root", lambda train: tmp_path / "nowhere")
    assert configure("14", profile="paper", runs_dir="runs").train.dataset == "cub"
    with pytest.raises(FileNotFoundError, match="set data_root"):
        configure("05", profile="paper", dataset="")


def test_configure_rejects_names_that_papermill_injected(injected):
    injected("epochs = 0", "# Parameters\nepohcs = 3\n")
    with pytest.raises(ValueError, match=r"05 has no parameter 'epohcs'\. Did you mean 'epochs'"):
        configure("05", profile="smoke", epochs=0)


def test_configure_accepts_what_papermill_injected(injected):
    injected("epochs = 0", '# Parameters\nepochs = 2\nprofile = "smoke"\n')
    assert configure("05", profile="smoke", epochs=2).epochs == 2


def test_configure_notices_a_lost_parameters_tag(injected):
    injected("# Parameters\nepochs = 2\n", "epochs = 0  # the defaults run last")
    with pytest.raises(ValueError, match=r"epochs = 2 was asked for.* goes on with 0.*Tag"):
        configure("05", profile="smoke", epochs=0)


# ---- plain papermill -----------------------------------------------------------------------------


def test_papermill_from_another_folder_stops_on_a_mistyped_name(tmp_path, monkeypatch):
    source = write(tmp_path, **{"01_toy": TOY}) / "01_toy.ipynb"
    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-m", "papermill", str(source), "out.ipynb", "-p", "epohcs", "2"]
    done = subprocess.run(
        command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "01_toy has no parameter 'epohcs'. Did you mean 'epochs'?" in done.stderr


def test_papermill_stops_on_a_bad_value(tmp_path):
    source = write(tmp_path, **{"01_toy": TOY}) / "01_toy.ipynb"
    with pytest.raises(papermill.PapermillExecutionError, match="target_area = 7"):
        papermill.execute_notebook(
            source, tmp_path / "out.ipynb", {"target_area": 7}, progress_bar=False
        )


# ---- run -----------------------------------------------------------------------------------------


def test_run_executes_skips_reports_and_goes_on(tmp_path, monkeypatch):
    """The kernel is the running Python even where the user's own `python3` is another one."""
    strange = tmp_path / "jupyter" / "kernels" / "python3"
    strange.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "strange", "language": "python"}
    (strange / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    (tmp_path / "package").mkdir()  # in place of satkit's own files, which others may be editing
    monkeypatch.setattr(notebooks, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(notebooks._Clock, "due", lambda clock: True)
    broken = PLAIN.format(code="print('so far')\nprint('epoch 1/2, 9 s left')\n\n# %%\n1 / 0")
    folder = write(tmp_path, **{"00_broken": broken, "01_toy": TOY})
    said: list[str] = []

    first = notebooks.run(None, "smoke", source_dir=folder, say=said.append)
    assert [o.status for o in first] == ["failed", "done"]
    assert first[0].error == "cell [3]: ZeroDivisionError: division by zero"
    assert "so far" in first[0].path.read_text()
    assert not (tmp_path / "build" / "notebooks" / "00_broken.ipynb").exists()
    executed = first[1].path.read_text()
    assert f"epochs 1 python {sys.executable}" in executed
    assert str(tmp_path) not in executed
    measured = json.loads(executed)["metadata"]["satkit"]
    assert measured["device"] and measured["cores"] == os.cpu_count()
    assert date.fromisoformat(measured["date"]) <= date.today() + timedelta(days=1)
    assert any("1 executed, 0 up to date, 1 failed" in line for line in said)
    assert "[1/2] 00_broken: epoch 1/2, 9 s left" in said  # but not what else cells print
    assert not any("so far" in line for line in said)
    assert os.environ["JUPYTER_PATH"] == str(tmp_path / "jupyter")

    second = notebooks.run(["01"], "smoke", source_dir=folder, say=said.append)
    assert [o.status for o in second] == ["current"]

    out = tmp_path / "build" / "notebooks"
    (plan,) = notebooks.plan(["01_toy"], {"profile": "smoke", "epochs": "2"}, folder, out)
    assert plan.stale == "changed since: parameters"
    assert plan.parameters == {"profile": "smoke", "epochs": 2}
    write(tmp_path, **{"01_toy": TOY.replace("A toy", "Another toy")})
    (plan,) = notebooks.plan(["01_toy"], {"profile": "smoke"}, folder, out)
    assert plan.stale == "changed since: notebook"
    (tmp_path / "package" / "model.py").write_text("x = 1")
    (plan,) = notebooks.plan(["01_toy"], {"profile": "smoke"}, folder, out)
    assert plan.stale == "changed since: notebook, satkit"


@pytest.mark.parametrize(
    ("names", "parameters", "message"),
    [
        (["1_toi"], {}, "no notebook '1_toi'. Did you mean '01_toy'"),
        (None, {"epohcs": 1}, "no parameter 'epohcs'. Did you mean 'epochs'"),
        (None, {"epochs": "x"}, "01_toy: epochs = 'x'"),
        (None, {"profile": "lap"}, "01_toy: profile = 'lap'"),
    ],
)
def test_run_stops_before_anything_runs(tmp_path, names, parameters, message):
    folder = write(tmp_path, **{"01_toy": TOY})
    with pytest.raises(ValueError, match=message):
        notebooks.run(names, None, parameters, source_dir=folder)
    assert not (tmp_path / "build").exists()


def test_two_processes_do_not_execute_into_one_folder(tmp_path):
    folder = write(tmp_path, **{"00_plain": PLAIN.format(code="1")})
    out = tmp_path / "build" / "notebooks"
    out.mkdir(parents=True)
    code = (
        "import os, sys; from pathlib import Path; from satkit import notebooks\n"
        "with notebooks._alone_in(Path(sys.argv[1])): print(os.getpid(), flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        number = other.stdout.readline().decode().strip()
        message = f"by process {number} into {out}; wait until it is done, or give another folder"
        with pytest.raises(RuntimeError, match=message):
            notebooks.run(None, source_dir=folder)
        other.communicate(b"\n")
    with notebooks._alone_in(out):  # free again, as the other one has ended
        assert (out / ".lock").read_text() == str(os.getpid())
    assert list(out.glob("*.ipynb")) == []


def test_to_ask_for_a_default_changes_nothing(tmp_path):
    folder = write(tmp_path, **{"01_toy": TOY})
    prints = [
        notebooks.plan(["01_toy"], asked, folder, tmp_path)[0].fingerprint["parameters"]
        for asked in ({}, {"profile": "lab", "epochs": 0}, {"profile": "smoke"})
    ]
    assert prints == ["{}", "{}", '{"profile": "smoke"}']


def test_interrupted_run_leaves_nothing_that_looks_whole(tmp_path):
    code = f"import os, time\n\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    folder = write(tmp_path, **{"00_slow": PLAIN.format(code=code + "time.sleep(600)")})
    script = (
        "import pathlib, signal, sys; from satkit import notebooks; "
        # a job in the background is born deaf to Ctrl-C; this one shall hear it
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "notebooks.run(None, source_dir=pathlib.Path(sys.argv[1]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stderr=subprocess.DEVNULL
    )
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 120)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert not (tmp_path / "build" / "notebooks" / "00_slow.ipynb").exists()
    kernel = Path("/proc") / (tmp_path / "pid").read_text()
    wait_until(lambda: not kernel.exists(), 30)


def wait_until(true, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(0.1)


# ---- pair and check ------------------------------------------------------------------------------


def test_pairing_gives_the_same_file_every_time():
    text = notebooks.from_source(TOY)
    assert text == notebooks.from_source(TOY)
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids) == 5
    assert notebooks.parameters_of(notebook) == {
        "profile": "lab", "epochs": 0, "target_area": 0.0, "seed": 0,
    }  # fmt: skip


def test_check_finds_nothing_wrong_with_a_sound_notebook(tmp_path):
    assert notebooks.check(write(tmp_path, **{"01_toy": TOY})) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (' tags=["parameters"]', "", "0 cells are tagged `parameters`"),
        ("seed = 0  # of everything", "seed = 0", "'seed = 0' is not"),
        ("seed = 0  # of everything", "seed = 1 - 1  # x", "malformed"),
        ("seed = 0  # of everything", "sede = 0  # x", "no parameter 'sede'"),
        (", seed=seed", "", "every parameter of the notebook by keyword"),
        ('"01_toy"', '"02_toy"', "must be given the name '01_toy'"),
        ("satkit.configure(", "dict(", "does not call configure"),
        ("## References", "", "no section 'references'"),
        ("2 minutes", "a while", "how long it takes"),
        ("# # A toy", "# # A toy\n#\n# ![](bird.png)", "no alt text"),
    ],
)
def test_check_names_the_problem(tmp_path, old, new, problem):
    assert old in TOY
    (found,) = notebooks.check(write(tmp_path, **{"01_toy": TOY.replace(old, new)}))
    assert found.startswith("01_toy: ") and problem in found


def test_check_finds_what_is_out_of_sync(tmp_path):
    folder = write(tmp_path, **{"01_toy": TOY})
    (folder / "source" / "01_toy.py").write_text(TOY.replace("A toy", "Edited"))
    assert notebooks.check(folder) == [
        "01_toy: not what source/01_toy.py gives; run `make notebooks`"
    ]
    (folder / "source" / "01_toy.py").unlink()
    assert notebooks.check(folder) == ["01_toy: no source/01_toy.py beside it"]


def test_figures_without_alt_are_found():
    def notebook(data):
        cell = nbformat.v4.new_code_cell("x")
        cell.outputs = [nbformat.v4.new_output("display_data", data)]
        return nbformat.v4.new_notebook(cells=[cell])

    assert notebooks.figures_without_alt(notebook({"image/png": "AAAA"})) != []
    assert notebooks.figures_without_alt(notebook({"text/html": '<img src="x">'})) != []
    assert notebooks.figures_without_alt(notebook({"text/html": '<img alt="" src="x">'})) != []
    assert notebooks.figures_without_alt(notebook({"text/html": '<img alt="A map" src="x">'})) == []
