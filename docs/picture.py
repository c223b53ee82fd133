"""Draw README's picture from a finished run: `python docs/picture.py RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from satkit.boxes import prepare_maps
from satkit.data import Selection, denormalize
from satkit.evaluation import collect
from satkit.figures import localization_grid
from satkit.results import open_run
from satkit.training import load_datasets

PICTURE = Path(__file__).parent / "_static" / "sat_on_aviary.png"


def main(
    run: Annotated[str, typer.Argument(help="Folder of a run on Aviary.")],
    count: Annotated[int, typer.Option(help="How many test drawings, from the first on.")] = 6,
) -> None:
    opened = open_run(run)
    test = load_datasets(opened.settings)["test"]
    indices = list(range(count))
    outputs = collect(opened.model(), Selection(test, indices))
    maps = prepare_maps(outputs.maps, outputs.image_size, opened.settings.protocol)
    boxes = opened.predictions.loc[indices, ["x0", "y0", "x1", "y1"]].to_numpy()
    images = [denormalize(test[index]["image"]) for index in indices]
    illustration = localization_grid(images, maps, boxes, outputs.boxes)
    illustration.figure.savefig(PICTURE, dpi=80)
    print(illustration.alt)


if __name__ == "__main__":
    typer.run(main)
