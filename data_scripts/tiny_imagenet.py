"""Tiny-ImageNet: 110,000 photographs of 64 x 64 pixels in 200 classes, each with a box.

python data_scripts/tiny_imagenet.py download --accept-terms
python data_scripts/tiny_imagenet.py verify

Its photographs are small enough to be decoded while training, so preparing them gains little and
takes 22 GB.
"""

from satkit.data.sources import File, Source, main

TINY_IMAGENET = Source(
    name="tiny_imagenet",
    title="Tiny-ImageNet (Stanford, CS231n; a part of ImageNet, Russakovsky et al., IJCV 2015)",
    terms="As for ImageNet: non-commercial research and education only.",
    page="https://www.image-net.org/download.php",
    files=(
        File(
            "tiny-imagenet-200.zip",
            (
                "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
                "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
            ),
            size=248_100_043,
            md5="90528d7ca1a48142e341f4ef8d21d0de",
            becomes="tiny-imagenet-200",
            top="tiny-imagenet-200",
        ),
    ),
    counts={"train": 100_000, "test": 10_000},
    num_classes=200,
)

if __name__ == "__main__":
    main(TINY_IMAGENET)
