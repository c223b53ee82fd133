# %% [markdown]
# # Exercises 16 · Mini-projects
#
# Five open projects. Choose one, alone or in pairs. There is no right answer to find here, but there
# are good and bad ways of looking for one, and the rubric of each project says what will be judged.
# Each begins with a first step that checks itself; it gives no points, and shows that you are on the
# way.
#
# A ✗ stops *Run All*; run the cells one by one.
#
# **What every project hands in:** a notebook that runs from top to bottom with no error; a report of
# two pages at most, with one figure (and its text alternative) and one table; and the result files
# that the numbers come from (`runs/…/metrics.json` and `settings.json`, or your CSV). A number without
# a file counts as not measured.
#
# **What every project is judged on:** each line of a rubric gives 0 to 4 points, 20 in all. The columns
# describe 0, 2 and 4 points; 1 and 3 lie between. A result *against* the paper, or against your
# own guess, costs nothing. Hiding it does.
#
# The hours are estimates for two CPU cores and the data that ships with the kit, where a run of the
# profile *lab* takes minutes. Lesson 06 shows how to find out what a run will cost on your machine.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex16_projects", seed=seed)

# %% [markdown]
# ## Project 1 · A pixel loss of your own
#
# {{pixel_loss}}
#
# The normalization loss wants every patch to be 0 or 1, and so does the weighted entropy of ORNet.
# Invent a third loss for single patches, say *before you train* what it should do better, and find out.
#
# - **Task:** write the loss, draw it beside the two of lesson 08, train SAT with it and with
#   $\mathcal L_{norm}$ on Aviary with three seeds each, and judge the difference.
# - **Material:** `satkit/losses.py` (`normalization_loss` is the place to change in your copy), lesson
#   04, lesson 08 §5, `satkit.stats.paired_interval`. Give `-p experiment my_loss` to your runs, since
#   finished runs of the same settings are opened, not trained again.
# - **Hours:** 6 to 8, of them about 1 of training.
#
# | | 0 points | 2 points | 4 points |
# |---|---|---|---|
# | **Idea** | no reason given | a reason without a prediction | a prediction that a run can refute, written down before |
# | **Loss** | does not run | runs, with a flaw (scale, borders) | right, tested on maps with known answers |
# | **Comparison** | one run | several seeds, more than the loss differs | three seeds or more, only the loss differs |
# | **Judgement** | «better» without a spread | means and deviations | interval, a rule from before, and maps that show why |
# | **Report** | cannot be run again | runs, text unclear | runs, clear, figure with text alternative |
#
# **First step:** write the loss. It gives one number for a batch, passes a gradient, costs least where
# all patches are 0 or 1, does not depend on the number of images, and still pushes patches at 0.1
# and 0.9 towards their nearer end.

# %%
import torch


def pixel_loss(maps):
    """A loss of single patches; tensor [B, h, w] in 0-1 -> scalar tensor."""
    ### BEGIN SOLUTION
    return (maps * (1 - maps)).mean()  # L_norm without its filter; yours is another one
    ### END SOLUTION


