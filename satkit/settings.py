"""Every parameter of a run in one place, and the values that the profiles give them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from satkit.choices import check_choice, did_you_mean
from satkit.methods import METHODS, check_options
from satkit.weights import SHIPPED_BACKBONE

Profile = Literal["smoke", "lab", "paper"]
DatasetName = Literal[
    "aviary",
    "cub",
    "birds",
    "butterflies",
    "tiny_imagenet",
    "imagenet",
    "openimages",
    "stanford_dogs",
    "fgvc_aircraft",
    "stanford_cars",
    "folder",
]

#: What a run computes does not depend on these, so they do not name it.
NOT_IN_ID = {
    "profile", "experiment", "runs_dir", "data_root", "workers", "eval_batch_size", "compile",
    "activation_checkpointing",
}  # fmt: skip

#: What the evaluation of a trained model depends on.
EVALUATION_SETTINGS = (
    "dataset", "data_root", "labels", "variant", "image_size", "resize_size", "eval_images",
    "protocol", "thresholds", "ten_crop", "eval_batch_size", "workers",
)  # fmt: skip


class TrainSettings(BaseModel):
    """All parameters of training and evaluating one localizer.

    Build it with :meth:`for_profile`, which knows the paper's values and the laptop's.

    Raises:
        pydantic.ValidationError: Unknown name or a value outside its range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Profile = Field("lab", description="set of defaults: smoke, lab or paper")
    experiment: str = Field(
        "default", pattern=r"^[\w.-]+$", description="folder under runs_dir, groups runs"
    )
    runs_dir: str = Field("runs", description="folder of all runs")
    # model
    method: str = Field("sat", description="localizer, see satkit.list_methods()")
    backbone: str = Field(SHIPPED_BACKBONE, description="ViT or CNN by its timm name, or Conformer")
    pretrained: bool = Field(True, description="start from pretrained weights")
    checkpoint: str = Field("", description="file of backbone weights; timm's hub where empty")
    options: dict[str, int | float | str | bool] = Field(
        {}, description="the method's own, as its class takes them: SAT's gate, spatial_blocks, …"
    )
    classifier: str = Field(
        "", description="run of the classifier that a method of two steps needs; '': train it first"
    )
    two_stage: bool = Field(
        False, description="SAT: cross-entropy first, then only the spatial token (Table 13)"
    )
    freeze: Literal["a", "b", "c", "d", "e", "e_literal", "all_but_token"] = Field(
        "a", description="frozen part (Tables 8, 14); a: none"
    )
    drop_path: float = Field(0.1, ge=0, lt=1, description="stochastic depth of the last block")
    # data
    dataset: DatasetName = Field("aviary", description="data set")
    data_root: str = Field("", description="folder of the data set; Aviary has none")
    labels: Literal["species", "family"] = Field("species", description="classes of `birds`")
    variant: Literal["every_part", "head_only"] = Field(
        "every_part", description="Aviary: which parts tell the species"
    )
    image_size: int = Field(96, ge=16, description="side of the crop, pixels")
    resize_size: int = Field(110, ge=16, description="side before the crop, pixels")
    shots: int = Field(0, ge=0, description="training images a class (Table 8); 0: all")
    train_images: int = Field(0, ge=0, description="use so many training images; 0: all")
    eval_images: int = Field(0, ge=0, description="use so many test images; 0: all")
    workers: int = Field(
        -1, ge=-1, description="processes that load images; -1: as many as the cores allow"
    )
    # losses
    target_area: float = Field(
        0.25,
        ge=0,
        le=1,
        description="λ of the batch area loss (Eq. 7); the paper: 0.25 for CUB, 0.35 for "
        "ImageNet, other sets unsaid",
    )
    area_term: Literal["batch_area", "area", "none"] = Field(
        "batch_area", description="area loss (Tables 2, 13)"
    )
    pixel_term: Literal["normalization", "weighted_entropy", "none"] = Field(
        "normalization", description="loss on single patches (Tables 2, 12)"
    )
    smoothing: Literal["official", "gaussian", "none"] = Field(
        "official", description="kernel of the normalization loss"
    )
    padding: Literal["zeros", "replicate"] = Field("zeros", description="border of that kernel")
    # optimisation
    epochs: int = Field(4, ge=1, description="passes over the training images")
    batch_size: int = Field(32, ge=1, description="images a step, over all processes")
    drop_last: bool = Field(
        False, description="leave out an epoch's last batch where it is smaller"
    )
    accumulation: int = Field(
        1, ge=1, description="batches a step of the optimizer; the batch area is that of each batch"
    )
    lr: float = Field(1e-4, gt=0, description="learning rate of AdamW")
    weight_decay: float = Field(0.05, ge=0, description="of matrices and tokens")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="learning rate over time; the official code's stays constant"
    )
    min_lr: float = Field(1e-6, ge=0, description="end of the cosine schedule")
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = Field(
        "auto",
        description="auto: bf16 where a GPU has it; tf32: fp32 whose matrix products round factors",
    )
    compile: bool = Field(False, description="torch.compile the model: a slow start, faster steps")
    activation_checkpointing: bool = Field(
        False, description="compute activations of transformer blocks twice: slower, less memory"
    )
    seed: int = Field(0, ge=0, description="seed of everything random")
    # evaluation
    protocol: Literal["sat", "wsoleval", "tscam"] = Field(
        "sat", description="localization protocol"
    )
    thresholds: tuple[float, ...] = Field((), description="on maps, 0-1; empty: the protocol's")
    selection: Literal["held_out", "test"] = Field(
        "held_out", description="where epoch and threshold are chosen; the official code: test"
    )
    holdout: float = Field(
        0.2,
        gt=0,
        le=0.5,
        description="share of the training images held out where a set has no val",
    )
    evaluate_from: int = Field(0, ge=0, description="first epoch that is evaluated; 0: the last")
    ten_crop: bool = Field(False, description="classify by ten crops (Sec. 4.1)")
    eval_batch_size: int = Field(64, ge=1, description="images at a time")

    @field_validator("thresholds", mode="before")
    @classmethod
    def _parse_thresholds(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part for part in value.replace(",", " ").split())
        return value

    @field_validator("thresholds")
    @classmethod
    def _check_thresholds(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 <= threshold <= 1 for threshold in value):
            raise ValueError(f"thresholds must lie in 0-1, as maps do, but are {value}")
        return tuple(sorted(value))

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        self.options.update(check_options(self.method, self.options))
        entry = METHODS[self.method]
        if not entry.foreground and (self.area_term, self.pixel_term) != ("none", "none"):
            raise ValueError(
                f"method {self.method!r} has no foreground probabilities: set area_term and "
                "pixel_term to 'none'"
            )
        if self.method != "sat" and (self.freeze != "a" or self.two_stage):
            raise ValueError("freeze and two_stage are for SAT only; set them to 'a' and False")
        if self.two_stage and self.freeze != "a":
            raise ValueError(
                f"two_stage freezes by itself; freeze is {self.freeze!r}, leave it out"
            )
        if self.method == "bas" and self.activation_checkpointing:
            raise ValueError(
                "activation_checkpointing does not work with method 'bas', which runs its blocks "
                "twice, once as constants; set it to False"
            )
        if self.classifier and not entry.classifier:
            raise ValueError(f"method {self.method!r} learns from no classifier; leave it out")
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.image_size > self.resize_size:
            raise ValueError(
                f"image_size {self.image_size} is cut out of resize_size {self.resize_size}; "
                "make resize_size at least as large"
            )
        return self

    @property
    def uses_ten_crop(self) -> bool:
        """Whether ten crops are classified, which only the protocol ``sat`` does."""
        return self.ten_crop and self.protocol == "sat"

    @classmethod
    def for_profile(cls, profile: str = "lab", **given: Any) -> Self:
        """Settings of a profile, with single values replaced.

        Args:
            profile: ``smoke``, ``lab`` or ``paper``.
            **given: Values that differ from the profile's; also options of the method, by name.

        Raises:
            ValueError: Unknown name (the nearest one is suggested) or bad value.
        """
        method = str(given.get("method", "sat"))
        check_choice("method", method, METHODS)
        others = [name for name in given if name not in cls.model_fields]
        known = all_options() if others else []
        options = {name: given.pop(name) for name in others if name in known}
        for name in others:
            if name not in known:
                valid = [*cls.model_fields, *METHODS[method].options]
                raise ValueError(
                    f"there is no setting {name!r}.{did_you_mean(name, valid)} Settings: "
                    f"{', '.join(valid)}"
                )
        defaults = _profile_defaults(profile, str(given.get("dataset") or ""))
        if not METHODS[method].spatial_losses:
            defaults |= {"area_term": "none", "pixel_term": "none"}
        given["options"] = {**given.get("options", {}), **options}
        return cls(**{**defaults, "profile": profile, **given})

    def given(self) -> dict[str, Any]:
        """What ``for_profile`` has to be given beside the profile to make these settings.

        Returns:
            Data set, method, and all values and options that differ from the profile's, by name.
        """
        kind = {"dataset": self.dataset, "method": self.method}
        default = TrainSettings.for_profile(self.profile, **kind).model_dump()
        values = {n: v for n, v in self.model_dump().items() if v != default[n]}
        values.pop("options", None)
        return {**kind, **values, **self.options}

    def arguments(self) -> list[str]:
        """Words for ``python -m satkit train`` that make these settings.

        Returns:
            ``--profile`` and ``-p NAME VALUE`` of all that differs from it.
        """
        words = ["--profile", self.profile]
        for name, value in self.given().items():
            text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += ["-p", name, text]
        return words

    def id(self, fingerprint: str) -> str:
        """Name of the run: a hash of what it computes.

        Args:
            fingerprint: Of the data.

        Returns:
            Twelve hexadecimal digits.
        """
        content = self.model_dump(mode="json", exclude=NOT_IN_ID)
        if not self.drop_last:  # runs that are older than this setting keep their names
            del content["drop_last"]
        content["classifier"] = Path(self.classifier).name  # a run's name says what it is
        if Path(self.checkpoint).name == "model.safetensors":
            content["checkpoint"] = Path(self.checkpoint).parent.name
        text = json.dumps({**content, "data": fingerprint}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def all_options() -> list[str]:
    """Names of the options of all methods."""
    return sorted({name for entry in METHODS.values() for name in entry.options})


#: Candidates in percent. The official four stop at 0.45, small backbones peak elsewhere. Dense near
#: 0 and 1, where accuracy can peak in between (TS-CAM's does at 0.06 or 0.07 on Aviary).
_PERCENT = (*range(1, 10), *range(10, 90, 5), *range(90, 100))
FINE_THRESHOLDS = tuple(percent / 100 for percent in _PERCENT)

_PHOTOGRAPHS = {
    "backbone": "deit_tiny_patch16_224",
    "image_size": 224,
    "resize_size": 256,
    "thresholds": FINE_THRESHOLDS,
}
_AVIARY = {"thresholds": FINE_THRESHOLDS, "epochs": 2, "lr": 3e-4}
_PAPER = {
    "backbone": "deit_small_patch16_224",
    "image_size": 224,
    "resize_size": 256,
    "epochs": 30,
    "batch_size": 256,
    "lr": 1e-4,
    "selection": "test",
    "evaluate_from": 26,
    "ten_crop": True,
}
_PAPER_IMAGENET = {
    "target_area": 0.35,
    "epochs": 5,
    "batch_size": 512,
    "lr": 1.5e-5,
    "evaluate_from": 0,
    "drop_last": True,
}
#: what the authors' code does otherwise than for CUB; its OpenImages are evaluated uncropped, and
#: the paper gives no settings for the other sets of Tables 4 and 15, which keep CUB's
_PAPER_BY_DATASET: dict[str, dict[str, Any]] = {
    "imagenet": _PAPER_IMAGENET,
    "tiny_imagenet": _PAPER_IMAGENET,
    "openimages": {"protocol": "wsoleval"},
}
_SMOKE = {"epochs": 1, "batch_size": 8, "train_images": 24, "eval_images": 16}
#: λ where the laptop's data sets need another one, epochs where they are small
_LAB_BY_DATASET: dict[str, dict[str, Any]] = {
    "birds": {"epochs": 10},
    "tiny_imagenet": {"target_area": 0.35, "train_images": 5000, "epochs": 1, "eval_images": 2000},
}


def _profile_defaults(profile: str, dataset: str) -> dict[str, Any]:
    if profile == "paper":
        return {**_PAPER, **_PAPER_BY_DATASET.get(dataset, {}), "dataset": dataset or "cub"}
    if profile not in ("smoke", "lab"):
        raise ValueError(f"profile is {profile!r}; expected smoke, lab or paper")
    photographs = dataset not in ("", "aviary")
    values = {**(_PHOTOGRAPHS if photographs else _AVIARY), **_LAB_BY_DATASET.get(dataset, {})}
    if profile == "smoke":  # any data set, but with the backbone that is always at hand
        values |= {**_SMOKE, "backbone": SHIPPED_BACKBONE, "image_size": 96, "resize_size": 110}
    return values
