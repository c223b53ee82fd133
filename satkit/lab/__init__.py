"""Interactive parts of the lessons: move a control, see the picture change.

Each part is a thin shell of widgets around a function that returns an `Illustration`, a figure and
its text, and it shows that of its start first. So a notebook that is only read, on paper, by a
screen reader or on a site, loses nothing but the play.
"""

from satkit.lab.attention import Attended, attend, attention_view, explore_attention
from satkit.lab.bird import POSTURES, bird, bird_view, draw_own_bird
from satkit.lab.compare import compare_methods, comparison
from satkit.lab.losses import Replay, recompute, replay_losses, replay_of, replay_view
from satkit.lab.photo import localization, localize_photo
from satkit.lab.shell import panel
from satkit.lab.threshold import explore_threshold, threshold_view

__all__ = [
    "POSTURES",
    "Attended",
    "Replay",
    "attend",
    "attention_view",
    "bird",
    "bird_view",
    "compare_methods",
    "comparison",
    "draw_own_bird",
    "explore_attention",
    "explore_threshold",
    "localization",
    "localize_photo",
    "panel",
    "recompute",
    "replay_losses",
    "replay_of",
    "replay_view",
    "threshold_view",
]
