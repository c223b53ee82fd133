# %% [markdown]
# # Exercises 13 · Figures that all can read
#
# For lesson [13](../13_figures.ipynb). Write what is missing, run the cell below it, and read what
# the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex13_figures", seed=seed)

# %% [markdown]
# ## Can everybody tell these colours apart?
#
# {{told_apart}}
#
# About one man in twenty sees red and green less well apart, or not at all. `sight` is a matrix that
# turns a colour $(r, g, b)^\top$, as a column of linear values in 0–1, into the colour that looks the
# same to such a person. Values that leave 0–1 are cut off.
#
# Give the distance (Euclidean) between the two colours of a palette that such a person tells apart
# least.

# %%
from itertools import combinations

import numpy as np


def told_apart(colors, sight):
    """Smallest distance between two seen colours; colors [n, 3], sight [3, 3] -> float."""
    ### BEGIN SOLUTION
    seen = np.clip(colors @ sight.T, 0, 1)
    return min(np.linalg.norm(a - b) for a, b in combinations(seen, 2))
    ### END SOLUTION


# %%
check("told_apart", told_apart)
### BEGIN HIDDEN TESTS
check("told_apart", told_apart, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# For one colour it is `sight @ color`. What is it for a whole array whose *rows* are colours?
# `combinations(seen, 2)` gives all pairs of rows.
#
# </details>

# %% [markdown]
# ## Say in words what the chart shows
#
# {{alt_text}}
#
# A chart has a title, values `xs` on its x-axis, and some lines by name. Write a text for those who
# do not see it. It names every line, and says for each its highest value (one decimal) and where on
# the x-axis it lies. It has 60 words at most, and does not begin with «image of», which a screen
# reader says by itself.


# %%
def alt_text(title, xs, lines):
    """Text alternative of a chart; title str, xs list of n, lines dict name -> list of n -> str."""
    ### BEGIN SOLUTION
    said = []
    for name, values in lines.items():
        best = np.argmax(values)
        said.append(f"{name} is highest at {xs[best]:g}, with {values[best]:.1f}")
    return f"{title}. {'; '.join(said)}."
    ### END SOLUTION


# %%
check("alt_text", alt_text)
### BEGIN HIDDEN TESTS
check("alt_text", alt_text, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# `np.argmax(values)` is the place of the highest value. `f"{value:.1f}"` writes one decimal,
# `f"{x:g}"` writes a number without zeros at its end.
#
# </details>

# %% [markdown]
# ## How much does a cut axis exaggerate?
#
# {{bar_exaggeration}}
#
# Two bars show the numbers `small` and `large`. The axis does not begin at 0 but at `start`. How many
# times as long the longer bar looks, divided by how many times as large its number really is: that is
# the exaggeration. In an honest bar chart it is 1.
#
# The last two rows of the paper's Table 2 are 72.78 and 73.13. What would an axis from 72.5 make of
# them?


# %%
def bar_exaggeration(small, large, start):
    """Ratio of the bars' lengths over the ratio of the numbers; start < small < large -> float."""
    ### BEGIN SOLUTION
    drawn = (large - start) / (small - start)
    return drawn / (large / small)
    ### END SOLUTION


# %%
check("bar_exaggeration", bar_exaggeration)
### BEGIN HIDDEN TESTS
check("bar_exaggeration", bar_exaggeration, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# A bar begins where the axis begins. How long is it then?
#
# (So may an axis never be cut? Points and lines are read by their position, not by their length, and
# may stand on any range.)
#
# </details>
