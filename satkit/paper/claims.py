"""The ledger: the paper's claims beside what runs measured, with a rule stated in advance.

The rule, for every claim: an effect with its 95 % interval over seeds is

- ``reproduced`` where the whole interval lies on the claim's side of the bound,
- ``same direction`` where the mean does, but not the whole interval, or there is only one seed,
- ``contradicts`` where the whole interval lies on the other side,
- ``undecided`` where the mean lies on the other side, but not the whole interval, or with one seed,
- ``not run`` where runs are missing.

Runs of the smoke profile, a few steps on a few images, show that a program works. They decide
nothing and do not count.

A claim against several others is as true as against the one where it holds least.
"""

from __future__ import annotations

import fnmatch
import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import pandas as pd

from satkit.choices import check_choice
from satkit.paper.cells import FOLDER
from satkit.paper.statements import evaluate

if TYPE_CHECKING:
    from satkit.settings import TrainSettings
    from satkit.stats import Interval

#: From the worst to the best; the first that any comparison gets is the claim's.
VERDICTS = ("contradicts", "undecided", "same direction", "reproduced")
NOT_RUN = "not run"
#: Means of percentages that are equal differ by less than this
ROUNDING = 1e-9
#: Settings that make a method what it is. They are the default unless a claim names them; all other
#: settings are conditions, which both sides of a claim must share.
TREATMENT = {
    "method", "two_stage", "freeze", "shots", "target_area", "area_term", "pixel_term", "smoothing",
    "padding",
}  # fmt: skip
#: Neither: they say where a run lies and how fast it is.
IRRELEVANT = {
    "seed", "dataset", "experiment", "runs_dir", "data_root", "classifier", "workers",
    "eval_batch_size", "compile", "activation_checkpointing",
}  # fmt: skip


class Run(NamedTuple):
    """A measured run, as a claim sees it.

    Attributes:
        dataset: Its data set.
        seed: Its seed.
        settings: All settings, and options of its method, by name.
        defaults: The same of its method, profile and data set.
        numbers: Its row of the results.
    """

    dataset: str
    seed: int
    settings: dict[str, Any]
    defaults: dict[str, Any]
    numbers: dict[str, Any]

    @property
    def differences(self) -> dict[str, Any]:
        """Relevant settings that differ from the defaults."""
        different = {
            name: value
            for name, value in self.settings.items()
            if name not in IRRELEVANT and value != self.defaults[name]
        }
        if self.settings["profile"] != "lab":
            different["profile"] = self.settings["profile"]
        if "thresholds" in different:
            every = different["thresholds"]
            different["thresholds"] = f"{len(every)} from {every[0]:g} to {every[-1]:g}"
        if "checkpoint" in different:
            different["checkpoint"] = Path(different["checkpoint"]).name
        return different

    def is_option(self, name: str) -> bool:
        """Whether a setting belongs to the method and is no condition."""
        from satkit.settings import TrainSettings

        return name in TREATMENT or name not in TrainSettings.model_fields

    def conditions(self, wanted: Mapping[str, Any], names: set[str]) -> str | None:
        """What the run has besides the settings of a claim.

        Args:
            wanted: Settings of one side of the claim.
            names: Settings that any side of the claim names.

        Returns:
            Its other differences from the defaults as JSON; None where it is not of this side.
        """
        for name in names:
            if self.settings.get(name) != wanted.get(name, self.defaults.get(name)):
                return None
        rest = {name: value for name, value in self.differences.items() if name not in names}
        if any(self.is_option(name) for name in rest):
            return None
        return json.dumps(rest, sort_keys=True, default=str)


def claims() -> pd.DataFrame:
    """The paper's claims as ``claims.toml`` states them.

    Returns:
        Columns ``id``, ``says``, ``location``, ``metric``, ``statistic``, ``ours``, ``others``,
        ``vary``, ``values``, ``datasets``, ``bound``, ``rule`` in words, and ``paper``: the paper's
        effect by data set.
    """
    entries = tomllib.loads((FOLDER / "claims.toml").read_text(encoding="utf-8"))["claim"]
    empty = {"others": [], "vary": "", "values": [], "datasets": [], "paper": {}}
    rows = []
    for entry in entries:
        claim = {**empty, **entry}
        paper = {name: evaluate(formula) for name, formula in claim["paper"].items()}
        rows.append({**claim, "paper": paper, "rule": _rule(claim)})
    return pd.DataFrame(rows)


