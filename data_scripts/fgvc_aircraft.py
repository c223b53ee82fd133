"""FGVC-Aircraft: 10,000 photographs of 100 variants of aircraft, with boxes.

python data_scripts/fgvc_aircraft.py download --accept-terms
python data_scripts/fgvc_aircraft.py verify
python data_scripts/fgvc_aircraft.py prepare

Training photographs are those for training and validation together, as in the authors' code.
"""

from satkit.data.sources import File, Source, main

PAGE = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
ARCHIVE = "archives/fgvc-aircraft-2013b.tar.gz"

FGVC_AIRCRAFT = Source(
    name="fgvc_aircraft",
    title=(
        "FGVC-Aircraft 2013b (Maji, Rahtu, Kannala, Blaschko, Vedaldi: Fine-Grained Visual "
        "Classification of Aircraft, arXiv:1306.5151)"
    ),
    terms="Non-commercial research only; the photographs belong to their photographers.",
    page=PAGE,
    files=(
        File(
            "fgvc-aircraft-2013b.tar.gz",
            (f"{PAGE}{ARCHIVE}", f"https://thor.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/{ARCHIVE}"),
            md5="d4acdd33327262359767eeaa97a4f732",
            becomes="data",
            top="fgvc-aircraft-2013b/data",
        ),
    ),
    counts={"train": 6_667, "test": 3_333},
    num_classes=100,
)

if __name__ == "__main__":
    main(FGVC_AIRCRAFT)
