"""The notebooks from inside (`configure`) and from outside (`run`, `check`, `pair`).

Inside a notebook, the cell after the one tagged `parameters` calls `configure`, which stops on a
mistyped name or a bad value before any work. Outside, `run` executes the series with papermill and
does nothing twice, and `check` and `pair` keep the notebooks in order. Only `configure` works
without the extra `notebooks`. `satkit.site` makes a site of what was executed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from satkit.choices import did_you_mean
from satkit.settings import DatasetName, Profile, TrainSettings, all_options

Value = int | float | str | bool
PACKAGE = Path(__file__).parent
SECTIONS = ("what you will learn", "take-away", "references")


# --------------------------------------------------------------------------------------------------
# Parameters: what a notebook takes, and what its values become
# --------------------------------------------------------------------------------------------------


class LessonSettings(BaseModel):
    """The parameters that lessons have beside those of training.

    Args:
        profile: smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU).
        seed: seed of everything random, >= 0.
        images: how many images the lesson looks at; the profile's number where 0.
        seeds: how many seeds a comparison runs over; the profile's number where 0.
        compare: also run what the lesson's result is compared with.
        processes: how many processes train together.
        rows: rows of an experiment that are trained here: "all", "none", "first" (two of them), or
            their labels, separated by semicolons; the profile's choice where "".
        out: folder for files that the lesson makes; the lesson's own choice where "".
        only_dataset: judge results of this data set alone; of all where "".
        photos: folder of a user's photographs; drawings stand in for them where "".
        localizer: folder of a finished run that is used; the course's where "".
        threshold: on maps, 0-1; the one that the run chose where 0.
        verdicts: CSV file with a person's verdicts on errors; in the runs folder where "".
    """

    model_config = ConfigDict(extra="forbid")

    profile: Profile = "lab"
    seed: int = Field(default=0, ge=0)
    images: int = Field(default=0, ge=0)
    seeds: int = Field(default=0, ge=0)
    compare: bool = True
    processes: int = Field(default=1, ge=1)
    rows: str = ""
    out: str = ""
    only_dataset: DatasetName | Literal[""] = ""
    photos: str = ""
    localizer: str = ""
    threshold: float = Field(default=0, ge=0, le=1)
    verdicts: str = ""


LESSON_PROFILES: dict[str, dict[str, int | str]] = {
    "smoke": {"images": 16, "seeds": 1, "rows": "first"},
    "lab": {"images": 200, "seeds": 3, "rows": "none"},
    "paper": {"images": 1000, "seeds": 3, "rows": "all"},
}


def configure(notebook: str, **parameters: Value) -> SimpleNamespace:
    """Check a notebook's parameters and print what they resolve to.

    Call it in the cell after the one tagged `parameters`, with every parameter by keyword. Values
    of 0, 0.0 and "" mean "as the profile says" (a seed of 0 is a seed). A name that papermill
    injected and the notebook does not have stops here, where papermill itself would only warn.

    Args:
        notebook: the notebook's name, such as "05_train_cub".
        **parameters: the notebook's parameters, plain int, float, str or bool.

    Returns:
        The resolved values as attributes, and as `.train` the `TrainSettings` that they make (None
        if the notebook has no parameter of training beside profile and seed).

    Raises:
        ValueError: on an unknown name or a bad value; the message lists what is valid.
        FileNotFoundError: if `data_root` is given and is not there.
    """
    injected = _injected_parameters()
    reject_unknown(notebook, injected, parameters)
    for name, value in injected.items():
        if parameters[name] != value:
            raise ValueError(
                f"{notebook}: {name} = {value!r} was asked for, but the notebook goes on with "
                f"{parameters[name]!r}: the cell that sets the defaults runs after the injected "
                "one. Tag exactly that cell `parameters`."
            )
    settings = resolve(notebook, parameters)
    print(settings_table(notebook, parameters, settings))
    return settings


def reject_unknown(notebook: str, names: Iterable[str], valid: Iterable[str]) -> None:
    """Stop on the first name that is not valid, with the nearest one and the whole list.

    Args:
        notebook: the notebook's name, for the message.
        names: the names that were given.
        valid: the names that the notebook has.

    Raises:
        ValueError: if a name is not among the valid ones.
    """
    valid = list(valid)
    for name in names:
        if name not in valid:
            hint = did_you_mean(name, valid)
            raise ValueError(
                f"{notebook} has no parameter {name!r}.{hint} Its parameters: {', '.join(valid)}"
            )


def resolve(notebook: str, parameters: Mapping[str, Any]) -> SimpleNamespace:
    """Validate parameters and fill in what the profile says.

    Args:
        notebook: the notebook's name, for messages.
        parameters: names, of `LessonSettings` or `TrainSettings`, and values; 0, 0.0 and "" mean
            "as the profile says".

    Returns:
        The resolved values as attributes, and as `.train` the `TrainSettings` that they make, or
        None if the notebook has no parameter of training beside profile and seed.

    Raises:
        ValueError: on an unknown name or a bad value.
        FileNotFoundError: if `data_root` or `photos` is given and is not there.
    """
    lesson = LessonSettings.model_fields
    training = [name for name in TrainSettings.model_fields if name not in lesson]
    if not {*lesson, *training}.issuperset(parameters):
        training += all_options()  # which imports torch, and most notebooks name none
    reject_unknown(notebook, parameters, [*lesson, *training])
    given = {n: v for n, v in parameters.items() if n == "seed" or isinstance(v, bool) or v}
    train = None
    try:
        own = LessonSettings(**{n: v for n, v in given.items() if n in lesson})
        if any(name in training for name in parameters):
            options = {n: v for n, v in given.items() if n in training}
            train = TrainSettings.for_profile(own.profile, seed=own.seed, **options)
    except ValidationError as error:
        raise ValueError(explain(error, notebook)) from None
    if own.photos and not Path(own.photos).expanduser().is_dir():
        raise FileNotFoundError(
            f"{notebook}: photos = {own.photos!r}: there is no such folder; set photos to the "
            "folder that holds your photographs"
        )
    reads = {"dataset", "data_root"}.intersection(parameters)
    if train and reads and (root := _data_root(train)) and not root.exists():
        raise FileNotFoundError(
            f"{notebook}: the data set {train.dataset!r} is not in {root}; set data_root to the "
            "folder that holds it"
        )
    numbers = LESSON_PROFILES[own.profile]
    own = own.model_copy(update={n: getattr(own, n) or v for n, v in numbers.items()})
    values = {n: getattr(own, n) for n in parameters if n in lesson}
    if train:
        resolved = {**train.model_dump(), **train.options}
        values |= {n: resolved.get(n, parameters[n]) for n in parameters if n not in lesson}
        train = train.model_copy(update={"runs_dir": str(in_project(train.runs_dir))})
    return SimpleNamespace(**values, train=train)


def _data_root(train: TrainSettings | None) -> Path | None:
    """Return where the data are looked for, None if they are embedded, remote or there are none."""
    if train is None or train.dataset == "aviary" or "://" in train.data_root:
        return None
    from satkit.data import default_root  # and with it torch

    return Path(train.data_root).expanduser() if train.data_root else default_root(train.dataset)


def explain(error: ValidationError, what: str = "") -> str:
    """Put a pydantic error into one line a problem: name, value, what was expected.

    Args:
        error: what pydantic raised.
        what: what was being checked, put in front.

    Returns:
        The message.
    """
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(map(str, problem["loc"]))
        if problem["type"] == "missing":
            lines.append(f"{name} is missing")
            continue
        where = f"{name} = {problem['input']!r}: " if name else ""
        choices = re.findall(r"'([^']+)'", str(problem.get("ctx", {}).get("expected", "")))
        hint = did_you_mean(problem["input"], choices)
        lines.append(where + problem["msg"].removeprefix("Value error, ") + (hint and f".{hint}"))
    return (f"{what}: " if what else "") + "; ".join(lines)


def settings_table(notebook: str, given: Mapping[str, Value], settings: SimpleNamespace) -> str:
    """Write the resolved settings as an aligned table.

    Args:
        notebook: the notebook's name.
        given: the parameters as they were given.
        settings: what `resolve` made of them.

    Returns:
        One line a parameter: name, value, and whether it was given or comes from the profile.
    """
    values = {name: getattr(settings, name) for name in given}
    width = max(map(len, values), default=0)
    shown = {name: repr(value) for name, value in values.items()}
    column = max(map(len, shown.values()), default=0)
    lines = [
        f"  {n:<{width}}  {shown[n]:<{column}}  "
        + ("as given" if values[n] == given[n] else "from the profile")
        for n in values
    ]
    return "\n".join([f"{notebook}: settings", *lines])


def _injected_parameters() -> dict[str, Value]:
    """Return what papermill injected into the running notebook, read from IPython's history."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    cells = shell.user_ns.get("In", []) if shell else []
    injected = [cell for cell in cells if cell.startswith("# Parameters\n")]
    return _assignments(injected[-1]) if injected else {}


