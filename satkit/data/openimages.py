"""OpenImages-30k: the part of OpenImages V5 that the WSOL evaluation uses, with masks."""

from __future__ import annotations

from pathlib import Path

from satkit.data.files import Listing, Record, exists, find_root
from satkit.data.wsoleval import METADATA_SOURCE, find_folder, read_labels, read_masks

SOURCE = (
    "OpenImages-30k (Choe et al., CVPR 2020) is photographs and masks in train/, val/ and test/, "
    "from the archives that https://github.com/clovaai/wsolevaluation links to."
)
#: where the metadata are looked for, below the root; the last fits a checkout of wsolevaluation,
#: whose photographs are in dataset/OpenImages
METADATA = ("metadata", "metadata/OpenImages", "../../metadata/OpenImages")


def list_openimages(root: Path, split: str) -> Listing:
    """List OpenImages-30k: 100 classes, 29,819 / 2,500 / 5,000 photographs.

    "val" and "test" have masks of all objects of the class, and the region where more of them may
    be, which does not count (Choe et al., Sec. 4.2); there are no boxes. Classes are called by
    their OpenImages ids without "/m/". EXIF orientation is ignored, as the official code does.

    Args:
        root: folder with <split>/<class>/, masks beside the photographs or in
            masks/<split>/<class>/, and metadata/<split>/class_labels.txt and localization.txt of
            the WSOL evaluation.
        split: "train", "val" or "test".
    """
    root = find_root(root, "openimages", split, "OpenImages", SOURCE)
    metadata = find_folder(root, [f"{folder}/{split}" for folder in METADATA])
    if metadata is None:
        raise FileNotFoundError(
            f"openimages: there is none of {[f'{m}/{split}' for m in METADATA]} below {root}. Copy "
            f"the folder OpenImages/{split} of {METADATA_SOURCE} to {root}/metadata/{split}."
        )
    labels = read_labels(root, f"{metadata}/class_labels.txt")
    masks = read_masks(root, f"{metadata}/localization.txt") if split != "train" else {}
    below = "masks/" if exists(root, f"masks/{split}") else ""
    records = []
    for path, label in labels.items():
        files, ignore = masks.get(path, ([], None))
        if split != "train" and not files:
            raise ValueError(f"openimages: {metadata}/localization.txt has no mask of {path}")
        mask = tuple(f"{below}{file}" for file in files) or None
        records.append(Record(path, label, mask=mask, ignore=ignore and f"{below}{ignore}"))
    return Listing(root, _classes(labels), records, exif=False)


def _classes(labels: dict[str, int]) -> list[str]:
    """Names of the classes, by label: the folders of their photographs."""
    pairs = sorted({(label, Path(path).parent.name) for path, label in labels.items()})
    names = [name for _, name in pairs]
    if [label for label, _ in pairs] != list(range(len(pairs))) or len({*names}) != len(names):
        raise ValueError(
            "openimages: labels must be 0, 1, … and each have a folder of its own, but the "
            f"metadata have the labels and folders {pairs[:3]} … {pairs[-3:]}"
        )
    return names
