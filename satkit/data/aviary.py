"""Aviary: procedural fine-grained birds with boxes, masks, part masks and known difficulties.

Made for this kit, with no images of others in it. The twenty species differ in every part, the head
most: body, wings, tail and outline each carry a noisy cue that several species share. A classifier
therefore leans on the head, while the box holds the whole bird, which is the failure of weakly
supervised localization that SAT addresses; the part maps say which parts a map covers.

The mask holds the whole bird, with bill and legs; `parts` splits the mask without rest (the bill
belongs to the head, the legs to the body), so `mask == (parts > 0)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PILImage

from satkit.choices import check_choice
from satkit.data.aviary_birds import BEAKS, BUILDS, COLORS, PATTERNS, STRIPES, TAILS, Traits
from satkit.data.aviary_drawing import STREAMS, compose, stream
from satkit.data.aviary_scenes import Image, Rng
from satkit.data.aviary_shelf import shelf
from satkit.data.splits import shuffle
from satkit.data.transforms import Resized, Transform

PART_NAMES = ("background", "head", "wing", "body", "tail")
DIFFICULTIES = ("occlusion", "context", "reflection", "partial", "multiple", "label_error")
SPLITS = {"train": 1000, "val": 300, "test": 1000, "pretrain": 4000}  # default lengths
TASKS = ("species", "coarse")
VARIANTS = ("every_part", "head_only")
CACHE_BYTES = 256 * 2**20
#: What is drawn -> its drawings; all data sets of the same drawings share them.
_KEPT: dict[str, dict[int, Drawing]] = {}

_BODIES = (  # back, breast, pattern
    ("olive", "golden", "plain"), ("brown", "buff", "streaked"), ("grey", "white", "barred"),
    ("rufous", "white", "spotted"), ("blue", "orange", "plain"), ("black", "grey", "scaled"),
    ("teal", "olive", "streaked"), ("buff", "rufous", "barred"),
)  # fmt: skip
_WINGS = (  # wing, bar, number of bars
    ("brown", "white", 2), ("black", "white", 1), ("blue", "black", 0), ("olive", "golden", 2),
    ("rufous", "black", 1), ("grey", "orange", 1), ("buff", "brown", 0),
)  # fmt: skip
_TAILS = (  # tail, tip, shape, long
    ("brown", "white", "square", False), ("black", "black", "forked", True),
    ("blue", "black", "rounded", False), ("rufous", "golden", "pointed", True),
    ("grey", "white", "forked", False), ("olive", "olive", "rounded", True),
)  # fmt: skip
_BUILDS = tuple(BUILDS)


class Head(NamedTuple):
    """The part of a species' traits that its head shows."""

    crown: str
    face: str
    throat: str
    stripe: str
    beak: str
    crest: bool


class Species(NamedTuple):
    """A species: its head, and which body, wings, tail and build it shares with others."""

    name: str
    head: Head
    body: int
    wing: int
    tail: int
    build: int


