"""CUB-200-2011: 11,788 photographs of 200 bird species, with boxes and masks.

python data_scripts/cub.py download --accept-terms
python data_scripts/cub.py verify
python data_scripts/cub.py prepare

To choose epochs and thresholds on CUBV2, the held-out photographs of the WSOL evaluation (Choe et
al., CVPR 2020), get their archive by hand: it is linked from "CUBV2" at
https://github.com/clovaai/wsolevaluation. Then add --archive CUBV2.tar to the first line; their
labels and boxes are fetched with it.
"""

from pathlib import Path

from satkit.data.sources import File, Source, main
from satkit.data.wsoleval import fetch_metadata


def arrange(root: Path) -> None:
    """Fetch labels and boxes of CUBV2 where its photographs are there."""
    if (root / "CUBV2").exists():
        fetch_metadata(root, "CUB", "val")


CUB = Source(
    name="cub",
    title=(
        "CUB-200-2011 (Wah, Branson, Welinder, Perona, Belongie: The Caltech-UCSD Birds-200-2011 "
        "Dataset, 2011)"
    ),
    terms=(
        "Non-commercial research and education only; the photographs belong to their photographers."
    ),
    page="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    files=(
        File(
            "CUB_200_2011.tgz",
            (
                "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                "https://data.caltech.edu/api/records/65de6-vp158/files/CUB_200_2011.tgz/content",
            ),
            size=1_150_585_339,
            md5="97eceeb196236b17998738112f37df78",
            becomes="CUB_200_2011",
            top="CUB_200_2011",
        ),
        File(
            "segmentations.tgz",
            (
                "https://data.caltech.edu/records/w9d68-gec53/files/segmentations.tgz",
                "https://data.caltech.edu/api/records/w9d68-gec53/files/segmentations.tgz/content",
            ),
            size=39_272_883,
            md5="4d47ba1228eae64f2fa547c47bc65255",
            becomes="segmentations",
            top="segmentations",
        ),
        File("CUBV2.tar", becomes="CUBV2"),
    ),
    counts={"train": 5_994, "val": 1_000, "test": 5_794},
    num_classes=200,
    arrange=arrange,
)

if __name__ == "__main__":
    main(CUB)
