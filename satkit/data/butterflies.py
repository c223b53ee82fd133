"""Leeds Butterfly: 832 photographs of ten species, with masks (Wang et al., BMVC 2009)."""

from __future__ import annotations

from pathlib import Path

from satkit.data.files import Listing, Record, exists, find_root, parse_box, read_rows

SOURCE = (
    "It is a folder with images/, masks/ and a boxes.csv made from the Leeds Butterfly Dataset, "
    "https://www.josiahwang.com/dataset/leedsbutterfly/."
)
COLUMNS = ["file", "label", "name", "width", "height", "x0", "y0", "x1", "y1"]


def list_butterflies(root: Path, split: str) -> Listing:
    """List Leeds Butterfly; every third file of a species is for testing.

    It has no official split: sorted by name, the 1st, 4th, 7th … file of each species is taken.
    """
    root = find_root(root, "butterflies", "boxes.csv", "leedsbutterfly", SOURCE)
    rows = sorted(read_rows(root, "boxes.csv", COLUMNS), key=lambda row: row["file"])
    names = {int(row["label"]): row["name"] for row in rows}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"{root}/boxes.csv: labels must be 0, 1, 2, … not {sorted(names)}")
    records = []
    for label in names:
        for number, row in enumerate(row for row in rows if int(row["label"]) == label):
            if (number % 3 == 0) == (split == "test"):
                records.append(_record(root, row))
    return Listing(root, [names[label] for label in sorted(names)], records)


def _record(root: Path, row: dict[str, str]) -> Record:
    box = parse_box((row[c] for c in ("x0", "y0", "x1", "y1")), f"boxes.csv, {row['file']}")
    mask = f"masks/{Path(row['file']).stem}.png" if exists(root, "masks") else None
    size = (int(row["height"]), int(row["width"]))
    return Record(f"images/{row['file']}", int(row["label"]), (box,), mask, size)