SPECIES = (
    Species("crimson-crowned reed warbler",
            Head("crimson", "buff", "white", "eyeline", "fine", False), 0, 0, 0, 0),
    Species("crimson-hooded finch",
            Head("crimson", "crimson", "black", "plain", "cone", False), 1, 1, 1, 1),
    Species("orange-capped creeper",
            Head("orange", "grey", "white", "brow", "long", False), 2, 2, 2, 2),
    Species("flame-crested bush shrike",
            Head("orange", "orange", "buff", "mask", "hooked", True), 3, 3, 3, 0),
    Species("golden-browed wheatear",
            Head("golden", "white", "golden", "mask", "fine", False), 4, 4, 4, 1),
    Species("gilded grosbeak",
            Head("golden", "golden", "golden", "plain", "cone", False), 5, 5, 5, 2),
    Species("olive-naped honeysip",
            Head("olive", "olive", "crimson", "eyeline", "long", False), 6, 6, 0, 0),
    Species("moss-capped tyrant",
            Head("olive", "white", "white", "brow", "hooked", True), 7, 0, 1, 1),
    Species("teal-faced tanager",
            Head("teal", "teal", "black", "plain", "cone", False), 1, 2, 3, 2),
    Species("lagoon kingcatcher",
            Head("teal", "orange", "white", "eyeline", "long", True), 0, 3, 2, 1),
    Species("azure-masked jay", Head("blue", "white", "blue", "mask", "hooked", True), 3, 1, 5, 2),
    Species("cobalt flycatcher",
            Head("blue", "blue", "orange", "plain", "fine", False), 2, 4, 0, 0),
    Species("violet-eared starling",
            Head("violet", "violet", "violet", "mask", "long", False), 5, 0, 3, 1),
    Species("plum-crowned seedeater",
            Head("violet", "grey", "white", "brow", "cone", False), 4, 6, 1, 2),
    Species("snowcap thrush", Head("white", "black", "white", "plain", "fine", False), 7, 5, 2, 0),
    Species("ghost-headed butcherbird",
            Head("white", "white", "white", "mask", "hooked", False), 6, 1, 4, 1),
    Species("coal-hooded bunting",
            Head("black", "black", "crimson", "plain", "cone", True), 2, 3, 5, 0),
    Species("jet-capped tern",
            Head("black", "white", "white", "eyeline", "long", False), 0, 5, 1, 2),
    Species("umber-crowned babbler",
            Head("brown", "buff", "rufous", "brow", "hooked", False), 4, 2, 4, 1),
    Species("chestnut-crested wren",
            Head("rufous", "rufous", "white", "brow", "fine", True), 3, 6, 3, 0),
)  # fmt: skip

#: How often a part of an individual looks like that of another species.
CONFUSION = {"head": 0.02, "body": 0.12, "wing": 0.15, "tail": 0.18, "build": 0.2}

#: The attributes that the coarse task asks for, each with its values.
COARSE_ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    "crown": tuple(COLORS), "face": tuple(COLORS), "stripe": STRIPES, "beak": tuple(BEAKS),
    "crest": (False, True), "back": tuple(COLORS), "breast": tuple(COLORS), "pattern": PATTERNS,
    "wing": tuple(COLORS), "bars": (0, 1, 2), "tail": tuple(COLORS), "tail_shape": TAILS,
    "long_tail": (False, True), "build": _BUILDS,
}  # fmt: skip


class Drawing(NamedTuple):
    """One drawing and all that is known about it.

    Attributes:
        image: uint8 [S, S, 3], RGB.
        mask: bool [S, S], the visible bird or birds.
        parts: uint8 [S, S], indices into `PART_NAMES`.
        boxes: int64 [n, 4], half-open xyxy around each visible bird.
        label: the label as a learner gets it: a species' index, or the coarse attributes' indices.
        attributes: the traits and the pose of the (first) bird, and its scene.
        difficulties: each name in `DIFFICULTIES` -> whether it is in this drawing; `true_label` is
            the label before any label error.
    """

    image: Image
    mask: npt.NDArray[np.bool_]
    parts: Image
    boxes: npt.NDArray[np.int64]
    label: int | dict[str, int]
    attributes: dict[str, Any]
    difficulties: dict[str, Any]


def check_difficulties(difficulties: Mapping[str, float] | None) -> dict[str, float]:
    """Check the probabilities of difficulties, and fill in 0 for the ones not named.

    Args:
        difficulties: name in `DIFFICULTIES` -> probability in 0..1 that a drawing has it.

    Returns:
        All of `DIFFICULTIES` with their probabilities.

    Raises:
        ValueError: unknown name, or a probability outside 0..1.
    """
    for name, value in (difficulties or {}).items():
        check_choice("difficulty", name, DIFFICULTIES)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(
                f"Difficulty {name!r} has probability {value!r}; expected a number from 0 (never) "
                f"to 1 (in every drawing), e.g. {{{name!r}: 0.5}}."
            )
    return dict.fromkeys(DIFFICULTIES, 0.0) | dict(difficulties or {})


# -------------------------------------------------------------------------------------- traits


