"""Spatial-Aware Token (SAT): the paper's model, to be read from top to bottom.

A *spatial token* joins the class token and the patch tokens. In the last blocks it queries all
tokens (spatial-query attention, SQA): the sigmoid of its similarities is the localization map of
the block, and the map gates the block's attention. Only image labels supervise it.

Where the paper and the authors' code differ, the code is the default here and the other reading is
an option; ``docs/discrepancies.md`` lists them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from timm.layers import Attention
from torch import Tensor, nn

from satkit import backbones
from satkit.choices import check_choice
from satkit.heads import pooled_logits

Gate = Literal["after_softmax", "before_softmax"]
TokenInit = Literal["random", "class_token", "shared"]
Similarity = Literal["official", "paper", "mean_of_sigmoids"]


class Localization(NamedTuple):
    """What every localizer returns.

    Attributes:
        logits: Class scores before softmax, float [B, C].
        maps: Localization maps, float [B, h, w]; SAT's lie in 0–1, others may not.
        layer_maps: The maps of the single blocks, [B, L, h, w], where a method has them.
        losses: Scalars by name, with their weights, that a method adds in training; ``cls`` among
            them stands in for the cross-entropy of the logits.
    """

    logits: Tensor
    maps: Tensor
    layer_maps: Tensor | None = None
    losses: dict[str, Tensor] | None = None


class SpatialQueryAttention(backbones.Projections):
    """Self-attention gated by the map that one query token draws (SQA, Sec. 3.2, Eq. 3–6).

    Takes over the projections of an ordinary attention, so its parameters keep their names.

    Args:
        attention: timm ``Attention`` whose projections are used from now on.
        query: Index of the spatial token in the sequence (-1: the last one).
        gate: ``after_softmax`` (Table 10, the paper's choice): softmax(QKᵀ/√d) * M, without
            renormalising. ``before_softmax``: softmax(QKᵀ/√d * M).
        similarity: How q·k of the spatial token becomes a logit. ``official``: scaled by 1/√d in
            each head, then the mean over heads. ``paper`` (Eq. 4 as printed): over the full width,
            scaled by 1/√D. ``mean_of_sigmoids``: sigmoid in each head first.
        fused: Put the gate onto the values (or keys), which gives the same result and leaves the
            attention matrix to the fused kernel; False computes it as the formula is written.

    Raises:
        ValueError: Unknown ``gate`` or ``similarity``.
    """

    def __init__(
        self,
        attention: Attention,
        query: int = -1,
        gate: Gate = "after_softmax",
        similarity: Similarity = "official",
        fused: bool = True,
    ) -> None:
        super().__init__(attention)
        check_choice("gate", gate, get_args(Gate))
        check_choice("similarity", similarity, get_args(Similarity))
        self.query, self.gate, self.similarity, self.fused = query, gate, similarity, fused

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend, gated by the spatial token's map.

        Args:
            x: Tokens [B, T, D].

        Returns:
            Tokens [B, T, D], and the gate M [B, T] in 0–1: one value a token (key), prefix tokens
            and the spatial token itself included.
        """
        q, k, v = self.project(x)  # each [B, heads, T, d]
        gate = self._gate(q[:, :, self.query], k)  # [B, T]
        attend = self._fused_attention if self.fused else self._plain_attention
        return self.merge(attend(q, k, v, gate[:, None, :, None])), gate

    def _gate(self, query: Tensor, k: Tensor) -> Tensor:
        if self.similarity == "mean_of_sigmoids":
            similarity = torch.einsum("bhd,bhtd->bht", query, k) * self.scale
            return similarity.sigmoid().mean(dim=1)
        keys = k.transpose(1, 2).flatten(2)  # [B, T, D], a view
        total = (keys @ query.flatten(1)[:, :, None])[..., 0]  # sum of q·k over heads: [B, T]
        if self.similarity == "paper":  # q·k / √D, with D = heads d
            return (total * self.scale * self.num_heads**-0.5).sigmoid()
        return (total * self.scale / self.num_heads).sigmoid()

    def _fused_attention(self, q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        if self.gate == "after_softmax":
            v = v * gate  # (softmax(QKᵀ) diag(M)) V = softmax(QKᵀ) (diag(M) V)
        else:
            k = k * gate  # (QKᵀ) diag(M) = Q (diag(M) K)ᵀ
        return self.attend(q, k, v)

    def _plain_attention(self, q: Tensor, k: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        keys = gate.transpose(-2, -1)  # [B, 1, 1, T]
        logits = q @ k.transpose(-2, -1) * self.scale  # [B, heads, T, T]
        if self.gate == "after_softmax":
            attention = logits.softmax(dim=-1) * keys
        else:
            attention = (logits * keys).softmax(dim=-1)
        return self.attn_drop(attention) @ v


class SAT(nn.Module):
    """Spatial-Aware Token for weakly supervised object localization (Fig. 2).

    Args:
        backbone: Plain ViT or Conformer; changed in place (its last blocks get SQA).
        num_classes: C.
        spatial_blocks: N, how many blocks are spatial-aware (Table 9): 1 is block 10 and 2 are
            blocks 10–11 of 12 (the third and second last), else the last N.
        token_init: ``random``; ``class_token``: start from the class token's weights (Table 11b);
            ``shared``: no token of its own, the class token draws the maps (Table 11a).
        gate: See :class:`SpatialQueryAttention` (Table 10).
        similarity: See :class:`SpatialQueryAttention`.
        fused: See :class:`SpatialQueryAttention`.

    Raises:
        ValueError: An option outside its values, or a backbone too shallow or without class token.
    """

    def __init__(
        self,
        backbone: backbones.Backbone,
        num_classes: int,
        *,
        spatial_blocks: int = 3,
        token_init: TokenInit = "random",
        gate: Gate = "after_softmax",
        similarity: Similarity = "official",
        fused: bool = True,
    ) -> None:
        super().__init__()
        check_choice("token_init", token_init, get_args(TokenInit))
        self.backbone, self.num_classes = backbone, num_classes
        self.spatial = spatial_block_indices(len(backbone.blocks), spatial_blocks)
        shared = token_init == "shared"
        for index in self.spatial:
            block = backbone.blocks[index]
            block.attn = SpatialQueryAttention(
                block.attn, 0 if shared else -1, gate, similarity, fused
            )
        self._create_token(token_init)
        self.head = nn.Conv2d(backbone.embed_dim, num_classes, kernel_size=3, padding=1)
        self.conv_head = backbones.conv_head(backbone, num_classes)  # of Conformer only

    def _create_token(self, token_init: str) -> None:
        class_token = self.backbone.cls_token
        if token_init != "random" and class_token is None:
            raise ValueError(f"token_init={token_init!r} needs a backbone with a class token")
        self.loc_token: nn.Parameter | None = None
        self.loc_embed: nn.Parameter | None = None
        if token_init == "shared":
            return
        token, position = torch.empty(2, 1, 1, self.backbone.embed_dim).unbind()
        nn.init.trunc_normal_(token, std=0.02)
        nn.init.trunc_normal_(position, std=0.02)
        self.loc_token = nn.Parameter(class_token.clone() if token_init == "class_token" else token)
        self.loc_embed = nn.Parameter(position)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify and localize.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: Not used: SAT's maps are class-agnostic.

        Returns:
            Logits [B, C], fused maps [B, h, w] and the spatial blocks' maps [B, N, h, w] in 0–1.

        Raises:
            ValueError: Images of another size or type than the backbone's.
        """
        backbones.check_images(self.backbone, images)
        walk = backbones.walk(self.backbone, images, self._spatial_token())
        layer_maps = backbones.extra_maps(self.backbone, walk)  # [B, N, h, w]
        features = backbones.features(self.backbone, walk.tokens)  # [B, D, h, w]
        logits = pooled_logits(self.head, features)  # GAP(head(features)): [B, C]
        if self.conv_head is not None:
            logits = logits + self.conv_head(walk.conv)
        return Localization(logits, layer_maps.mean(dim=1), layer_maps)

    def _spatial_token(self) -> Tensor | None:
        """The token with its position [1, 1, D]; None where the class token takes its part."""
        if self.loc_token is None or self.loc_embed is None:
            return None
        return self.loc_token + self.loc_embed


def spatial_block_indices(depth: int, count: int) -> tuple[int, ...]:
    """Indices (from 0) of the spatial-aware blocks (Table 9).

    Args:
        depth: Blocks of the backbone.
        count: N; 1 and 2 take the third last and the following block, as in Table 9.

    Returns:
        ``count`` indices in rising order.

    Raises:
        ValueError: ``count`` is not in 1–``depth``, or the depth is below 3.
    """
    if depth < 3 or not 1 <= count <= depth:
        raise ValueError(
            f"spatial_blocks is {count} on a backbone of {depth} blocks; expected 1–{depth}, "
            "and at least 3 blocks"
        )
    start = depth - max(count, 3)
    return tuple(range(start, start + count))


def freeze(model: SAT, scheme: str) -> int:
    """Freeze a part of SAT as in Tables 8 and 14.

    Args:
        model: SAT.
        scheme: ``a``: nothing. ``b``: attention (qkv and projection) of the blocks before the
            spatial-aware ones. ``c``: their MLPs. ``d``: those blocks whole. ``e``: all that, the
            position and patch embedding, and in the spatial-aware blocks the MLP and the attention
            projection, which reproduces the frozen rates of the tables. ``e_literal``: as the
            caption of Table 14 reads, without that attention projection. ``all_but_token``: all
            but the spatial token and its position (second stage of Table 13).

    Returns:
        Number of frozen parameters.

    Raises:
        ValueError: Unknown scheme.
    """
    check_choice("freeze", scheme, ("a", "b", "c", "d", "e", "e_literal", "all_but_token"))
    if scheme == "all_but_token":
        if model.loc_token is None:
            raise ValueError("freeze='all_but_token' needs a spatial token: token_init is 'shared'")
        return _freeze([p for n, p in model.named_parameters() if not n.startswith("loc_")])
    early = tuple(f"backbone.blocks.{i}." for i in range(min(model.spatial)))
    late = tuple(f"backbone.blocks.{i}." for i in model.spatial)
    prefixes: tuple[str, ...] = {
        "a": (),
        "b": tuple(p + "attn." for p in early),
        "c": tuple(p + "mlp." for p in early),
    }.get(scheme, early)
    if scheme.startswith("e"):
        prefixes += ("backbone.pos_embed", "backbone.patch_embed.", *(p + "mlp." for p in late))
    if scheme == "e":
        prefixes += tuple(p + "attn.proj." for p in late)
    return _freeze([p for name, p in model.named_parameters() if name.startswith(prefixes)])


def _freeze(frozen: list[nn.Parameter]) -> int:
    for parameter in frozen:
        parameter.requires_grad_(False)
    return sum(parameter.numel() for parameter in frozen)
