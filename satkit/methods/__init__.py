"""Localizers by name: SAT and the methods that the paper compares it with.

What needs torch is imported where a model is made, so that settings are checked without it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from satkit.choices import check_choice, did_you_mean

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Method:
    """What satkit knows about a method.

    Attributes:
        source: ``module:class`` of the localizer.
        backbones: Kinds of backbone that it works on, see :func:`satkit.backbones.kind`.
        foreground: Its maps are foreground probabilities, so SAT's losses can be put on them.
        spatial_losses: They are, unless the settings say otherwise.
        classifier: Localizer that is trained before and that it learns from; ``build`` takes it as
            ``classifier``. "": it needs none.
    """

    source: str
    backbones: tuple[str, ...] = ("vit",)
    foreground: bool = False
    spatial_losses: bool = False
    classifier: str = ""

    @property
    def build(self) -> Callable[..., nn.Module]:
        """``build(backbone, num_classes, **options)`` gives the localizer."""
        builder: Callable[..., nn.Module] = resolve_name(self.source)
        return builder

    @property
    def options(self) -> dict[str, Any]:
        """Names of the method's own options and their defaults."""
        parameters = inspect.signature(self.build).parameters.values()
        return {
            p.name: p.default
            for p in parameters
            if p.kind is p.KEYWORD_ONLY and p.name != "classifier"
        }


METHODS: dict[str, Method] = {
    "sat": Method("satkit.model:SAT", ("vit", "conformer"), foreground=True, spatial_losses=True),
    "cam": Method("satkit.methods.cam:CAM", ("vit", "cnn", "conformer")),
    "tscam": Method("satkit.methods.tscam:TSCAM", ("vit", "conformer")),
    "scm": Method("satkit.methods.scm:SCM"),
    "lctr": Method("satkit.methods.lctr:LCTR"),
    "attention_map": Method(
        "satkit.methods.attention_map:AttentionMap", foreground=True, spatial_losses=True
    ),
    "bas": Method("satkit.methods.bas:BAS", ("vit", "cnn"), foreground=True),
    "ornet": Method("satkit.methods.ornet:ORNet", foreground=True, classifier="cam"),
    "psol": Method("satkit.methods.psol:PSOL", classifier="cam"),
    "spol": Method("satkit.methods.spol:SPOL", classifier="tscam"),
}


def list_methods() -> list[str]:
    """Names that :func:`create_model` takes."""
    return list(METHODS)


def check_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse options that a method does not have, or values of another type than it takes.

    Args:
        method: One of :func:`list_methods`.
        options: By name; texts, as from the command line, are converted.

    Returns:
        The options, each of its type.

    Raises:
        ValueError: Unknown method, option or value; the message says which methods have the option.
    """
    check_choice("method", method, METHODS)
    if not options:
        return {}
    own, checked = METHODS[method].options, {}
    hints = get_type_hints(METHODS[method].build.__init__)  # type: ignore[misc]
    for name, value in options.items():
        if name not in own:
            others = [other for other, entry in METHODS.items() if name in entry.options]
            hint = f" {name!r} belongs to {', '.join(others)}." if others else ""
            raise ValueError(
                f"method {method!r} has no option {name!r}; it has {', '.join(own) or 'none'}."
                + (hint or did_you_mean(name, own))
            )
        try:
            checked[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise ValueError(f"option {name} of {method!r} is {value!r}: {reason}") from None
    return checked


def create_model(
    method: str = "sat",
    backbone: str = "deit_small_patch16_224",
    num_classes: int = 1000,
    *,
    pretrained: bool = False,
    image_size: int = 224,
    drop_path: float = 0.0,
    checkpoint: str | Path | None = None,
    classifier: nn.Module | None = None,
    **options: Any,
) -> nn.Module:
    """Create a localizer.

    Args:
        method: One of :func:`list_methods`.
        backbone: By its timm name, the shipped ``vit_pico_convstem8_96``, or
            ``conformer_small_patch16``. A plain ViT; some methods also work on CNNs or Conformer.
        num_classes: C.
        pretrained: Start from the backbone's pretrained weights.
        image_size: Side of the square input in pixels.
        drop_path: Stochastic depth of the last block, 0–1.
        checkpoint: Weights to load: a backbone's (timm's keys), or a whole localizer's as a run
            saves them.
        classifier: Trained localizer of the same backbone that guides a method of two
            steps; an untrained one is made where None.
        **options: The method's own, for SAT :class:`satkit.model.SAT`'s.

    Returns:
        A module that maps ``(images, labels=None)`` to :class:`satkit.model.Localization`.

    Raises:
        ValueError: Unknown method, backbone or option, or weights that do not fit.
        FileNotFoundError: ``checkpoint`` does not exist.
    """
    from satkit import backbones
    from satkit.checkpoints import read_weights

    options = check_options(method, options)
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; expected at least 1")
    entry = METHODS[method]
    _check_backbone(method, backbone)
    if classifier is not None and not entry.classifier:
        raise ValueError(f"method {method!r} learns from no classifier; leave it out")
    weights = read_weights(checkpoint) if checkpoint is not None else {}
    whole = any(key.startswith("backbone.") for key in weights)
    cnn = backbones.kind(backbone) == "cnn"
    network = (backbones.create_cnn if cnn else backbones.create_backbone)(
        backbone,
        pretrained=pretrained and not whole,
        image_size=image_size,
        drop_path=drop_path,
        checkpoint=None if whole else checkpoint,
    )
    if entry.classifier:
        options["classifier"] = classifier or create_model(
            entry.classifier, backbone, num_classes, image_size=image_size
        )
    model = entry.build(network, num_classes, **options)
    if whole:
        load_weights(model, weights, f"{method} on {backbone} with {num_classes} classes")
    return model


def _check_backbone(method: str, backbone: str) -> None:
    from satkit.backbones import kind as kind_of

    kind = kind_of(backbone)
    if kind not in METHODS[method].backbones:
        able = [name for name, entry in METHODS.items() if kind in entry.backbones]
        raise ValueError(
            f"method {method!r} works on {' and '.join(METHODS[method].backbones)}, but backbone "
            f"{backbone!r} is a {kind}; use another backbone, for instance "
            f"deit_small_patch16_224, or one of the methods {', '.join(able)}"
        )


def load_weights(model: nn.Module, weights: dict[str, Any], expected: str) -> None:
    """Load a whole localizer's weights.

    Args:
        model: The localizer.
        weights: Its state dict.
        expected: What the model is, for the message.

    Raises:
        ValueError: The weights belong to another model.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint does not fit {expected}: {error}; give the method, backbone, image "
            "size and number of classes that it was trained with"
        ) from error
