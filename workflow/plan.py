"""What a sweep runs: the paper's tables × data sets × seeds, as plain data for the Snakefile.

A configuration says which tables on which data sets with which seeds (:class:`Sweep`).
:func:`expand` makes runs of it, each checked through ``TrainSettings``. A run's name ends with a
hash of its settings, so the same run in several tables is trained once, and a changed grid leaves
finished runs alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from satkit.choices import check_choice
from satkit.data import NAMES, default_root
from satkit.data.prepared import Address
from satkit.notebooks import explain
from satkit.paper import EXPERIMENTS
from satkit.settings import TrainSettings
from satkit.training import first_stage

ROOT = Path(__file__).parents[1]
#: Evaluating an image costs about a third of training on it: no backward pass
FORWARD_SHARE = 1 / 3


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            check_choice("a name", name, cls.model_fields)
        return given


class DataSet(_Strict):
    """A data set of a sweep: its size, for the estimate, and what a run on it may take."""

    name: Literal[*NAMES] = Field(description="as satkit.data.load knows it")  # type: ignore[valid-type]
    settings: dict[str, Any] = Field({}, description="of every run on it, such as data_root")
    train: int = Field(ge=1, description="training images")
    test: int = Field(ge=1, description="test images")
    classes: int = Field(ge=1)
    gpus: int = Field(0, ge=0, description="GPUs of a run")
    cpus: int = Field(1, ge=1, description="cores of a run")
    mem_mb: int = Field(4000, ge=1, description="memory of a run; a retry gets more")
    runtime: int = Field(60, ge=1, description="minutes that a run may take; a retry goes on")


class Block(_Strict):
    """One table on some data sets with some seeds."""

    table: str = Field(description="a key of EXPERIMENTS")
    datasets: list[str] = Field(min_length=1, description="keys of the sweep's datasets")
    seeds: list[int] = Field(min_length=1)
    rows: list[str] = Field([], description="only these; all where empty")
    settings: dict[str, Any] = Field({}, description="of every run of the block")
    protocols: list[str] = Field([], description="evaluate the finished runs by these too")


class Throughput(_Strict):
    """How fast runs are: a number somebody stated, or the median of a measured table."""

    images_per_second: float | None = Field(None, gt=0, description="of training, a GPU or a job")
    measured: str = Field(
        "", description="CSV with a column train_images_per_second, from the project's root"
    )
    origin: str = Field(description="what the number is: ASSUMED …, or measured on …")
    relative_cost: dict[str, float] = Field({}, description="of other backbones, an image")
    seconds_to_start: float = Field(10, ge=0, description="of a run, until it trains")

    @cached_property
    def speed(self) -> float:
        """Images a second of training."""
        if self.measured:
            return float(pd.read_csv(ROOT / self.measured)["train_images_per_second"].median())
        if self.images_per_second is None:
            raise ValueError("throughput: give images_per_second, or a file as measured")
        return self.images_per_second


class Sweep(_Strict):
    """A configuration file of the workflow."""

    scale: str = Field(description="its name, or the file that it was read from")
    profile: str = Field(description="of satkit's settings: smoke, lab or paper")
    results: str = Field(description="folder of result files and tables")
    logs: str = Field("", description="folder of the runs' logs; in results if not given")
    settings: dict[str, Any] = Field({}, description="of every run")
    datasets: dict[str, DataSet]
    plans: dict[str, list[Block]] = Field(description="each gives one CSV")
    throughput: Throughput


class Job(NamedTuple):
    """One run of a sweep."""

    name: str
    settings: TrainSettings
    dataset: DataSet
    first: str  # name of the run that has to be there before; "" if none
    group: tuple[str, str]  # plan and table that the estimate counts it in: the first to need it
    hours: float  # estimated, of one GPU


class Row(NamedTuple):
    """One line of a plan's CSV: a run as a table needs it."""

    plan: str
    table: str
    row: str
    dataset: str
    seed: int
    run: str
    protocols: tuple[str, ...]


def read(configuration: dict[str, Any]) -> Sweep:
    """Check what a configuration file says.

    Args:
        configuration: Its content.

    Returns:
        The sweep.

    Raises:
        ValueError: An unknown name, with the nearest one, or a value that cannot be.
    """
    try:
        return Sweep.model_validate(configuration)
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def expand(sweep: Sweep) -> tuple[dict[str, Job], list[Row]]:
    """List a sweep's runs, and the rows of its tables that they fill.

    Args:
        sweep: Configuration.

    Returns:
        Runs by name; those that others stand on come first.

    Raises:
        ValueError: Unknown table, row, data set or setting, or a value outside its range.
    """
    jobs: dict[str, Job] = {}
    rows = []
    for plan, block, dataset, label, seed in _grid(sweep):
        settings = _settings(sweep, block, dataset, label, seed)
        name = _add(jobs, settings, dataset, sweep, (plan, block.table))
        rows.append(Row(plan, block.table, label, dataset, seed, name, tuple(block.protocols)))
    return jobs, rows


def _grid(sweep: Sweep) -> Iterator[tuple[str, Block, str, str, int]]:
    for plan, blocks in sweep.plans.items():
        for block in blocks:
            check_choice(f"table of plan {plan}", block.table, EXPERIMENTS)
            for label in block.rows:
                check_choice(f"row of {block.table}", label, EXPERIMENTS[block.table])
            for protocol in block.protocols:
                known = get_args(TrainSettings.model_fields["protocol"].annotation)
                check_choice(f"protocol of {plan}/{block.table}", protocol, known)
            for dataset in block.datasets:
                check_choice(f"data set of {plan}/{block.table}", dataset, sweep.datasets)
                for label in block.rows or EXPERIMENTS[block.table]:
                    for seed in block.seeds:
                        yield plan, block, dataset, label, seed


