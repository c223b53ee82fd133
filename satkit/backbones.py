"""Backbones of timm, and the only code here that knows how timm builds them.

A *plain* ViT is a sequence of pre-norm blocks of equal width: DeiT, DeiT-III, augreg, DINO,
DINOv2 (with or without registers), MAE and CLIP image towers. Conformer joins such a transformer
with convolutions. The rest of satkit asks this file for tokens and for the patch grid, and of a CNN
for its last feature map.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import Attention, HybridEmbed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import ResNet
from timm.models.vision_transformer import Block, VisionTransformer, checkpoint_filter_fn
from timm.models.vision_transformer_hybrid import ConvStem
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from satkit.choices import did_you_mean
from satkit.conformer import Conformer
from satkit.weights import SHIPPED_BACKBONE, SHIPPED_WEIGHTS

Backbone: TypeAlias = VisionTransformer | Conformer

default_cfgs = generate_default_cfgs(
    {
        SHIPPED_BACKBONE: {
            "file": str(SHIPPED_WEIGHTS),
            "num_classes": 0,
            "input_size": (3, 96, 96),
            "fixed_input_size": True,
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "first_conv": "patch_embed.backbone.0.conv",
            "classifier": "head",
            "license": "mit",
        }
    }
)


@register_model
def vit_pico_convstem8_96(pretrained: bool = False, **kwargs: object) -> VisionTransformer:
    """Build the small ViT that ships with satkit: 96 px, 12x12 patch tokens, 1.7 M parameters.

    Three stride-2 3x3 convolutions with BatchNorm and GELU and a 1x1 convolution to 128 channels
    stand in for the patch projection, then come 8 blocks with 4 heads. The weights
    (``satkit/weights``) were distilled from DeiT-Ti; their model card says on what.
    """
    stem = ConvStem(
        depth=4, channels=(32, 64, 128, 128), kernel_size=(3, 3, 3, 1), stride=(2, 2, 2, 1),
        act_layer=nn.GELU,
    )  # fmt: skip
    sizes = {"embed_dim": 128, "depth": 8, "num_heads": 4, "patch_size": 1}
    model = build_model_with_cfg(
        VisionTransformer,
        SHIPPED_BACKBONE,
        pretrained,
        pretrained_filter_fn=partial(checkpoint_filter_fn, interpolation="bicubic"),
        embed_layer=partial(HybridEmbed, backbone=stem, proj=False),
        **{"img_size": 96, **sizes, **kwargs},
    )
    return model


def kind(name: str) -> str:
    """Say what kind of backbone a name stands for: only its tokens or feature maps can tell how.

    Args:
        name: As timm knows it.

    Returns:
        ``vit``, ``conformer``, or ``cnn`` for all else that timm has.

    Raises:
        ValueError: Unknown name.
    """
    _check_name(name)
    module = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    if module == "conformer":
        return module
    return "vit" if module in ("vision_transformer", "deit", "backbones") else "cnn"


def create_backbone(
    name: str,
    *,
    pretrained: bool = False,
    image_size: int = 224,
    drop_path: float = 0.0,
    checkpoint: str | Path | None = None,
) -> Backbone:
    """Create a plain ViT of timm, or Conformer-S, without its classifier.

    Args:
        name: Model name as timm knows it, for instance ``deit_small_patch16_224``, the shipped
            ``vit_pico_convstem8_96``, or ``conformer_small_patch16``.
        pretrained: Load the pretrained weights: the shipped file, or through timm's hub.
        image_size: Side of the square input in pixels, a multiple of the patch size; position
            embeddings are resized to it.
        drop_path: Stochastic depth of the last block, 0–1 (linear over the blocks).
        checkpoint: File of weights to load in place of the hub's (timm's keys, for Conformer the
            authors'; safetensors or a plain state dict).

    Returns:
        The transformer, with ``num_classes=0``.

    Raises:
        ValueError: Unknown name, a model that is not a plain ViT, an impossible size, or no
            pretrained weights.
        FileNotFoundError: ``checkpoint`` does not exist.
    """
    _check_request(name, image_size, drop_path, checkpoint)
    if pretrained and checkpoint is None and not timm.is_model_pretrained(name):
        raise ValueError(
            f"no pretrained weights of backbone {name!r} can be fetched; give a file of them as "
            "checkpoint, or set pretrained=False"
        )
    try:
        backbone = _timm_model(
            name, pretrained, checkpoint, img_size=image_size, drop_path_rate=drop_path
        )
    except TypeError as error:  # the model has no such thing as an input size
        raise ValueError(_NOT_PLAIN.format(name=name)) from error
    if not isinstance(backbone, Conformer):  # which checks its size itself
        _check_plain(backbone, name)
        _check_divides(backbone, name, image_size)
    return backbone


def _timm_model(
    name: str, pretrained: bool, checkpoint: str | Path | None, **arguments: Any
) -> Any:
    """Create a model of timm without classifier, and load its weights."""
    if checkpoint is None:
        try:
            return timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments)
        except OSError as error:  # as timm's hub reports that it cannot be reached
            raise ValueError(
                f"the pretrained weights of {name!r} cannot be fetched; without a network give "
                f"their file as checkpoint, or set pretrained=False ({_beginning(error)})"
            ) from error
    state = torch.get_rng_state()
    fresh = timm.create_model(name, num_classes=0, **arguments)
    torch.set_rng_state(state)  # so that what the file lacks is equal in both
    misfit = f"checkpoint {str(checkpoint)!r} does not fit"
    weights = _weights_of(checkpoint, fresh)
    overlay = {"state_dict": dict(weights)}
    try:
        model = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, **arguments
        )
    except RuntimeError as error:
        raise ValueError(f"{misfit} backbone {name!r}: {_beginning(error)}") from error
    except (AttributeError, KeyError) as error:  # timm's converters trip over it
        reason = _first_difference(weights, fresh) or _beginning(error)
        raise ValueError(f"{misfit} backbone {name!r}: {reason}") from error
    before = dict(fresh.named_parameters())
    left = [n for n, p in model.named_parameters() if p.ndim > 1 and torch.equal(p, before[n])]
    if left:  # timm itself would only log it
        raise ValueError(f"{misfit} backbone {name!r}: it has no weights for {', '.join(left[:5])}")
    return model


def _first_difference(weights: dict[str, Tensor], network: nn.Module) -> str:
    """The first parameter of a network that weights lack or have in another shape; else ''."""
    for name, own in network.named_parameters():
        if name not in weights:
            return f"it holds no {name}"
        if weights[name].shape != own.shape:
            return f"{name} is {list(weights[name].shape)} there, expected {list(own.shape)}"
    return ""


def _beginning(error: Exception, most: int = 400) -> str:
    """What an error says, which may list every layer."""
    text = str(error)
    return text if len(text) <= most else f"{text[:most]} …"


def _weights_of(checkpoint: str | Path, network: nn.Module) -> dict[str, Tensor]:
    """Read a file of weights, under timm's names.

    Files of the package EfficientNet-PyTorch hold the same layers in the same order as timm's
    EfficientNets (``tf_…``, whose padding they need), under other names.
    """
    state: dict[str, Tensor] = timm.models.load_state_dict(str(checkpoint), device="cpu")
    if "_conv_stem.weight" not in state:
        return state
    values = [value for name, value in state.items() if not name.startswith("_fc.")]
    return dict(zip(network.state_dict(), values, strict=False))


_NOT_PLAIN = (
    "backbone {name!r} is not a plain ViT of timm (pre-norm blocks with ordinary attention); "
    "use for instance deit_small_patch16_224"
)


def _check_request(
    name: str, image_size: int, drop_path: float, checkpoint: str | Path | None
) -> None:
    _check_name(name)
    if image_size < 8:
        raise ValueError(f"image_size is {image_size}; expected at least 8 pixels")
    if not 0.0 <= drop_path < 1.0:
        raise ValueError(f"drop_path is {drop_path}; expected 0 <= drop_path < 1")
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise FileNotFoundError(
            f"checkpoint {str(checkpoint)!r} does not exist; give a file of weights"
        )


def _check_name(name: str) -> None:
    if not timm.is_model(name):
        stem = name.split("_")[0]
        near = ", ".join(timm.list_models(f"*{stem}*")[:5]) or "see timm.list_models()"
        raise ValueError(
            f"unknown backbone {name!r}; timm has for instance: {near}."
            + did_you_mean(name, timm.list_models())
        )


def _check_plain(backbone: nn.Module, name: str) -> None:
    blocks = getattr(backbone, "blocks", ())
    plain = isinstance(backbone, VisionTransformer) and all(
        type(block) is Block and type(block.attn) is Attention for block in blocks
    )
    if not plain or any(block.attn.gate is not None for block in blocks):
        raise ValueError(_NOT_PLAIN.format(name=name))


def _check_divides(backbone: VisionTransformer, name: str, image_size: int) -> None:
    patches, grid = backbone.patch_embed, grid_size(backbone)[0]
    hybrid = isinstance(patches, HybridEmbed)  # convolutions of stride 2 round their grid up
    side = math.ceil(image_size / grid) if hybrid else patches.patch_size[0]
    if grid * side != image_size:
        below = image_size // side * side
        near = f"{below} or {below + side}" if below else str(side)
        raise ValueError(
            f"image_size is {image_size}; backbone {name!r} needs a multiple of its patch size of "
            f"{side} pixels, for instance {near}"
        )


def grid_size(backbone: Backbone) -> tuple[int, int]:
    """Height and width of the grid of patch tokens."""
    height, width = backbone.patch_embed.grid_size
    return int(height), int(width)


def check_images(backbone: Backbone, images: Tensor) -> None:
    """Refuse images that the backbone was not built for.

    Raises:
        ValueError: ``images`` is not a float tensor [B, 3, S, S] of the backbone's size.
    """
    height, width = backbone.patch_embed.img_size
    _check_images(images, (int(height), int(width)))


def _check_images(images: Tensor, size: tuple[int, int]) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or tuple(images.shape[-2:]) != size:
        raise ValueError(
            f"images have shape {tuple(images.shape)}; expected [B, 3, {size[0]}, {size[1]}]: "
            "resize them, or create the model with another image_size"
        )
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; expected normalised floats")


def as_pretrained(network: nn.Module, images: Tensor) -> Tensor:
    """Normalise images as the weights of a network of timm expect them.

    satkit normalises all images with ImageNet's mean and spread; augreg and CLIP were trained with
    others.

    Args:
        network: Made by timm, which says the mean and spread of its weights.
        images: Normalised with ImageNet's mean and spread, [B, 3, H, W].

    Returns:
        [B, 3, H, W]; ``images`` itself where ImageNet's are right.
    """
    config: Any = getattr(network, "pretrained_cfg", {})
    ours = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    theirs = (config.get("mean", ours[0]), config.get("std", ours[1]))
    if theirs == ours:
        return images
    (mean, std), (own_mean, own_std) = (
        [images.new_tensor(values)[:, None, None] for values in pair] for pair in (ours, theirs)
    )
    return (images * std + mean - own_mean) / own_std


def embed(backbone: VisionTransformer, images: Tensor, extra_token: Tensor | None = None) -> Tensor:
    """Turn images into the tokens that enter the first block.

    Args:
        backbone: A plain ViT.
        images: Normalised with ImageNet's mean and spread, [B, 3, H, W].
        extra_token: [1, 1, D], appended behind the patch tokens (position included).

    Returns:
        Tokens [B, P + N (+ 1), D]: P prefix tokens (class, registers), N patch tokens.
    """
    images = as_pretrained(backbone, images).contiguous(memory_format=torch.channels_last)
    x = backbone.patch_embed(images)  # [B, N, D], one copy less than from NCHW
    x = backbone._pos_embed(x)  # [B, P + N, D]
    if extra_token is not None:
        x = torch.cat([x, extra_token.expand(x.shape[0], -1, -1)], dim=1)  # [B, P + N + 1, D]
    return backbone.norm_pre(x)


def patch_grid(backbone: Backbone, x: Tensor) -> Tensor:
    """Lay the patch tokens out as the image, dropping prefix tokens and an extra last token.

    Args:
        backbone: A plain ViT or Conformer.
        x: One value a token [B, T], or a vector [B, T, D].

    Returns:
        [B, h, w] or [B, D, h, w].
    """
    height, width = grid_size(backbone)
    first = int(backbone.num_prefix_tokens)
    patches = x[:, first : first + height * width]
    return patches.transpose(1, -1).reshape(len(x), *x.shape[2:], height, width)


def features(backbone: Backbone, x: Tensor) -> Tensor:
    """Patch tokens behind the last LayerNorm (wherever timm keeps it), as a map.

    Args:
        backbone: A plain ViT or Conformer.
        x: Tokens of its last block [B, T, D].

    Returns:
        [B, D, h, w].
    """
    norm = backbone.norm
    if isinstance(norm, nn.Identity) and isinstance(backbone, VisionTransformer):
        norm = backbone.fc_norm
    return patch_grid(backbone, norm(x))


class Walk(NamedTuple):
    """What a backbone's blocks leave behind.

    Attributes:
        tokens: Of the last block, before the last LayerNorm: [B, T, D].
        extras: What attentions that return a pair gave second, in the order of the blocks.
        conv: Conformer's convolutional features, averaged over the image, [B, 1024]; None for a
            plain ViT.
    """

    tokens: Tensor
    extras: list[Tensor]
    conv: Tensor | None


def walk(backbone: Backbone, images: Tensor, extra_token: Tensor | None = None) -> Walk:
    """Run all blocks on images.

    Args:
        backbone: A plain ViT or Conformer; some of its blocks' attentions may have been replaced by
            ones that return ``(output, extra)``.
        images: [B, 3, H, W].
        extra_token: [1, 1, D], appended behind the patch tokens (position included).

    Returns:
        Tokens [B, P + N (+ 1), D], the extras, and Conformer's convolutional features.
    """
    extras: list[Tensor] = []

    def run(block: Any, x: Tensor) -> Tensor:
        if isinstance(block.attn, Attention):
            return block(x)
        x, extra = run_block(block, x)
        extras.append(extra)
        return x

    if isinstance(backbone, Conformer):
        x, conv = backbone(images, extra_token, run)
        return Walk(x, extras, conv.mean(dim=(2, 3)))
    x = embed(backbone, images, extra_token)
    for block in backbone.blocks:
        x = run(block, x)
    return Walk(x, extras, None)


def extra_maps(backbone: Backbone, walk: Walk) -> Tensor:
    """Lay out what the blocks' attentions gave second as maps.

    Args:
        backbone: The one that was walked.
        walk: Its blocks' extras, each [B, T] or [B, T, E].

    Returns:
        [B, L, h, w] or [B, E, L, h, w], L blocks in their order.
    """
    return torch.stack([patch_grid(backbone, extra) for extra in walk.extras], dim=-3)


def check_class_token(backbone: Backbone, method: str) -> None:
    """Refuse a backbone without class token.

    Args:
        backbone: A plain ViT or Conformer.
        method: Which needs one.

    Raises:
        ValueError: It has none.
    """
    if backbone.cls_token is None:
        raise ValueError(
            f"{method} needs a backbone with a class token, for instance deit_small_patch16_224"
        )


def conv_head(backbone: Backbone, num_classes: int) -> nn.Linear | None:
    """Classifier of Conformer's convolutional branch; None for a plain ViT, which has no such.

    Its logits are added to those of the transformer branch, as in TS-CAM on Conformer.
    """
    return nn.Linear(backbone.conv_dim, num_classes) if isinstance(backbone, Conformer) else None


def feature_map(backbone: Backbone | CNN, images: Tensor) -> Tensor:
    """Features behind the whole backbone, as a map.

    Args:
        backbone: A plain ViT, Conformer or CNN.
        images: Normalised float [B, 3, S, S] of its size.

    Returns:
        [B, D, h, w].

    Raises:
        ValueError: Images of another size or type.
    """
    if isinstance(backbone, CNN):
        found: Tensor = backbone(images)
        return found
    check_images(backbone, images)
    return features(backbone, walk(backbone, images).tokens)


def recompute_activations(model: nn.Module) -> None:
    """Activation checkpointing: transformer blocks keep only their input for the backward pass.

    It computes the rest again, with the same random numbers, so losses and gradients stay as they
    are while memory falls and time rises by about a third.

    Args:
        model: Changed in place; weights keep their names.

    Raises:
        ValueError: The model has no transformer blocks.
    """
    blocks: list[Any] = [module for module in model.modules() if isinstance(module, Block)]
    if not blocks:
        raise ValueError(
            "activation_checkpointing is for transformer blocks, but the backbone has none; "
            "set it to False"
        )
    for block in blocks:
        block.recomputed, block.forward = True, partial(_recompute, block.forward)


def _recompute(function: Callable[..., Any], *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False)


def run_block(block: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Run a block whose attention returns ``(output, extra)``; the rest of the block is timm's.

    Args:
        block: Block whose ``attn`` maps [B, T, D] to a pair.
        x: Tokens [B, T, D].

    Returns:
        Tokens [B, T, D] and the attention's second output.
    """
    recomputed = getattr(block, "recomputed", False)
    return _recompute(_run_block, block, x) if recomputed else _run_block(block, x)


