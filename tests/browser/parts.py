# %% [markdown]
# # All interactive parts

# %%
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from PIL import Image

import satkit
from satkit import lab
from satkit.data import Transform
from satkit.data.aviary import SPECIES, Aviary
from satkit.lessons import simulate_map

torch.manual_seed(0)
random = np.random.default_rng(0)
birds = Aviary(
    "test", size=96, length=3, transform=Transform(image_size=96, resize_size=96), cache=False
)
drawings = [birds.drawing(i) for i in range(3)]
boxes = [drawing.boxes for drawing in drawings]
images = torch.stack([birds[i]["image"] for i in range(3)])
maps = np.stack([simulate_map(d, random, rest=0.45, noise=0.2) for d in drawings])


def run(method):
    """What stands in for a finished run: the shipped backbone below random heads."""
    model = satkit.create_model(
        method, "vit_pico_convstem8_96", 20, image_size=96, pretrained=True
    ).eval()
    return SimpleNamespace(
        model=lambda: model,
        metrics={"threshold": 0.4},
        settings=SimpleNamespace(protocol="sat", image_size=96),
        provenance={"classes": [kind.name for kind in SPECIES]},
    )


runs = {"CAM": run("cam"), "SAT": run("sat")}

# %%
lab.explore_threshold({"uneven": maps, "squared": maps**2}, [d.image for d in drawings], boxes)

# %%
lab.explore_attention(runs["SAT"].model(), images, maps=torch.tensor(maps))

# %%
steps = np.linspace(0.5, 0.1, 20)[:, None, None, None]
stored = np.clip(steps + random.normal(0, 0.05, (20, 2, 12, 12)), 0, 1)
terms = pd.DataFrame({"cls": np.linspace(1, 0.2, 20), "normalization": np.linspace(0.2, 0.1, 20)})
terms["batch_area"] = np.abs(stored.mean(axis=(1, 2, 3)) - 0.25)
lab.replay_losses(lab.Replay(terms, 0.25, "a made-up descent", stored))

# %%
lab.draw_own_bird()

# %%
lab.compare_methods(runs, images, torch.tensor([0, 1, 2]), boxes)

# %%
Image.fromarray(drawings[0].image).save("photo.png")
Image.fromarray(drawings[1].image).save("upload.png")
lab.localize_photo(runs["SAT"], "photo.png", threshold=0.7)
