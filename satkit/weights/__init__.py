"""The backbone that ships with satkit; MODEL_CARD.md tells where it comes from."""

from pathlib import Path

SHIPPED_BACKBONE = "vit_pico_convstem8_96"
SHIPPED_WEIGHTS = Path(__file__).parent / f"{SHIPPED_BACKBONE}.safetensors"
