"""Exercises on what a box is worth."""

from __future__ import annotations

from satkit.course.checks import Exercise, Misconception, value

EXERCISES = (
    Exercise(
        name="iou_by_hand",
        title="IoU by hand",
        difficulty=1,
        importance=3,
        minutes=10,
        points=2,
        reference=18 / 62,  # of (2, 1, 10, 5) and (4, 2, 12, 8)
        idea="Find the width and the height of the common part first. IoU is its area, divided by "
        "the area that at least one box covers. Give at least three decimals.",
        misconceptions=(
            Misconception(
                "the common area is counted twice",
                "The two areas both contain the common part: 32 + 48 counts it twice. The union is "
                "the sum of the areas minus the common area.",
                18 / 80,
            ),
            Misconception(
                "the common area is divided by one box",
                "The share of one box that is covered forgives all that the other box has too "
                "much. IoU divides by the union of both boxes.",
                18 / 48,
            ),
            Misconception(
                "the common area is divided by the smaller box",
                "By that measure, a tiny box anywhere on the bird is perfect. IoU divides by the "
                "union of both boxes.",
                18 / 32,
            ),
            Misconception(
                "that is the Dice coefficient",
                "Twice the common area over the sum of the areas is Dice (F1), which is never "
                "smaller than IoU. IoU divides the common area by the union.",
                36 / 80,
            ),
            Misconception(
                "a last column and row are added",
                "The boxes are half-open: x1 is the first column that is not in the box, so a "
                "width is x1 − x0. With + 1, this pair would gain six points for nothing.",
                28 / 80,
            ),
            Misconception(
                "the last two numbers are taken as width and height",
                "A box is (x0, y0, x1, y1): two corners. Its width is x1 − x0. (Other programs "
                "write x, y, width, height: always look.)",
                32 / 114,
            ),
            Misconception(
                "percent are given",
                "IoU is a share between 0 and 1.",
                100 * 18 / 62,
            ),
        ),
        run=value,
        tolerance=2e-3,
    ),
    Exercise(
        name="smallest_side",
        title="How small may a box be?",
        difficulty=2,
        importance=2,
        minutes=10,
        points=2,
        reference=0.5**0.5,
        idea="The inner box is the common part, the outer box is the union. Write their areas with "
        "the sides' ratio s, and ask when the IoU is 0.5. Give at least three decimals.",
        misconceptions=(
            Misconception(
                "sides are compared, not areas",
                "Half the sides give a quarter of the area: IoU would be 0.25. IoU is a ratio of "
                "areas, and both sides shrink.",
                0.5,
            ),
            Misconception(
                "the square is taken where the root is meant",
                "The area is s², and s² should be 0.5. So s is the root of 0.5, not its square.",
                0.25,
            ),
            Misconception(
                "the union counts the inner box twice",
                "The inner box is already part of the outer one, so the union is the outer box "
                "alone: IoU = s², not s² / (1 + s²).",
                1.0,
            ),
            Misconception(
                "that is a box around the bird's box, not inside it",
                "√2 is how much larger than the bird's box a box may be. Inside, it is 1/√2.",
                2**0.5,
            ),
            Misconception(
                "percent are given",
                "s is the ratio of two sides, a number between 0 and 1.",
                100 * 0.5**0.5,
            ),
        ),
        run=value,
        tolerance=5e-3,
    ),
)