def _settings(sweep: Sweep, block: Block, dataset: str, label: str, seed: int) -> TrainSettings:
    of_set = sweep.datasets[dataset]
    given = {
        **sweep.settings,
        **of_set.settings,
        **block.settings,
        **EXPERIMENTS[block.table][label],
    }
    try:
        return TrainSettings.for_profile(sweep.profile, dataset=of_set.name, seed=seed, **given)
    except ValueError as error:
        raise ValueError(f"{block.table}, {label}, on {dataset}: {error}") from error


def _add(
    jobs: dict[str, Job],
    settings: TrainSettings,
    dataset: str,
    sweep: Sweep,
    group: tuple[str, str],
) -> str:
    before = first_stage(settings)
    first = _add(jobs, before, dataset, sweep, group) if before else ""
    name = f"{dataset}-{settings.method}-seed{settings.seed}-{settings.id('')}"
    if name not in jobs:
        of_set = sweep.datasets[dataset]
        hours = estimate(settings, of_set, sweep.throughput)
        jobs[name] = Job(name, settings, of_set, first, group, hours)
    return name


def estimate(settings: TrainSettings, dataset: DataSet, throughput: Throughput) -> float:
    """Estimate how long one GPU (or one job without GPU) takes for a run.

    Args:
        settings: Of the run.
        dataset: With its numbers of images.
        throughput: Speed and its origin.

    Returns:
        Hours: images × epochs × cost of an image, and evaluations, whose images cost a third.
    """
    images = settings.shots * dataset.classes or dataset.train
    images = min(images, settings.train_images or images)
    passes = settings.epochs - (settings.evaluate_from or settings.epochs) + 2  # 1: the last test
    crops = 11 if settings.uses_ten_crop else 1
    evaluated = passes * crops * min(dataset.test, settings.eval_images or dataset.test)
    cost = throughput.relative_cost.get(settings.backbone, 1.0) / throughput.speed
    seconds = (settings.epochs * images + FORWARD_SHARE * evaluated) * cost
    return (throughput.seconds_to_start + seconds) / 3600


def plain(jobs: dict[str, Job], rows: list[Row]) -> dict[str, Any]:
    """Runs and rows as plain data, which the jobs of a sweep read without importing satkit."""
    runs = {
        name: {
            "arguments": shlex.join(job.settings.arguments()),
            "first": job.first,
            **job.dataset.model_dump(include={"gpus", "cpus", "mem_mb", "runtime"}),
        }
        for name, job in jobs.items()
    }
    return {"runs": runs, "rows": [row._asdict() for row in rows]}


def overview(sweep: Sweep, jobs: dict[str, Job], rows: list[Row], done: set[str]) -> str:
    """The whole plan as text: runs and estimated hours of every table.

    Args:
        sweep: Configuration.
        jobs: Its runs.
        rows: Its tables' rows.
        done: Names of the runs that have a result.

    Returns:
        Several lines.
    """
    unit = "GPU hours" if any(job.dataset.gpus for job in jobs.values()) else "job hours, no GPU"
    lines = [f"{'plan':<10} {'table':<24} {'rows':>6} {'runs':>6} {'done':>6} {unit:>18}"]
    counted = pd.DataFrame(rows)[["plan", "table"]].value_counts(sort=False)
    for (plan, table), count in counted.items():  # type: ignore[misc]
        own = [job for job in jobs.values() if job.group == (plan, table)]
        finished = sum(job.name in done for job in own)
        hours = sum(job.hours for job in own)
        lines.append(
            f"{plan:<10} {table:<24} {count:>6} {len(own):>6} {finished:>6} {hours:>18,.2f}"
        )
    hours = sum(job.hours for job in jobs.values())
    left = sum(job.hours for job in jobs.values() if job.name not in done)
    lines.append(
        f"{'all':<35} {len(rows):>6} {len(jobs):>6} {len(done):>6} {hours:>18,.2f}"
        f"\nstill to do: {len(jobs) - len(done)} runs, {left:,.2f} {unit}. A run that several "
        "tables show is done once and counted where it comes first."
        f"\nThe hours are an estimate (images × epochs × cost of an image) from "
        f"{sweep.throughput.speed:,.0f} images/s of training: {sweep.throughput.origin}"
    )
    return "\n".join(lines + missing_data(job for job in jobs.values() if job.name not in done))


def missing_data(jobs: Iterable[Job]) -> list[str]:
    """Data sets that are not on this machine, and weights of backbones that runs name as files.

    Args:
        jobs: Runs that are to be done.

    Returns:
        A line each. It is no error: the machines that train may have what this one has not.
    """
    lines = []
    for job in jobs:
        name, file = job.settings.dataset, job.settings.checkpoint
        place = Address.of(job.settings.data_root or default_root(name))
        if name != "aviary" and not place.remote and not Path(place.url).exists():
            lines.append(f"NOT on this machine: {name}, in {place.url}; see python -m satkit data")
        if file and not job.first and not Path(file).expanduser().is_file():
            lines.append(f"NOT on this machine: the weights {file}")
    return list(dict.fromkeys(lines))
