# %% [markdown]
# # 14 · The ledger: all claims in one table
#
# A paper is a list of claims. Here each has a number that decides it, a rule that was fixed before
# the runs, and a verdict from all runs that are at hand, for each data set. What was not run says
# so, with the command that would run it.
#
# ## What you will learn
#
# - to turn sentences of a paper into statements that a run can refute;
# - to read an effect with its interval, and to see why one seed never proves a claim;
# - how many seeds each claim needs;
# - which numbers of the paper do not add up.
#
# **Before you start:** [05 · Train SAT](05_train_cub.ipynb). **Time:** 15 minutes to read, 1 minute
# to run; nothing is trained here.

# %% tags=["parameters"]
profile = "lab"  # smoke, lab or paper: whose missing runs are listed
only_dataset = ""  # judge this data set alone, such as aviary; "": all that were measured
seeds = 0  # how many seeds each side of a claim shall have; 0: as the profile says
out = ""  # folder for ledger.csv and ledger.md; "": in the runs folder
runs_dir = "runs"  # folder of all runs, from the project's folder if relative

# %%
import satkit

settings = satkit.configure(
    "14_ledger", profile=profile, only_dataset=only_dataset, seeds=seeds, out=out,
    runs_dir=runs_dir,
)  # fmt: skip

# %% [markdown]
# ## The claims and their rules
#
# Every rule was written down in `satkit/paper/claims.toml`, for all results alike.

# %%
import pandas as pd

from satkit import paper

pd.set_option("display.max_rows", None, "display.max_colwidth", None)
claims = paper.claims().set_index("id")
print(f"{len(claims)} claims")
claims[["says", "location", "rule"]]

# %% [markdown]
# **The verdicts.** An effect is a difference in points, with its 95 % interval over seeds.
#
# | verdict | the interval |
# |---|---|
# | reproduced | lies on the claim's side of the bound, wholly |
# | same direction | its mean does, but not the whole of it, or there is one seed only |
# | undecided | its mean lies on the other side, but not the whole of it |
# | contradicts | lies on the other side, wholly |
# | not run | runs are missing |
#
# A claim against several others is as true as against the one where it holds least.
#
# **Predict, then run:** what share of the claims can be decided without a GPU?

# %%
rows = paper.measured(settings.runs_dir)
if settings.only_dataset:
    rows = rows[rows["dataset"] == settings.only_dataset]
print(paper.banner(rows))
table = paper.ledger(rows)
paper.count_verdicts(table)

# %% [markdown]
# Runs of the profile *smoke* do not count: their numbers mean nothing.
#
# ## The ledger
#
# *Conditions* are settings that both sides share and that differ from the profile's. *Seeds needed*:
# with the spread that was seen, so many seeds would carry the interval clear of the bound.

# %%
columns = ["dataset", "conditions", "paper", "effect", "low", "high", "seeds",
           "seeds_needed", "verdict"]  # fmt: skip
run = table[table["verdict"] != "not run"]
numbers = run.set_index("claim")[columns]
numbers.round(2).astype(object).where(numbers.notna(), "–")

# %% [markdown]
# All claims on all data sets, those that were not run as well (two verdicts: under two conditions):

# %%
overview = table.assign(dataset=table["dataset"].replace("", "its own data sets"))
overview.groupby(["claim", "dataset"], sort=False)["verdict"].agg(", ".join).unstack().fillna("–")

# %% [markdown]
# ## The effects in one picture
#
# Filled: measured. Hollow: what the paper prints, on its own data sets; the two share a direction,
# not a scale. The tick is the bound that the rule names; a claim wants its effect to the right of it,
# except the two on what matters little (λ, the batch size), which want theirs to the left.

# %%
from satkit.figures import forest, show

effects = paper.paper_effects()
if len(run):
    show(forest(run, effects, claims["bound"].to_dict()))
else:
    print("no claim was measured at the profiles lab or paper")

# %% [markdown]
# **Which verdicts go against the paper?**

# %%
against = run[run["verdict"].isin(["contradicts", "undecided"])]
against[["says", "dataset", "conditions", "paper", "against", "effect", "low", "high", "seeds",
         "verdict"]].round(2)  # fmt: skip

