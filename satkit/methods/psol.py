"""PSOL: boxes from a regressor that learns pseudo boxes, names from a separate classifier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, mse_loss

from satkit import backbones
from satkit.boxes import component_boxes
from satkit.methods.cam import OnClassifier, check_labels
from satkit.model import Localization

HIDDEN = 512  # width of the regressor's hidden layer, as in the authors' code


class PSOL(OnClassifier):
    """Pseudo Supervised Object Localization (Zhang, Cao, Wu: CVPR 2020; Table 16).

    Before training, deep descriptor transform (DDT) finds for each class the direction in which
    the classifier's patch features differ most. A training image's pseudo box is that of the
    largest region whose features lie on the object's side. A class-agnostic regressor, on a
    backbone of its own, learns these boxes; the classifier stays as it is and gives the logits.

    Args:
        backbone: Plain ViT of the regressor.
        num_classes: C.
        classifier: Trained :class:`satkit.methods.cam.CAM`; frozen from now on.
        box_weight: Weight of the squared error of the box.

    Raises:
        ValueError: The weight is not positive.
    """

    mean: Tensor
    direction: Tensor

    def __init__(
        self,
        backbone: VisionTransformer,
        num_classes: int,
        *,
        classifier: nn.Module,
        box_weight: float = 50.0,
    ) -> None:
        super().__init__(classifier)
        if box_weight <= 0:
            raise ValueError(f"box_weight is {box_weight}; expected a number > 0")
        width = backbone.embed_dim
        self.backbone, self.num_classes, self.box_weight = backbone, num_classes, box_weight
        self.regressor = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 4), nn.Sigmoid()
        )
        self.register_buffer("mean", torch.zeros(num_classes, width))  # DDT, one row a class
        self.register_buffer("direction", torch.zeros(num_classes, width))

    @torch.no_grad()
    def fit(self, batches: Iterable[dict[str, Any]]) -> None:
        """Find mean and first principal component of each class's patch features (DDT).

        The sign of a principal component means nothing. It is chosen so that the projection is
        lower along the images' borders, which show background more often than objects.

        Args:
            batches: Dicts with ``image`` [B, 3, S, S] and ``label`` int [B].
        """
        count, width = self.num_classes, self.mean.shape[1]
        total, patches = torch.zeros_like(self.mean), self.mean.new_zeros(count)
        square = self.mean.new_zeros(count, width, width)
        grid = torch.ones(backbones.grid_size(self.backbone), dtype=torch.bool)
        grid[1:-1, 1:-1] = False
        border = grid.flatten().to(self.mean.device)  # [hw]
        outer = torch.zeros_like(self.mean)  # sum over images of the border's mean
        for batch in batches:
            features = self._describe(batch["image"].to(self.mean.device))  # [B, hw, D]
            for label, x in zip(batch["label"].tolist(), features, strict=True):
                total[label] += x.sum(dim=0)
                patches[label] += len(x)
                square[label] += x.T @ x
                outer[label] += x[border].mean(dim=0) * len(x)
        for label in patches.nonzero().flatten().tolist():
            mean = total[label] / patches[label]
            covariance = square[label] / patches[label] - torch.outer(mean, mean)
            direction = torch.linalg.eigh(covariance).eigenvectors[:, -1]  # of the largest
            along = (mean - outer[label] / patches[label]) @ direction
            self.mean[label], self.direction[label] = (
                mean,
                direction * torch.where(along < 0, -1, 1),
            )

    def pseudo_boxes(self, images: Tensor, labels: Tensor) -> Tensor:
        """Boxes of the largest region on the object's side of DDT.

        Args:
            images: [B, 3, S, S].
            labels: int [B].

        Returns:
            [B, 4]: corner x, y, width and height as shares of S; the whole image where nothing
            lies on the object's side.
        """
        with torch.no_grad():
            features = self._describe(images)  # [B, hw, D]
        centred = features - self.mean[labels][:, None]
        projection = torch.einsum("bnd,bd->bn", centred, self.direction[labels])
        grid = projection.unflatten(1, backbones.grid_size(self.backbone))  # [B, h, w]
        size = images.shape[-1]
        fine = interpolate(grid[:, None].float(), size=(size, size), mode="bilinear")[:, 0]
        above = (fine > 0).float().cpu().numpy()  # [B, S, S]
        largest = np.asarray(component_boxes(above, [0.5]))[:, 0]  # xyxy [B, 4]
        boxes = torch.from_numpy(largest).float()
        corners = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)
        return corners.to(images.device) / size

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify with the classifier, localize with the regressor.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: int [B]; needed in training for the pseudo boxes.

        Returns:
            Logits [B, C] and maps [B, S, S] that are 1 inside the box and 0 outside. In training
            also the losses ``box`` and, without gradient, ``cls``.

        Raises:
            ValueError: Images or labels that do not fit the model; training without labels.
        """
        backbones.check_images(self.backbone, images)
        check_labels(labels, len(images), self.num_classes)
        with torch.no_grad():
            logits = self.classifier(images).logits
        tokens = backbones.feature_map(self.backbone, images)  # [B, D, h, w]
        found = self.regressor(tokens.mean(dim=(2, 3)))  # [B, 4]
        maps = box_maps(found.detach(), images.shape[-1])
        if not self.training:
            return Localization(logits, maps)
        if labels is None:
            raise ValueError("labels is None; PSOL's pseudo boxes need the labels in training")
        box = self.box_weight * mse_loss(found, self.pseudo_boxes(images, labels))
        return Localization(logits, maps, losses={"cls": cross_entropy(logits, labels), "box": box})

    def _describe(self, images: Tensor) -> Tensor:
        """The classifier's patch features [B, hw, D]."""
        features = backbones.feature_map(self.classifier.backbone, images)  # [B, D, h, w]
        return features.flatten(2).transpose(1, 2)


def box_maps(boxes: Tensor, size: int) -> Tensor:
    """Draw boxes as maps, so that they are scored like all other methods.

    Args:
        boxes: [B, 4] corner x, y, width and height as shares of the image's side, 0–1.
        size: S, side of the image in pixels.

    Returns:
        [B, S, S], 1 for the pixels inside (at least one), else 0.
    """
    low = (boxes[:, :2] * size).round().clamp(0, size - 1)
    high = ((boxes[:, :2] + boxes[:, 2:]) * size).round().clamp(max=size)
    high = torch.maximum(high, low + 1)  # half-open, never empty
    at = torch.arange(size, device=boxes.device)
    inside = (at >= low[..., None]) & (at < high[..., None])  # [B, 2, S]: columns, rows
    return (inside[:, 1, :, None] & inside[:, 0, None, :]).float()
