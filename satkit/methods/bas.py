"""BAS: background activation suppression (Wu et al., CVPR 2022), on a ResNet and on a ViT."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from satkit import backbones
from satkit.choices import check_choice
from satkit.methods.cam import check_labels, class_map_head, select_class_maps
from satkit.model import Localization, spatial_block_indices

Losses = Literal["bas", "guidance"]


class BAS(nn.Module):
    """A generator draws a foreground map; without it, the class must lose its activation.

    The generator reads the features halfway: of a ResNet what enters its last stage, of a ViT what
    enters the attention of the third last block (block 10 of 12, Table 7 of the SAT paper).

    Args:
        backbone: ResNet or plain ViT.
        num_classes: C.
        losses: ``bas``: all three of BAS. ``guidance``: only the cross-entropy of the foreground,
            the form to put SAT's area and pixel terms on (BAS* of Table 7).
        area_weight: Of the map's mean area.
        guidance_weight: Of the foreground's cross-entropy.
        top_k: At inference the map is the mean over so many of the most likely classes.

    Raises:
        ValueError: An option outside its values, or a backbone that cannot be split.
    """

    def __init__(
        self,
        backbone: VisionTransformer | backbones.CNN,
        num_classes: int,
        *,
        losses: Losses = "bas",
        area_weight: float = 1.2,
        guidance_weight: float = 0.5,
        top_k: int = 200,
    ) -> None:
        super().__init__()
        check_choice("losses", losses, get_args(Losses))
        if area_weight < 0 or guidance_weight < 0 or top_k < 1:
            raise ValueError(
                f"area_weight is {area_weight}, guidance_weight {guidance_weight} and top_k "
                f"{top_k}; expected weights of at least 0, and 1 class or more"
            )
        self.backbone, self.num_classes, self.losses = backbone, num_classes, losses
        self.area_weight, self.guidance_weight, self.top_k = area_weight, guidance_weight, top_k
        self.head = class_map_head(backbone, num_classes)
        channels = _late_layers(backbone, self.head).channels
        self.generator = nn.Conv2d(channels, num_classes, kernel_size=3, padding=1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Localization:
        """Classify and localize.

        Args:
            images: Normalised float [B, 3, S, S] of the backbone's size.
            labels: int [B]. In training the map is that of these classes; at inference it is
                class-agnostic.

        Returns:
            Logits [B, C] (at least 0) and maps [B, h, w] in 0–1; in training BAS's losses.

        Raises:
            ValueError: Images or labels that do not fit the model, or no labels in training.
        """
        check_labels(labels, len(images), self.num_classes)
        late = _late_layers(self.backbone, self.head)
        x = late.early(images)  # tokens [B, T, D] or features [B, D, h, w]
        class_fpms = self.generator(late.visible(x)).sigmoid()  # [B, C, h, w]
        class_maps = late(x)  # [B, C, h', w']
        logits = class_maps.mean(dim=(2, 3))  # GAP: [B, C]
        if not self.training:
            best = logits.topk(min(self.top_k, self.num_classes), dim=1).indices  # [B, k]
            index = best[:, :, None, None].expand(-1, -1, *class_fpms.shape[2:])
            return Localization(logits, class_fpms.gather(1, index).mean(dim=1))
        if labels is None:
            raise ValueError("BAS needs labels in training: the map is that of the true class")
        maps = select_class_maps(class_fpms, logits, labels)  # [B, h, w]
        share = adaptive_avg_pool2d(maps[:, None], class_maps.shape[2:])  # [B, 1, h', w']
        foreground = (class_maps * share).mean(dim=(2, 3))  # [B, C]
        losses = {"guidance": self.guidance_weight * cross_entropy(foreground, labels)}
        if self.losses == "bas":
            background = as_constant(late, x.detach(), 1 - maps).mean(dim=(2, 3))  # [B, C]
            losses["suppression"] = suppression_loss(logits, background, labels)
            losses["fpm_area"] = self.area_weight * maps.mean()
        return Localization(logits, maps, losses=losses)


def suppression_loss(logits: Tensor, background: Tensor, labels: Tensor) -> Tensor:
    """What the true class keeps of its activation where the foreground is masked.

    Args:
        logits: S of the whole image [B, C], at least 0; no gradient goes into them.
        background: S_b of the background alone [B, C].
        labels: int [B].

    Returns:
        Mean of S_b / (S + 1e-8), counted as 0 where S_b reaches S: scalar, 0–1.
    """
    whole = logits.detach().gather(1, labels[:, None])  # [B, 1]
    rest = background.gather(1, labels[:, None])  # [B, 1]
    return torch.where(rest >= whole, torch.zeros_like(rest), rest / (whole + 1e-8)).mean()


def as_constant(module: nn.Module, *inputs: Tensor) -> Tensor:
    """Run a module as a frozen copy of itself.

    Args:
        module: Its parameters get no gradient, its running statistics are not touched.
        *inputs: Get their gradient as ever.

    Returns:
        The module's output.
    """
    state = {name: p.detach() for name, p in module.named_parameters()}
    state |= {name: buffer.clone() for name, buffer in module.named_buffers()}
    output: Tensor = functional_call(module, state, inputs)
    return output


class _LateStage(nn.Module):
    """Last stage of a ResNet and the head; the early layers are kept out."""

    def __init__(self, backbone: backbones.CNN, head: nn.Conv2d) -> None:
        super().__init__()
        self.stage, self.channels = backbone.last_stage()
        self.early, self.head = backbone.early, head

    def visible(self, x: Tensor) -> Tensor:
        """What the generator reads: [B, E, h, w]."""
        return x

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Class maps [B, C, h', w'] of features [B, E, h, w] under a mask [B, h, w]."""
        x = x if mask is None else x * mask[:, None]
        maps: Tensor = self.head(self.stage(x)).relu()
        return maps


class _LateBlocks(nn.Module):
    """Blocks of a ViT from the third last on, and the head."""

    def __init__(self, backbone: VisionTransformer, head: nn.Conv2d) -> None:
        super().__init__()
        self.backbone, self.head, self.channels = backbone, head, int(backbone.embed_dim)
        self.index = spatial_block_indices(len(backbone.blocks), 1)[0]

    def early(self, images: Tensor) -> Tensor:
        """Tokens [B, T, D] that enter the third last block."""
        backbones.check_images(self.backbone, images)
        tokens: Tensor = backbones.embed(self.backbone, images)
        for block in self.backbone.blocks[: self.index]:
            tokens = block(tokens)
        return tokens

    def visible(self, x: Tensor) -> Tensor:
        """What the generator reads: the patch tokens that enter the attention, [B, D, h, w]."""
        block = self.backbone.blocks[self.index]
        return backbones.patch_grid(self.backbone, block.norm1(x))  # type: ignore[operator]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Class maps [B, C, h, w] of tokens [B, T, D]; the mask [B, h, w] is on the attention."""
        x = backbones.run_masked_block(self.backbone, self.index, x, mask)
        for block in self.backbone.blocks[self.index + 1 :]:
            x = block(x)
        maps: Tensor = self.head(backbones.features(self.backbone, x)).relu()
        return maps


def _late_layers(
    backbone: VisionTransformer | backbones.CNN, head: nn.Conv2d
) -> _LateStage | _LateBlocks:
    """The later layers; made for the moment, so that a parameter has one name in the model."""
    if isinstance(backbone, backbones.CNN):
        return _LateStage(backbone, head)
    return _LateBlocks(backbone, head)