# %%
check("pixel_loss", pixel_loss)
### BEGIN HIDDEN TESTS
check("pixel_loss", pixel_loss, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Sketch the cost of one patch over its value from 0 to 1: where is it zero, where largest, and how
# steep is it at 0.1? Then take the mean over all patches.
#
# </details>

# %% [markdown]
# ## Project 2 · A data set of your own
#
# {{annotator_agreement}}
#
# Photograph things of three or more classes, 20 photographs each at least, draw boxes for a third of
# them, and find out whether SAT learns to localize them from their class names alone.
#
# - **Task:** collect, annotate with two people, measure how far the two agree, train SAT and TS-CAM,
#   compare both with the box of the whole image *and* with the second person.
# - **Material:** lesson 15 (reading photographs, privacy), `python -m satkit train -p dataset folder
#   -p data_root FOLDER`, `python -m satkit predict`, `docs/data.md` (folders and `boxes.csv`).
# - **Hours:** 8 to 10, half of them for collecting and drawing.
#
# | | 0 points | 2 points | 4 points |
# |---|---|---|---|
# | **Data** | fewer than asked for, or not one's own | complete, easy (one background) | complete, varied, described; people asked, places removed |
# | **Annotation** | boxes drawn after looking at the maps | one person, before | two people, before, agreement measured |
# | **Comparison** | one method | two methods | two methods, full-image box, the second person as the limit |
# | **Judgement** | a number | a number and its interval over images | and a look at what kinds of images fail |
# | **Report** | cannot be run again | runs, text unclear | runs, clear, figure with text alternative |
#
# **First step:** before any network, measure the two of you. Give the mean IoU between your boxes, and the
# percentage of images on which it is 0.5 or more.

# %%
import numpy as np


def annotator_agreement(first, second):
    """Mean IoU and percent of agreement; boxes [N, 4] of two people, half-open -> two floats."""
    ### BEGIN SOLUTION
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, 2:], second[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    ious = common / (areas[0] + areas[1] - common)  # [N]
    return ious.mean(), 100 * np.mean(ious >= 0.5)
    ### END SOLUTION


# %%
check("annotator_agreement", annotator_agreement)
### BEGIN HIDDEN TESTS
check("annotator_agreement", annotator_agreement, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# It is the IoU of exercise 01, for all rows at once. Row i of both arrays is the same image.
#
# </details>

# %% [markdown]
# ## Project 3 · One claim, enough seeds
#
# {{claim_plan}}
#
# The ledger of lesson 14 is full of *same direction*: too few seeds, or too small an effect. Choose one
# claim and bring it to a verdict.
#
# - **Task:** choose a claim, say which verdict you expect, plan the runs, train them, judge by the
#   rule of the ledger, and say what a reader may conclude from it, and what not.
# - **Material:** lesson 14 (its table «What would have to be run» holds the commands),
#   `satkit.paper.claims()`, `satkit.paper.ledger`, `satkit.stats.seeds_needed`, `docs/sweeps.md` to
#   run many.
# - **Hours:** 5 to 8, of them 1 to 4 of training that needs nobody.
#
# | | 0 points | 2 points | 4 points |
# |---|---|---|---|
# | **Plan** | none | seeds and hours | seeds from the spread that was seen, stopping rule, expected verdict |
# | **Runs** | other settings than the claim's | the right ones, some missing | all, with their files |
# | **Verdict** | from the mean alone | by the rule | by the rule, with interval and paired seeds |
# | **Reach** | «the paper is right» (or wrong) | limits named | limits named and one of them tested |
# | **Report** | cannot be run again | runs, text unclear | runs, clear, figure with text alternative |
#
# **First step:** write the plan: the claim's id, how many seeds each setting gets, the minutes of one
# run on your machine, and the hours that you have. All runs have to fit into the hours.

# %%
claim_plan = None  # {"claim": "…", "seeds": …, "minutes": …, "hours": …}
### BEGIN SOLUTION
claim_plan = {"claim": "sat_over_scm", "seeds": 5, "minutes": 4, "hours": 2}  # 2 · 5 · 4 minutes
### END SOLUTION

# %%
check("claim_plan", claim_plan)
### BEGIN HIDDEN TESTS
check("claim_plan", claim_plan, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `satkit.paper.claims()[["id", "says", "others"]]` lists the claims. A claim against three other methods
# compares four settings, and each of them needs every seed.
#
# </details>

# %% [markdown]
# ## Project 4 · Two judges, fifty errors
#
# {{kappa}}
#
# Why does *your* localizer fail? Let two people sort fifty missed images into the six causes of lesson
# 12, apart from each other, and find out how far a cause can be seen at all.
#
# - **Task:** write down what each cause means to you, judge, measure the agreement with Cohen's
#   kappa, talk about the images on which you differ, and compare both of you with the assistant.
# - **Material:** lesson 12 (`propose`, `write_sheet`, `read_sheet`), any finished run; photographs are
#   more rewarding than drawings (`python -m satkit data` lists data sets).
# - **Hours:** 5 to 6.
#
# | | 0 points | 2 points | 4 points |
# |---|---|---|---|
# | **Definitions** | none | the lesson's | your own, with an example and a border case each |
# | **Judging** | one person, or together | two people, fewer than fifty | two people apart, fifty or more, sheets handed in |
# | **Agreement** | percent only | kappa | kappa with its interval, and for each cause |
# | **Insight** | a list of causes | causes and examples | what would have to change in data or method, and how to test it |
# | **Report** | cannot be run again | runs, text unclear | runs, clear, figure with text alternative |
#
# **First step:** write kappa. Let $p$ be the share of images on which you agree, and $c$ the share on which
# you would agree by chance, if each of you named the causes as often as you do, but at random. Then
# $\kappa = (p - c) / (1 - c)$.


# %%
def kappa(first, second):
    """Cohen's kappa; two lists of N names -> float, at most 1."""
    ### BEGIN SOLUTION
    a, b = np.array(first), np.array(second)
    agreed = np.mean(a == b)
    chance = sum(np.mean(a == name) * np.mean(b == name) for name in set(first))
    return (agreed - chance) / (1 - chance)
    ### END SOLUTION


# %%
check("kappa", kappa)
### BEGIN HIDDEN TESTS
check("kappa", kappa, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# For one cause: if the first judge names it for 60 % of the images and the second for 50 %, on which
# share do both name it by chance? Add up over the causes.
#
# </details>

# %% [markdown]
# ## Project 5 · Make it fail, and say why
#
# {{extra_harm}}
#
# Find a kind of image on which SAT fails and another method does not, and show that you know why.
# Guessing a weakness is easy; a *control* that differs in nothing but the cause is the work.
#
# - **Task:** state a weakness and its reason, make images that have it and twins that do not, measure
#   SAT and one other method on both, and test the reason by a change that should mend it.
# - **Material:** Aviary draws any difficulty on demand (`satkit.data.aviary.draw_bird`, the
#   `difficulties` of `satkit.data.load`), lessons 09, 11 and 12, `python -m satkit evaluate RUN`.
# - **Hours:** 6 to 8.
#
# | | 0 points | 2 points | 4 points |
# |---|---|---|---|
# | **Hypothesis** | «it is worse» | a weakness | a weakness, a reason, and what would refute it, written down before |
# | **Images** | picked by hand after a look | many, no control | many, with twins that differ in the cause alone |
# | **Measurement** | pictures only | scores | paired scores with intervals, another method beside |
# | **Reason** | repeated, not tested | tested by looking at maps | tested by a change that should mend it, whatever came out |
# | **Report** | cannot be run again | runs, text unclear | runs, clear, figure with text alternative |
#
# **First step:** the number that decides. The same drawings were made with the difficulty (*hard*) and
# without it (*twin*), and two methods were tested on all of them. How many points does the difficulty
# cost SAT *more* than it costs the other method? Negative: it costs SAT less.


# %%
def extra_harm(sat_hard, sat_twin, other_hard, other_twin):
    """Extra harm to SAT, points; hits bool [N], row i of all four is one drawing -> float."""
    ### BEGIN SOLUTION
    harm = [
        100 * (twin.mean() - hard.mean())
        for hard, twin in ((sat_hard, sat_twin), (other_hard, other_twin))
    ]
    return harm[0] - harm[1]
    ### END SOLUTION


# %%
check("extra_harm", extra_harm)
### BEGIN HIDDEN TESTS
check("extra_harm", extra_harm, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# What does the difficulty cost SAT? What does it cost the other method? Some images are hard for
# everybody, and some methods are worse everywhere; neither is what you look for.
#
# </details>

# %% [markdown]
# **Before you hand in:**
#
# - Restart the kernel and run all. Does every number come out again?
# - Is the rule by which you judge older than the result?
# - Would somebody who sees neither colours nor pictures learn your result from the text?
# - What did *not* work? One sentence is enough, and worth more than a smooth story.
