# %% [markdown]
# # 15 · Your own images: from the phone to a heat map to a small report
#
# Take some photographs of one thing each, put them into a folder, and let a trained localizer say
# where the thing is. First without code, then with it, last as a page that you can hand in.
#
# ## What you will learn
#
# - to try a localizer on a photograph of yours, by mouse;
# - what a phone puts into a file beside the picture, and what becomes of it here;
# - to localize a whole folder, to measure it against boxes that you drew, and to report it;
# - what to expect of a network on images unlike those it learned from.
#
# **Before you start:** [00 · Start here](00_start_here.ipynb) is enough. **Time:** 20 minutes to
# read and play, 1 minute to run where notebook 05 has trained the run already, else 5 more.
#
# **Privacy:** nothing leaves this machine. Photographs are read where they lie and are not changed.
# What the phone noted in the file (place, time, camera: the EXIF data) is used for one thing, which
# way is up, and is copied nowhere. But the overlays *show* the photograph: think before you share.

# %% tags=["parameters"]
profile = "lab"  # smoke (seconds, for tests), lab (minutes on a CPU) or paper (real data, a GPU)
photos = ""  # folder of your photographs, perhaps with boxes.csv; "": drawings stand in for them
localizer = ""  # folder of a finished run; "": SAT as in notebook 05, trained if it is not there
threshold = 0.0  # on maps, 0-1; 0: the one that the run chose
out = ""  # folder for boxes, overlays and report; "": in the runs folder
seed = 0  # seed of everything random
experiment = "course"  # folder under runs_dir; 02, 05 and 15 share their runs
runs_dir = "runs"  # folder of all runs, from the project's folder if relative

# %%
import satkit

settings = satkit.configure(
    "15_your_own_images", profile=profile, photos=photos, localizer=localizer,
    threshold=threshold, out=out, seed=seed, experiment=experiment, runs_dir=runs_dir,
)  # fmt: skip

# %% [markdown]
# ## The localizer and the photographs
#
# By default, SAT trained on Aviary's drawings, and six more drawings as «photographs»: JPEG files
# that are stored turned and have a (made-up) place in them, as a phone saves them.

# %%
from pathlib import Path

from satkit.photos import sample_photos
from satkit.results import open_run

run = open_run(settings.localizer) if settings.localizer else satkit.train(settings.train)
print(run.banner())
own = Path(settings.train.runs_dir) / "lessons" / "15_your_own_images"
folder = Path(settings.photos).expanduser() if settings.photos else None
folder = folder or sample_photos(own / "photos", seed=settings.seed)

# %%
from satkit.photos import sort_out

files, reasons = sort_out(folder)
print(f"{len(files)} photographs in {folder.name}: {', '.join(file.name for file in files[:8])}")
for reason in reasons.values():
    print(reason)

# %% [markdown]
# What does the first turned file hold beside its pixels?

# %%
from PIL import ExifTags, Image

TURNED = ExifTags.Base.Orientation
exif = {file: Image.open(file).getexif() for file in files if file.suffix.lower() == ".jpg"}
turned = [file for file, tags in exif.items() if tags.get(TURNED, 1) != 1]
for file in turned[:1]:
    place = bool(exif[file].get_ifd(ExifTags.IFD.GPSInfo))
    print(f"{file.name}: orientation {exif[file][TURNED]}, a place: {'yes' if place else 'no'}")

# %% [markdown]
# **Predict, then run:** a program that ignores the orientation shows this file as it is stored. How
# would its boxes lie?

# %%
import numpy as np

from satkit.data import read_image
from satkit.figures import image_sheet, show

for file in turned[:1]:
    both = [np.asarray(read_image(file, exif=False)), np.asarray(read_image(file))]
    show(image_sheet(both, titles=["as stored", "as people see it"], columns=2, what="readings"))

# %% [markdown]
# <details><summary>Answer</summary>
#
# In the turned frame: x and y exchanged or counted from the other side. Drawn over the picture that
# people see, they miss. `satkit.data.read_image` turns the picture first, so all boxes here are in
# the frame that people see.
#
# </details>
#
# **iPhones save HEIC files**, which this kit cannot read; it says so for each file. Save them as
# JPEG: on a computer open and export them, or set *Settings > Camera > Formats > Most Compatible*
# before taking pictures.
#
# ## Without code: upload and slide
#
# Below the static picture there is a button to upload a photograph, and a slider for the threshold
# (in Jupyter; an exported page shows the static picture only). **Predict, then slide:** does the box
# grow or shrink as the threshold rises? Can it jump?

