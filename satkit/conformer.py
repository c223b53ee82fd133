"""Conformer-S: a convolutional and a transformer branch that exchange features at every block.

After Peng et al., "Conformer: Local Features Coupling Global Representations for Visual
Recognition", ICCV 2021 (arXiv:2105.03889). The transformer branch is a plain ViT of 16-pixel
patches without position embedding: its patches learn where they are from the convolutions.
timm has no Conformer, so it is written here and registered with timm under its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, gelu, interpolate, relu

CONFORMER = "conformer_small_patch16"
PATCH = 16  # pixels
DEPTH = 12  # three stages of four blocks
STEM_CHANNELS = 64
RunBlock = Callable[[nn.Module, Tensor], Tensor]

default_cfgs = generate_default_cfgs(
    {
        CONFORMER: {
            "num_classes": 0,
            "input_size": (3, 224, 224),
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "license": "apache-2.0",
        }
    }
)


@register_model
def conformer_small_patch16(pretrained: bool = False, **kwargs: object) -> Conformer:
    """Build Conformer-S without its classifiers; a file of weights may have the authors' names."""
    model = build_model_with_cfg(
        Conformer,
        CONFORMER,
        pretrained,
        pretrained_filter_fn=lambda state, _: convert_conformer(state),
        kwargs_filter=("num_classes", "in_chans", "global_pool"),
        **kwargs,
    )
    return model


