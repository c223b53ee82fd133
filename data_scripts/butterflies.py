"""Leeds Butterfly: 832 photographs of ten species, with masks.

python data_scripts/butterflies.py download --accept-terms
python data_scripts/butterflies.py verify
python data_scripts/butterflies.py prepare
"""

import csv
import io
from pathlib import Path

import numpy as np

from satkit.data.butterflies import COLUMNS
from satkit.data.fetch import write_whole
from satkit.data.images import read_mask, read_size
from satkit.data.sources import File, Source, main
from satkit.progress import Progress

#: by the first three digits of a photograph's name, which count from 001
SPECIES = (
    "Danaus_plexippus",
    "Heliconius_charitonius",
    "Heliconius_erato",
    "Junonia_coenia",
    "Lycaena_phlaeas",
    "Nymphalis_antiopa",
    "Papilio_cresphontes",
    "Pieris_rapae",
    "Vanessa_atalanta",
    "Vanessa_cardui",
)


def arrange(root: Path) -> None:
    """Bring segmentations/NNNSSSS_seg0.png to masks/NNNSSSS.png, and write boxes around them."""
    folder = root / "leedsbutterfly"
    if (folder / "boxes.csv").exists():
        return
    (folder / "masks").mkdir(exist_ok=True)
    for path in sorted((folder / "segmentations").glob("*_seg0.png")):
        path.replace(folder / "masks" / path.name.replace("_seg0", ""))
    photographs = sorted((folder / "images").iterdir())
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for path in Progress(photographs, len(photographs), "boxes around the masks"):
        writer.writerow(_row(path, folder / "masks" / f"{path.stem}.png"))
    write_whole(folder / "boxes.csv", table.getvalue().encode())


def _row(path: Path, mask: Path) -> dict[str, object]:
    height, width = read_size(path)
    rows, columns = np.nonzero(read_mask(mask))
    if not len(rows):
        raise ValueError(f"{mask} has no foreground: get the set again")
    label = int(path.name[:3]) - 1
    return {
        "file": path.name,
        "label": label,
        "name": SPECIES[label],
        "width": width,
        "height": height,
        "x0": columns.min(),
        "y0": rows.min(),
        "x1": columns.max() + 1,
        "y1": rows.max() + 1,
    }


BUTTERFLIES = Source(
    name="butterflies",
    title=(
        "Leeds Butterfly Dataset (Wang, Markert, Everingham: Learning Models for Object "
        "Recognition from Natural Language Descriptions, BMVC 2009)"
    ),
    terms="For learning and research, not for commerce; the photographs belong to their owners.",
    page="https://www.josiahwang.com/dataset/leedsbutterfly/",
    files=(
        File(
            "leedsbutterfly_dataset.zip",
            (
                "https://zenodo.org/records/7559420/files/leedsbutterfly_dataset_v1.1.zip",
                "https://zenodo.org/records/7558895/files/leedsbutterfly_dataset_v1.0.zip",
                "http://www.josiahwang.com/dataset/leedsbutterfly/leedsbutterfly_dataset_v1.0.zip",
            ),
            becomes="leedsbutterfly",
            top="leedsbutterfly",
        ),
    ),
    counts={"train": 551, "test": 281},
    num_classes=10,
    arrange=arrange,
)

if __name__ == "__main__":
    main(BUTTERFLIES)