def _run_block(block: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    attended, extra = block.attn(block.norm1(x))
    x = x + block.drop_path1(block.ls1(attended))
    x = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
    return x, extra


class Projections(nn.Module):
    """The parts of an ordinary attention, for one that is computed in another way.

    Takes over the projections, so that parameters keep their names in the state dict.

    Args:
        attention: timm ``Attention``.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads: int = attention.num_heads
        self.head_dim: int = attention.head_dim
        self.scale: float = self.head_dim**-0.5
        self.qkv, self.proj = attention.qkv, attention.proj
        self.q_norm, self.k_norm, self.norm = attention.q_norm, attention.k_norm, attention.norm
        self.attn_drop, self.proj_drop = attention.attn_drop, attention.proj_drop

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project tokens [B, T, D] to queries, keys and values, each [B, heads, T, d]."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [B, heads, T, d]
        return self.q_norm(q), self.k_norm(k), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend with the fused kernel: [B, heads, T, d] each, to [B, heads, T, d]."""
        dropout = self.attn_drop.p if self.training else 0.0
        return scaled_dot_product_attention(q, k, v, dropout_p=dropout)

    def merge(self, x: Tensor) -> Tensor:
        """Join the heads and project: [B, heads, T, d] to [B, T, D]."""
        x = x.transpose(1, 2).flatten(2)
        return self.proj_drop(self.proj(self.norm(x)))


def run_masked_block(
    backbone: VisionTransformer, index: int, x: Tensor, mask: Tensor | None
) -> Tensor:
    """Run a block whose attention sees masked patch tokens; its skip connections see them whole.

    Args:
        backbone: A plain ViT.
        index: Of the block, from 0.
        x: Tokens [B, T, D].
        mask: [B, h, w], multiplied onto the normalized patch tokens; prefix tokens stay. None: no
            mask.

    Returns:
        Tokens [B, T, D].
    """
    block: Any = backbone.blocks[index]
    if mask is None:
        tokens: Tensor = block(x)
        return tokens
    prefix = mask.new_ones(len(mask), int(backbone.num_prefix_tokens))  # [B, P]
    keep = torch.cat([prefix, mask.flatten(1)], dim=1)  # [B, T]
    x = x + block.drop_path1(block.ls1(block.attn(block.norm1(x) * keep[..., None])))
    return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))


