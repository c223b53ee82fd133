r"""Stanford Cars: 16,185 photographs of 196 models of cars, with boxes.

Its official addresses are gone, and copies elsewhere come and go. Give the archives that you have:

python data_scripts/stanford_cars.py download --accept-terms --archive cars_train.tgz \
    --archive cars_test.tgz --archive car_devkit.tgz --archive cars_test_annos_withlabels.mat
python data_scripts/stanford_cars.py verify
python data_scripts/stanford_cars.py prepare

Where you have it unpacked already, pass its folder as --root to verify and prepare.
"""

from satkit.data.sources import File, Source, main

STANFORD_CARS = Source(
    name="stanford_cars",
    title=(
        "Stanford Cars (Krause, Stark, Deng, Fei-Fei: 3D Object Representations for Fine-Grained "
        "Categorization, 3dRR workshop at ICCV 2013)"
    ),
    terms="Non-commercial research only, as ImageNet's; the photographs belong to their owners.",
    page="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
    files=(
        File(
            "cars_train.tgz",
            size=979_269_282,
            sha256="512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288",
            becomes="cars_train",
            top="cars_train",
        ),
        File(
            "cars_test.tgz",
            size=977_350_468,
            sha256="bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243",
            becomes="cars_test",
            top="cars_test",
        ),
        File(
            "car_devkit.tgz",
            size=330_960,
            sha256="b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd",
            becomes="devkit",
            top="devkit",
        ),
        File(
            "cars_test_annos_withlabels.mat",
            size=185_758,
            sha256="790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
            becomes="cars_test_annos_withlabels.mat",
        ),
    ),
    counts={"train": 8_144, "test": 8_041},
    num_classes=196,
    sign_up=(
        "Its official addresses answer no more; https://github.com/pytorch/vision/issues/7545 says "
        "where copies were found. Pass cars_train.tgz, cars_test.tgz, car_devkit.tgz and "
        "cars_test_annos_withlabels.mat with --archive. A copy that is unpacked already needs no "
        "download: put cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat into "
        "the root."
    ),
)

if __name__ == "__main__":
    main(STANFORD_CARS)
