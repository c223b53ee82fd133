"""CAM: the class activation map of a CNN or of a ViT's patch tokens, where the course starts."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from satkit import backbones
from satkit.choices import check_choice
from satkit.heads import class_map, pooled_logits
from satkit.methods import regularizers
from satkit.model import Localization

Regularizer = Literal["none", "hide_and_seek", "cutmix", "adl", "acol"]


class CAM(nn.Module):
    """Class activation maps (Zhou et al., CVPR 2016).

    On a CNN the head is the classic linear layer, which commutes with the average over places; on
    a transformer it is TS-CAM's convolution.

    Args:
        backbone: Plain ViT, Conformer or CNN.
        num_classes: C.
        regularizer: What widens the maps in training, see :mod:`satkit.methods.regularizers`.
            ``acol`` adds a second head, whose map counts at inference too.

    Raises:
        ValueError: Unknown regularizer.
    """

    def __init__(
        self,
        backbone: backbones.Backbone | backbones.CNN,
        num_classes: int,
        *,
        regularizer: Regularizer = "none",
    ) -> None:
        super().__init__()
        check_choice("regularizer", regularizer, get_args(Regularizer))
        self.backbone, self.num_classes, self.regularizer = backbone, num_classes, regularizer
        self.head = class_map_head(backbone, num_classes)
        self.second_head = class_map_head(backbone, num_classes) if regularizer == "acol" else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify and localize.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: int [B], the classes whose maps are wanted; the predicted ones where None.

        Returns:
            Logits [B, C] and class maps [B, h, w] (of any sign; 0–1 with ``acol``). In training,
            ``cutmix`` brings its own ``cls`` and ``acol`` the second head's loss ``erased``.

        Raises:
            ValueError: Images or labels that do not fit the model; no labels in training with a
                regularizer that needs them.
        """
        check_labels(labels, len(images), self.num_classes)
        active = self.regularizer if self.training else "none"
        if active in ("cutmix", "acol") and labels is None:
            raise ValueError(f"regularizer {active!r} needs labels in training")
        if active == "hide_and_seek":
            images = regularizers.hide_patches(images)
        if active == "cutmix" and labels is not None:
            images, partner, share = regularizers.cut_mix(images)
            output = self._localize(images, labels)
            loss = regularizers.mixed_loss(output.logits, labels, partner, share)
            return output._replace(losses={"cls": loss})
        return self._localize(images, labels)

    def _localize(self, images: Tensor, labels: Tensor | None) -> Localization:
        features = backbones.feature_map(self.backbone, images)  # [B, D, h, w]
        if self.training and self.regularizer == "adl":
            features = regularizers.drop_attention(features)
        logits = pooled_logits(self.head, features)  # GAP(head(features)): [B, C]
        maps = class_map(self.head, features, logits, labels)  # [B, h, w]
        if self.second_head is None:
            return Localization(logits, maps)
        chosen = logits.argmax(dim=1) if labels is None else labels  # [B]
        erased = regularizers.erase_salient(features, maps)  # [B, D, h, w]
        second_logits = pooled_logits(self.second_head, erased)  # [B, C]
        pair = (maps, class_map(self.second_head, erased, second_logits, chosen))
        joint = torch.maximum(*map(regularizers.normalize, pair))
        losses = {"erased": cross_entropy(second_logits, chosen)} if self.training else None
        return Localization(logits, joint, losses=losses)


class OnClassifier(nn.Module):
    """What PSOL, SPOL and ORNet share: they learn from a classifier that stays as it is.

    Args:
        classifier: Trained localizer; frozen from now on, also while the rest is trained.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier: Any = classifier.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Switch to training; the classifier stays in evaluation mode."""
        super().train(mode)
        self.classifier.eval()
        return self


def class_map_head(backbone: backbones.Backbone | backbones.CNN, num_classes: int) -> nn.Conv2d:
    """Head from features to class maps.

    Args:
        backbone: Plain ViT, Conformer or CNN.
        num_classes: C.

    Returns:
        On a transformer TS-CAM's head, which SAT shares, a 3x3 convolution; on a CNN the linear
        layer of CAM, as a 1x1 convolution.
    """
    linear = isinstance(backbone, backbones.CNN)
    kernel, padding = (1, 0) if linear else (3, 1)
    return nn.Conv2d(backbone.embed_dim, num_classes, kernel_size=kernel, padding=padding)


def select_class_maps(class_maps: Tensor, logits: Tensor, labels: Tensor | None) -> Tensor:
    """Pick one class map an image.

    Args:
        class_maps: [B, C, h, w].
        logits: [B, C].
        labels: int [B]; the argmax of ``logits`` where None.

    Returns:
        [B, h, w].
    """
    chosen = logits.argmax(dim=1) if labels is None else labels  # [B]
    return class_maps.gather(
        1, chosen[:, None, None, None].expand(-1, 1, *class_maps.shape[2:])
    ).squeeze(1)


def check_labels(labels: Tensor | None, batch: int, num_classes: int) -> None:
    """Refuse labels that do not belong to the images or to the model.

    Raises:
        ValueError: Another length than the batch, or a class outside 0 … C-1.
    """
    if labels is None:
        return
    if tuple(labels.shape) != (batch,):
        raise ValueError(f"labels have shape {tuple(labels.shape)}; expected [{batch}]")
    if batch and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(
            f"labels run from {int(labels.min())} to {int(labels.max())}; the model has "
            f"{num_classes} classes"
        )
