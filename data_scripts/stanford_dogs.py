"""Stanford Dogs: 20,580 photographs of 120 breeds, with a box for each dog.

python data_scripts/stanford_dogs.py download --accept-terms
python data_scripts/stanford_dogs.py verify
python data_scripts/stanford_dogs.py prepare
"""

from satkit.data.sources import File, Source, main

BASE = "http://vision.stanford.edu/aditya86/ImageNetDogs"

STANFORD_DOGS = Source(
    name="stanford_dogs",
    title=(
        "Stanford Dogs (Khosla, Jayadevaprakash, Yao, Fei-Fei: Novel Dataset for Fine-Grained "
        "Image Categorization, FGVC workshop at CVPR 2011)"
    ),
    terms=(
        "The photographs are from ImageNet: non-commercial research and education only, under "
        "ImageNet's terms; they belong to their photographers."
    ),
    page=f"{BASE}/",
    files=(
        File(
            "images.tar",
            (f"{BASE}/images.tar",),
            size=793_579_520,
            sha256="a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58",
            becomes="Images",
            top="Images",
        ),
        File(
            "annotation.tar",
            (f"{BASE}/annotation.tar",),
            size=21_852_160,
            sha256="662ed36f707be6b195c2fda392d8e153e83af28cedc8e2134a649f198def30fd",
            becomes="Annotation",
            top="Annotation",
        ),
        File(
            "lists.tar",
            (f"{BASE}/lists.tar",),
            size=481_280,
            sha256="34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c",
            becomes="lists",
        ),
    ),
    counts={"train": 12_000, "test": 8_580},
    num_classes=120,
)

if __name__ == "__main__":
    main(STANFORD_DOGS)
