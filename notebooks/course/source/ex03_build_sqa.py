# %% [markdown]
# # Exercises 03 · Build SQA
#
# For lesson [03](../03_build_sqa.ipynb). Write what is missing, run the cell below it, and read what
# the check says: it knows the usual mistakes.
#
# A ✗ stops *Run All*; run the cells one by one.

# %% tags=["parameters"]
seed = 0  # seed of the random inputs that your answers are checked on

# %%
from satkit.course import start

check = start("ex03_build_sqa", seed=seed)

# %% [markdown]
# ## From queries and keys to a map
#
# {{block_map}}
#
# The lesson makes a gate for every token. Write the way down to the map: the sequence is the class
# token, then $n \times n$ patches row by row, then the spatial token. Return for each image the map
# of its patches,
#
# $$M_j = \text{sigmoid}\Big(\frac1H \sum_h \frac{q_{spa}^h \cdot k_j^h}{\sqrt d}\Big).$$
#
# The lesson has the formula; write it here without looking.

# %%
import torch


def block_map(q, k):
    """Map of one block; q, k [B, H, 1 + n·n + 1, d] -> [B, n, n]."""
    ### BEGIN SOLUTION
    similarity = torch.einsum("bhd,bhjd->bhj", q[:, :, -1], k) * q.shape[-1] ** -0.5
    patches = similarity.mean(dim=1).sigmoid()[:, 1:-1]  # [B, n·n]
    n = int(patches.shape[1] ** 0.5)
    return patches.unflatten(1, (n, n))
    ### END SOLUTION


# %%
check("block_map", block_map)
### BEGIN HIDDEN TESTS
check("block_map", block_map, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Four steps, with the shapes `[B, H, T]`, `[B, T]`, `[B, n·n]` and `[B, n, n]`. Which token has the
# index -1, and which two are no patches?
#
# </details>

# %% [markdown]
# ## A closed gate, in numbers
#
# {{closed_patch}}
#
# A row of attention has four patches with the logits $\ln 4, \ln 2, 0, 0$: without a gate, their
# shares are 4/8, 2/8, 1/8 and 1/8. The map rejects the first patch: its gate is 0, the other three
# have gate 1.
#
# With pen and paper: which share has the **first** patch now, if the gate multiplies *after* the
# softmax, and if it multiplies the logits *before* it? And which share has the **second**?

# %%
closed_patch = None  # your answer: (first after, first before, second after, second before)
### BEGIN SOLUTION
# after: 0 · 4/8, and 1 · 2/8; before: the exponentials are 1, 2, 1, 1, and their sum is 5
closed_patch = (0, 1 / 5, 2 / 8, 2 / 5)
### END SOLUTION

# %%
check("closed_patch", closed_patch)
### BEGIN HIDDEN TESTS
check("closed_patch", closed_patch, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Before the softmax, the gate turns the logits into $0 \cdot \ln 4, \; 1 \cdot \ln 2, \; 0, \; 0$.
# What is $e^0$?
#
# </details>

# %% [markdown]
# ## Why must the gate come after the softmax?
#
# {{why_after_softmax}}
#
# Choose **all** statements that are true. «Before» and «after» say where the gate is; the gate of a
# single patch is closed, the gates of the others stay 1.
#
# - **A** Before the softmax, a patch with a closed gate still passes on something of what it says.
# - **B** After the softmax, the gated rows still sum to 1.
# - **C** Before the softmax, closing the gate of a patch with a negative logit raises its share.
# - **D** Before the softmax, no gradient reaches the gate.
# - **E** After the softmax, the other patches get the share that the closed one has lost.
# - **F** Before the softmax, the gate cannot be fused into `scaled_dot_product_attention`.

# %%
why_after_softmax = None  # your answer: letters, such as "BD"
### BEGIN SOLUTION
why_after_softmax = "AC"
### END SOLUTION

# %%
check("why_after_softmax", why_after_softmax)
### BEGIN HIDDEN TESTS
check("why_after_softmax", why_after_softmax, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# The four numbers of the exercise before decide A, B and E. For C, give the first patch the logit
# $-2$. For D: do the logits depend on the gate? For F: which of queries, keys and values could carry
# a factor of the logits?
#
# </details>

# %% [markdown]
# ## Fuse SQA into scaled_dot_product_attention
#
# {{fused_sqa}}
#
# Here is a colleague's attempt. It runs, and it trains:
#
# ```python
# mask = gate.log()[:, None, None, :]
# return scaled_dot_product_attention(q, k, v, attn_mask=mask)
# ```
#
# A mask is added to the logits, and $e^{s + \ln m} = m\,e^{s}$, so each share is multiplied with the
# gate, says the colleague. But the softmax divides afterwards. Find out what the rows sum to, and
# write the function so that it computes
#
# $$\big(\text{softmax}(QK^\top / \sqrt d)\, \text{diag}(M)\big)\, V$$
#
# with one call of `scaled_dot_product_attention`. The check looks at what is kept for the backward
# pass, too: a $T \times T$ matrix must not be among it. The lesson has the code; write it here
# without looking.

# %%
from torch.nn.functional import scaled_dot_product_attention


def fused_sqa(q, k, v, gate):
    """Gated attention; q, k, v [B, H, T, d] and gate [B, T] -> [B, H, T, d]."""
    ### BEGIN SOLUTION
    return scaled_dot_product_attention(q, k, v * gate[:, None, :, None])
    ### END SOLUTION


# %%
check("fused_sqa", fused_sqa)
### BEGIN HIDDEN TESTS
check("fused_sqa", fused_sqa, seed=20_231)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Hint</summary>
#
# Matrix products may be bracketed as one likes: $(A\,D)\,V = A\,(D\,V)$. What does a diagonal matrix
# do to what stands at its right?
#
# </details>
