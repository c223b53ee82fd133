"""CAM: the class activation map of a ViT's patch tokens, where the course starts."""

from __future__ import annotations

from torch import Tensor, nn

from satkit import backbones
from satkit.model import Localization


class CAM(nn.Module):
    """Class activation maps of a plain ViT or Conformer with a convolutional head.

    Args:
        backbone: Plain ViT or Conformer.
        num_classes: C.
    """

    def __init__(self, backbone: backbones.Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone, self.num_classes = backbone, num_classes
        self.head = class_map_head(backbone, num_classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify and localize.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: int [B], the classes whose maps are wanted; the predicted ones where None.

        Returns:
            Logits [B, C] and class maps [B, h, w] (of any sign).

        Raises:
            ValueError: Images or labels that do not fit the model.
        """
        backbones.check_images(self.backbone, images)
        check_labels(labels, len(images), self.num_classes)
        x = backbones.walk(self.backbone, images).tokens  # [B, P + hw, D]
        class_maps = self.head(backbones.features(self.backbone, x))  # [B, C, h, w]
        logits = class_maps.mean(dim=(2, 3))  # GAP: [B, C]
        return Localization(logits, select_class_maps(class_maps, logits, labels))


def class_map_head(backbone: backbones.Backbone, num_classes: int) -> nn.Conv2d:
    """TS-CAM's head, which SAT shares: a 3x3 convolution from patch tokens to class maps."""
    return nn.Conv2d(backbone.embed_dim, num_classes, kernel_size=3, padding=1)


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