def _rule(claim: Mapping[str, Any]) -> str:
    what = {
        "difference": f"{claim['metric']} minus that of each other",
        "everywhere": f"{claim['metric']} minus that of each other, in every column",
        "range": f"largest minus smallest {claim['metric']} over {claim['vary']}",
    }[claim["statistic"]]
    side = "below" if claim["statistic"] == "range" else "above"
    return f"{what}: 95 % interval over seeds {side} {claim['bound']:g}"


def ledger(results: pd.DataFrame) -> pd.DataFrame:
    """Judge every claim on every data set that was measured.

    Args:
        results: One row a run: ``dataset``, ``seed``, metrics in percent, and its settings, either
            as the column ``given`` (JSON of what differs from the lab profile, or from the
            profile that a column ``profile`` names), or as the columns of
            :func:`satkit.results.load`. A run that is there twice counts once, the last time; one
            of the smoke profile does not count.

    Returns:
        One row a claim, data set and conditions: ``claim``, ``says``, ``location``, ``metric``,
        ``dataset``, ``conditions`` (JSON), ``paper`` (the paper's effects, as text),
        ``paper_effect`` (on the same data set; NaN where the paper has none), ``against``,
        ``effect``, ``low`` and ``high`` (95 % interval), ``interval`` (paired, Welch), ``seeds``,
        ``seeds_needed`` (for the interval to exclude the bound, at the seen spread), ``verdict``,
        ``rule``, ``missing`` and ``commits``.

    Raises:
        ValueError: A column is missing, or a row has settings that do not exist.
    """
    runs = [run for run in read_runs(results) if run.settings["profile"] != "smoke"]
    rows = []
    for claim in claims().to_dict("records"):
        measured = dict.fromkeys(run.dataset for run in runs)
        datasets = [name for name in measured if name in (claim["datasets"] or measured)]
        for dataset in datasets or [""]:
            of_set = [run for run in runs if run.dataset == dataset]
            rows += [{**_head(claim, dataset), **found} for found in _judge(claim, of_set)]
    return pd.DataFrame(rows)


def ledger_text(table: pd.DataFrame) -> str:
    """The ledger as lines of text.

    Args:
        table: What :func:`ledger` gives.

    Returns:
        A table with one line for each verdict on measured runs, a sentence on what the columns are,
        and for each data set the claims that were not run there.
    """
    run = table[table["verdict"] != NOT_RUN]
    lines = {
        "claim": run["claim"],
        "data set": run["dataset"],
        "claimed": [" ".join(rule.split()[-2:]) for rule in run["rule"]],  # above or below a bound
        "measured [95 %]": [_measured(row) for row in run.itertuples()],
        "seeds": run["seeds"],
        "needed": [needed(row.seeds_needed) for row in run.itertuples()],
        "verdict": run["verdict"],
        "the paper's": run["paper"],
        "conditions": [_conditions(row.conditions) for row in run.itertuples()],
    }
    notes = (
        "Effects in points; runs of the smoke profile do not count. Needed: so many seeds would "
        "carry the interval clear of the bound, if effect and spread stay what they are. "
        "docs/paper.md and lesson 14 say what each claim compares and how verdicts follow."
    )
    blocks = [pd.DataFrame(lines).to_string(index=False), notes] if len(run) else []
    left = table[table["verdict"] == NOT_RUN]
    for dataset, names in left.groupby("dataset", sort=False)["claim"]:
        place = dataset or "their own data sets"
        blocks.append(fill(f"Not run on {place}: {', '.join(names)}.", 100))
    return "\n\n".join(blocks)


def needed(seeds: float) -> str:
    """Write how many seeds a claim needs.

    Args:
        seeds: As :func:`satkit.stats.seeds_needed` gives them.

    Returns:
        The number; "–" where the spread is unknown, "over 1000" where that is not enough.
    """
    if math.isnan(seeds):
        return "–"
    return "over 1000" if math.isinf(seeds) else f"{seeds:.0f}"


def _conditions(text: str) -> str:
    return ", ".join(f"{name} {value}" for name, value in json.loads(text).items())


