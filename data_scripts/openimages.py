"""OpenImages-30k of the WSOL evaluation: 37,319 photographs of 100 classes, with masks.

python data_scripts/openimages.py download --accept-terms --archive OpenImages_annotations.zip
python data_scripts/openimages.py verify
python data_scripts/openimages.py prepare --side 256 --split train
python data_scripts/openimages.py prepare --side 224 --split val --split test

By hand: the masks and ignored regions, which are in no other place than the WSOL evaluation's
archive (Google Drive gives it to browsers alone). Fetched by this script: the lists and labels, and
each photograph by its name from the public bucket of OpenImages; or give them too, with
--archive OpenImages_images.zip.
"""

from __future__ import annotations

import errno
import http.client
import re
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from satkit.data.fetch import require_space, write_whole
from satkit.data.sources import File, Source, main
from satkit.data.wsoleval import fetch_metadata, read_labels
from satkit.progress import Progress

BUCKET = "https://open-images-dataset.s3.amazonaws.com"
#: folder of the bucket for each split
FOLDERS = {"train": "train", "val": "validation", "test": "test"}
PATH = re.compile(r"(train|val|test)/\w+/\w+\.jpg")
THREADS = 16
RETRIES = 5
PHOTOGRAPH_BYTES = 300_000  # on average over all of OpenImages, for the space check


def arrange(root: Path) -> None:
    """Fetch labels and lists of masks, and the photographs that are not there."""
    for split in FOLDERS:
        fetch_metadata(root, "OpenImages", split)
    wanted = [
        path
        for split in FOLDERS
        for path in read_labels(root, f"metadata/{split}/class_labels.txt")
    ]
    if odd := [path for path in wanted if not PATH.fullmatch(path)]:
        raise ValueError(f"the metadata name {odd[0]!r}, not <split>/<class>/<photograph>.jpg")
    missing = [path for path in wanted if not (root / path).exists()]
    require_space(root, PHOTOGRAPH_BYTES * len(missing), f"{len(missing):,} photographs")
    pool = ThreadPoolExecutor(THREADS)
    try:
        results = pool.map(partial(fetch_photograph, root), missing)
        label = "fetch photographs"
        problems = [
            p for p in Progress(results, len(wanted), label, len(wanted) - len(missing)) if p
        ]
    finally:
        pool.shutdown(cancel_futures=True)
    if problems:
        raise OSError(
            f"{len(problems):,} of {len(wanted):,} photographs could not be fetched, first "
            f"{problems[:3]}. Run the same again to try these once more."
        )


def fetch_photograph(root: Path, path: str, wait: float = 1.0) -> str:
    """Fetch one photograph, whole or not at all.

    Returns:
        What went wrong; empty where nothing did.
    """
    split, _, name = path.split("/")
    url = f"{BUCKET}/{FOLDERS[split]}/{name}"
    problem = ""
    for attempt in range(RETRIES):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                data = answer.read()
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(root / path, data)
            return ""
        except urllib.error.HTTPError as error:
            error.close()
            problem = f"{url}: {error}"
            if error.code in (403, 404, 410):
                break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            problem = f"{url}: {error}"
        if attempt + 1 < RETRIES:
            time.sleep(wait * 2**attempt)
    return problem


OPENIMAGES = Source(
    name="openimages",
    title=(
        "OpenImages-30k (Benenson, Popov, Ferrari: Large-scale interactive object segmentation "
        "with human annotators, CVPR 2019; chosen by Choe et al.: Evaluating Weakly Supervised "
        "Object Localization Methods Right, CVPR 2020)"
    ),
    terms="Photographs: CC BY 2.0 as listed (check each); labels and masks: CC BY 4.0 by Google.",
    page="https://storage.googleapis.com/openimages/web/index.html",
    files=(
        File("OpenImages_annotations.zip", becomes="masks/val", top="val"),
        File("OpenImages_annotations.zip", becomes="masks/test", top="test"),
        File("OpenImages_images.zip", becomes="train", top="train"),
        File("OpenImages_images.zip", becomes="val", top="val"),
        File("OpenImages_images.zip", becomes="test", top="test"),
    ),
    counts={"train": 29_819, "val": 2_500, "test": 5_000},
    num_classes=100,
    sign_up=(
        'Get "segmentation masks" with a browser from the link under "OpenImages30k" at '
        "https://github.com/clovaai/wsolevaluation, name it OpenImages_annotations.zip, and pass "
        "it with --archive; the photographs and labels are then fetched from "
        f"{BUCKET} and GitHub."
    ),
    arrange=arrange,
    shards=True,
)

if __name__ == "__main__":
    main(OPENIMAGES)