def _assignments(code: str) -> dict[str, Any]:
    """Return the plain `name = literal` assignments of a piece of code, in order."""
    found = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


# --------------------------------------------------------------------------------------------------
# Where things are
# --------------------------------------------------------------------------------------------------


def project_root() -> Path:
    """Find the folder that holds `notebooks/` and `docs/`.

    Returns:
        The current folder or the nearest one above it that has them, else the package's parent.

    Raises:
        FileNotFoundError: if there is none, as when satkit was installed without its repository.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, PACKAGE.parent):
        if (folder / "notebooks" / "source").is_dir() and (folder / "docs").is_dir():
            return folder
    raise FileNotFoundError(
        f"no folder with notebooks/ and docs/ at or above {here}; "
        "run this inside a clone of the repository"
    )


def in_project(path: str | Path) -> Path:
    """Take a relative path from the project's folder, so that notebooks run from any folder.

    Args:
        path: relative to the project's folder, or absolute.

    Returns:
        The path; from the current folder if there is no project, as after a bare pip install.
    """
    try:
        return project_root() / path
    except FileNotFoundError:
        return Path(path)


def list_notebooks(folder: Path | None = None) -> list[str]:
    """List the series in order.

    Args:
        folder: the folder of the .ipynb files; the project's `notebooks/` where None.

    Returns:
        Names such as "05_train_cub".
    """
    return sorted(
        path.stem for path in (folder or project_root() / "notebooks").glob("[0-9]*.ipynb")
    )


def parameters_of(notebook: Any) -> dict[str, Value]:
    """Read a notebook's parameters and their defaults from its `parameters` cell.

    Args:
        notebook: a notebook as nbformat reads it.

    Returns:
        Names and default values, in order.

    Raises:
        ValueError: if there is not exactly one cell tagged `parameters`.
    """
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{len(cells)} cells are tagged `parameters`; there must be exactly one")
    return _assignments(cells[0].source)


def stated_seconds(notebook: Any) -> float:
    """Read how long a notebook says that it takes: "… 5 minutes to run".

    Args:
        notebook: a notebook as nbformat reads it.

    Returns:
        Seconds; 0 if it does not say.
    """
    found = _said(notebook, r"(\d+)\s+(second|minute)s?\s+to\s+run\b")
    return int(found[1]) * {"second": 1.0, "minute": 60.0}[found[2]] if found else 0.0


def stated_minutes(notebook: Any) -> int:
    """Read how long a notebook says that it takes a reader: "**Time:** 45 minutes …".

    Args:
        notebook: a notebook as nbformat reads it.

    Returns:
        Minutes; 0 if it does not say.
    """
    found = _said(notebook, r"\*\*Time:\*\*\s+(\d+)\s+minutes\b")
    return int(found[1]) if found else 0


def _said(notebook: Any, pattern: str) -> re.Match[str] | None:
    text = " ".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    return re.search(pattern, text)


def _read(path: Path) -> Any:
    import nbformat

    return nbformat.read(path, as_version=4)


# --------------------------------------------------------------------------------------------------
# Run
# --------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What became of one notebook.

    Args:
        name: the notebook.
        status: "done", "failed" or "current" (it was up to date).
        seconds: how long its execution took, now or when it was done.
        path: the executed notebook, whole or, if it failed, as far as it came.
        error: the failing cell and its error, empty if none.
    """

    name: str
    status: Literal["done", "failed", "current"]
    seconds: float
    path: Path
    error: str = ""


