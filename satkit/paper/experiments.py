"""The paper's experiments as settings: the rows of its tables and figures, as satkit runs them."""

from __future__ import annotations

from typing import Any

ALONE = {"area_term": "none", "pixel_term": "none"}
SHOTS = {"1": 1, "3": 3, "5": 5, "10": 10, "all": 0}
BACKBONES = {
    "DeiT-T": "deit_tiny_patch16_224",
    "DeiT-S": "deit_small_patch16_224",
    "DeiT-B": "deit_base_patch16_224",
    "Conformer-S": "conformer_small_patch16",
}
#: Rows of the paper's tables and figures: what each sets otherwise than the profile; {} is SAT as
#: the paper proposes it, one run for all tables
EXPERIMENTS: dict[str, dict[str, dict[str, Any]]] = {
    "table1_methods": {  # and Tables 3, 4, 15 and 18
        "SAT": {},
        "TS-CAM": {"method": "tscam"},
        "SCM": {"method": "scm"},
        "LCTR": {"method": "lctr"},
        "CAM": {"method": "cam"},
    },
    "table2_losses": {
        "(a) cls": ALONE,
        "(b) cls + ba": {"pixel_term": "none"},
        "(c) cls + ba + norm": {"smoothing": "none"},
        "(d) cls + ba + norm + filter": {},
    },
    "table5_structure": {"attention map": {"method": "attention_map"}, "spatial token": {}},
    "table6_backbones": {
        f"{label}, {name}": {"method": method, "backbone": backbone}
        for name, backbone in BACKBONES.items()
        for label, method in {"TS-CAM": "tscam", "SCM": "scm", "SAT": "sat"}.items()
        if (name, method) != ("Conformer-S", "scm")
    },
    "table7_foreground_maps": {
        "ORNet": {"method": "ornet"},
        "BAS": {"method": "bas"},
        "BAS*": {
            "method": "bas",
            "losses": "guidance",
            "area_term": "batch_area",
            "pixel_term": "normalization",
        },
        "SAT": {},
    },
    "table8_few_shot": {  # and Fig. 8
        f"({scheme}) {name} shots": {"freeze": scheme, "shots": shots}
        for scheme in "abcde"
        for name, shots in SHOTS.items()
    },
    "fig8_tscam": {
        f"TS-CAM, {name} shots": {"method": "tscam", "shots": shots}
        for name, shots in SHOTS.items()
    },
    "table9_blocks": {
        "N = 1": {"spatial_blocks": 1},
        "N = 2": {"spatial_blocks": 2},
        "N = 3": {},
        "N = 4": {"spatial_blocks": 4},
        "N = 5": {"spatial_blocks": 5},
    },
    "table10_gate": {"before softmax": {"gate": "before_softmax"}, "after softmax": {}},
    "table11_token": {
        "(a) shared": {"token_init": "shared"},
        "(b) class token": {"token_init": "class_token"},
        "(c) random": {},
    },
    "table12_pixel_term": {"weighted entropy": {"pixel_term": "weighted_entropy"}, "norm": {}},
    "table13_area_term": {
        "(a) area, one stage": {"area_term": "area"},
        "(b) area, two stages": {"area_term": "area", "two_stage": True},
        "(c) batch area": {},
    },
    "discrepancies": {  # docs/discrepancies.md: the paper's words or another reading, each alone
        "authors' reading": {},
        "similarity as in Eq. 4": {"similarity": "paper"},
        "mean of the heads' sigmoids": {"similarity": "mean_of_sigmoids"},
        "kernel with σ = 6": {"smoothing": "gaussian"},
        "kernel at the border: replicate": {"padding": "replicate"},
        "cosine schedule": {"schedule": "cosine"},
        "epoch and threshold chosen on the test images": {
            "selection": "test",
            "evaluate_from": 1,
        },
        "classes by ten crops": {"ten_crop": True},
        "an epoch's last batch left out": {"drop_last": True},
        "scheme (e) frozen, fitted to Table 8": {"freeze": "e"},
        "scheme (e) frozen, as worded": {"freeze": "e_literal"},
    },
    "table16_cnn_methods": {"PSOL": {"method": "psol"}, "SPOL": {"method": "spol"}, "SAT": {}},
    # the paper draws Fig. 4 without naming its points; these are ours
    "fig4_area": {f"λ = {area}": {"target_area": area} for area in (0.15, 0.25, 0.35, 0.45, 0.55)},
    "fig4_batch_size": {f"B = {size}": {"batch_size": size} for size in (32, 64, 128, 256, 512)},
}
