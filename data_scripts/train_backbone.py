"""Train the small backbone that ships with satkit, by distillation on drawings.

A ViT with a convolutional stem (1.7 M parameters, 96 px, 12x12 patch tokens) learns to predict the
patch features that DeiT-Ti (ImageNet) gives to drawings of the synthetic Aviary. No photograph, no
label and no mask is used in training; masks and parts only measure, on held-out drawings, how well
the features separate bird from ground.

    python data_scripts/train_backbone.py --minutes 60

The teacher's features are computed once and kept under ``--cache``; training can be interrupted
and run again with the same settings. What comes out: ``satkit/weights/<name>.safetensors`` (fp16),
``<name>.json`` (how it was made and what was measured) and ``MODEL_CARD.md``, written from it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import timm.optim.muon
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_average_precision

from satkit.backbones import create_backbone
from satkit.data import aviary
from satkit.data.aviary import Aviary
from satkit.results import provenance
from satkit.weights import SHIPPED_BACKBONE, SHIPPED_WEIGHTS

TEACHER = "deit_tiny_patch16_224"
SIDE, CROP, PATCH = 112, 96, 8  # pixels: of a drawing, of what the student sees, of one token
GRID, VIEW = SIDE // PATCH, CROP // PATCH  # tokens a side: of the teacher, of the student
MIDDLE_BLOCK = 8  # the teacher's ninth block, a second target beside its last
HELD_OUT_FROM = 10_000_000  # index of the first held-out drawing; training ones count from 0
DIFFICULTIES = {"occlusion": 0.1, "reflection": 0.1, "partial": 0.1, "multiple": 0.1}
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the machine's speed."""

    minutes: float = 60.0
    drawings: int = 6_000
    held_out: int = 400
    batch_size: int = 32
    optimizer: str = "muon"
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.03  # part of the schedule
    class_weight: float = 0.25  # of the class token's loss; the patch tokens' is 1
    threads: int = 2  # the batch is split over them
    seed: int = 0


# --- the teacher's features, computed once -------------------------------------------------------


@dataclass(frozen=True)
class Features:
    """Drawings with the teacher's features, as arrays on disk.

    ``images`` [N, 112, 112, 3] uint8, ``parts`` [N, 112, 112] uint8 (0 is background),
    ``patches`` [N, 14, 14, 2D] float16 (middle block, last block), ``tokens`` [N, D] float16.
    """

    images: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    patches: NDArray[np.float16]
    tokens: NDArray[np.float16]


def prepare_features(
    folder: Path, name: str, indices: range, teacher: VisionTransformer, seed: int, key: str
) -> Features:
    """Draw and run the teacher, or open what an earlier run left; a broken-off run goes on."""
    width = teacher.embed_dim
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "images": ((SIDE, SIDE, 3), np.uint8),
        "parts": ((SIDE, SIDE), np.uint8),
        "patches": ((GRID, GRID, 2 * width), np.float16),
        "tokens": ((width,), np.float16),
    }
    folder = folder / f"{name}-{len(indices)}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    progress = folder / "done.json"
    done = json.loads(progress.read_text()) if progress.exists() else 0
    arrays = {
        field: np.lib.format.open_memmap(
            folder / f"{field}.npy", "r+" if done else "w+", dtype, (len(indices), *shape)
        )
        for field, (shape, dtype) in shapes.items()
    }
    if done < len(indices):
        _fill(arrays, indices, teacher, seed, done, progress)
    return Features(**arrays)


