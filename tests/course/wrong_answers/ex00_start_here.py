"""Wrong answers to the exercises of lesson 00."""

from tests.course.wrong_answers import Wrong

WRONG = [
    Wrong(
        exercise="iou_by_hand",
        misconception="the common area is counted twice",
        code="""
iou_by_hand = 0.225  # 18 / (32 + 48)
""",
    ),
    Wrong(
        exercise="iou_by_hand",
        misconception="the common area is divided by one box",
        code="""
iou_by_hand = round(6 * 3 / (8 * 6), 3)
""",
    ),
    Wrong(
        exercise="iou_by_hand",
        misconception="a last column and row are added",
        code="""
inter = (10 - 4 + 1) * (5 - 2 + 1)
bird = (10 - 2 + 1) * (5 - 1 + 1)
model = (12 - 4 + 1) * (8 - 2 + 1)
iou_by_hand = inter / (bird + model - inter)
""",
    ),
    Wrong(
        exercise="smallest_side",
        misconception="sides are compared, not areas",
        code="""
smallest_side = 0.500
""",
    ),
    Wrong(
        exercise="smallest_side",
        misconception="that is a box around the bird's box, not inside it",
        code="""
smallest_side = 1.414  # sqrt(2)
""",
    ),
    Wrong(
        exercise="smallest_side",
        misconception="percent are given",
        code="""
smallest_side = 70.7
""",
    ),
]