# %%
from satkit.lab import localize_photo

localize_photo(run, files[0], settings.threshold)

# %% [markdown]
# <details><summary>Answer</summary>
#
# It shrinks, since fewer pixels are above. It jumps where a component falls into pieces, or another
# one becomes the largest.
#
# </details>
#
# ## With code: the whole folder
#
# `boxes.csv`, `boxes.json` and an overlay for each photograph; the same as
# `python -m satkit predict FOLDER --checkpoint RUN --out OUT`.

# %%
from satkit.photos import with_iou
from satkit.predict import predict

place = Path(settings.out).expanduser() if settings.out else own / "report"
found = predict([folder], run.dir, place, threshold=settings.threshold or None)
table = with_iou(found.boxes, folder)
table.drop(columns=["file", "overlay"]).set_index(table["file"].map(lambda f: Path(f).name)).round(
    2
)

# %%
from satkit.photos import describe

few = [np.asarray(Image.open(place / name)) for name in table["overlay"][:6]]
text = " ".join(describe(row) for _, row in table.head(6).iterrows())
show(image_sheet(few, columns=3, what="overlays"), alt=text)

# %% [markdown]
# ### Your own boxes
#
# For a number, draw a box around each object (any annotation tool, or read corners off a paint
# program) and save `boxes.csv` beside the photographs, in pixels of the picture as it is displayed:
#
# ```text
# file,x0,y0,x1,y1
# photo_0.jpg,31,90,250,301
# ```
#
# Draw them *before* you look at the heat maps. **The rule:** a box is right from an IoU of 0.5 on.

# %%
from satkit.lessons import record

measured = table["iou"].dropna()
if len(measured):
    numbers = {"images": len(measured), "right": int((measured >= 0.5).sum()),
               "mean IoU": round(float(measured.mean()), 3), "run": run.dir.name}  # fmt: skip
    stored = record("15_your_own_images", "iou", numbers, runs_dir=settings.runs_dir,
                    data=f"{len(measured)} photographs with boxes")["numbers"]  # fmt: skip
    print(f"{stored['right']} of {stored['images']} boxes are right, "
          f"mean IoU {stored['mean IoU']:.2f}")  # fmt: skip
else:
    print("no boxes.csv: nothing to compare with")

# %% [markdown]
# ## The report
#
# A page with every overlay, a description in words for those who do not see it, and where the
# numbers come from. It holds no EXIF data and no folder's name.

# %%
from satkit.photos import write_report

page = write_report(found, table, run, place)
kept = [name for name in table["overlay"] if dict(Image.open(place / name).getexif())]
assert not kept, f"EXIF data in {kept}"
print(f"{page.name} in {place.name}: {len(table)} pictures, none with EXIF data")

# %% [markdown]
# ## What to expect
#
# The default localizer has seen nothing but drawn birds. On photographs its *class* is
# meaningless, since it can only name species of Aviary, and its box is a guess. For photographs, train on
# photographs first: two folders or more, one a class, are enough to start
# (`python -m satkit train -p dataset folder -p data_root …`), then come back with `-p localizer`.
#
# ## Try it
#
# - Photograph the same thing before three backgrounds. Does the box stay on it?
# - Photograph two things at once, one behind a fence, one above still water; compare with
#   [12 · Error analysis](12_error_analysis.ipynb).
# - Draw boxes for ten photographs, together with a neighbour: how large is the IoU between the two
#   of you?
#
# ## Take-away

# %%
drawn = f", mean IoU with drawn boxes {measured.mean():.2f}" if len(measured) else ""
print(f"{len(table)} photographs localized at threshold {table['threshold'].iloc[0]:.2f}{drawn}; "
      f"{len(found.unreadable)} not readable")  # fmt: skip

# %% [markdown]
# - A photograph is pixels *and* notes about them; orientation matters for boxes, the rest is nobody's
#   business.
# - A localizer is only as good as the likeness between your images and those it learned from.
# - A number needs boxes that were drawn before anyone saw the map.
#
# **Exercises:** sheet `course/ex15_your_own_images.ipynb` · **Quiz:**
# `from satkit.course import quiz; quiz("15")`
#
# ## References
#
# - P. Wu et al. *Spatial-Aware Token for Weakly Supervised Object Localization.* ICCV 2023.
# - CIPA DC-008, *Exchangeable image file format for digital still cameras: Exif*, orientation tag.