def verdicts(results: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The ledger's lines of some claims, short enough to stand below a table.

    Args:
        results: As :func:`ledger` takes them.
        names: Ids of claims.

    Returns:
        By claim: ``says``, ``data set``, ``the paper's`` effect, ``measured [95 %]``, ``against``
        (where it holds least), ``seeds``, ``verdict``, and ``conditions`` where any run has some.
        A claim stands there once for each data set.

    Raises:
        ValueError: There is no such claim.
    """
    known = claims()["id"].tolist()
    for name in names:
        check_choice("claim", name, known)
    table = ledger(results).set_index("claim").loc[list(names)]
    short = {
        "says": table["says"],
        "data set": table["dataset"],
        "the paper's": table["paper"],
        "measured [95 %]": [_measured(row) for row in table.itertuples()],
        "against": table["against"],
        "seeds": table["seeds"],
        "verdict": table["verdict"],
        "conditions": table["conditions"].replace("{}", ""),
    }
    frame = pd.DataFrame(short, index=table.index).replace("", "–")
    return frame if (frame["conditions"] != "–").any() else frame.drop(columns="conditions")


def _measured(row: Any) -> str:
    """Effect and interval of a line of the ledger."""
    if row.verdict == NOT_RUN:
        return ""
    ends = "" if math.isnan(row.low) else f" [{row.low:+.2f}, {row.high:+.2f}]"
    return f"{row.effect:+.2f}{ends}"


def read_runs(results: pd.DataFrame) -> list[Run]:
    """Rows of results as runs with all their settings.

    Args:
        results: As :func:`ledger` takes them.

    Returns:
        One run a row.

    Raises:
        ValueError: A column is missing, or a row has settings that do not exist.
    """
    if results.empty:
        return []
    for name in ("dataset", "seed"):
        if name not in results:
            raise ValueError(f"results have no column {name!r}; they have {', '.join(results)}")
    if "given" not in results and "method" not in results:
        raise ValueError(
            "results name no settings; expected a column 'given' with JSON such as "
            '{"method": "tscam"}, or the columns of satkit.results.load()'
        )
    return [_run(row) for row in results.to_dict("records")]


def _run(row: dict[Any, Any]) -> Run:
    from satkit.settings import DatasetName, TrainSettings

    dataset, seed = str(row["dataset"]), int(row["seed"])
    check_choice("dataset", dataset, get_args(DatasetName))
    if "given" in row:
        try:
            given = json.loads(row["given"]) if isinstance(row["given"], str) else row["given"]
            given = {**given, "dataset": dataset, "seed": seed}
            given["profile"] = given.get("profile", row.get("profile", "lab"))
            settings = TrainSettings.for_profile(**given)
        except (ValueError, TypeError) as error:
            raise ValueError(f"given is {row['given']!r}: {error}") from None
    else:
        fields = {name: row[name] for name in TrainSettings.model_fields if name in row}
        settings = TrainSettings(**fields)
    kind = {"profile": settings.profile, "dataset": dataset, "method": settings.method}
    default = TrainSettings.for_profile(**kind)
    return Run(dataset, seed, _flat(settings), _flat(default), row)


def _flat(settings: TrainSettings) -> dict[str, Any]:
    """Settings and all options of the method by name."""
    from satkit.methods import METHODS

    values = settings.model_dump()
    return {**METHODS[settings.method].options, **values.pop("options"), **values}


def _head(claim: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    same = {name: claim[name] for name in ("says", "location", "metric", "rule")}
    said = "; ".join(f"{name} {effect:+.2f}" for name, effect in claim["paper"].items())
    effect = claim["paper"].get(dataset, float("nan"))
    return {
        "claim": claim["id"],
        **same,
        "dataset": dataset,
        "paper": said,
        "paper_effect": effect,
    }


def _judge(claim: Mapping[str, Any], runs: list[Run]) -> list[dict[str, Any]]:
    """One row for each set of conditions under which all sides were run."""
    sides = sides_of(claim)
    names = {name for side in sides for name in side}
    groups = [_by_conditions(runs, side, names, claim["metric"]) for side in sides]
    shared = [text for text in groups[0] if all(text in group for group in groups)]
    if not shared:
        lacking = [_label(side) for side, group in zip(sides, groups, strict=True) if not group]
        return [_not_run("; ".join(lacking) or "runs of all sides under equal conditions")]
    return [
        {"conditions": text, **_row(claim, sides, [group[text] for group in groups])}
        for text in shared
    ]


def sides_of(claim: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings that a claim compares: its own first, or one for each value of a range."""
    if claim["statistic"] == "range":
        return [{**claim["ours"], claim["vary"]: value} for value in claim["values"]]
    return [claim["ours"], *claim["others"]]


def _not_run(missing: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("effect", "low", "high", "seeds_needed"), math.nan)
    texts = {"conditions": "", "against": "", "interval": "", "commits": ""}
    return {**texts, **nothing, "seeds": 0, "verdict": NOT_RUN, "missing": missing}


def _by_conditions(
    runs: Iterable[Run], side: Mapping[str, Any], names: set[str], metric: str
) -> dict[str, dict[int, Run]]:
    """Runs of one side that have the metric, by conditions and seed."""
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:
        conditions = run.conditions(side, names)
        if conditions is not None and _columns(run, metric):
            groups.setdefault(conditions, {})[run.seed] = run
    return groups


def _columns(run: Run, metric: str) -> list[str]:
    """Columns of the metric that have a number; several where it ends in ``*``."""
    return [
        name
        for name, value in run.numbers.items()
        if fnmatch.fnmatchcase(str(name), metric) and isinstance(value, int | float)
        if not math.isnan(value)
    ]


def _row(
    claim: Mapping[str, Any], sides: Sequence[Mapping[str, Any]], groups: list[dict[int, Run]]
) -> dict[str, Any]:
    """The comparison in which the claim holds least, as a row of the ledger."""
    from satkit.stats import seeds_needed

    below = claim["statistic"] == "range"
    pairs = _extremes(groups, claim["metric"]) if below else [(0, i) for i in range(1, len(groups))]
    found = []
    for first, second in pairs:
        runs = [*groups[first].values(), *groups[second].values()]
        for column in set.intersection(*(set(_columns(run, claim["metric"])) for run in runs)):
            against = _label(sides[second]) + (f" ({column})" if "*" in claim["metric"] else "")
            if below:
                against = f"{_label(sides[first])} - {against}"
            interval = _compare(groups[first], groups[second], column)
            found.append((_verdict(interval, claim["bound"], below), interval, against))
    if not found:
        return _not_run(f"a column {claim['metric']} that all sides have")
    verdict, interval, against = min(found, key=lambda one: (VERDICTS.index(one[0]), one[1].mean))
    commits = {str(run.numbers.get("commit", ""))[:8] for group in groups for run in group.values()}
    return {
        "against": against,
        "effect": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "interval": "" if math.isnan(interval.low) else interval.kind,
        "seeds": interval.n,
        "seeds_needed": seeds_needed(interval.mean - claim["bound"], interval.deviation),
        "verdict": verdict,
        "missing": "",
        "commits": ", ".join(sorted(commits - {""})),
    }


def _extremes(groups: list[dict[int, Run]], metric: str) -> list[tuple[int, int]]:
    """The sides with the largest and the smallest mean."""
    means = [sum(run.numbers[metric] for run in group.values()) / len(group) for group in groups]
    return [(means.index(max(means)), means.index(min(means)))]


def _compare(first: dict[int, Run], second: dict[int, Run], column: str) -> Interval:
    """Interval of the difference, paired where two seeds or more are shared."""
    from satkit.stats import paired_interval, welch_interval

    def values(group: dict[int, Run], seeds: Iterable[int]) -> list[float]:
        return [float(group[seed].numbers[column]) for seed in seeds]

    shared = sorted(set(first) & set(second))
    if len(shared) > 1 or (shared and min(len(first), len(second)) == 1):
        return paired_interval(values(first, shared), values(second, shared))
    return welch_interval(values(first, first), values(second, second))


def _verdict(interval: Interval, bound: float, below: bool) -> str:
    """Which of ``VERDICTS`` an effect gets; without an interval never a certain one."""
    sign = -1 if below else 1
    ends = [sign * (end - bound) for end in (interval.low, interval.high)]
    if sign * (interval.mean - bound) > ROUNDING:
        return "reproduced" if min(ends) > 0 else "same direction"
    return "contradicts" if max(ends) < 0 else "undecided"


def _label(side: Mapping[str, Any]) -> str:
    """Settings in short, for instance ``sat, gate=before_softmax``."""
    rest = [f"{name}={value}" for name, value in side.items() if name != "method"]
    return ", ".join([str(side["method"]), *rest])