def run(
    names: Iterable[str] | None = None,
    profile: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    out_dir: str | Path = "build/notebooks",
    *,
    source_dir: Path | None = None,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> list[Outcome]:
    """Execute notebooks in order; skip what is up to date; go on after a failure.

    An executed notebook appears in `out_dir` only when it is whole. A failed one is left in
    `out_dir/failed` as far as it came, with its error; an interrupted one in `out_dir/partial`.

    Args:
        names: notebooks, by full name or number ("05"); all where None.
        profile: smoke, lab or paper; the notebooks' own default where None.
        parameters: names and values, each for the notebooks that have it; at least one must.
        out_dir: where the executed notebooks go; relative to the project's folder.
        source_dir: where the notebooks are; the project's `notebooks/` where None.
        force: execute also what is up to date.
        say: takes the progress, one line a call.

    Returns:
        What became of each notebook, in order.

    Raises:
        ValueError: on an unknown notebook or parameter, or a bad value, before anything runs.
        FileNotFoundError: if a data folder is missing, before anything runs.
        RuntimeError: if another process is executing notebooks into `out_dir`.
    """
    source_dir = source_dir or project_root() / "notebooks"
    out = source_dir.parent / out_dir
    asked = dict(parameters or {}) | ({"profile": profile} if profile else {})
    plans = plan(_select(names, source_dir), asked, source_dir, out)
    cells = {item.name: item.cells for item in plans if item.stale or force}
    clock, outcomes = _Clock(cells, _past_seconds(plans)), []
    with _alone_in(out) if cells else nullcontext(), _this_python_as_kernel():
        for number, item in enumerate(plans, 1):
            head = f"[{number}/{len(plans)}] {item.name}"
            if not (item.stale or force):
                say(f"{head}: up to date ({_duration(item.seconds)} when it ran)")
                outcomes.append(Outcome(item.name, "current", item.seconds, item.output))
                continue
            say(f"{head}: running ({item.stale or 'asked for'})")
            outcomes.append(_execute(item, head, clock, say))
    _summary(outcomes, out, say)
    return outcomes


@dataclass
class Plan:
    """One notebook that `run` looks at.

    Args:
        name: the notebook.
        source: its .ipynb.
        output: where the executed one belongs.
        parameters: what is injected.
        fingerprint: what the result depends on, by name.
        stale: why it has to run, empty if it is up to date.
        seconds: how long it took the last time, else how long it says that it takes at the lab
            profile; 0 if unknown.
        cells: number of its code cells.
    """

    name: str
    source: Path
    output: Path
    parameters: dict[str, Value]
    fingerprint: dict[str, str]
    stale: str = ""
    seconds: float = 0.0
    cells: int = 0


def plan(names: list[str], asked: Mapping[str, Any], source_dir: Path, out: Path) -> list[Plan]:
    """Validate everything that is asked of the notebooks, and find out which have to run.

    Args:
        names: full names of notebooks.
        asked: parameters, each for the notebooks that have it.
        source_dir: where the notebooks are.
        out: where the executed ones are.

    Returns:
        One plan a notebook.

    Raises:
        ValueError: on a parameter that no notebook has, or a bad value.
        FileNotFoundError: if a data folder is missing.
    """
    notebooks = {name: _read(source_dir / f"{name}.ipynb") for name in names}
    has = {name: parameters_of(notebook) for name, notebook in notebooks.items()}
    reject_unknown(" / ".join(names), asked, dict.fromkeys(n for own in has.values() for n in own))
    code = _hash_files(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".csv", ".safetensors"))
    plans = []
    for name, notebook in notebooks.items():
        settings = resolve(name, {**has[name], **{n: asked[n] for n in asked if n in has[name]}})
        given = {n: _typed(asked[n], has[name][n]) for n in has[name] if n in asked}
        fingerprint = {
            "notebook": _hash("".join(c.cell_type + c.source for c in notebook.cells)),
            "parameters": json.dumps(_beside_defaults(given, has[name]), sort_keys=True),
            "satkit": code,
            "libraries": _versions("torch", "torchvision", "timm", "numpy", "opencv-python"),
            "data": _data_fingerprint(_data_root(settings.train)),
        }
        item = Plan(name, source_dir / f"{name}.ipynb", out / f"{name}.ipynb", given, fingerprint)
        lab = {**has[name], **given}.get("profile", "lab") == "lab"
        item.cells = sum(c.cell_type == "code" for c in notebook.cells)
        item.seconds = stated_seconds(notebook) if lab else 0.0
        _compare_with_last(item)
        plans.append(item)
    return plans


