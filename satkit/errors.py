"""An assistant for error analysis: it proposes a cause for each missed image, a person decides.

The paper sorts SAT's localization errors on CUB-200 into six causes by looking at them (Sec. 4.5,
App. B, Fig. 9, Table 17). The assistant sees the map, the predicted box and the true boxes:

1. **How does the box miss?** Let *covered* be the share of the true box that the predicted box
   holds, and *inside* the share of the predicted box that lies in the true one. The box is too
   large by ``covered (1 - inside)``, too small by ``inside (1 - covered)``, and elsewhere by
   ``(1 - inside) (1 - covered)``.
2. **Why?** Too large: it holds *multiple instances*; or its excess lies below the object, as a
   *water reflection* does. What is left is an *object occlusion* where the map within the true box
   falls into pieces, else *localization more* (too large) or *localization part* (too small).
   Elsewhere: *label error*, the map found what the annotation does not name.
3. **Is the annotation to blame?** A *label error*, too, as far as the map is dimmer in the true
   box than in the predicted one, unless that lies inside.

Each step splits what the one before left, so the scores of the six causes add up to 1. They are
proposals: the sheet of :func:`write_sheet` has an empty column for a person's verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from satkit import data
from satkit._cv2 import cv2
from satkit.boxes import iou, prepare_maps
from satkit.choices import check_choice
from satkit.data.fetch import write_whole
from satkit.evaluation import Outputs, collect, predictions
from satkit.results import Run
from satkit.settings import TrainSettings

#: The paper's causes in the order of its Table 17, and the difficulties of Aviary that make them
CAUSES = {
    "object occlusion": "occlusion",
    "localization more": "context",
    "water reflection": "reflection",
    "localization part": "partial",
    "multiple instances": "multiple",
    "label error": "label_error",
}
#: The IoU from which a box counts as right
DELTA = 0.5
#: A second piece of this share of the true box is as sure a sign of occlusion as there is
PIECE = 1 / 15


class Evidence(NamedTuple):
    """What the assistant sees of one missed image; all are shares in 0-1.

    Attributes:
        covered: Of the nearest true box, what the predicted box holds.
        inside: Of the predicted box, what lies in that true box.
        others: Of another true box, what the predicted box holds; the most, 0 where there is none.
        below: Of the predicted box outside the true one, what lies straight below the true one.
        pieces: Area of the map's second piece within the true box, of ``PIECE`` of that box, at
            the threshold from the given one to 0.9 where it is largest; at most 1.
        dim: How much darker the map is in the true box than in the predicted one, of the latter.
    """

    covered: float
    inside: float
    others: float
    below: float
    pieces: float
    dim: float


def look(values: np.ndarray, predicted: np.ndarray, true: np.ndarray, threshold: float) -> Evidence:
    """Measure what the rules need, about the true box nearest to the predicted one.

    Args:
        values: Map [S, S] in 0-1, as :func:`satkit.boxes.prepare_maps` gives it.
        predicted: [4], half-open xyxy in pixels.
        true: [n, 4] with n >= 1, the same.
        threshold: On the map, from which the predicted box comes.

    Returns:
        The evidence. Nearest is the largest IoU; of boxes without overlap, the nearest centre.

    Raises:
        ValueError: No true box.
    """
    if len(true) == 0:
        raise ValueError("the image has no true box; a miss needs at least one")
    nearest = _nearest(predicted, true)
    box = true[nearest]
    shared, own = _area(_cut(predicted, box)), max(1.0, _area(predicted))
    held = [_area(_cut(predicted, one)) / _area(one) for one in np.delete(true, nearest, axis=0)]
    column = np.array([box[0], box[3], box[2], len(values)])
    brightness = float(_part(values, predicted).mean()) or 1.0
    return Evidence(
        covered=shared / _area(box),
        inside=shared / own,
        others=max(held, default=0.0),
        below=_area(_cut(predicted, column)) / max(1.0, own - shared),
        pieces=min(1.0, _second_piece(_part(values, box), threshold) / PIECE),
        dim=max(0.0, 1 - float(_part(values, box).mean()) / brightness),
    )


def scores(seen: Evidence) -> dict[str, float]:
    """Scores of the six causes, by the rules that the module states.

    Args:
        seen: Evidence of one image.

    Returns:
        A share for each of ``CAUSES``; they add up to 1.
    """
    large = seen.covered * (1 - seen.inside)
    small = seen.inside * (1 - seen.covered)
    alone = large * (1 - seen.others)
    more = alone * (1 - seen.below)
    shares = {
        "object occlusion": seen.pieces * (more + small),
        "localization more": (1 - seen.pieces) * more,
        "water reflection": alone * seen.below,
        "localization part": (1 - seen.pieces) * small,
        "multiple instances": large * seen.others,
        "label error": (1 - seen.inside) * (1 - seen.covered),
    }
    total = sum(shares.values()) or 1.0
    annotation = seen.dim * (1 - seen.inside)
    found = {cause: (1 - annotation) * share / total for cause, share in shares.items()}
    return {**found, "label error": found["label error"] + annotation}


def propose(outputs: Outputs, protocol: str, threshold: float) -> pd.DataFrame:
    """Propose a cause for every missed image.

    Args:
        outputs: Of :func:`satkit.evaluation.collect`; images without boxes are left out.
        protocol: Localization protocol.
        threshold: On the maps, 0-1.

    Returns:
        One row a miss (IoU below ``DELTA``), the worst first: ``path``, ``index`` in the outputs,
        ``iou``, ``proposal``, ``score``, the evidence, and a score for each cause.
    """
    maps = prepare_maps(outputs.maps, outputs.image_size, protocol)
    found = predictions(outputs, protocol=protocol, threshold=threshold)
    boxes = found[["x0", "y0", "x1", "y1"]].to_numpy()
    rows = []
    for i, (path, score) in enumerate(zip(found["path"], found["iou"], strict=True)):
        if score >= DELTA or not len(outputs.boxes[i]):
            continue
        seen = look(maps[i], boxes[i], outputs.boxes[i], threshold)
        by_cause = scores(seen)
        best = max(by_cause, key=lambda cause: by_cause[cause])
        row = {"path": path, "index": i, "iou": score, "proposal": best, "score": by_cause[best]}
        rows.append({**row, **seen._asdict(), **by_cause})
    columns = ["path", "index", "iou", "proposal", "score", *Evidence._fields, *CAUSES]
    return pd.DataFrame(rows, columns=columns).sort_values("iou", ignore_index=True)


# --------------------------------------------------------------------------------------------------
# A person's verdicts
# --------------------------------------------------------------------------------------------------


def write_sheet(proposals: pd.DataFrame, path: str | Path) -> pd.DataFrame:
    """Write proposals for a person to judge; verdicts that are there already are kept.

    Args:
        proposals: Of :func:`propose`.
        path: CSV file. A person writes a cause into its column ``verdict``; empty means not judged.

    Returns:
        The sheet as written, ``path iou proposal score verdict``.

    Raises:
        ValueError: A verdict that is no cause, or a file that is no such sheet; it is left alone.
    """
    sheet = proposals[["path", "iou", "proposal", "score"]].round(3)
    known = read_sheet(path) if Path(path).exists() else sheet.head(0).assign(verdict="")
    verdicts = dict(zip(known["path"], known["verdict"], strict=True))
    sheet = sheet.assign(verdict=[verdicts.get(image, "") for image in sheet["path"]])
    gone = known[(known["verdict"] != "") & ~known["path"].isin(sheet["path"])]
    sheet = pd.concat([sheet, gone], ignore_index=True) if len(gone) else sheet
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_whole(Path(path), sheet.to_csv(index=False).encode())
    return sheet


def read_sheet(path: str | Path) -> pd.DataFrame:
    """Read a sheet with a person's verdicts.

    Args:
        path: Of :func:`write_sheet`.

    Returns:
        ``path iou proposal score verdict``; a verdict is one of ``CAUSES`` or empty.

    Raises:
        ValueError: A column is missing, an image stands twice, or a verdict is no cause.
    """
    sheet = pd.read_csv(path, keep_default_na=False, dtype={"path": str, "verdict": str})
    for name in ("path", "iou", "proposal", "score", "verdict"):
        if name not in sheet:
            raise ValueError(f"{path} has no column {name!r}; give the sheet as it was written")
    if twice := sheet.loc[sheet["path"].duplicated(), "path"].tolist():
        raise ValueError(f"{path} names {twice[0]!r} twice; keep one of the rows")
    sheet["verdict"] = sheet["verdict"].str.strip().str.lower()
    for image, verdict in zip(sheet["path"], sheet["verdict"], strict=True):
        if verdict:
            check_choice(f"verdict on {image}", verdict, tuple(CAUSES))
    return sheet


def counts(sheet: pd.DataFrame) -> pd.Series:
    """How many errors each cause has: by verdict, or by proposal where there is none.

    Args:
        sheet: Of :func:`write_sheet` or :func:`read_sheet`.

    Returns:
        Number of images by cause, in the order of ``CAUSES``.
    """
    cause = sheet["verdict"].where(sheet["verdict"] != "", sheet["proposal"])
    return cause.value_counts().reindex(list(CAUSES), fill_value=0)


# --------------------------------------------------------------------------------------------------
# The assistant itself is judged, on drawings whose causes are known
# --------------------------------------------------------------------------------------------------


class Known(NamedTuple):
    """Misses on drawings that were made difficult in one known way.

    Attributes:
        rates: Percent of the drawings that were missed: ``none`` (plain ones) and each cause.
        misses: Of :func:`propose` with ``truth``, the cause that the drawing was made with.
        drawings: The drawings of each cause.
        outputs: What the run said about them.
    """

    rates: pd.Series
    misses: pd.DataFrame
    drawings: dict[str, Any]
    outputs: dict[str, Outputs]


def known_causes(run: Run, images: int, split: str = "test") -> Known:
    """Let a run localize drawings with one difficulty each, and propose causes for its misses.

    The paper counts misses by GT-known Loc, where the class plays no role, so a label error can
    only be a wrong box. Drawings of that cause are plain ones whose box is that of the next one.

    Args:
        run: Finished run on Aviary.
        images: Drawings a cause.
        split: Of Aviary.

    Returns:
        Misses with their true cause.

    Raises:
        ValueError: The run was not trained on Aviary.
    """
    settings = run.settings
    if settings.dataset != "aviary":
        raise ValueError(f"the run is on {settings.dataset!r}; only Aviary's causes are known")
    model = run.model()
    drawings: dict[str, Any] = {}
    outputs: dict[str, Outputs] = {}
    for cause, difficulty in {"none": "", **CAUSES}.items():
        if cause == "label error":
            plain = outputs["none"]
            drawings[cause] = drawings["none"]
            outputs[cause] = replace(plain, boxes=[*plain.boxes[1:], plain.boxes[0]])
            continue
        drawings[cause] = _drawings(settings, split, images, difficulty)
        outputs[cause] = collect(model, drawings[cause], workers=settings.workers, label=cause)
    threshold = float(run.metrics["threshold"])
    found = {
        cause: propose(output, settings.protocol, threshold).assign(truth=cause)
        for cause, output in outputs.items()
    }
    rates = pd.Series({cause: 100 * len(part) / images for cause, part in found.items()})
    misses = pd.concat([found[cause] for cause in CAUSES], ignore_index=True)
    return Known(rates, misses, drawings, outputs)


def _drawings(settings: TrainSettings, split: str, count: int, difficulty: str) -> Any:
    transform = data.Transform(
        image_size=settings.image_size, resize_size=settings.resize_size, protocol=settings.protocol
    )
    return data.load(
        "aviary", split, None, transform, variant=settings.variant, size=settings.resize_size,
        length=count, difficulties={difficulty: 1.0} if difficulty else {},
    )  # fmt: skip


def made_by_difficulty(rates: pd.Series, factor: float = 2.0) -> list[str]:
    """Causes whose drawings are missed so often that most misses must be due to the difficulty.

    Args:
        rates: Of :class:`Known`.
        factor: Times the miss rate of plain drawings, or more.

    Returns:
        Those of ``CAUSES``; for the others the true cause of a miss is not known.
    """
    least = factor * rates["none"]
    return [cause for cause in CAUSES if rates[cause] > 0 and rates[cause] >= least]


def judge(misses: pd.DataFrame, causes: Sequence[str]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Compare proposals with known causes.

    Args:
        misses: ``proposal`` and ``truth``.
        causes: Those whose truth is known; misses of others are left out.

    Returns:
        The confusion matrix (number of misses; a row a true cause, a column a proposal), and
        percent: ``accuracy``, ``balanced`` (mean over true causes of the share that is right),
        ``low`` and ``high`` (95 % interval of the latter, bootstrap over misses within each
        cause), ``chance`` (of guessing among the six), ``majority`` (accuracy of always naming the
        commonest cause).
    """
    judged = misses[misses["truth"].isin(causes)]
    right = {
        cause: (judged.loc[judged["truth"] == cause, "proposal"] == cause).to_numpy()
        for cause in causes
        if (judged["truth"] == cause).any()
    }
    matrix = pd.crosstab(judged["truth"], judged["proposal"])
    matrix = matrix.reindex(index=list(right), columns=list(CAUSES), fill_value=0)
    numbers = {"chance": 100 / len(CAUSES)}
    if right:
        rng = np.random.default_rng(0)
        draws = [rng.choice(hits, (2000, len(hits))).mean(axis=1) for hits in right.values()]
        low, high = np.quantile(np.mean(draws, axis=0), [0.025, 0.975])
        numbers |= {
            "accuracy": 100 * float(np.concatenate(list(right.values())).mean()),
            "balanced": 100 * float(np.mean([hits.mean() for hits in right.values()])),
            "low": 100 * float(low),
            "high": 100 * float(high),
            "majority": 100 * max(map(len, right.values())) / len(judged),
        }
    return matrix, numbers


def _nearest(predicted: np.ndarray, true: np.ndarray) -> int:
    overlap = iou(predicted[None], true)[0]
    middle = (predicted[:2] + predicted[2:]) / 2
    distance = np.linalg.norm((true[:, :2] + true[:, 2:]) / 2 - middle, axis=1)
    return int(np.lexsort((distance, -overlap))[0])


def _cut(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What two boxes share, perhaps nothing (an end before its start)."""
    return np.concatenate([np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])])


def _area(box: np.ndarray) -> float:
    return float(np.clip(box[2:] - box[:2], 0, None).prod())


def _part(values: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The map within a box, at least one pixel."""
    x0, y0, x1, y1 = np.round(box).astype(int)
    return values[y0 : max(y0 + 1, y1), x0 : max(x0 + 1, x1)]


def _second_piece(part: np.ndarray, threshold: float) -> float:
    """Area of the second largest component, of all; the largest over eight thresholds."""
    found = 0
    for level in np.linspace(threshold, max(threshold, 0.9), 8):
        above = (part > level).astype(np.uint8)
        sizes = cv2.connectedComponentsWithStats(above, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
        found = max(found, int(np.sort(sizes)[-2]) if len(sizes) > 1 else 0)
    return found / part.size
