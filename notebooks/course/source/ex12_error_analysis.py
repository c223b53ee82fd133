# %% [markdown]
# # Exercises 12 · Error analysis
#
# For lesson [12](../12_error_analysis.ipynb). Write what is missing, run the cell below it, and read
# what the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex12_error_analysis", seed=seed)

# %% [markdown]
# ## Read the cause off the boxes
#
# {{likely_cause}}
#
# Write the lesson's assistant as far as boxes alone can tell. (Occlusion needs the map, so it is left
# out.) A missed image has a predicted box, the true box, and perhaps the box of another object. Let
# *covered* be the share of the true box that the predicted one holds, and *inside* the share of the
# predicted box that lies in the true one. Each cause gets a score:
#
# | cause | score |
# |---|---|
# | multiple instances | covered · (1 − inside) · *held* |
# | water reflection | covered · (1 − inside) · (1 − *held*) · *below* |
# | localization more | covered · (1 − inside) · (1 − *held*) · (1 − *below*) |
# | localization part | inside · (1 − covered) |
# | label error | (1 − inside) · (1 − covered) |
#
# *held* is the share of the other object's box that the predicted box holds (0 if there is none).
# *below* is, of the part of the predicted box outside the true box, the share that lies straight
# below the true box: between its left and right edges, under its lower edge (y grows downwards); 0 if
# nothing lies outside. Return the cause with the largest score.

# %%
import numpy as np


def area(box):
    """Area of a box, 0 if it has a negative side; [4] -> float."""
    return np.prod(np.clip(box[2:] - box[:2], 0, None))


def likely_cause(predicted, true, other):
    """Name of the cause; boxes int [4], half-open xyxy; `other` may be None -> str."""

    ### BEGIN SOLUTION
    def common(a, b):
        return area(np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])]))

    shared = common(predicted, true)
    covered, inside = shared / area(true), shared / area(predicted)
    held = 0 if other is None else common(predicted, other) / area(other)
    column = np.array([true[0], true[3], true[2], predicted[3]])  # straight below the true box
    below = common(predicted, column) / max(1, area(predicted) - shared)
    large = covered * (1 - inside)
    scores = {
        "multiple instances": large * held,
        "water reflection": large * (1 - held) * below,
        "localization more": large * (1 - held) * (1 - below),
        "localization part": inside * (1 - covered),
        "label error": (1 - inside) * (1 - covered),
    }
    return max(scores, key=scores.get)
    ### END SOLUTION


# %%
check("likely_cause", likely_cause)
### BEGIN HIDDEN TESTS
check("likely_cause", likely_cause, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# A label error shows as a box somewhere else: the true box marks another thing. All shares are areas
# of overlaps, so write one function for the common area of two boxes (`area`
# helps). What lies straight below the true box is a box, too: which are its four corners?
#
# </details>

# %% [markdown]
# ## Is the assistant any good?
#
# {{balanced_accuracy}}
#
# A confusion matrix counts misses: a row for each true cause, a column for each proposal, in the same
# order. Write the balanced accuracy in percent: the mean over true causes of the share that was
# recognised. Causes without any miss are left out.


# %%
def balanced_accuracy(matrix):
    """Mean share that is recognised; counts int [C, C] -> float in percent."""
    ### BEGIN SOLUTION
    counts = matrix.sum(axis=1)
    seen = counts > 0
    return 100 * np.mean(np.diag(matrix)[seen] / counts[seen])
    ### END SOLUTION


# %%
check("balanced_accuracy", balanced_accuracy)
### BEGIN HIDDEN TESTS
check("balanced_accuracy", balanced_accuracy, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `np.diag(matrix)` holds what was recognised. What is the whole, for each cause?
#
# </details>

# %% [markdown]
# ## A number that flatters
#
# {{flattering_matrix}}
#
# Give a confusion matrix of three causes whose accuracy is 90 % or more and whose balanced accuracy is
# 40 % or less. Every true cause must have at least one miss. What would such an assistant do?

# %%
flattering_matrix = None  # your answer, three rows of three counts: [[…, …, …], […], […]]
### BEGIN SOLUTION
flattering_matrix = [[92, 0, 0], [4, 0, 0], [4, 0, 0]]  # it names the commonest cause, always
### END SOLUTION

# %%
check("flattering_matrix", flattering_matrix)
### BEGIN HIDDEN TESTS
check("flattering_matrix", flattering_matrix, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# What is the accuracy of somebody who always names the commonest cause? And the balanced accuracy?
#
# </details>