def _fill(
    arrays: dict[str, Any],
    indices: range,
    teacher: VisionTransformer,
    seed: int,
    done: int,
    progress: Path,
) -> None:
    drawings = Aviary(
        "pretrain", "coarse", size=SIDE, length=indices.stop, seed=seed, difficulties=DIFFICULTIES
    )
    start, first = time.monotonic(), done
    for low in range(done, len(indices), 50):
        rows = range(low, min(low + 50, len(indices)))
        for row in rows:
            drawing = drawings.drawing(indices[row])
            arrays["images"][row], arrays["parts"][row] = drawing.image, drawing.parts
        span = slice(rows.start, rows.stop)
        patches, tokens = teacher_features(teacher, torch.from_numpy(arrays["images"][span]))
        arrays["patches"][span], arrays["tokens"][span] = patches.numpy(), tokens.numpy()
        if (low // 50) % 10 == 9 or rows.stop == len(indices):
            for array in arrays.values():
                array.flush()
            progress.write_text(json.dumps(rows.stop))
            pace = (time.monotonic() - start) / (rows.stop - first)
            left = (len(indices) - rows.stop) * pace / 60
            print(f"teacher: {rows.stop}/{len(indices)} drawings, {left:.1f} min left", flush=True)


@torch.inference_mode()
def teacher_features(teacher: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features of drawings, enlarged to the teacher's size.

    Args:
        teacher: DeiT-Ti at 224 px.
        images: uint8 [B, 112, 112, 3].

    Returns:
        Patch features [B, 14, 14, 2D] (middle block, last block) and class tokens [B, D], half.
    """
    x = normalise(images.permute(0, 3, 1, 2))  # [B, 3, 112, 112]
    x = F.interpolate(x, scale_factor=16 / PATCH, mode="bicubic", align_corners=False)
    layers = teacher.forward_intermediates(
        x,
        indices=[MIDDLE_BLOCK, len(teacher.blocks) - 1],
        return_prefix_tokens=True,
        norm=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    patches = torch.cat([patch for patch, _ in layers], dim=-1).unflatten(1, (GRID, GRID))
    return patches.half(), layers[-1][1][:, 0].half()


def normalise(images: Tensor) -> Tensor:
    """Bytes [B, 3, H, W] to ImageNet-normalised floats."""
    return (images.float() / 255 - MEAN) / STD


def load_teacher(checkpoint: Path | None) -> tuple[VisionTransformer, str]:
    """DeiT-Ti and the fingerprint of its weights."""
    teacher = create_backbone(TEACHER, pretrained=checkpoint is None, checkpoint=checkpoint).eval()
    return teacher, fingerprint(teacher.state_dict())


def fingerprint(state: dict[str, Tensor]) -> str:
    """First 12 hex digits of the SHA-256 over sorted names and values."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode() + state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


# --- views of the student ------------------------------------------------------------------------


class Views:
    """Random views of cached drawings: one of 3x3 crops, mirrored or not, recoloured."""

    def __init__(self, features: Features) -> None:
        self.features = features
        sample = slice(0, len(features.images), max(1, len(features.images) // 500))
        self.patch_scale = _scale(features.patches[sample].reshape(-1, features.patches.shape[-1]))
        self.token_scale = _scale(features.tokens)

    def targets(self, patches: NDArray[np.float16], tokens: NDArray[np.float16]) -> list[Tensor]:
        """Standardise each channel: zero mean and unit variance over the training drawings."""
        pairs = ((patches, self.patch_scale), (tokens, self.token_scale))
        return [(torch.from_numpy(x).float() - mean) / std for x, (mean, std) in pairs]

    def draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A batch: images [B, 3, 96, 96], patch targets [B, 144, 2D], class targets [B, D]."""
        images, patches = [], []
        for row in rows:
            top, left = rng.integers(GRID - VIEW + 1, size=2)
            image, patch = cut(self.features, int(row), int(top), int(left))
            if rng.random() < 0.5:
                image, patch = image[:, ::-1], patch[:, ::-1]
            images.append(image)
            patches.append(patch)
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        x = (recolour(x, rng) - MEAN) / STD
        patch_targets, token_targets = self.targets(np.stack(patches), self.features.tokens[rows])
        return x, patch_targets.flatten(1, 2), token_targets

    def centre(self, rows: slice) -> tuple[Tensor, ...]:
        """The same for centre crops as they are."""
        offset = (GRID - VIEW) // 2
        pairs = [cut(self.features, row, offset, offset) for row in range(rows.start, rows.stop)]
        images, patches = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
        x = normalise(torch.from_numpy(images).permute(0, 3, 1, 2))
        patch_targets, token_targets = self.targets(patches, self.features.tokens[rows])
        return x, patch_targets.flatten(1, 2), token_targets


def _scale(values: NDArray[np.float16]) -> tuple[Tensor, Tensor]:
    floats = torch.from_numpy(values.astype(np.float32))
    return floats.mean(0), floats.std(0).clamp_min(1e-6)


def cut(
    features: Features, row: int, top: int, left: int
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Crop [96, 96, 3] of a drawing and its features [12, 12, 2D]; the offset is in tokens."""
    y, x = top * PATCH, left * PATCH
    image = features.images[row, y : y + CROP, x : x + CROP]
    return image, features.patches[row, top : top + VIEW, left : left + VIEW]


def recolour(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Jitter brightness, contrast, saturation and colour balance of images in 0-1 [B, 3, H, W]."""
    count = len(images)

    def factor(low: float, high: float, channels: int = 1) -> Tensor:
        values = rng.uniform(low, high, (count, channels, 1, 1))
        return torch.from_numpy(values.astype(np.float32))

    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * factor(0.5, 1.4)
    level = images.mean((1, 2, 3), keepdim=True)
    images = level + (images - level) * factor(0.7, 1.3)
    return (images * factor(0.7, 1.3) * factor(0.9, 1.1, 3)).clamp(0, 1)


# --- training ------------------------------------------------------------------------------------


class Student(nn.Module):
    """The backbone with two linear heads, for the patch features and for the class token."""

    def __init__(self, patch_width: int, token_width: int) -> None:
        super().__init__()
        self.backbone = create_backbone(SHIPPED_BACKBONE, image_size=CROP)
        self.patch_head = nn.Linear(self.backbone.embed_dim, patch_width)
        self.token_head = nn.Linear(self.backbone.embed_dim, token_width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict standardised features: [B, 144, 2D] and [B, D]."""
        tokens = self.backbone.forward_features(images)  # [B, 1 + 144, 128]
        return self.patch_head(tokens[:, 1:]), self.token_head(tokens[:, 0])


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Linear warm-up, then a cosine to zero; ``progress`` 0-1 is the part of the time spent."""
    if progress < recipe.warmup:
        return recipe.lr * progress / recipe.warmup
    through = (progress - recipe.warmup) / (1 - recipe.warmup)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, through)))


@dataclass
class Progress:
    """Where training stands; kept with the weights so that a broken-off run goes on."""

    step: int = 0
    seconds: float = 0.0
    loss: float = 1.0  # running mean


def train(recipe: Recipe, views: Views, held_out: Views, folder: Path) -> tuple[Student, Progress]:
    """Regress the teacher's features until the time is up."""
    torch.manual_seed(recipe.seed)
    student = Student(views.features.patches.shape[-1], views.features.tokens.shape[-1])
    student = student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(recipe, student)
    progress = _resume(folder / "state.pt", student, optimizer)
    report = save = time.monotonic()
    while progress.seconds < recipe.minutes * 60:
        began = time.monotonic()
        train_step(recipe, student, optimizer, views, progress)
        progress.step += 1
        progress.seconds += time.monotonic() - began
        if time.monotonic() - report > 30:
            report = time.monotonic()
            _print_progress(recipe, progress)
        if time.monotonic() - save > 300:
            save = time.monotonic()
            _save(folder, student, optimizer, progress)
            print(f"held-out: {json.dumps(measure(student, held_out))}", flush=True)
    _save(folder, student, optimizer, progress)
    return student.eval(), progress


def make_optimizer(recipe: Recipe, student: Student) -> torch.optim.Optimizer:
    """Make an optimizer of timm's; Muon for matrices and AdamW for the rest by default."""
    options = {}
    if recipe.optimizer == "muon":
        options = {"adjust_lr_fn": "match_rms_adamw"}  # so that both share one learning rate
        # timm orthogonalises in bfloat16, 4 s a step on a CPU without it
        timm.optim.muon.zeropower_via_newtonschulz = partial(
            timm.optim.muon.zeropower_via_newtonschulz, dtype=torch.float32
        )
    return create_optimizer_v2(
        student, recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay, **options
    )


def train_step(
    recipe: Recipe,
    student: Student,
    optimizer: torch.optim.Optimizer,
    views: Views,
    progress: Progress,
) -> None:
    """One step: a batch that depends on the seed and the step alone."""
    rng = np.random.default_rng([recipe.seed, progress.step])
    rows = rng.choice(len(views.features.images), recipe.batch_size, replace=False)
    images, patch_targets, token_targets = views.draw(rows, rng)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, progress.seconds / (recipe.minutes * 60))
    student.train()
    images = images.contiguous(memory_format=torch.channels_last)
    value = set_gradients(recipe, student, (images, patch_targets, token_targets))
    nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()
    if not math.isfinite(value):
        raise SystemExit(f"the loss is {value} at step {progress.step}; try a lower --lr")
    progress.loss += (value - progress.loss) / min(100, progress.step + 1)


def set_gradients(recipe: Recipe, student: Student, batch: tuple[Tensor, ...]) -> float:
    """Compute the gradients of a batch, split over ``recipe.threads``; returns the patch loss.

    Each thread takes its share of the batch and one core. Within an operation the threads would
    have to wait for each other hundreds of times a step, which is slow where cores are shared.
    """
    parameters = list(student.parameters())

    def share(images: Tensor, patch_targets: Tensor, token_targets: Tensor) -> tuple[Any, float]:
        patches, tokens = student(images)
        patch_loss = F.mse_loss(patches, patch_targets)
        loss = patch_loss + recipe.class_weight * F.mse_loss(tokens, token_targets)
        return torch.autograd.grad(loss / recipe.threads, parameters), float(patch_loss.detach())

    shares = zip(*(values.chunk(recipe.threads) for values in batch), strict=True)
    with ThreadPoolExecutor(recipe.threads) as pool:
        results = list(pool.map(lambda values: share(*values), shares))
    for parameter, *parts in zip(parameters, *(grads for grads, _ in results), strict=True):
        parameter.grad = torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
    return float(np.mean([value for _, value in results]))


def _print_progress(recipe: Recipe, progress: Progress) -> None:
    pace = progress.step * recipe.batch_size / progress.seconds
    left = recipe.minutes - progress.seconds / 60
    print(
        f"train: step {progress.step}, unexplained variance {progress.loss:.3f}, "
        f"{pace:.0f} views/s, {left:.1f} min left",
        flush=True,
    )


def _save(
    folder: Path, student: Student, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    state = {
        "student": student.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    torch.save(state, folder / "state.tmp")
    (folder / "state.tmp").replace(folder / "state.pt")
    export(student, folder / "latest.safetensors")


def _resume(path: Path, student: Student, optimizer: torch.optim.Optimizer) -> Progress:
    if not path.exists():
        return Progress()
    state = torch.load(path, weights_only=True)
    student.load_state_dict(state["student"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"going on at step {state['progress']['step']}", flush=True)
    return Progress(**state["progress"])


def export(student: Student, path: Path) -> None:
    """Write the backbone alone, without heads, as fp16 safetensors."""
    state = {
        key: value.half().contiguous() if value.is_floating_point() else value
        for key, value in student.backbone.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, metadata={"format": "pt"})
    path.chmod(0o644)


# --- what the features are worth -----------------------------------------------------------------


@torch.inference_mode()
def measure(student: Student, held_out: Views) -> dict[str, Any]:
    """Held-out variance explained, and how the tokens separate bird from ground."""
    student.eval()
    outputs: list[list[Tensor]] = [[], [], [], []]
    errors = torch.zeros(2)
    for low in range(0, len(held_out.features.images), 100):
        rows = slice(low, min(low + 100, len(held_out.features.images)))
        images, patch_targets, token_targets = held_out.centre(rows)
        tokens = student.backbone.forward_features(images)
        errors[0] += (student.patch_head(tokens[:, 1:]) - patch_targets).square().mean(2).sum()
        errors[1] += (student.token_head(tokens[:, 0]) - token_targets).square().mean(1).sum()
        for values, batch in zip(outputs, (tokens[:, 1:], patch_targets), strict=False):
            values.append(batch)
    count = len(held_out.features.images)
    parts = token_parts(held_out.features)
    last = outputs[1][0].shape[-1] // 2
    return {
        "variance_explained": round(1 - float(errors[0]) / (count * VIEW * VIEW), 4),
        "class_token_variance_explained": round(1 - float(errors[1]) / count, 4),
        "student": probe(torch.cat(outputs[0]), parts),
        "teacher": probe(torch.cat(outputs[1])[..., last:], parts),
    }


def token_parts(features: Features) -> Tensor:
    """Share of each token's pixels that each part covers [N, 144, 5], on centre crops."""
    offset = (SIDE - CROP) // 2
    parts = torch.from_numpy(features.parts[:, offset : offset + CROP, offset : offset + CROP])
    one_hot = F.one_hot(parts.long(), 5).permute(0, 3, 1, 2).float()
    return F.avg_pool2d(one_hot, PATCH).flatten(2).transpose(1, 2)


def probe(tokens: Tensor, parts: Tensor) -> dict[str, float]:
    """How well tokens [N, T, D] tell bird from ground, given parts [N, T, 5].

    ``probe_ap`` and ``probe_iou``: a ridge regression on the first half of the drawings, scored
    over the tokens of the second half (average precision; best IoU over thresholds), with the
    recall of each part at that threshold. ``grouping_ap``: no training; tokens are ranked by their
    cosine similarity to the mean of the same image's head tokens (average precision, mean over
    images), which is what a map grown from the head would cover.
    """
    x = F.layer_norm(tokens, tokens.shape[-1:])
    x = F.normalize(x - x.mean((0, 1)), dim=-1)
    bird = 1 - parts[..., 0]  # [N, T]
    half = len(x) // 2
    design = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
    a, b = design[:half].flatten(0, 1), bird[:half].flatten()
    weights = torch.linalg.solve(a.T @ a + 0.1 * torch.eye(a.shape[1]), a.T @ b)
    score, truth = design[half:] @ weights, bird[half:] > 0.5
    iou, threshold = best_iou(score, truth)
    found = {"probe_ap": float(binary_average_precision(score.flatten(), truth.flatten().long()))}
    found |= {"probe_iou": iou, "grouping_ap": grouping_ap(x, parts)}
    for index, part in enumerate(("head", "wing", "body", "tail"), start=1):
        inside = truth & (parts[half:].argmax(-1) == index)
        found[f"recall_{part}"] = float((score[inside] > threshold).float().mean())
    return {key: round(value, 4) for key, value in found.items()}


def best_iou(score: Tensor, truth: Tensor) -> tuple[float, float]:
    """Best intersection over union over all thresholds, pooled over tokens, and its threshold."""
    thresholds = torch.quantile(score.flatten()[::7], torch.linspace(0.02, 0.98, 49))
    inside = torch.stack([score > threshold for threshold in thresholds])  # [49, N, T]
    both = (inside & truth).sum((1, 2))
    ious = both / (inside | truth).sum((1, 2))
    return float(ious.max()), float(thresholds[ious.argmax()])


def grouping_ap(x: Tensor, parts: Tensor) -> float:
    """Mean average precision of the similarity to the head tokens' mean."""
    precisions = []
    for tokens, share in zip(x, parts, strict=True):
        head, truth = share[:, 1] > 0.5, share[:, 0] < 0.5
        if head.any():
            similarity = tokens @ F.normalize(tokens[head].mean(0), dim=0)
            precisions.append(binary_average_precision(similarity, truth.long()))
    return float(torch.stack(precisions).mean())


# --- result file and model card ------------------------------------------------------------------


CARD = """# Model card: {name}

A small ViT with a convolutional stem ({parameters:,} parameters, {megabytes:.1f} MB as fp16; 96 px
input, {view}x{view} patch tokens and a class token). `satkit.create_model(..., "{name}",
pretrained=True)` loads it without a network. Every number here is written from `{name}.json`
by `data_scripts/train_backbone.py`, which made the weights.

## What it saw
- {drawings:,} drawings of Aviary (split "pretrain", generator {trained_on}), {views:,} views of
  them ({steps:,} steps of {batch_size}): crops, mirrored, recoloured. **No photographs.**
- No labels, no boxes, no masks. Its targets were the features of DeiT-Ti ({teacher}:
  patch tokens of block 9 and of the last block, and the class token), so it inherits what ImageNet
  taught DeiT-Ti.
- {minutes:.0f} minutes of training on a {device} with {cores} cores ({date}, torch {torch},
  commit {commit}). {note}

## What was measured
On {held_out} drawings that it did not see (generator {measured_on}; masks used for this only):

| | student | DeiT-Ti, last block |
|---|---|---|
| variance explained of the standardised patch features | {variance:.1%} | - |
| bird against ground, linear probe: average precision | {student[probe_ap]:.3f} | \
{target[probe_ap]:.3f} |
| the same: best IoU | {student[probe_iou]:.3f} | {target[probe_iou]:.3f} |
| recall of head tokens | {student[recall_head]:.3f} | {target[recall_head]:.3f} |
| recall of wing tokens | {student[recall_wing]:.3f} | {target[recall_wing]:.3f} |
| recall of body tokens | {student[recall_body]:.3f} | {target[recall_body]:.3f} |
| recall of tail tokens | {student[recall_tail]:.3f} | {target[recall_tail]:.3f} |
| similarity to the head, untrained: average precision | {student[grouping_ap]:.3f} | \
{target[grouping_ap]:.3f} |

## Limits
- Made for Aviary at 96 px, so that fine-tuning in the lessons starts from a pretrained backbone.
  It never saw a photograph; for photographs use a backbone pretrained on them.
- Distilled in {minutes:.0f} minutes; what its features leave unexplained of the teacher's (first
  row) is lost. That bird and ground separate well on drawings says nothing about photographs.

## Licence
The weights are satkit's (MIT). The teacher is Facebook Research's DeiT-Ti
(https://github.com/facebookresearch/deit, Apache-2.0), trained on ImageNet-1k; none of its weights
are in this file.

## Make it again
    python data_scripts/train_backbone.py --minutes {minutes:.0f} --drawings {drawings}

The schedule follows the clock, so a faster machine sees more views; the weights differ by machine.
"""


def model_card(result: dict[str, Any]) -> str:
    """Model card from the result file."""
    recipe, made, scores = result["recipe"], result["provenance"], result["held_out"]
    return CARD.format(
        name=SHIPPED_BACKBONE,
        parameters=result["parameters"],
        megabytes=result["bytes"] / 1e6,
        view=VIEW,
        drawings=recipe["drawings"],
        held_out=recipe["held_out"],
        batch_size=recipe["batch_size"],
        views=result["views"],
        steps=result["steps"],
        teacher=result["teacher"]["name"],
        minutes=result["seconds"] / 60,
        trained_on=result["data"]["source"],
        measured_on=made["data"],
        device=made["device"].upper(),
        cores=made["cores"],
        date=made["date"][:10],
        torch=made["torch"],
        commit=made["commit"][:10],
        note=result["note"],
        variance=scores["variance_explained"],
        student=scores["student"],
        target=scores["teacher"],
    )


def write_results(
    recipe: Recipe,
    student: Student,
    held_out: Views,
    progress: Progress,
    teacher: str,
    source: str,
    note: str,
    out: Path,
) -> None:
    """Write weights, result file and model card."""
    path = out / SHIPPED_WEIGHTS.name
    export(student, path)
    result = {
        "name": SHIPPED_BACKBONE,
        "recipe": asdict(recipe),
        "provenance": provenance("cpu", data_key()),
        "data": {"name": "aviary", "split": "pretrain", "task": "coarse", "source": source},
        "teacher": {"name": TEACHER, "sha256": teacher, "licence": "Apache-2.0"},
        "parameters": sum(p.numel() for p in student.backbone.parameters()),
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "steps": progress.step,
        "views": progress.step * recipe.batch_size,
        "seconds": round(progress.seconds, 1),
        "note": note,
        "held_out": measure(student, held_out),
    }
    path.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    (out / "MODEL_CARD.md").write_text(model_card(result))
    print(f"wrote {path}, {path.with_suffix('.json').name} and MODEL_CARD.md", flush=True)


def data_key() -> str:
    """Fingerprint of the generator's source, so that drawings of another version are not reused."""
    sources = sorted(Path(aviary.__file__).parent.glob("aviary*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


def main(
    minutes: Annotated[float, typer.Option(help="Training time; the schedule follows it.")] = 60.0,
    drawings: Annotated[int, typer.Option(help="Training drawings.")] = Recipe.drawings,
    optimizer: Annotated[str, typer.Option(help="timm's name: muon, adamw.")] = Recipe.optimizer,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = Recipe.lr,
    batch_size: Annotated[int, typer.Option(help="Views in a step.")] = Recipe.batch_size,
    seed: Annotated[int, typer.Option(help="Of drawings, views and weights.")] = 0,
    teacher_checkpoint: Annotated[
        Path | None, typer.Option(help="DeiT-Ti's weights; timm fetches them if not given.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder for features and checkpoints.")] = Path(
        "build/backbone"
    ),
    note: Annotated[str, typer.Option(help="What was unusual, for the model card.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for the weights.")] = SHIPPED_WEIGHTS.parent,
) -> None:
    """Distil DeiT-Ti into the small backbone on drawings; run again to go on after a break."""
    recipe = Recipe(minutes, drawings, batch_size=batch_size, optimizer=optimizer, lr=lr, seed=seed)
    if minutes <= 0 or not batch_size <= drawings:
        raise typer.BadParameter("expected minutes > 0 and at least one batch of drawings")
    teacher, sha256 = load_teacher(teacher_checkpoint)
    key = f"{data_key()}-{sha256}-{seed}"
    train_set = prepare_features(cache, "train", range(drawings), teacher, seed, key)
    test_range = range(HELD_OUT_FROM, HELD_OUT_FROM + recipe.held_out)
    test_set = prepare_features(cache, "held_out", test_range, teacher, seed, key)
    views, held_out = Views(train_set), Views(test_set)
    held_out.patch_scale, held_out.token_scale = views.patch_scale, views.token_scale
    run = hashlib.sha256(f"{recipe} {key}".encode()).hexdigest()[:12]
    folder = cache / f"run-{run}"
    folder.mkdir(exist_ok=True)
    student, progress = train(recipe, views, held_out, folder)
    write_results(recipe, student, held_out, progress, sha256, data_key(), note, out)


if __name__ == "__main__":
    typer.run(main)