def random_traits(rng: Rng) -> Traits:
    """Draw every attribute freely; the heads of the species are left out."""
    names, taken = tuple(COLORS), {species.head for species in SPECIES}
    while True:
        c = [names[k] for k in rng.integers(len(names), size=9)]
        face = c[0] if rng.random() < 0.4 else c[1]  # often like the crown, as in real birds
        stripe, beak = STRIPES[rng.integers(len(STRIPES))], tuple(BEAKS)[rng.integers(len(BEAKS))]
        head = Head(c[0], face, c[2], stripe, beak, bool(rng.random() < 0.3))
        if head not in taken:
            break
    return Traits(
        **head._asdict(),
        back=c[3], breast=c[4], pattern=PATTERNS[rng.integers(len(PATTERNS))],
        wing=c[5], bar=c[6], bars=int(rng.integers(3)),
        tail=c[7], tip=c[8], tail_shape=TAILS[rng.integers(len(TAILS))],
        long_tail=bool(rng.random() < 0.4), build=_BUILDS[rng.integers(len(_BUILDS))],
    )  # fmt: skip


def species_traits(rng: Rng, label: int, variant: str = "every_part") -> Traits:
    """Draw an individual of a species, with each part's cue confused as `CONFUSION` says."""
    of = {}
    for part, rate in CONFUSION.items():
        other, confused = int(rng.integers(len(SPECIES))), rng.random() < rate
        of[part] = SPECIES[other if confused else label]
    head, (wing, bar, bars) = of["head"].head, _WINGS[of["wing"].wing]
    if variant == "head_only":
        return random_traits(rng)._replace(
            crown=head.crown, face=head.face, throat=head.throat, bar=bar, bars=bars
        )
    back, breast, pattern = _BODIES[of["body"].body]
    tail, tip, shape, long_tail = _TAILS[of["tail"].tail]
    return Traits(
        **head._asdict(), back=back, breast=breast, pattern=pattern, wing=wing, bar=bar, bars=bars,
        tail=tail, tip=tip, tail_shape=shape, long_tail=long_tail,
        build=_BUILDS[of["build"].build],
    )  # fmt: skip


def coarse_label(traits: Traits) -> dict[str, int]:
    """The indices of a bird's attributes in `COARSE_ATTRIBUTES`."""
    return {k: values.index(getattr(traits, k)) for k, values in COARSE_ATTRIBUTES.items()}


# ------------------------------------------------------------------------------------- drawing


def draw_bird(
    seed: int | Sequence[int],
    size: int = 110,
    *,
    label: int = 0,
    traits: Traits | None = None,
    variant: str = "every_part",
    difficulties: Mapping[str, float] | None = None,
) -> Drawing:
    """Draw a bird of a species, or with given traits, in a scene of its own.

    Args:
        seed: non-negative int or ints; the same seed and arguments give the same drawing.
        size: side of the square drawing in pixels, at least 32.
        label: index into `SPECIES`; used where `traits` is None.
        traits: what the bird looks like; the label is then `coarse_label(traits)`.
        variant: "every_part", or "head_only" (only head colours and wing bars tell the species).
        difficulties: name in `DIFFICULTIES` -> probability in 0..1.

    Returns:
        The drawing with its truth.

    Raises:
        ValueError: `size`, `label`, `variant` or a difficulty out of range.
    """
    chances = check_difficulties(difficulties)
    check_choice("variant", variant, VARIANTS)
    if size < 32:
        raise ValueError(f"size is {size}; expected at least 32 pixels: raise it.")
    if not 0 <= label < len(SPECIES):
        raise ValueError(
            f"label is {label}; expected 0..{len(SPECIES) - 1}, an index into SPECIES."
        )
    entropy = [seed] if isinstance(seed, int) else list(seed)
    rngs = {name: stream(name, entropy) for name in STREAMS}
    coins = rngs["truth"].random(len(DIFFICULTIES))
    truth: dict[str, Any] = {
        name: bool(coin < chances[name]) for name, coin in zip(DIFFICULTIES, coins, strict=True)
    }
    look = traits or species_traits(rngs["traits"], label, variant)
    true_label = label if traits is None else coarse_label(look)
    done = compose(rngs, size, look, label, truth)
    truth["true_label"] = true_label
    given = _mislabel(rngs["truth"], true_label) if truth["label_error"] else true_label
    return Drawing(
        done.image, done.parts > 0, done.parts, done.boxes, given,
        look._asdict() | done.attributes, truth,
    )  # fmt: skip