class CNN(nn.Module):
    """A network of timm up to its last feature map; :func:`create_cnn` makes it.

    Args:
        body: Model of timm without what comes behind the feature map.
        image_size: Side of the square input in pixels.
        embed_dim: D, channels of the feature map.
        grid_size: Height and width of the feature map.
    """

    def __init__(
        self, body: nn.Module, image_size: int, embed_dim: int, grid_size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.body: Any = body
        self.image_size, self.embed_dim, self.grid_size = image_size, embed_dim, grid_size

    def forward(self, images: Tensor) -> Tensor:
        """Compute the feature map.

        Args:
            images: Normalised float [B, 3, S, S] of the size that the CNN was made for.

        Returns:
            [B, D, h, w].

        Raises:
            ValueError: Images of another size or type.
        """
        _check_images(images, (self.image_size, self.image_size))
        features: Tensor = self.body.forward_features(as_pretrained(self.body, images))
        return features

    def early(self, images: Tensor) -> Tensor:
        """Compute what enters the last stage of a ResNet.

        Args:
            images: As in :meth:`forward`.

        Returns:
            [B, E, h', w'].

        Raises:
            ValueError: Images of another size or type, or the CNN is no ResNet.
        """
        _check_images(images, (self.image_size, self.image_size))
        self.last_stage()
        body, images = self.body, as_pretrained(self.body, images)
        x = body.maxpool(body.act1(body.bn1(body.conv1(images))))
        x = body.layer3(body.layer2(body.layer1(x)))
        return x  # type: ignore[no-any-return]

    def last_stage(self) -> tuple[nn.Module, int]:
        """Last stage of a ResNet.

        Returns:
            The layers, part of this CNN, and E, the channels that enter them.

        Raises:
            ValueError: The CNN is no ResNet.
        """
        if not isinstance(self.body, ResNet):
            raise ValueError(
                f"{type(self.body).__name__} cannot be split into early and late layers; use a "
                "ResNet of timm, for instance resnet50, or a plain ViT"
            )
        return self.body.layer4, int(self.body.feature_info[-2]["num_chs"])


def create_cnn(
    name: str,
    *,
    pretrained: bool = False,
    image_size: int = 224,
    drop_path: float = 0.0,
    checkpoint: str | Path | None = None,
) -> CNN:
    """Create a network of timm that ends with its last feature map.

    Fully connected layers and all else behind the feature map are left out.

    Args:
        name: Model name as timm knows it, for instance ``resnet50`` or ``vgg16``.
        pretrained: Load the pretrained weights through timm's hub.
        image_size: Side of the square input in pixels.
        drop_path: Stochastic depth, 0–1, in networks that have it (VGG and Inception do not).
        checkpoint: File of weights to load in place of the hub's, with timm's keys.

    Returns:
        The CNN.

    Raises:
        ValueError: Unknown name, a network without such a map, or too small a size.
        FileNotFoundError: ``checkpoint`` does not exist.
    """
    _check_request(name, image_size, drop_path, checkpoint)
    shape, unused = _dry_run(name, image_size)
    try:
        body = _timm_model(name, pretrained, checkpoint, drop_path_rate=drop_path)
    except TypeError:  # it has no stochastic depth
        body = _timm_model(name, pretrained, checkpoint)
    for child in unused:
        setattr(body, child, nn.Identity())
    return CNN(body, image_size, shape[1], (shape[2], shape[3]))


def _dry_run(name: str, image_size: int) -> tuple[tuple[int, ...], set[str]]:
    """Shape of the feature map, and names of the layers that it does not need; costs no memory."""
    with torch.device("meta"), torch.enable_grad():
        body: Any = timm.create_model(name, num_classes=0).eval()
        try:
            features = body.forward_features(torch.zeros(1, 3, image_size, image_size))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ValueError(
                f"backbone {name!r} has no feature map for images of {image_size} pixels: {error}"
            ) from error
    shape = tuple(features.shape) if isinstance(features, Tensor) else ()
    if len(shape) != 4 or shape[1] != body.num_features:
        raise ValueError(
            f"backbone {name!r} gives features of shape {shape}, not a map [1, D, h, w]: it is "
            "neither a plain ViT nor a CNN; use for instance deit_small_patch16_224 or resnet50"
        )
    names, parameters = zip(*body.named_parameters(), strict=True)
    gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
    children = {name.split(".")[0] for name in names}
    used = {name.split(".")[0] for name, g in zip(names, gradients, strict=True) if g is not None}
    return shape, children - used
