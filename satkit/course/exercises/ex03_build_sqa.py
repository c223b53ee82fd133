"""Exercises on spatial-query attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from satkit.course.answers import chooses, leaves_out, letters
from satkit.course.checks import Arguments, Exercise, Misconception, Trial, same, value


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


# --------------------------------------------------------------------------------------------------
# block_map: q, k [B, H, 1 + n·n + 1, d] -> [B, n, n]
# --------------------------------------------------------------------------------------------------


def _similarity(q: Tensor, k: Tensor, query: int = -1) -> Tensor:
    """Scaled similarity of one token's query with all keys, [B, H, T]."""
    return (k @ q[:, :, query, :, None])[..., 0] * q.shape[-1] ** -0.5


def _crop(gate: Tensor, first: int = 1) -> Tensor:
    side = int((gate.shape[1] - 2) ** 0.5)
    return gate[:, first : first + side * side].unflatten(1, (side, side))


def _block_map(q: Tensor, k: Tensor) -> Tensor:
    return _crop(_similarity(q, k).mean(dim=1).sigmoid())


def _block_map_softmax(q: Tensor, k: Tensor) -> Tensor:
    return _crop(_similarity(q, k).softmax(dim=-1).mean(dim=1))


def _block_map_mean_of_sigmoids(q: Tensor, k: Tensor) -> Tensor:
    return _crop(_similarity(q, k).sigmoid().mean(dim=1))


def _tokens_compete(trials: list[Trial]) -> bool:
    """Symptom: each map is a part of a softmax, over all tokens or over patches."""
    maps = [torch.as_tensor(trial.given) for trial in trials]
    return all(bool((one > 0).all() and (one.sum(dim=(1, 2)) < 1 + 1e-4).all()) for one in maps)


def _block_map_full_width(q: Tensor, k: Tensor) -> Tensor:
    return _crop((_similarity(q, k).sum(dim=1) * q.shape[1] ** -0.5).sigmoid())


def _block_map_full_width_mean(q: Tensor, k: Tensor) -> Tensor:
    return _crop((_similarity(q, k).mean(dim=1) * q.shape[1] ** -0.5).sigmoid())


def _block_map_sum_of_heads(q: Tensor, k: Tensor) -> Tensor:
    return _crop(_similarity(q, k).sum(dim=1).sigmoid())


def _block_map_raw(q: Tensor, k: Tensor) -> Tensor:
    return _crop(_similarity(q, k).mean(dim=1))


def _block_map_unscaled(q: Tensor, k: Tensor) -> Tensor:
    return _crop((_similarity(q, k) * q.shape[-1] ** 0.5).mean(dim=1).sigmoid())


def _block_map_class_token(q: Tensor, k: Tensor) -> Tensor:
    return _crop(_similarity(q, k, query=0).mean(dim=1).sigmoid())


def _block_map_roles_exchanged(q: Tensor, k: Tensor) -> Tensor:
    return _block_map(k, q)