def _mislabel(rng: Rng, label: int | dict[str, int]) -> int | dict[str, int]:
    if isinstance(label, int):
        return int(label + rng.integers(1, len(SPECIES))) % len(SPECIES)
    return {name: int(value + rng.integers(1, len(COARSE_ATTRIBUTES[name])))
            % len(COARSE_ATTRIBUTES[name]) for name, value in label.items()}  # fmt: skip


# ------------------------------------------------------------------------------------- dataset


class Aviary(torch.utils.data.Dataset[dict[str, Any]]):
    """The drawings of one split, made when they are first asked for.

    Drawing `index` depends on `drawing_seed`, the split and `index` only, so splits never share a
    drawing and the first drawings of a longer dataset are those of a shorter one. Labels are
    balanced.

    Args:
        split: "train", "val" (held-out selection), "test" or "pretrain".
        task: "species" (label: int) or "coarse" (label: dict of ints, `COARSE_ATTRIBUTES`).
        variant: "every_part" or "head_only"; only for species.
        size: side of the drawings in pixels.
        length: number of drawings; default 1000, 300, 1000 and 4000 by split.
        seed: of the transform's random crops.
        drawing_seed: another one gives other drawings of the same species.
        transform: called as `transform(image, boxes, masks, rng)`; None gives the image as float
            [3, H, W] in 0..1, with boxes and masks as drawn.
        difficulties: name in `DIFFICULTIES` -> probability in 0..1.
        cache: keep drawings after they were drawn: in memory (60 kB each at 110 px, up to
            `CACHE_BYTES` a kind of drawing), where later data sets of the process find them, and
            in files below `satkit.data.prepared.cache_folder()`, where other processes do.

    Raises:
        ValueError: an unknown name, or a value out of range.
    """

    def __init__(
        self,
        split: str = "train",
        task: str = "species",
        variant: str = "every_part",
        size: int = 110,
        length: int | None = None,
        seed: int = 0,
        transform: Callable[..., dict[str, Any]] | None = None,
        difficulties: Mapping[str, float] | None = None,
        drawing_seed: int = 0,
        cache: bool = True,
    ) -> None:
        check_choice("split", split, tuple(SPLITS))
        check_choice("task", task, TASKS)
        check_choice("variant", variant, VARIANTS)
        if task == "coarse" and variant != VARIANTS[0]:
            raise ValueError(f"variant {variant!r} applies only to the species task; leave it out.")
        self.length = SPLITS[split] if length is None else length
        if self.length < 1:
            raise ValueError(f"length is {length}; expected at least 1 drawing.")
        if size < 32:
            raise ValueError(f"size is {size}; expected at least 32 pixels: raise it.")
        if min(seed, drawing_seed) < 0:
            raise ValueError(f"seeds are {seed} and {drawing_seed}; expected 0 or more.")
        self.split, self.task, self.variant = split, task, variant
        self.size, self.transform = size, transform
        self.seed, self.drawing_seed = seed, drawing_seed
        # shared memory, so that the workers of a DataLoader see a new epoch too
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self.difficulties = check_difficulties(difficulties)
        self.classes = [species.name for species in SPECIES]
        if task == "coarse":
            self.classes = [f"{k}={v}" for k, vs in COARSE_ATTRIBUTES.items() for v in vs]
        self.num_classes = len(self.classes)
        self.cache = cache
        self._kept = _KEPT.setdefault(self._what(), {}) if cache else {}

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the randomness of the transform depends."""
        self._epoch.fill_(epoch)

    def epoch_order(self, rng: np.random.Generator) -> list[int]:
        """Shuffle the indices for one epoch, see `satkit.data.splits.shuffle`."""
        return shuffle(len(self), None, rng)

    @property
    def labels(self) -> list[int]:
        """Label of every drawing of the species task, as drawn (before any label error)."""
        return [index % len(SPECIES) for index in range(self.length)]

    def fingerprint(self) -> str:
        """Short hash of what is drawn."""
        text = f"{self._what()} {self.length}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _what(self) -> str:
        content = (self.split, self.task, self.variant, self.size, self.drawing_seed)
        return repr((*content, sorted(self.difficulties.items()), self.classes))

    def drawing(self, index: int) -> Drawing:
        """The drawing at `index` with all its truth, before any transform; do not write to it."""
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; expected 0..{self.length - 1}.")
        if index in self._kept:
            return self._kept[index]
        drawing = self._unshelve(index) if self.cache else self._draw(index)
        if self.cache and (len(self._kept) + 1) * 5 * self.size**2 <= CACHE_BYTES:
            self._kept[index] = drawing
        return drawing

    def _unshelve(self, index: int) -> Drawing:
        """The drawing from its file, into which it is put where it is not there."""
        place = shelf(self._what(), self.size)
        found = place.get(index)
        if found:
            image, parts, about = found
            boxes = np.array(about.pop("boxes"), np.int64)
            return Drawing(image=image, mask=parts > 0, parts=parts, boxes=boxes, **about)
        drawing = self._draw(index)
        about = {
            "boxes": drawing.boxes.tolist(),
            "label": drawing.label,
            "attributes": drawing.attributes,
            "difficulties": drawing.difficulties,
        }
        place.put(index, drawing.image, drawing.parts, about)
        return drawing

    def _draw(self, index: int) -> Drawing:
        seed = [self.drawing_seed, list(SPLITS).index(self.split), index]
        traits = random_traits(stream("coarse", seed)) if self.task == "coarse" else None
        return draw_bird(
            seed, self.size, label=index % len(SPECIES), traits=traits, variant=self.variant,
            difficulties=self.difficulties,
        )  # fmt: skip

    def __getitem__(self, index: int) -> dict[str, Any]:
        if isinstance(self.transform, Transform):
            return self.transform.finish(self.raw(index))
        drawing = self.drawing(index)
        boxes = torch.from_numpy(drawing.boxes).float()
        if self.transform is None:
            image = torch.from_numpy(drawing.image).permute(2, 0, 1).float() / 255
            mask, parts = torch.tensor(drawing.mask), torch.tensor(drawing.parts)
            item: dict[str, Any] = {"image": image, "boxes": boxes, "mask": mask, "parts": parts}
        else:
            picture, rng = PILImage.fromarray(drawing.image), self._rng(index)
            item = self.transform(picture, boxes, _masks(drawing), rng)
        return item | self._about(drawing, index)

    def raw(self, index: int) -> dict[str, Any]:
        """The item with pixels and window in place of its image, see `Transform.aim`.

        Where the transform is none of `Transform`, it is the finished item.
        """
        if not isinstance(self.transform, Transform):
            return self[index]
        drawing, side = self.drawing(index), self.transform.side
        if self.size == side:
            resized = Resized(drawing.image, _masks(drawing), (side, side))
        else:
            resized = self.transform.resize(PILImage.fromarray(drawing.image), _masks(drawing))
        rng = self._rng(index) if self.transform.train else None
        item = self.transform.aim(resized, drawing.boxes, rng)
        return item | self._about(drawing, index)

    def _rng(self, index: int) -> Rng:
        return np.random.default_rng([self.seed, int(self._epoch), index])

    def _about(self, drawing: Drawing, index: int) -> dict[str, Any]:
        return {
            "label": drawing.label,
            "path": f"aviary/{self.split}/{index:05d}",
            "size": (self.size, self.size),
            "index": index,
        }


def _masks(drawing: Drawing) -> dict[str, npt.NDArray[Any]]:
    return {"mask": drawing.mask, "parts": drawing.parts}