def _compare_with_last(item: Plan) -> None:
    """Set `stale` and `seconds` from the executed notebook, if there is one."""
    if not item.output.exists():
        item.stale = "not yet executed"
        return
    last = json.loads(item.output.read_text())["metadata"].get("satkit", {})
    item.seconds = last.get("seconds", item.seconds)
    changed = [k for k, v in item.fingerprint.items() if last.get("fingerprint", {}).get(k) != v]
    item.stale = f"changed since: {', '.join(changed)}" if changed else ""


def _select(names: Iterable[str] | None, source_dir: Path) -> list[str]:
    """Turn full names, numbers and paths into full names, in the order of the series."""
    known = list_notebooks(source_dir)
    if names is None:
        return known
    chosen = set()
    for name in names:
        stem = Path(name).stem
        match = [k for k in known if stem in (k, k.split("_")[0])]
        if not match:
            hint = did_you_mean(stem, known)
            raise ValueError(f"no notebook {name!r}.{hint} There are: {', '.join(known)}")
        chosen.update(match)
    return [name for name in known if name in chosen]


def _execute(item: Plan, head: str, clock: _Clock, say: Callable[[str], None]) -> Outcome:
    """Execute one notebook beside its place, and move it there when it is whole."""
    import papermill

    partial = item.output.parent / "partial" / item.output.name
    failed = item.output.parent / "failed" / item.output.name
    for folder in (partial.parent, failed.parent):
        folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()

    def executed(**_: Any) -> None:
        clock.tick(item.name)
        if clock.due():
            done = f"{head}: cell {clock.done(item.name)} of {item.cells}"
            say(f"{done}, {_duration(time.monotonic() - start)}, {clock.left()} left in all")

    try:
        notebook = papermill.execute_notebook(
            item.source, partial, item.parameters or None, kernel_name="python3",
            progress_bar=False, shutdown_kernel="immediate", on_cell_complete=executed,
            stdout_file=_Echo(head, clock, say),
        )  # fmt: skip
    except Exception as error:
        clock.finish(item.name, None)
        partial.replace(failed)
        item.output.unlink(missing_ok=True)
        seconds = time.monotonic() - start
        say(f"{head}: FAILED after {_duration(seconds)}: {_short(error)}")
        return Outcome(item.name, "failed", seconds, failed, _short(error))
    seconds = time.monotonic() - start
    _finish(notebook, item, seconds, partial)
    failed.unlink(missing_ok=True)
    clock.finish(item.name, seconds)
    say(f"{head}: done in {_duration(seconds)}, {clock.left()} left in all")
    return Outcome(item.name, "done", seconds, item.output)


