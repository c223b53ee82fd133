"""SPOL: a class-agnostic segmentation that learns pseudo masks, and a separate classifier."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from satkit import backbones
from satkit.methods.cam import OnClassifier, check_labels
from satkit.methods.regularizers import normalize
from satkit.model import Localization


class SPOL(OnClassifier):
    """Shallow feature-aware Pseudo Supervised Object Localization (CVPR 2021; Table 16).

    The class map of a trained classifier gives a pseudo mask: foreground where the map, or a
    Gaussian fitted to it, is high; background where the map is next to nothing; the rest is left
    out. A class-agnostic segmentation on a backbone of its own learns the mask.

    Args:
        backbone: Plain ViT of the segmentation.
        num_classes: C.
        classifier: Trained localizer with class maps, frozen from now on: TS-CAM, since the class
            map of a ViT alone lies beside its object as much as on it.
        foreground_above: Share of the map's maximum (and of the Gaussian's) above which a patch is
            foreground, 0–1.
        background_below: Share of the map's maximum below which a patch is background, 0–1.

    Raises:
        ValueError: Not 0 <= background_below <= foreground_above <= 1.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        num_classes: int,
        *,
        classifier: nn.Module,
        foreground_above: float = 0.25,
        background_below: float = 0.01,
    ) -> None:
        super().__init__(classifier)
        if not 0 <= background_below <= foreground_above <= 1:
            raise ValueError(
                f"background_below is {background_below} and foreground_above {foreground_above}; "
                "expected 0 <= background_below <= foreground_above <= 1"
            )
        self.backbone, self.num_classes = backbone, num_classes
        self.foreground_above, self.background_below = foreground_above, background_below
        self.segment = nn.Conv2d(backbone.embed_dim, 1, kernel_size=3, padding=1)

    def pseudo_masks(self, class_maps: Tensor) -> tuple[Tensor, Tensor]:
        """Turn class maps into what the segmentation learns.

        Args:
            class_maps: [B, h, w] of any sign, of the true classes.

        Returns:
            Foreground 0 or 1, float [B, h, w], and which patches count, bool [B, h, w].
        """
        share = normalize(class_maps)  # 0–1
        salient = share > self.foreground_above
        high = salient | (fitted_gaussian(share * salient) > self.foreground_above)
        low = (share < self.background_below) & ~high
        return high.float(), high | low

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify with the classifier, localize with the segmentation.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: int [B]; needed in training for the pseudo masks.

        Returns:
            Logits [B, C] and foreground probabilities [B, h, w]. In training also the losses
            ``mask`` and, without gradient, ``cls``.

        Raises:
            ValueError: Images or labels that do not fit the model; training without labels.
        """
        backbones.check_images(self.backbone, images)
        check_labels(labels, len(images), self.num_classes)
        with torch.no_grad():
            known = self.classifier(images, labels)
        scores = self.segment(backbones.feature_map(self.backbone, images))[:, 0]  # [B, h, w]
        if not self.training:
            return Localization(known.logits, scores.sigmoid())
        if labels is None:
            raise ValueError("labels is None; SPOL's pseudo masks need the labels in training")
        target, counts = self.pseudo_masks(known.maps)
        mask = binary_cross_entropy_with_logits(scores, target, weight=counts.float())
        terms = {"cls": cross_entropy(known.logits, labels), "mask": mask}
        return Localization(known.logits, scores.sigmoid(), losses=terms)


def fitted_gaussian(weights: Tensor) -> Tensor:
    """Gaussian with the mean and covariance of a map's mass, 1 at its peak.

    Args:
        weights: [B, h, w], >= 0.

    Returns:
        [B, h, w], 0–1; a map without mass gives 0 everywhere.
    """
    height, width = weights.shape[1:]
    rows, columns = torch.meshgrid(
        torch.arange(height), torch.arange(width), indexing="ij"
    )  # each [h, w]
    at = torch.stack([rows, columns], dim=-1).flatten(0, 1).to(weights)  # [hw, 2]
    mass = weights.flatten(1)  # [B, hw]
    total = mass.sum(dim=1)  # [B]
    share = mass / total.clamp(min=1e-8)[:, None]
    off = at - (share @ at)[:, None]  # [B, hw, 2], from the centre of mass
    covariance = torch.einsum("bn,bni,bnj->bij", share, off, off)
    covariance = covariance + 1e-2 * torch.eye(2).to(weights)  # one patch alone has none
    distance = torch.einsum("bni,bij,bnj->bn", off, covariance.inverse(), off)
    return ((-distance / 2).exp() * (total > 0)[:, None]).unflatten(1, (height, width))