# %% [markdown]
# A different data set, backbone and length of training are between these rows and the paper's, so
# even *contradicts* would not refute the paper on CUB-200. It says that the claim does not hold
# wherever one looks.
#
# ## Does the paper meet its own claims?
#
# The same bounds, held against the paper's own numbers. They have no interval, so there is no
# verdict, only a side.

# %%
print(f"{effects['meets'].sum()} of {len(effects)} effects lie on the claim's side")
effects[~effects["meets"]].merge(claims[["says", "location"]], left_on="claim", right_index=True)[
    ["says", "location", "dataset", "effect", "bound"]
].round(2)

# %% [markdown]
# ## Statements that do not add up
#
# The paper states numbers in words («+9.66») and prints means. Each was computed again from the
# cells of its tables. **Predict, then run:** how many of them disagree by more than rounding?

# %%
checked = paper.check_statements()
wrong = checked[~checked["agrees"].fillna(True).astype(bool)]
print(f"{len(checked)} statements: {(checked['agrees'] == True).sum()} agree, "  # noqa: E712
      f"{len(wrong)} do not, {checked['agrees'].isna().sum()} cannot be computed")  # fmt: skip
wrong[["says", "location", "stated", "recomputed", "difference", "note"]].round(2)

# %% [markdown]
# Most are slips of a digit, or counts that were rounded before they were subtracted. None decides a
# claim.
#
# ## What would have to be run
#
# Every setting that some claim needs and that lacks a seed, on one data set. The hours are those of
# measured runs of the same data set, profile and backbone on the machine that ran them; «–» where
# there is none.

# %%
base = satkit.TrainSettings.for_profile(
    settings.profile, **({"dataset": settings.only_dataset} if settings.only_dataset else {})
)
need = paper.to_run(rows, base, settings.seeds)
known = need["hours"].notna()
time = f"about {need['hours'].sum():.1f} hours for the {known.sum()} settings whose time is known"
print(f"{base.dataset}, {settings.seeds} seeds: {len(need)} settings lack "
      f"{need['missing'].map(len).sum()} runs; {time if known.any() else 'no time is known'}")  # fmt: skip
need.assign(hours=need["hours"].astype(object).where(known, "–"))

# %% [markdown]
# All of them at once, resumable, on one machine, Slurm or Kubernetes
# (`docs/sweeps.md` says how):
#
# ```sh
# snakemake --profile workflow/profiles/local --config scale=lab             # Aviary, no GPU
# snakemake --profile workflow/profiles/local --config scale=paper --dry-run # its plan, GPU hours
# ```
#
# ## Take it with you

# %%
from pathlib import Path

folder = Path(settings.out or Path(settings.train.runs_dir) / "lessons" / "14_ledger")
for file in paper.write_ledger(table, rows, folder):
    print(file.name, f"{file.stat().st_size / 1000:.0f} kB, in {folder.name}")

# %% [markdown]
# ## Try it
#
# - `-p only_dataset butterflies`: which claims does a handful of photographs decide?
# - Run one of the commands above, then this notebook again. Did a verdict change?
# - Choose a claim that is *same direction*. Is the effect small, or are there too few seeds?
#
# ## Take-away

# %%
counted = run["verdict"].value_counts()
print("verdicts on all data sets:", ", ".join(f"{n} {word}" for word, n in counted.items()))
few = run[(run["seeds"] > 1) & (run["seeds_needed"] > run["seeds"])]
print(f"{len(few)} effects have several seeds and still need more; "
      f"{(run['seeds'] == 1).sum()} have one seed, which never decides")  # fmt: skip

# %% [markdown]
# - A claim needs a statistic, a bound and a rule *before* the run.
# - «Same direction» is not «reproduced»: it says that there are too few seeds, or too small an
#   effect.
# - What was not run is a row, too.
#
# **Exercises:** sheet `course/ex14_ledger.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("14")`
#
# ## References
#
# - P. Wu et al. *Spatial-Aware Token for Weakly Supervised Object Localization.* ICCV 2023: all
#   tables; `docs/paper.md` says how its cells and statements are kept.
# - J. Pineau et al. *Improving Reproducibility in Machine Learning Research.* JMLR 22, 2021.
# - X. Bouthillier et al. *Accounting for Variance in Machine Learning Benchmarks.* MLSys 2021.
