"""Data sets of photographs and drawings, all read alike: `load(name, split, root)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from satkit.choices import check_choice
from satkit.data.butterflies import list_butterflies
from satkit.data.cub import has_cubv2, list_birds, list_cub
from satkit.data.files import Listing, check, default_root
from satkit.data.fine_grained import list_fgvc_aircraft, list_stanford_cars, list_stanford_dogs
from satkit.data.folder import has_val, list_folder
from satkit.data.imagenet import has_imagenetv2, list_imagenet, list_tiny_imagenet
from satkit.data.images import read_image, read_mask
from satkit.data.loader import Loader, collate, in_order
from satkit.data.openimages import list_openimages
from satkit.data.photographs import Photographs
from satkit.data.prepared import (
    ANNOTATIONS,
    Address,
    Prepared,
    find_prepared,
    prepared_folder,
    prepared_sides,
)
from satkit.data.splits import Selection, few_shot, stratified_cut
from satkit.data.transforms import Transform, denormalize, normalize, ten_crop, ten_views

if TYPE_CHECKING:
    from satkit.data.aviary import Aviary

__all__ = [
    "NAMES",
    "Loader",
    "Photographs",
    "Selection",
    "Transform",
    "collate",
    "default_root",
    "denormalize",
    "few_shot",
    "in_order",
    "load",
    "normalize",
    "read_image",
    "read_mask",
    "ten_crop",
    "ten_views",
]

#: how each set of photographs is listed; its options are the function's own
LAYOUTS: dict[str, Callable[..., Listing]] = {
    "cub": list_cub,
    "birds": list_birds,
    "butterflies": list_butterflies,
    "tiny_imagenet": list_tiny_imagenet,
    "imagenet": list_imagenet,
    "openimages": list_openimages,
    "stanford_dogs": list_stanford_dogs,
    "fgvc_aircraft": list_fgvc_aircraft,
    "stanford_cars": list_stanford_cars,
    "folder": list_folder,
}
#: sets that may have a split "val" of their own, and how to see whether this copy has it
OWN_VAL: dict[str, Callable[[Path], bool]] = {
    "cub": has_cubv2,
    "imagenet": has_imagenetv2,
    "openimages": lambda root: True,
    "folder": has_val,
}
NAMES = ("aviary", *LAYOUTS)
SPLITS = ("train", "val", "test")
#: 1.3 million files were just listed, and its boxes stay the official, also the odd ones
UNCHECKED = ("imagenet",)
#: options that every set takes
COMMON = ("holdout", "split_seed", "cache")


def load(
    name: str,
    split: str,
    root: str | Path | None = None,
    transform: Transform | None = None,
    seed: int = 0,
    **options: Any,
) -> Photographs | Aviary:
    """Load one split of a data set.

    Results are reported on "test"; for ImageNet and Tiny-ImageNet that is the official
    validation set, as in the literature. Hyper-parameters and epochs are chosen on "val". That is
    the held-out set of the WSOL evaluation (Choe et al., CVPR 2020) for OpenImages, and for CUB
    and ImageNet where CUBV2 or ImageNetV2 is there; elsewhere it is cut out of "train"
    (stratified, seeded): pass the same `holdout` for "train" and "val" then. A set with a "val"
    of its own takes no notice of `holdout`.

    Args:
        name: one of `NAMES`.
        split: "train", "val" or "test".
        root: folder of the data set, or fsspec URL of a prepared one (s3://…, https://…); None
            looks in `default_root(name)`. Aviary has none. What was prepared at the side that the
            transform needs is read in place of the original photographs, see docs/data.md.
        transform: None is the paper's: random crops for "train", the centre crop otherwise.
        seed: of the random crops.
        options: for every set holdout (0..0.5, the part of every class cut out of "train"),
            split_seed (of that cut) and cache (keep resized photographs in memory); the others
            belong to one set, see `LAYOUTS` and `satkit.data.aviary.Aviary`.

    Returns:
        Data set of dicts, see `Photographs`.

    Raises:
        ValueError: unknown name, split or option, or a file that contradicts another.
        FileNotFoundError: the data is not where it was looked for.
    """
    check_choice("data set", name, NAMES)
    check_choice("split", split, SPLITS)
    if name == "aviary":
        return _load_aviary(split, root, transform, seed, options)
    own = [key for key in inspect.signature(LAYOUTS[name]).parameters if key not in _POSITIONAL]
    for option in options:
        check_choice(f"option of {name}", option, sorted({*own, *COMMON}))
    place = Address.of(root if root is not None else default_root(name))
    transform = transform or Transform(train=split == "train")
    holdout, cache = float(options.get("holdout", 0)), bool(options.get("cache", False))
    of_layout = {key: value for key, value in options.items() if key in own}
    own_val, list_split = _layout(name, split, place, transform.side, of_layout)
    if own_val:
        listing = list_split(split)
    else:
        listing = list_split("train" if split == "val" else split)
        listing = _cut(name, listing, split, holdout, int(options.get("split_seed", 0)))
    check_listing(name, split, listing)
    return Photographs(name, split, listing, transform, seed, cache)


def check_listing(name: str, split: str, listing: Listing) -> None:
    """Refuse a split without photographs, or with missing files or senseless boxes.

    Raises:
        FileNotFoundError, ValueError: as `satkit.data.files.check`.
    """
    if not listing.records:
        raise ValueError(f"{name}: no photographs for {split!r} in {listing.root}")
    if name not in UNCHECKED and not listing.stored:
        check(listing, name)


_POSITIONAL = ("root", "split")


def _load_aviary(
    split: str, root: str | Path | None, transform: Transform | None, seed: int, options: Any
) -> Aviary:
    from satkit.data.aviary import Aviary

    if root is not None:
        raise ValueError(f"aviary is drawn, not read: root is {str(root)!r}, leave it out")
    fixed = ("self", "split", "transform", "seed")
    own = [key for key in inspect.signature(Aviary).parameters if key not in fixed]
    for option in options:
        check_choice("option of aviary", option, sorted({*own, *COMMON}))
    # it has a split "val" of its own, and nothing to decode: the common options say nothing here
    of_aviary = {key: value for key, value in options.items() if key in own}
    transform = transform or Transform(image_size=96, resize_size=110, train=split == "train")
    return Aviary(split, transform=transform, seed=seed, **of_aviary)


def _layout(
    name: str, split: str, place: Address, side: int, options: dict[str, Any]
) -> tuple[bool, Callable[[str], Listing]]:
    """Find the set as it was prepared or as its authors pack it.

    Returns:
        Whether it has a split "val" of its own, and what lists a split.
    """
    prepared = find_prepared(place.url, side)
    found = "there is none"
    if prepared and prepared.about["options"] != layout_options(name, options):
        found = f"it was made with {prepared.about['options']}"
    elif prepared:
        own_val = "val" in prepared.about["splits"]
        if (split if own_val or split == "test" else "train") in prepared.splits:
            if name == "folder":
                _refuse_stale(prepared, place)
            return own_val, prepared.list_split
        found = f"it has only {prepared.splits}"
    if place.remote:
        raise FileNotFoundError(
            f"{name}: looked for {prepared_folder(place.url, side).url}/{ANNOTATIONS}, prepared "
            f"with {layout_options(name, options)}, but {found}. Only prepared sets can be remote: "
            f"prepare it for photographs of {side} pixels, and copy the folder 'prepared' there."
        )
    folder = Path(place.url)
    return "val" in list_splits(name, folder), partial(_list_raw, name, folder, options)


def list_splits(name: str, folder: Path) -> list[str]:
    """Names of a raw set's splits; "val" is one where the set has its own."""
    try:
        own_val = name in OWN_VAL and OWN_VAL[name](folder)
    except FileNotFoundError:  # there is no such set, which is said where it is listed
        own_val = False
    return ["train", "test", *(["val"] if own_val else [])]


def _refuse_stale(prepared: Prepared, place: Address) -> None:
    """Refuse a user's own set that has changed since it was prepared."""
    if place.remote:
        return
    for split, known in prepared.about["source"].items():
        try:
            listing = list_folder(Path(place.url), split, **prepared.about["options"])
        except FileNotFoundError:
            return  # only the prepared set was kept
        if Photographs("folder", split, listing, Transform()).fingerprint() != known:
            raise ValueError(
                f"folder: photographs, boxes or masks in {place.url} have changed since they were "
                f"prepared: prepare them again, or delete {prepared.folder.url}"
            )


def _list_raw(name: str, folder: Path, options: dict[str, Any], split: str) -> Listing:
    try:
        return LAYOUTS[name](folder, split, **options)
    except FileNotFoundError as error:
        sides = prepared_sides(folder)
        if not sides:
            raise
        raise FileNotFoundError(
            f"{error} It was prepared for photographs of {sides} pixels, but with other options or "
            "not for this size: prepare it for this one (prepare --side), or choose that size."
        ) from error


def layout_options(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Fill in the options of a layout that were not given."""
    parameters = inspect.signature(LAYOUTS[name]).parameters
    own = {key: value.default for key, value in parameters.items() if key not in _POSITIONAL}
    return own | given


def _cut(name: str, listing: Listing, split: str, holdout: float, seed: int) -> Listing:
    """Take the held-out photographs out of "train", or only them for "val"."""
    if split == "test":
        return listing
    held_out = stratified_cut([record.label for record in listing.records], holdout, seed)
    if split == "val" and not any(held_out):
        raise ValueError(
            f"{name} has no split 'val' of its own: pass holdout=0.1 (here and for 'train') to "
            f"hold out that part of 'train'; holdout is {holdout}"
        )
    kept = [index for index, out in enumerate(held_out) if out == (split == "val")]
    records = [listing.records[index] for index in kept]
    stored = listing.stored and listing.stored.take(kept)
    return listing._replace(records=records, stored=stored)