def _block_map_shifted(first: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda q, k: _crop(_similarity(q, k).mean(dim=1).sigmoid(), first)


def _queries_and_keys(rng: np.random.Generator) -> Iterator[Arguments]:
    for side in (3, 4):
        generator, tokens = _generator(rng), side * side + 2
        yield tuple(2 * torch.randn(2, 3, tokens, 5, generator=generator) for _ in range(2))


# --------------------------------------------------------------------------------------------------
# fused_sqa: q, k, v [B, H, T, d] and gate [B, T] -> [B, H, T, d]
# --------------------------------------------------------------------------------------------------

OUTPUT, MATRIX = "output", "keeps a T × T matrix"


def _fused_sqa(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v * gate[:, None, :, None])


def _compact_sqa(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    attention = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1)  # [B, H, T, T]
    return (attention * gate[:, None, None, :]) @ v


def _gated_keys(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k * gate[:, None, :, None], v)


def _gated_queries(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    return scaled_dot_product_attention(q * gate[:, None, :, None], k, v)


def _gated_output(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v) * gate[:, None, :, None]


def _masked_by_log(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v, attn_mask=gate.log()[:, None, None, :])


def _masked_by_gate(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v, attn_mask=gate[:, None, None, :])


def _masked_at(level: float) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Ordinary attention to the tokens whose gate is above a level."""
    return lambda q, k, v, gate: scaled_dot_product_attention(
        q, k, v, attn_mask=(gate > level)[:, None, None, :]
    )


def _masks(trials: list[Trial]) -> bool:
    """Symptom: each output is that of a mask, whichever the level."""
    return all(
        any(
            same(trial.given[OUTPUT], _masked_at(float(level))(*trial.arguments), 1e-5)
            for level in trial.arguments[3].flatten().sort().values[:-1]
        )
        for trial in trials
    )


def _ungated(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v)


def _gated_twice(q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
    return _fused_sqa(q, k, v, gate) * gate[:, None, :, None]


def _with_gate(
    at_values: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Ordinary attention with values that a gate of a wrong shape should dim."""
    return lambda q, k, v, gate: scaled_dot_product_attention(q, k, at_values(v, gate))


#: Ways to multiply that stop, each with an error of its own.
_MISFITS = tuple(
    _with_gate(at_values)
    for at_values in (
        lambda v, gate: v * gate,
        lambda v, gate: gate * v,
        lambda v, gate: v * gate[..., None],
        lambda v, gate: gate[..., None] * v,
        lambda v, gate: v * gate[:, :, None, None],
        lambda v, gate: gate[:, :, None, None] * v,
    )
)


def _forward_and_kept(answer: Any, *inputs: Tensor) -> dict[str, Any] | None:
    """Output of an answer, and whether it keeps a T × T matrix for the backward pass."""
    tokens, kept = inputs[0].shape[2], []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tuple(tensor.shape[-2:]) == (tokens, tokens))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = answer(*(one.clone().requires_grad_() for one in inputs))
    return None if output is None else {OUTPUT: output, MATRIX: any(kept)}


def _gives(wrong: Callable[..., Tensor]) -> Callable[[list[Trial]], bool]:
    """Symptom: the output is that of a wrong form, whatever is kept."""
    return lambda trials: all(
        same(trial.given[OUTPUT], wrong(*trial.arguments), 1e-5) for trial in trials
    )


def _attention_inputs(rng: np.random.Generator) -> Iterator[Arguments]:
    for tokens in (7, 11):
        generator = _generator(rng)
        q, k, v = (torch.randn(2, 3, tokens, 8, generator=generator) for _ in range(3))
        yield q, k, v, 0.05 + 0.9 * torch.rand(2, tokens, generator=generator)


# --------------------------------------------------------------------------------------------------
# why_after_softmax
# --------------------------------------------------------------------------------------------------

TRUE = "AC"  # of the statements in the notebook

EXERCISES = (
    Exercise(
        name="block_map",
        title="From queries and keys to a map",
        difficulty=2,
        importance=3,
        minutes=20,
        points=4,
        reference=_block_map,
        idea="Compare the last token's query with all keys, divide by √d, take the mean over "
        "heads, then the sigmoid; keep the patches, which lie between first and last token.",
        misconceptions=(
            Misconception(
                "a softmax takes the place of the sigmoid",
                "In a softmax tokens compete, so a large bird would be fainter than a small one. "
                "The sigmoid asks each token for itself, and all parts of a bird can be near 1.",
                _block_map_softmax,
                _tokens_compete,
            ),
            Misconception(
                "the sigmoid is left out",
                "A similarity can be negative or larger than 1. The sigmoid turns it into the "
                "probability that the token belongs to the object.",
                _block_map_raw,
            ),
            Misconception(
                "the sigmoid comes before the mean over heads",
                "The order matters, since a sigmoid is not linear: the heads' similarities are "
                "averaged first, then one sigmoid turns the mean into a probability.",
                _block_map_mean_of_sigmoids,
            ),
            Misconception(
                "the similarity is scaled by the full width",
                "d is the width of one head, D that of all H together. With 1/√D, the similarities "
                "are √H times as large (added up over heads, Eq. 4 as printed) or as small (their "
                "mean). Here, as in the authors' code: 1/√d in each head, then the mean.",
                _block_map_full_width,
                also=(_block_map_full_width_mean,),
            ),
            Misconception(
                "the heads are added up",
                "Without dividing by the number of heads, the similarities are H times as large "
                "and the sigmoid saturates. Take the mean over heads.",
                _block_map_sum_of_heads,
            ),
            Misconception(
                "the similarity is not scaled",
                "A sum over d products grows like √d, and the sigmoid saturates. Divide by √d, as "
                "attention does.",
                _block_map_unscaled,
            ),
            Misconception(
                "the class token asks",
                "The spatial token is the last one of the sequence. The first one is the class "
                "token, which asks what names the bird, not where it is.",
                _block_map_class_token,
            ),
            Misconception(
                "queries and keys are exchanged",
                "The spatial token *asks*, so its query meets the keys of the others. Its key "
                "would be what the others find when they ask.",
                _block_map_roles_exchanged,
            ),
            Misconception(
                "the map begins with the class token",
                "The first token is no patch. With it the map is shifted by one patch, which no "
                "error tells you: the shape is right.",
                _block_map_shifted(0),
            ),
            Misconception(
                "the map ends with the spatial token",
                "The last token is no patch. Patches are what lies between the first and the last "
                "token of the sequence.",
                _block_map_shifted(2),
            ),
        ),
        cases=_queries_and_keys,
    ),
    Exercise(
        name="closed_patch",
        title="A closed gate, in numbers",
        difficulty=2,
        importance=3,
        minutes=15,
        points=3,
        reference=(0.0, 0.2, 0.25, 0.4),
        idea="After the softmax: 4, 2, 1, 1 over 8, then times the gate. Before it: the gate "
        "makes the first logit 0, and the softmax is taken of what results.",
        misconceptions=(
            Misconception(
                "the closed gate is thought to work before the softmax, too",
                "A logit of 0 is not a share of 0: e⁰ = 1. Before the softmax, the closed patch "
                "counts like any patch of logit 0.",
                (0.0, 0.0, 0.25, 0.5),
            ),
            Misconception(
                "the gate is thought to do the same before the softmax as after it",
                "Only after the softmax it multiplies shares. Before it, it multiplies logits: a "
                "logit of 0 still counts e⁰ = 1, and the sum that all are divided by is another.",
                (0.0, 0.0, 0.25, 0.25),
            ),
            Misconception(
                "the row is renormalised after the gate",
                "After the softmax the gate takes its part away and nobody gets it: patch 2 keeps "
                "2/8, and the row sums to 1/2. That is how the map can dim the whole block.",
                (0.0, 0.2, 0.5, 0.4),
            ),
            Misconception(
                "before and after are exchanged",
                "*After* the softmax the gate multiplies the shares, and 0 stays 0. *Before* it "
                "multiplies the logits. The order asked for is (after, before) for each patch.",
                (0.2, 0.0, 0.4, 0.25),
            ),
            Misconception(
                "the order is another one",
                "The four values are right. The order asked for is (after, before) for the first "
                "patch, then (after, before) for the second.",
                (0.0, 0.25, 0.2, 0.4),
            ),
            Misconception(
                "percent are given",
                "A share is a number between 0 and 1.",
                (0.0, 20.0, 25.0, 40.0),
            ),
            Misconception(
                "the others are thought to stay as they were before the softmax",
                "The softmax divides by the sum of what is there: with the first patch's 4 gone "
                "down to 1, the sum is 5, and patch 2 has 2/5.",
                (0.0, 0.2, 0.25, 0.25),
            ),
            Misconception(
                "the sum before the softmax is thought to stay 8",
                "Before the softmax, the denominator changes, too: the first logit is 0 now, so it "
                "is 1 + 2 + 1 + 1.",
                (0.0, 0.125, 0.25, 0.25),
            ),
            Misconception(
                "logits are divided, not their exponentials",
                "A share is the exponential of the logit over the sum of the exponentials. The "
                "logits are logarithms: e to the power of ln 4 is 4.",
                (0.0, 0.0, 1 / 3, 1.0),
            ),
        ),
        run=value,
        tolerance=2e-3,
    ),
    Exercise(
        name="why_after_softmax",
        title="Why must the gate come after the softmax?",
        difficulty=2,
        importance=3,
        minutes=10,
        points=3,
        reference=TRUE,
        idea="Test each statement on the numbers of the exercise before.",
        misconceptions=(
            chooses(
                "B",
                TRUE,
                "rows are thought to sum to 1 after the gate",
                "After the softmax the gate only takes away, and nobody renormalises: a row sums "
                "to the share that passes. In the exercise before, that was 1/2.",
            ),
            chooses(
                "D",
                TRUE,
                "the gate is thought to get no gradient before the softmax",
                "The logits depend on the gate, so it has a gradient there as well. But it gets "
                "none for a patch whose logit is 0, and one of the wrong sign for a negative one.",
            ),
            chooses(
                "E",
                TRUE,
                "the others are thought to inherit the share",
                "That is what a softmax does, so it happens with the gate *before* it. After the "
                "softmax, the shares of the other patches stay as they are.",
            ),
            chooses(
                "F",
                TRUE,
                "the gate before the softmax is thought not to fuse",
                "It fuses as well: a factor on the logits of a key is a factor on the key. What "
                "speaks against it is what it does to rejected patches, not its cost.",
            ),
            leaves_out(
                "A",
                TRUE,
                "what a closed gate leaves is overlooked",
                "Before the softmax a gate of 0 makes the logit 0, and e⁰ = 1: the rejected patch "
                "keeps a share, and what it says still reaches the classifier.",
            ),
            leaves_out(
                "C",
                TRUE,
                "negative logits are overlooked",
                "A negative logit times 0 is 0, which is *more*: closing the gate before the "
                "softmax raises the share of such a patch.",
            ),
        ),
        run=letters,
    ),
    Exercise(
        name="fused_sqa",
        title="Fuse SQA into scaled_dot_product_attention",
        difficulty=2,
        importance=3,
        minutes=10,
        points=3,
        reference=_fused_sqa,
        idea="(A diag(M)) V = A (diag(M) V): what scales the columns of A scales the rows of V.",
        misconceptions=(
            Misconception(
                "the matrix is written down",
                "The output is right, but a T × T matrix is kept for the backward pass, which is "
                "what the fused kernel saves. Put the gate where scaled_dot_product_attention "
                "takes it without ever seeing the matrix: A diag(M) V has two ways to bracket.",
                _compact_sqa,
                lambda trials: all(
                    same(trial.given[OUTPUT], trial.expected[OUTPUT], 1e-5) and trial.given[MATRIX]
                    for trial in trials
                ),
            ),
            Misconception(
                "the gate is on the keys",
                "A factor on the keys is a factor on the logits: that is the gate *before* the "
                "softmax. A closed patch would keep the share of a logit of 0.",
                _gated_keys,
                _gives(_gated_keys),
            ),
            Misconception(
                "the gate is on the queries",
                "A factor on the queries makes rows of attention sharper or flatter. The gate "
                "belongs to the token that answers, and comes after the softmax.",
                _gated_queries,
                _gives(_gated_queries),
            ),
            Misconception(
                "the gate is on the output",
                "The output has a row for each token that *asks*. The gate dims what a token "
                "*answers*: the columns of the attention, hence the rows of the values.",
                _gated_output,
                _gives(_gated_output),
            ),
            Misconception(
                "the rows are renormalised",
                "The rows sum to 1 again (a mask of logarithms does that, and so does dividing by "
                "what passes). SQA does not renormalise.",
                _masked_by_log,
                _gives(_masked_by_log),
            ),
            Misconception(
                "the gate is added to the logits",
                "`attn_mask` is added before the softmax. The gate multiplies, after the softmax.",
                _masked_by_gate,
                _gives(_masked_by_gate),
            ),
            Misconception(
                "the gate is left out",
                "This is ordinary attention: the output does not depend on the gate, so the class "
                "could not teach the map.",
                _ungated,
                _gives(_ungated),
            ),
            Misconception(
                "the gate is made a mask of yes and no",
                "A boolean mask leaves tokens out or lets them pass whole, and the softmax shares "
                "out anew. The gate has values between 0 and 1: each answer is dimmed by its own.",
                _masked_at(0.5),
                _masks,
            ),
            Misconception(
                "the gate works twice",
                "Only who answers is gated, not who asks as well: one factor, on one side.",
                _gated_twice,
                _gives(_gated_twice),
            ),
            Misconception(
                "the axes of the gate do not fit those of the values",
                "gate is [B, T] and v is [B, H, T, d]: give the gate the two missing axes, so that "
                "its T stands where v's T stands.",
                _MISFITS[0],
                also=_MISFITS[1:],
            ),
        ),
        cases=_attention_inputs,
        run=_forward_and_kept,
    ),
)
