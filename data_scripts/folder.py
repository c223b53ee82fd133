"""Your own photographs: a folder for each class, boxes and masks where you have them.

python data_scripts/folder.py verify --root FOLDER
python data_scripts/folder.py prepare --root FOLDER

There is nothing to download. docs/data.md says how the folder is laid out.
"""

from satkit.data.sources import Source, main

FOLDER = Source(
    name="folder",
    title="Your own photographs",
    terms="They are yours; there is nothing to download.",
    page="docs/data.md says how to lay out the folder.",
)

if __name__ == "__main__":
    main(FOLDER)
