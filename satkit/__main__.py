"""The command line: `python -m satkit COMMAND`, with exit codes 0 done, 1 failed, 2 bad input.

Each command imports what it needs, so that `--help` and bad input are answered at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import ValidationError

from satkit import notebooks
from satkit.methods import METHODS
from satkit.progress import interruptible
from satkit.settings import EVALUATION_SETTINGS, Profile, TrainSettings

app = typer.Typer(
    help=(
        "Spatial-Aware Token (SAT) for weakly supervised object localization. Exit codes: 0 done, "
        "1 failed, 2 bad input, 130 interrupted. SATKIT_TRACEBACK=1 shows where an error arose."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Parameters = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME VALUE", help="A setting, as for papermill; may be repeated."),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: what comes after `python -m satkit`; sys.argv's where None.

    Raises:
        SystemExit: always; 0 done, 1 failed, 2 bad input, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["train"] and "--help" in words:
        _list_settings_in_help()
    try:
        app(join_parameters(words), prog_name="python -m satkit")
    except (ValueError, FileNotFoundError) as error:
        _stop(error, 2)
    except (RuntimeError, ArithmeticError, ImportError, OSError) as error:
        _stop(error, 1)


def _stop(error: Exception, code: int) -> None:
    if os.environ.get("SATKIT_TRACEBACK"):
        raise error
    text = notebooks.explain(error) if isinstance(error, ValidationError) else str(error)
    print(f"{'bad input' if code == 2 else 'failed'}: {text}", file=sys.stderr)
    raise SystemExit(code)


def join_parameters(words: Sequence[str]) -> list[str]:
    """Turn papermill's `-p NAME VALUE` into `-p NAME=VALUE`, which one option can take.

    Args:
        words: the command line.

    Returns:
        The words, two of them joined after each -p.

    Raises:
        ValueError: if a name or value is missing.
    """
    joined, rest = [], iter(words)
    for word in rest:
        joined.append(word)
        if word == "-p":
            name, value = next(rest, None), next(rest, None)
            if name is None or value is None:
                raise ValueError("-p takes a name and a value, such as: -p epochs 4")
            joined.append(f"{name}={value}")
    return joined


def _given(parameters: list[str] | None) -> dict[str, str]:
    pairs = (text.partition("=") for text in parameters or [])
    return {name: value for name, _, value in pairs}


@app.command("doctor")
def doctor_command(
    data_root: Annotated[str, typer.Option(help="Folder that holds data sets by name.")] = "",
) -> None:
    """Print versions, device, memory, cores, what data is found, and what will be slow."""
    from satkit import doctor

    print(doctor.report(data_root or None))
    raise typer.Exit(1 if doctor.problems() else 0)


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="Such as 05, or 05_train_cub.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="The whole series.")] = False,
    profile: Annotated[
        str, typer.Option(help="smoke, lab or paper; else the notebooks' own.")
    ] = "",
    parameter: Parameters = None,
    out: Annotated[str, typer.Option(help="Where executed notebooks go.")] = "build/notebooks",
    force: Annotated[
        bool, typer.Option("--force", help="Execute also what is up to date.")
    ] = False,
    site: Annotated[
        bool, typer.Option(help="Render the executed notebooks into build/site afterwards.")
    ] = True,
    site_only: Annotated[
        bool, typer.Option("--site-only", help="Only render what was executed.")
    ] = False,
    solutions: Annotated[
        bool, typer.Option(help="Put solutions, folded, below the site's exercises.")
    ] = True,
) -> None:
    """Execute notebooks in order and render them; skip what is up to date."""
    outcomes = []
    if not site_only:
        if bool(names) == all_:
            known = ", ".join(notebooks.list_notebooks())
            raise ValueError(f"name some notebooks, or give --all; there are: {known}")
        with interruptible("what is finished is kept; run the same again to go on"):
            outcomes = notebooks.run(names, profile or None, _given(parameter), out, force=force)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if site_only or (site and len(failed) < len(outcomes)):
        from satkit.site import render

        print("rendering the site: minutes the first time; the executed notebooks are there")
        print(f"site: {render(out, solutions=solutions)}")
    raise typer.Exit(1 if failed else 0)


def _settings_help() -> str:
    """List every setting of training, from the one place that defines them."""
    lines = [
        f"{name}: {field.description}{_choices(field.annotation)} ({_values(name)})"
        for name, field in TrainSettings.model_fields.items()
    ]
    options = [
        f"{method}: " + ", ".join(f"{name} ({value!r})" for name, value in entry.options.items())
        for method, entry in METHODS.items()
        if entry.options
    ]
    kept = "\n\n\b\n"  # tells Typer to keep the line breaks that follow
    intro = "Settings for -p, with lab's values, and those of smoke and paper where they differ:"
    settings = f"{intro}{kept}" + "\n".join(lines)
    return f"{settings}\n\nAnd options of the methods:{kept}" + "\n".join(options)


def _values(setting: str) -> str:
    """The value that `lab` gives a setting, and those of other profiles where they differ."""

    def text(profile: str) -> str:
        value = getattr(TrainSettings.for_profile(profile), setting)
        return ",".join(map(str, value)) if value and isinstance(value, tuple) else repr(value)

    others = [one for one in get_args(Profile) if text(one) != text("lab") and setting != "profile"]
    return "; ".join([f"lab: {text('lab')}", *(f"{one}: {text(one)}" for one in others)])


def _choices(kind: Any) -> str:
    """The values that a setting can take, where they are few, and how a list is written."""
    if get_origin(kind) is Literal and len(get_args(kind)) <= 5:
        return f"; {', '.join(map(str, get_args(kind)))}"
    return "; such as 0.1,0.2" if get_origin(kind) is tuple else ""


def _list_settings_in_help() -> None:
    """Give the help of `train` its list, for which all methods are imported."""
    (command,) = [one for one in app.registered_commands if one.callback is train]
    command.epilog = _settings_help()


@app.command()
def train(
    profile: Annotated[str, typer.Option(help="smoke, lab or paper.")] = "lab",
    parameter: Parameters = None,
    force: Annotated[bool, typer.Option("--force", help="Do a finished run again.")] = False,
    out: Annotated[str, typer.Option(help="Write numbers and provenance to this JSON file.")] = "",
) -> None:
    """Train and evaluate one localizer; a finished run of the same settings is only shown."""
    settings = TrainSettings.for_profile(**{"profile": profile, **_given(parameter)})
    _check_out(out)
    from satkit import distributed, results
    from satkit.training import train as train_model

    if distributed.is_first():
        kept = Path(settings.runs_dir) / settings.experiment
        epochs = f"epochs {settings.epochs}, seed {settings.seed}"
        print(f"train: {settings.method} on {settings.dataset}, {epochs}; the run goes to {kept}")
    with interruptible("run the same again to go on where it stopped"):
        finished = train_model(settings, force=force)
    if distributed.is_first():
        if out:
            results.write_json(Path(out), finished.summary())
        print(finished.banner())
        _print_numbers(finished.metrics)
        print(f"run: {finished.dir}")


@app.command("runs")
def runs_command(
    runs_dir: Annotated[str, typer.Argument(help="Folder of all runs.")] = "runs",
) -> None:
    """List all runs with their state, numbers and settings."""
    from satkit import results

    table = results.listing(runs_dir)
    if table.empty:
        raise FileNotFoundError(
            f"no runs in {runs_dir!r}: expected folders EXPERIMENT/RUN, as `train` makes them"
        )
    columns = ["run", "state", "Top-1 Loc", "GT-known Loc", "date"]
    lines = table.reindex(columns=columns).round(1).to_string(index=False, na_rep="").splitlines()
    for line, asked in zip(lines, ["settings", *table["settings"]], strict=True):
        print(f"{line}  {asked}")


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="Folder of a finished run.")],
    parameter: Parameters = None,
    out: Annotated[str, typer.Option(help="Write the numbers to this JSON file too.")] = "",
) -> None:
    """Evaluate a run's model on test images.

    -p replaces those of the run's settings that act on an evaluation: data set, sizes, protocol,
    thresholds, ten_crop and the like (see train --help).
    """
    from satkit import distributed, results
    from satkit.evaluation import evaluate as evaluate_model
    from satkit.training import load_datasets

    distributed.start()
    opened = results.open_run(run)
    if not opened.finished:
        raise ValueError(f"the run {run} is not finished; give its train command again, it goes on")
    given = _given(parameter)
    _check_out(out)
    notebooks.reject_unknown("evaluate", given, EVALUATION_SETTINGS)
    if "protocol" in given:  # and with it, its own candidate thresholds
        given = {"thresholds": "", **given}
    settings = TrainSettings(**{**opened.settings.model_dump(), **given})
    if distributed.is_first():
        print(f"evaluate: {opened.banner()}; protocol {settings.protocol} on {settings.dataset}")
    model, test = opened.model(), load_datasets(settings)["test"]
    classes = len(opened.provenance["classes"])
    if test.num_classes != classes:
        raise ValueError(
            f"the model of {run} tells {classes} classes apart, but {settings.dataset} has "
            f"{test.num_classes}; evaluate it on the data set it was trained on"
        )
    own = None if "thresholds" in given else opened.metrics["threshold"]
    with interruptible("nothing was written; run the same again"):
        numbers = evaluate_model(
            model,
            test,
            protocol=settings.protocol,
            thresholds=settings.thresholds or None,
            threshold=own,
            ten_crop=settings.uses_ten_crop,
            batch_size=settings.eval_batch_size,
            workers=settings.workers,
        )
    if distributed.is_first():
        _print_numbers(numbers)
        selection = opened.metrics["selection"].replace("_", "-")
        where = "these test images" if own is None else f"{selection} images, as in training"
        print(f"threshold {numbers['threshold']:g}: chosen on {where}")
        if out:
            results.write_json(Path(out), numbers)


@app.command("predict")
def predict_command(
    images: Annotated[list[str], typer.Argument(help="Image files and folders.")],
    checkpoint: Annotated[str, typer.Option(help="Folder of a finished run.")],
    out: Annotated[str, typer.Option(help="Folder for boxes and overlays.")],
    threshold: Annotated[
        float | None, typer.Option(help="On the maps, 0-1; the run's own if not given.")
    ] = None,
) -> None:
    """Write the box and an overlay of each photograph; exit code 1 if any could not be read."""
    from satkit.predict import predict
    from satkit.results import open_run

    found = predict(images, checkpoint, out, threshold=threshold)
    for reason in found.unreadable.values():
        print(f"skipped: {reason}", file=sys.stderr)
    trained_on = open_run(checkpoint).settings.dataset
    print(f"{len(found.boxes)} photographs localized by a run that was trained on {trained_on}: "
          f"{out}/boxes.csv, boxes.json and overlays/")  # fmt: skip
    raise typer.Exit(1 if found.unreadable else 0)


@app.command("data")
def data_command(
    name: Annotated[str, typer.Argument(help="A data set; all are listed without.")] = "",
    root: Annotated[str, typer.Option(help="Its folder, .zip, or URL of a prepared one.")] = "",
) -> None:
    """Say of all data sets where they are, what is in them and how to get them, or check one."""
    from satkit.data import load as load_dataset
    from satkit.data.sources import overview

    if not name:
        print(overview())
        return
    for split in ("train", "test"):
        found: Any = load_dataset(name, split, root or None)
        item = found[0]
        print(
            f"{name} {split}: {len(found)} images, {found.num_classes} classes; the first has "
            f"{len(item['boxes'])} boxes, {'a' if 'mask' in item else 'no'} mask, "
            f"size {tuple(item['size'])}"
        )


@app.command("ledger")
def ledger_command(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RESULTS.csv]...",
            help="Result files; without, all in benchmarks/results, and finished runs.",
        ),
    ] = None,
    runs_dir: Annotated[str, typer.Option(help="Folder of all runs.")] = "runs",
    out: Annotated[str, typer.Option(help="Write the whole ledger to this CSV file.")] = "",
) -> None:
    """Judge the paper's claims by measured runs: effect, 95 % interval over seeds, verdict."""
    import pandas as pd

    from satkit import paper

    _check_out(out)
    for file in files or []:
        if not Path(file).is_file():
            raise FileNotFoundError(f"there is no result file {file!r}; name CSV files, or none")
    tables = {file: pd.read_csv(file) for file in files or []}
    for file, rows in tables.items():
        if not {"dataset", "seed"} <= set(rows):
            raise ValueError(
                f"{file} holds no runs: expected columns dataset and seed, as in table_aviary.csv"
            )
    table = paper.ledger(pd.concat(tables.values()) if tables else paper.measured(runs_dir))
    if out:
        table.to_csv(out, index=False)
    print(paper.ledger_text(table))