class Conformer(nn.Module):
    """Conformer without classifiers (Sec. 3 and Table 1 of its paper; Conformer-S by default).

    Args:
        img_size: Side of the square input in pixels, a multiple of 16.
        width: Channels of the first convolutional stage; each further stage has twice as many.
        embed_dim: D, width of the tokens.
        num_heads: Attention heads.
        drop_path_rate: Stochastic depth of the last transformer block, 0–1 (linear over blocks).

    Raises:
        ValueError: ``img_size`` is no multiple of 16.
    """

    def __init__(
        self,
        img_size: int = 224,
        width: int = 256,
        embed_dim: int = 384,
        num_heads: int = 6,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed_dim, self.conv_dim, self.num_prefix_tokens = embed_dim, 4 * width, 1
        self.stem = nn.Sequential(
            nn.Conv2d(3, STEM_CHANNELS, kernel_size=7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(STEM_CHANNELS),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        self.first = Bottleneck(STEM_CHANNELS, width, project=True)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.patch_embed = PatchEmbed(img_size, embed_dim)
        self.blocks = nn.ModuleList(
            Block(
                embed_dim,
                num_heads,
                qkv_bias=True,
                drop_path=drop_path_rate * index / (DEPTH - 1),
                norm_layer=partial(nn.LayerNorm, eps=1e-6),
            )
            for index in range(DEPTH)
        )
        self.couplings = nn.ModuleList(Coupling(i, width, embed_dim) for i in range(1, DEPTH))
        self.norm = nn.LayerNorm(embed_dim)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        self.apply(_init_weights)

    def forward(
        self, images: Tensor, extra_token: Tensor | None = None, run: RunBlock | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run both branches.

        Args:
            images: Normalised float [B, 3, S, S].
            extra_token: [1, 1, D], appended behind the patch tokens.
            run: ``run(block, x)`` runs a transformer block; the block itself where None.

        Returns:
            Tokens of the last block before the last LayerNorm [B, 1 + hw (+ 1), D], and features
            of the convolutional branch [B, 4 width, h/2, w/2].
        """
        run = run or (lambda block, x: block(x))
        conv = self.stem(images)  # [B, 64, S/4, S/4]
        x = self.patch_embed(conv)  # [B, hw, D]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)  # [B, 1 + hw, D]
        if extra_token is not None:
            x = torch.cat([x, extra_token.expand(len(x), -1, -1)], dim=1)  # [B, 1 + hw + 1, D]
        conv, _ = self.first(conv)  # [B, width, S/4, S/4]
        x = run(self.blocks[0], x)
        for block, coupling in zip(self.blocks[1:], self.couplings, strict=True):
            x, conv = coupling(x, conv, partial(run, block))
        return x, conv


class PatchEmbed(nn.Module):
    """Projection of the stem's features to patch tokens; names as in timm's.

    Args:
        img_size: Side of the images in pixels.
        embed_dim: D.
    """

    def __init__(self, img_size: int, embed_dim: int) -> None:
        super().__init__()
        if img_size < PATCH or img_size % PATCH:
            raise ValueError(
                f"image_size is {img_size}; {CONFORMER} needs a multiple of {PATCH} pixels"
            )
        self.img_size = (img_size, img_size)
        self.grid_size = (img_size // PATCH, img_size // PATCH)
        self.proj = nn.Conv2d(STEM_CHANNELS, embed_dim, kernel_size=PATCH // 4, stride=PATCH // 4)

    def forward(self, x: Tensor) -> Tensor:
        """Project [B, 64, S/4, S/4] to [B, hw, D]."""
        return self.proj(x).flatten(2).transpose(1, 2)


class Bottleneck(nn.Module):
    """ResNet's bottleneck: convolutions 1x1, 3x3 and 1x1 beside a shortcut.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output; a quarter of them in between.
        stride: Of the 3x3 convolution.
        project: The shortcut is a 1x1 convolution rather than the input itself.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1, project: bool = False
    ) -> None:
        super().__init__()
        inner, norm = channels_out // 4, partial(nn.BatchNorm2d, eps=1e-6)
        self.conv1, self.bn1 = nn.Conv2d(channels_in, inner, 1, bias=False), norm(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = norm(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, channels_out, 1, bias=False), norm(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if project:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False),
                norm(channels_out),
            )

    def forward(self, x: Tensor, added: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Convolve.

        Args:
            x: [B, channels_in, H, W].
            added: [B, inner, H, W], joins in front of the 3x3 convolution.

        Returns:
            [B, channels_out, H/stride, W/stride], and what the 3x3 convolution gave (inner
            channels).
        """
        inner = relu(self.bn1(self.conv1(x)))
        inner = relu(self.bn2(self.conv2(inner if added is None else inner + added)))
        return relu(self.bn3(self.conv3(inner)) + self.shortcut(x)), inner


class Coupling(nn.Module):
    """Convolutions beside one transformer block, and the feature coupling unit between the two.

    Args:
        index: Of the block, from 0; blocks 4 and 8 begin a stage with twice the channels on half
            the grid.
        width: Channels of the first stage.
        embed_dim: D.
    """

    def __init__(self, index: int, width: int, embed_dim: int) -> None:
        super().__init__()
        stage, place = divmod(index, 4)
        channels = width * 2**stage
        begins, last = place == 0, index == DEPTH - 1
        self.bottleneck = Bottleneck(
            channels // 2 if begins else channels, channels, 2 if begins else 1, project=begins
        )
        self.fusion = Bottleneck(channels, channels, 2 if last else 1, project=last)
        self.pool = PATCH // 4 // 2**stage  # pixels of this stage's grid in a patch: 4, 2, 1
        self.down = nn.Conv2d(channels // 4, embed_dim, 1)
        self.down_norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.up = nn.Conv2d(embed_dim, channels // 4, 1)
        self.up_norm = nn.BatchNorm2d(channels // 4, eps=1e-6)

    def forward(
        self, x: Tensor, conv: Tensor, block: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Run the transformer block and the convolutions beside it.

        Args:
            x: Tokens [B, 1 + hw (+ 1), D].
            conv: Convolutional features of the block before [B, C', H', W'].
            block: Maps tokens to tokens.

        Returns:
            Tokens, and convolutional features [B, C, H, W].
        """
        conv, detail = self.bottleneck(conv)  # [B, C, H, W], [B, C/4, H, W]
        x = block(self.to_tokens(detail, x))
        conv, _ = self.fusion(conv, self.to_map(x, (detail.shape[-2], detail.shape[-1])))
        return x, conv

    def to_tokens(self, detail: Tensor, x: Tensor) -> Tensor:
        """Add convolutional features to the patch tokens.

        Tokens without a place in the image (the class token, the spatial token) get themselves
        added, that is, they are doubled: so the authors' code treats the class token.

        Args:
            detail: [B, C/4, H, W].
            x: Tokens [B, 1 + hw (+ 1), D].

        Returns:
            [B, 1 + hw (+ 1), D].
        """
        patches = avg_pool2d(self.down(detail), self.pool).flatten(2).transpose(1, 2)
        patches = gelu(self.down_norm(patches))  # [B, hw, D]
        behind = 1 + patches.shape[1]
        return x + torch.cat([x[:, :1], patches, x[:, behind:]], dim=1)

    def to_map(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Lay the patch tokens, and only them, out on the convolutional grid.

        Args:
            x: Tokens [B, 1 + hw (+ 1), D].
            grid: (H, W).

        Returns:
            [B, C/4, H, W].
        """
        height, width = grid[0] // self.pool, grid[1] // self.pool
        patches = x[:, 1 : 1 + height * width].transpose(1, 2)  # [B, D, hw]
        features = self.up(patches.reshape(*patches.shape[:2], height, width))  # [B, C/4, h, w]
        return interpolate(relu(self.up_norm(features)), size=grid)  # nearest


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


#: Names of the authors' modules, and ours; ``{n}`` counts their blocks from 1.
_NAMES = (
    (r"conv1\.", "stem.0."),
    (r"bn1\.", "stem.1."),
    (r"conv_1\.", "first."),
    (r"trans_patch_conv\.", "patch_embed.proj."),
    (r"trans_1\.", "blocks.0."),
    (r"conv_trans_(\d+)\.trans_block\.", "blocks.{block}."),
    (r"conv_trans_(\d+)\.cnn_block\.", "couplings.{coupling}.bottleneck."),
    (r"conv_trans_(\d+)\.fusion_block\.", "couplings.{coupling}.fusion."),
    (r"conv_trans_(\d+)\.squeeze_block\.conv_project\.", "couplings.{coupling}.down."),
    (r"conv_trans_(\d+)\.squeeze_block\.ln\.", "couplings.{coupling}.down_norm."),
    (r"conv_trans_(\d+)\.expand_block\.conv_project\.", "couplings.{coupling}.up."),
    (r"conv_trans_(\d+)\.expand_block\.bn\.", "couplings.{coupling}.up_norm."),
    (r"trans_norm\.", "norm."),
)
_HEADS = {"trans_cls_head.": "head.", "conv_cls_head.": "conv_head."}


def convert_conformer(state: Mapping[str, Any], localizer: bool = False) -> dict[str, Tensor]:
    """Rename the weights of the authors' Conformer-S.

    Args:
        state: What their file ``Conformer_small_patch16.pth`` holds; names may start with
            ``module.`` and may lie inside ``{"model": …}``. A state dict with our names is
            returned as it is.
        localizer: Keep the classifiers too, for weights that the authors of TS-CAM trained on
            Conformer: gives the state dict of ``create_model("tscam", "conformer_small_patch16")``.

    Returns:
        State dict of :class:`Conformer`; of the whole localizer with ``localizer=True``.

    Raises:
        ValueError: The weights are not Conformer-S's with 16-pixel patches.
    """
    state = {k.removeprefix("module."): v for k, v in state.get("model", state).items()}
    if "patch_embed.proj.weight" in state and "stem.0.weight" in state:
        return state
    _check_small_patch16(state)
    prefix = "backbone." if localizer else ""
    converted = {}
    for name, value in state.items():
        head = next((h for h in _HEADS if name.startswith(h)), None)
        if head is None:
            converted[prefix + _our_name(name)] = value
        elif localizer:
            converted[_HEADS[head] + name.removeprefix(head)] = value
    return converted


def _our_name(name: str) -> str:
    name = name.replace("residual_conv.", "shortcut.0.").replace("residual_bn.", "shortcut.1.")
    for pattern, ours in _NAMES:
        match = re.match(pattern, name)
        if match:
            block = int(match[1]) if match.groups() else 0  # theirs, from 1
            return ours.format(block=block - 1, coupling=block - 2) + name[match.end() :]
    return name


def _check_small_patch16(state: Mapping[str, Any]) -> None:
    for name, expected in {
        "trans_patch_conv.weight": (384, STEM_CHANNELS, PATCH // 4, PATCH // 4),
        "conv_1.conv3.weight": (256, 64, 1, 1),
    }.items():
        if name not in state:
            raise ValueError(f"these are not Conformer's weights: {name} is missing")
        shape = tuple(state[name].shape)
        if shape != expected:
            patch = f" (it is of {4 * shape[-1]}-pixel patches)" if shape[-1] == 8 else ""
            raise ValueError(
                f"these are not the weights of {CONFORMER}: {name} has shape {shape}, expected "
                f"{expected}{patch}; use the authors' file Conformer_small_patch16.pth"
            )
