"""Leeds Butterfly: 832 photographs of ten species, with masks (Wang et al., BMVC 2009)."""

from __future__ import annotations

from pathlib import Path

from satkit.data.files import (
    CORNERS,
    Listing,
    Record,
    exists,
    find_root,
    parse_int,
    parse_row,
    read_rows,
)

SOURCE = (
    "It is a folder with images/, masks/ and a boxes.csv made from the Leeds Butterfly Dataset, "
    "https://www.josiahwang.com/dataset/leedsbutterfly/."
)
COLUMNS = ("file", "label", "name", "width", "height", *CORNERS)


def list_butterflies(root: Path, split: str) -> Listing:
    """List Leeds Butterfly; every third file of a species is for testing.

    It has no official split: sorted by name, the 1st, 4th, 7th … file of each species is taken.
    """
    root = find_root(root, "butterflies", "boxes.csv", "leedsbutterfly", SOURCE)
    rows = sorted(read_rows(root, "boxes.csv", COLUMNS), key=lambda row: row["file"])
    labels = [parse_int(row, "label", f"butterflies, boxes.csv, {row['file']}") for row in rows]
    names = {label: row["name"] for label, row in zip(labels, rows, strict=True)}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"butterflies, boxes.csv: labels must be 0, 1, … not {sorted(names)}")
    masks = exists(root, "masks")
    records = []
    for label in names:
        of_label = [row for row, other in zip(rows, labels, strict=True) if other == label]
        for number, row in enumerate(of_label):
            if (number % 3 == 0) == (split == "test"):
                records.append(_record(row, label, masks))
    return Listing(root, [names[label] for label in sorted(names)], records)


def _record(row: dict[str, str], label: int, masks: bool) -> Record:
    box, size = parse_row(row, f"butterflies, boxes.csv, {row['file']}")
    mask = f"masks/{Path(row['file']).stem}.png" if masks else None
    return Record(f"images/{row['file']}", label, (box,), mask, size)
