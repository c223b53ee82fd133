"""ImageNet-1k (ILSVRC 2012): 1.28 million photographs of 1000 classes; boxes for validation.

It needs a registration. Give the archives that you got there, in the official form

python data_scripts/imagenet.py download --accept-terms --archive ILSVRC2012_img_train.tar \
    --archive ILSVRC2012_img_val.tar --archive ILSVRC2012_bbox_val_v3.tgz

or as Kaggle packs them (--archive imagenet-object-localization-challenge.zip). Where you have them
unpacked already, pass their folder as --root to verify and prepare.

To choose epochs and thresholds on ImageNetV2, as the WSOL evaluation does (Choe et al., CVPR 2020),
add --archive imagenetv2-threshold0.7.tar.gz, which is linked from
https://github.com/modestyachts/ImageNetV2; its labels and boxes are fetched with it.
"""

import tarfile
from pathlib import Path

from satkit.data.fetch import extract_tar, named
from satkit.data.sources import File, Source, main
from satkit.data.wsoleval import fetch_metadata
from satkit.progress import Progress


def unpack_classes(archive: Path, folder: Path) -> None:
    """Unpack the archive that holds an archive for each class; a whole class is not done again."""
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    with named(archive), tarfile.open(archive) as outer:
        for member in Progress(outer, 1000, f"unpack {archive.name} (classes)"):
            inner = outer.extractfile(member)
            if inner is None or not member.name.endswith(".tar"):
                raise ValueError(f"{member.name} is not the archive of a class")
            with tarfile.open(fileobj=inner) as tar:
                extract_tar(tar, partial / Path(member.name).stem)
    partial.replace(folder)


def arrange(root: Path) -> None:
    """Fetch labels and boxes of ImageNetV2 where its photographs are there."""
    if (root / "val2").exists():
        fetch_metadata(root, "ILSVRC", "val")


IMAGENET = Source(
    name="imagenet",
    title=(
        "ImageNet-1k (Russakovsky et al.: ImageNet Large Scale Visual Recognition Challenge, "
        "IJCV 2015)"
    ),
    terms="Non-commercial research and education only, under the agreement that you sign there.",
    page="https://www.image-net.org/download.php",
    files=(
        File(
            "ILSVRC2012_img_train.tar",
            size=147_897_477_120,
            md5="1d675b47d978889d74fa0da5fadfb00e",
            becomes="train",
            unpack=unpack_classes,
        ),
        File(
            "ILSVRC2012_img_val.tar",
            size=6_744_924_160,
            md5="29b22e2961454d5413ddabcf34fc5622",
            becomes="val",
        ),
        File(
            "ILSVRC2012_bbox_val_v3.tgz",
            md5="f4cd18b5ea29fe6bbea62ec9c20d80f0",
            becomes="Annotations/CLS-LOC/val",
        ),
        File("imagenet-object-localization-challenge.zip", becomes="ILSVRC", top="ILSVRC"),
        File(
            "imagenetv2-threshold0.7.tar.gz",
            becomes="val2",
            top="imagenetv2-threshold0.7-format-val",
        ),
    ),
    counts={"train": 1_281_167, "val": 10_000, "test": 50_000},
    num_classes=1000,
    arrange=arrange,
    sign_up=(
        "Sign up at https://www.image-net.org/ and get the training images, the validation images "
        "(task 1 and 2) and the validation bounding boxes of ILSVRC 2012; or accept the rules of "
        "https://www.kaggle.com/c/imagenet-object-localization-challenge and get its archive. Then "
        "pass each file with --archive."
    ),
    shards=True,
)

if __name__ == "__main__":
    main(IMAGENET)