course_app = typer.Typer(
    help="For teachers: release the exercise notebooks, and grade what students hand in.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(course_app, name="course")


@course_app.command("release")
def course_release_command(
    out: Annotated[str, typer.Argument(help="Course folder to make, or to renew.")],
    sheet: Annotated[
        list[str] | None, typer.Option(help="Such as ex01; may be repeated; all if not given.")
    ] = None,
) -> None:
    """Make a course folder: sources, student edition, gradebook, and a README for you."""
    from satkit.course.release import release

    release(out, sheet)


@course_app.command("grade")
def course_grade_command(
    submissions: Annotated[str, typer.Argument(help="Folder or zip file, as your LMS exports it.")],
    course: Annotated[str, typer.Option(help="Course folder that `release` made.")],
    sheet: Annotated[
        list[str] | None, typer.Option(help="Such as ex01; may be repeated; all if not given.")
    ] = None,
    pattern: Annotated[
        str,
        typer.Option(
            help="Regular expression for paths with the groups student and sheet; those of "
            "nbgrader, Moodle, Canvas and plain folders are known without."
        ),
    ] = "",
    cell_seconds: Annotated[float, typer.Option(help="Computing time of a cell, s.")] = 20.0,
    total_seconds: Annotated[
        float, typer.Option(help="Computing time of a submission, s; five times that by the clock.")
    ] = 120.0,
    memory: Annotated[float, typer.Option(help="Memory limit of a submission, in GB.")] = 2.0,
    jobs: Annotated[int, typer.Option(min=1, help="How many are graded at a time.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Grade also what is unchanged.")] = False,
) -> None:
    """Grade submissions in isolation: grades.csv, summary.csv and feedback pages."""
    from satkit.course.grading import grade
    from satkit.course.sandbox import Limits

    limits = Limits(cell_seconds, total_seconds, int(memory * 2**30))
    with interruptible("what is graded is kept; run the same again to go on"):
        grade(submissions, course, sheet, pattern or None, limits, jobs, force)
    print(f"grades: {course}/grades.csv, {course}/summary.csv; pages: {course}/feedback/")


@course_app.command("slides")
def course_slides_command(
    out: Annotated[str, typer.Argument(help="Folder of the slides.")],
    pdf: Annotated[bool, typer.Option("--pdf", help="Print them to PDF, too.")] = False,
    profile: Annotated[str, typer.Option(help="Of the lessons that they show.")] = "lab",
    lecture: Annotated[
        list[str] | None, typer.Option(help="Such as 1; may be repeated; all if not given.")
    ] = None,
    lessons: Annotated[
        str,
        typer.Option(
            help="Folder of the executed lessons; build/notebooks if not given, for another "
            "profile than lab such as build/notebooks-smoke."
        ),
    ] = "",
) -> None:
    """Lectures from the lessons, without network; lessons that are not current run first."""
    from satkit.course.slides import slides

    with interruptible("what is finished is kept; run the same again to go on"):
        slides(Path(out), pdf, profile, lecture, lessons)


def _check_out(out: str) -> None:
    if out and not Path(out).absolute().parent.is_dir():
        raise ValueError(f"--out is {out!r}, but there is no folder {str(Path(out).parent)!r}")


def _print_numbers(numbers: dict[str, Any]) -> None:
    width = max(map(len, numbers))
    for name, value in numbers.items():
        print(f"  {name:<{width}}  {value:.2f}" if isinstance(value, float) else
              f"  {name:<{width}}  {json.dumps(value)}")  # fmt: skip


if __name__ == "__main__":
    main()
