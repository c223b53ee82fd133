"""What this machine and this installation can do, and what will therefore be slow."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from pathlib import Path

import torch

from satkit.data import NAMES, default_root
from satkit.weights import SHIPPED_WEIGHTS

LIBRARIES = ("torch", "torchvision", "timm", "accelerate", "numpy", "numba", "opencv-python")
EXTRAS = {
    "notebooks": ("papermill", "jupytext"),
    "docs": ("sphinx", "myst_nb"),
    "course": ("nbgrader",),
}
INSTALL = "in a clone of the repository run pip install '.[{}]'"
GIB = 2**30


def report(data_root: str | Path | None = None) -> str:
    """Describe the machine and the installation.

    Args:
        data_root: folder that holds data sets by name (cub, birds, …); where None, the folder
            that $SATKIT_DATA names, else `data` beside the package.

    Returns:
        A text of a line a fact, then what will be slow and what is wrong, if anything. Its last
        line says whether the lessons can be run.
    """
    facts = [
        ("satkit", f"{_version('satkit')} in {Path(__file__).parent}"),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)),
        ("extras", _extras()),
        ("course", _course()),
        ("grading", _grading()),
        ("device", _device()),
        ("cores", str(_cores())),
        ("memory", f"{_memory() / GIB:.1f} GiB, {_memory(free=True) / GIB:.1f} GiB of it free"),
        ("disk", f"{shutil.disk_usage(Path.cwd()).free / GIB:.0f} GiB free in {Path.cwd()}"),
        ("weights", _weights()),
        *((f"data {name}", _data(name, data_root)) for name in NAMES),
    ]
    width = max(len(name) for name, _ in facts)
    lines = [f"{name:<{width}}  {fact}" for name, fact in facts]
    lines += ["", "What will be slow", *(f"- {line}" for line in slow())]
    wrong = problems()
    lines += ["", "What is wrong", *(f"- {problem}" for problem in wrong)] if wrong else []
    stops = lesson_problems()
    verdict = f"no: {'; '.join(stops)}" if stops else "yes"
    return "\n".join([*lines, "", f"ready for the lessons: {verdict}"])


def slow() -> list[str]:
    """Say what this machine will be slow at.

    Returns:
        One line a matter; a single reassuring one if there is none.
    """
    lines = []
    if not torch.cuda.is_available():
        lines.append(
            "no GPU: the profile lab (embedded data, small backbone) takes minutes; photographs at "
            "224 px with a DeiT-Ti take seconds a batch of 32; the profile paper takes days"
        )
    if _cores() < 2:
        lines.append("one core: expect twice the times that are stated for two")
    if _memory(free=True) < 4 * GIB:
        lines.append("less than 4 GiB of memory is free: lower batch_size and eval_batch_size")
    if shutil.disk_usage(Path.cwd()).free < 5 * GIB:
        lines.append("less than 5 GiB of disk is free: runs and photographs may not fit")
    return lines or ["nothing in the profiles smoke and lab"]


def problems() -> list[str]:
    """Find what would stop the series or its site on this machine.

    Returns:
        One line a problem, with what to do; empty if all is well.
    """
    found = lesson_problems()
    if not _has("docs"):
        found.append(f"the site cannot be built: {INSTALL.format('docs')}")
    return found


def lesson_problems() -> list[str]:
    """Find what would stop the lessons on this machine.

    Returns:
        One line a problem, with what to do; empty if all is well.
    """
    found = []
    if not SHIPPED_WEIGHTS.is_file():
        found.append(
            f"the shipped backbone is missing ({SHIPPED_WEIGHTS}): reinstall satkit, or run "
            "data_scripts/train_backbone.py"
        )
    if not _has("notebooks"):
        found.append(f"the notebooks cannot be executed: {INSTALL.format('notebooks')}")
    return found


def _version(package: str) -> str:
    """Return a package's version; opencv-python has a variant that does as well."""
    for name in (package, f"{package}-headless"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "missing"


def _importable(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _has(extra: str) -> bool:
    return all(map(_importable, EXTRAS[extra]))


def _extras() -> str:
    return ", ".join(f"{name} {'installed' if _has(name) else 'missing'}" for name in EXTRAS)


def _course() -> str:
    if _has("course"):
        return f"exercises can be released and graded (nbgrader {_version('nbgrader')})"
    return f"exercises cannot be released or graded: {INSTALL.format('course')}"


def _grading() -> str:
    """Say whether submissions would be isolated."""
    try:
        from satkit.course import sandbox
    except ImportError as error:  # limits on processes are a matter of Unix
        return f"submissions cannot be run here ({error})"
    lacking = sandbox.missing()
    return f"not isolated fully: {'; '.join(lacking)}" if lacking else "submissions are isolated"


def _device() -> str:
    if not torch.cuda.is_available():
        return f"CPU, {torch.get_num_threads()} threads"
    found = torch.cuda.get_device_properties(0)
    more = torch.cuda.device_count() - 1
    return f"{found.name}, {found.total_memory / GIB:.0f} GiB" + (f", and {more} more" * bool(more))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory(free: bool = False) -> int:
    """Return the bytes of memory: all, or those that programs can still get."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = dict(line.split(":") for line in info.read_text().splitlines())
    return int(lines["MemAvailable" if free else "MemTotal"].split()[0]) * 1024


def _weights() -> str:
    if not SHIPPED_WEIGHTS.is_file():
        return f"{SHIPPED_WEIGHTS.stem}: missing"
    return f"{SHIPPED_WEIGHTS.stem}, {SHIPPED_WEIGHTS.stat().st_size / 2**20:.1f} MiB"


def _data(name: str, data_root: str | Path | None) -> str:
    if name == "aviary":
        return "embedded"
    folder = Path(data_root).expanduser() / name if data_root else default_root(name)
    return f"found in {folder}" if folder.exists() else f"not found (looked for {folder})"