def _finish(notebook: Any, item: Plan, seconds: float, partial: Path) -> None:
    """Write down what the result depends on, and put the notebook in its place."""
    import nbformat

    from satkit.results import device_name  # and with it torch

    notebook.metadata["satkit"] = {
        "fingerprint": item.fingerprint,
        "seconds": round(seconds, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "device": device_name(),
        "cores": os.cpu_count(),
    }
    notebook.metadata.pop("papermill", None)  # it holds the paths of this machine
    nbformat.write(notebook, partial)
    partial.replace(item.output)


def _short(error: Exception) -> str:
    """Say in one line in which cell a notebook failed and with what."""
    name, value = (
        getattr(error, "ename", type(error).__name__),
        getattr(error, "evalue", str(error)),
    )
    cell = getattr(error, "exec_count", None)
    return (f"cell [{cell}]: " if cell else "") + f"{name}: {value}".strip()


def _summary(outcomes: list[Outcome], out: Path, say: Callable[[str], None]) -> None:
    """Say what became of the series, and where to look."""
    count = {s: sum(o.status == s for o in outcomes) for s in ("done", "current", "failed")}
    spent = sum(o.seconds for o in outcomes if o.status != "current")
    say(
        f"{count['done']} executed, {count['current']} up to date, {count['failed']} failed, "
        f"in {_duration(spent)}; notebooks in {out}"
    )
    for outcome in outcomes:
        if outcome.status == "failed":
            say(f"  {outcome.name}: {outcome.error}\n    as far as it came: {outcome.path}")


class _Echo:
    """Takes what cells print, and passes progress on, so that a long cell does not look dead."""

    def __init__(self, head: str, clock: _Clock, say: Callable[[str], None]) -> None:
        self.head, self.clock, self.say = head, clock, say

    def write(self, text: str) -> None:
        lines = [line for line in text.splitlines() if re.search(r"\d s left", line)]
        if lines and self.clock.due():
            self.say(f"{self.head}: {lines[-1].strip()}")

    def flush(self) -> None:
        """Nothing is kept."""


class _Clock:
    """Estimates the time left over a series, from past runs or else from the cells done so far."""

    def __init__(self, cells: dict[str, int], past: dict[str, float], every: float = 5.0) -> None:
        self.cells, self.past, self.every = dict(cells), past, every
        self.total, self.ticks = dict(cells), 0
        self.start = self.said = time.monotonic()

    def tick(self, name: str) -> None:
        self.ticks += 1
        self.cells[name] = max(0, self.cells[name] - 1)

    def done(self, name: str) -> int:
        return self.total[name] - self.cells[name]

    def finish(self, name: str, seconds: float | None) -> None:
        self.cells[name] = 0
        if seconds is not None:
            self.past[name] = seconds

    def due(self) -> bool:
        """True at most every `every` seconds: logs stay short."""
        if time.monotonic() - self.said < self.every:
            return False
        self.said = time.monotonic()
        return True

    def left(self) -> str:
        pace = (time.monotonic() - self.start) / max(1, self.ticks)
        seconds = 0.0
        for name, cells in self.cells.items():
            whole = self.past.get(name, pace * self.total[name])
            seconds += whole * cells / max(1, self.total[name])
        return f"about {_duration(seconds)}"


def _past_seconds(plans: list[Plan]) -> dict[str, float]:
    return {item.name: item.seconds for item in plans if item.seconds}


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Refuse to execute into a folder while another process does; the system frees the lock."""
    import fcntl  # Linux and macOS have it

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RuntimeError(
                f"lessons are being executed by process {file.read()} into {folder}; wait until "
                "it is done, or give another folder: --out of `run`, --lessons of `course slides`"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _this_python_as_kernel() -> Iterator[None]:
    """Make `python3` the kernel of the running Python, whatever kernels a user has installed."""
    from ipykernel.kernelspec import write_kernel_spec

    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory() as folder:
        write_kernel_spec(
            Path(folder) / "kernels" / "python3", extra_arguments=["--log-level=ERROR"]
        )
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, before]))
        try:
            yield
        finally:
            os.environ.pop("JUPYTER_PATH")
            if before is not None:
                os.environ["JUPYTER_PATH"] = before


def _beside_defaults(given: Mapping[str, Value], defaults: Mapping[str, Value]) -> dict[str, Value]:
    """Keep what differs from the defaults: `--profile lab` asks for what comes without it, too."""
    return {name: value for name, value in given.items() if value != defaults[name]}


def _typed(value: Any, default: Value) -> Value:
    """Give a value from the command line the type of the notebook's default."""
    if not isinstance(value, str) or isinstance(default, str):
        return str(value) if isinstance(default, str) else value
    if isinstance(default, bool):
        return value.lower() in ("true", "1", "yes", "on")
    return type(default)(value)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash_files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _versions(*packages: str) -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def _data_fingerprint(root: Path | None) -> str:
    """Fingerprint data by names, sizes and times, two levels deep: quick on any size."""
    if root is None:
        return "embedded"
    found = sorted([root, *root.glob("*"), *root.glob("*/*")])
    stats = ((p.relative_to(root), p.stat()) for p in found)
    return _hash("".join(f"{p} {s.st_size} {s.st_mtime_ns}\n" for p, s in stats))


# --------------------------------------------------------------------------------------------------
# Pair and check
# --------------------------------------------------------------------------------------------------


def from_source(text: str) -> str:
    """Turn the py:percent text of a notebook into its .ipynb, the same one every time.

    Args:
        text: the text of `notebooks/source/NAME.py`.

    Returns:
        The .ipynb: no outputs, kernel python3, cell ids made from the cells' contents.
    """
    import jupytext
    import nbformat

    notebook = jupytext.reads(text, fmt="py:percent")
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = _hash(cell.cell_type + cell.source)
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = f"{digest[:10]}-{seen[digest]}"
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": kernel, "language_info": {"name": "python"}}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return str(nbformat.writes(notebook)) + "\n"


def pair(folder: Path | None = None) -> list[str]:
    """Write every `notebooks/NAME.ipynb` from `notebooks/source/NAME.py`, and the exercises too.

    Args:
        folder: the folder of the .ipynb files; the project's `notebooks/` where None.

    Returns:
        The names of those that changed.
    """
    folder = folder or project_root() / "notebooks"
    changed = []
    for source in sorted((folder / "source").glob("*.py")):
        target, text = folder / f"{source.stem}.ipynb", from_source(source.read_text())
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
            changed.append(source.stem)
    return changed + (_sheets().pair(folder / "course") if _has_sheets(folder) else [])


def check(folder: Path | None = None) -> list[str]:
    """Look for what is wrong with the notebooks and exercise sheets, without running them.

    Args:
        folder: the folder of the .ipynb files; the project's `notebooks/` where None.

    Returns:
        One line a problem; empty if all is well.
    """
    folder = folder or project_root() / "notebooks"
    sources = {path.stem for path in (folder / "source").glob("*.py")}
    found = {path.stem for path in folder.glob("*.ipynb")}
    problems = [f"{name}: no source/{name}.py beside it" for name in sorted(found - sources)]
    for name in sorted(sources):
        path, source = folder / f"{name}.ipynb", folder / "source" / f"{name}.py"
        if not path.exists() or path.read_text() != from_source(source.read_text()):
            problems.append(f"{name}: not what source/{name}.py gives; run `make notebooks`")
        if path.exists():
            problems += [f"{name}: {problem}" for problem in _check_one(name, _read(path))]
    return problems + (_sheets().check(folder / "course") if _has_sheets(folder) else [])


def _has_sheets(folder: Path) -> bool:
    return (folder / "course" / "source").is_dir()


def _sheets() -> Any:
    from satkit.course import sheets  # and with it torch

    return sheets


def _check_one(name: str, notebook: Any) -> list[str]:
    try:
        parameters = parameters_of(notebook)
        resolve(name, parameters)
    except (ValueError, FileNotFoundError) as error:
        return [str(error)]
    problems = _check_parameters_cell(notebook) + _check_configure(name, notebook, parameters)
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    headings = "\n".join(re.findall(r"^#+ .*", text, re.MULTILINE)).lower()
    problems += [f"no section {title!r}" for title in SECTIONS if title not in headings]
    if not stated_seconds(notebook):
        problems.append("does not say how long it takes, as in `5 minutes to run`")
    if re.search(r"!\[\s*\]\(|<img(?![^>]*\balt=\"[^\"]+\")", text):
        problems.append("a picture in the text has no alt text")
    if any(c.get("outputs") for c in notebook.cells):
        problems.append("outputs are not stripped")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        problems.append("the kernel is not python3")
    return problems


def _check_parameters_cell(notebook: Any) -> list[str]:
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    lines = [line for line in cell.source.splitlines() if line and not line.startswith("#")]
    return [
        f"parameters cell: {line!r} is not `name = value  # what it is` with a plain value"
        for line in lines
        if not re.fullmatch(r"\w+ = (-?[\d._e-]+|True|False|\"[^\"]*\")  # \S.*", line)
    ]


def _check_configure(name: str, notebook: Any, parameters: Mapping[str, Value]) -> list[str]:
    code = [c for c in notebook.cells if c.cell_type == "code"]
    index = next(i for i, c in enumerate(code) if "parameters" in c.metadata.get("tags", []))
    tree = ast.parse(code[index + 1].source if index + 1 < len(code) else "")
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    calls = [n for n in calls if ast.unparse(n.func).split(".")[-1] == "configure"]
    if not calls:
        return ["the code cell after the parameters does not call configure"]
    passed = [k.arg for k in calls[0].keywords]
    problems = []
    if [ast.unparse(a) for a in calls[0].args] != [repr(name)]:
        problems.append(f"configure must be given the name {name!r}")
    if sorted(map(str, passed)) != sorted(parameters):
        problems.append("configure must be given every parameter of the notebook by keyword")
    return problems


def figures_without_alt(notebook: Any) -> list[str]:
    """Find the pictures of an executed notebook that a screen reader could not tell.

    Args:
        notebook: an executed notebook, as nbformat reads it.

    Returns:
        One line a cell that shows a picture without alt text; empty if all is well.
    """
    problems = []
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            html = "".join(data.get("text/html", ""))
            bare = any(mime.startswith("image/") for mime in data) and "<img" not in html
            if bare or re.search(r"<img(?![^>]*\balt=\"[^\"]+\")", html):
                problems.append(f"cell {number}: a picture without alt text")
    return problems
