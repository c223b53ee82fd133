"""The reference: a page a public module, and which lessons use which name."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import satkit

#: Modules that are public although their package does not pass on their names
ALSO = ("satkit.data.aviary",)
#: Where modules are listed; what fits nowhere comes last
GROUPS: dict[str, tuple[str, ...]] = {
    "Methods and losses": ("model", "heads", "losses", "methods", "backbones", "conformer"),
    "Maps, boxes and metrics": (
        "boxes", "metrics", "evaluation", "predict", "stats", "errors", "readings", "photos",
    ),
    "Training and runs": (
        "settings", "training", "results", "checkpoints", "distributed", "progress", "cost",
    ),
    "Data": ("data",),
    "The paper, its tables and figures": ("paper", "figures"),
    "Lessons and the course": ("notebooks", "lessons", "lab", "course", "site", "doctor"),
    "More": ("",),
}  # fmt: skip


def reference_pages() -> dict[str, str]:
    """Write the pages of the reference.

    Returns:
        The text of each, by its name without an ending: one a module, and "index".
    """
    names = public_modules()
    groups: dict[str, list[str]] = {title: [] for title in GROUPS}
    for name in names:
        groups[_group(name)].append(name)
    parts = ["# Reference", (satkit.__doc__ or "").strip(), _table(_names_of("satkit"))]
    parts += [
        f"## {title}\n\n```{{toctree}}\n:maxdepth: 1\n\n" + "\n".join(modules) + "\n```"
        for title, modules in groups.items()
        if modules
    ]
    return {name: _module_page(name) for name in names} | {"index": "\n\n".join(parts) + "\n"}


@cache
def public_modules() -> tuple[str, ...]:
    """Full names of the modules that have a page in the reference, in alphabetical order.

    A module of a package that has an `__all__` is public if the package passes on its names.
    """
    found = [module.name for module in pkgutil.walk_packages(satkit.__path__, "satkit.")]
    skipped = ("satkit.weights", "satkit.course.exercises")
    names = {name: _names_of(name) for name in found if not name.startswith(skipped)}
    chosen = [name for name in names if names[name] and "._" not in name]
    for package in [name for name in chosen if hasattr(sys.modules[name], "__all__")]:
        passed_on = {full.rpartition(".")[0] for full in names[package]}
        chosen = [n for n in chosen if not n.startswith(f"{package}.") or n in {*passed_on, *ALSO}]
    return tuple(sorted(chosen))


def _group(module: str) -> str:
    first = module.split(".")[1]
    return next((title for title, names in GROUPS.items() if first in names), "More")


def _names_of(module: str) -> list[str]:
    """Where the public functions and classes that a module has or passes on are defined."""
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", None)
    if names is None:
        found = {name: canonical(f"{module}.{name}") for name in vars(loaded) if name[0] != "_"}
        return [full for name, full in found.items() if full == f"{module}.{name}"]
    return list(filter(None, (canonical(f"{module}.{name}") for name in names)))


def _module_page(name: str) -> str:
    names = _names_of(name)
    own = [full.rpartition(".")[2] for full in names if full.rpartition(".")[0] == name]
    passed_on = [full for full in names if full.rpartition(".")[0] != name]
    # without a list Sphinx would describe what is passed on a second time
    members = ("" if not passed_on else ", ".join(own)) if own else None
    option = "" if members is None else f"   :members: {members}".rstrip() + "\n"
    text = f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n{option}```\n"
    return text + (f"\n{_table(passed_on)}\n" if passed_on else "")


def _table(names: list[str]) -> str:
    lines = "\n".join(f"   ~{name}" for name in names)
    return f"```{{eval-rst}}\n.. autosummary::\n   :nosignatures:\n\n{lines}\n```"


@cache
def canonical(path: str) -> str:
    """Find where a name is defined.

    Args:
        path: full name, such as "satkit.data.Loader", maybe of an attribute of a class.

    Returns:
        Full name of the public function or class, such as "satkit.data.loader.Loader"; "" if the
        name is none, as that of a module or a constant.
    """
    module, _, rest = path.partition(".")
    value = importlib.import_module(module)
    for name in rest.split("."):
        if not inspect.ismodule(value):
            break  # an attribute of a class is described with the class
        try:
            value = getattr(value, name)
        except AttributeError:
            try:
                value = importlib.import_module(f"{value.__name__}.{name}")
            except ImportError:
                return ""
    full = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
    return full if full.startswith("satkit.") and "._" not in full and full[-1] != "." else ""


def names_used(cells: Iterable[str]) -> set[str]:
    """Find the public functions and classes of satkit that a notebook's code uses.

    Args:
        cells: the code.

    Returns:
        Full names of where they are defined.
    """
    trees = [node for cell in cells for node in ast.walk(ast.parse(cell))]
    known: dict[str, str] = {}  # what a name in the code stands for
    for node in trees:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "satkit":
                    known |= {alias.asname: alias.name} if alias.asname else {"satkit": "satkit"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "satkit":
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    paths = set(known.values()) - {"satkit"}
    for node in trees:
        if isinstance(node, ast.Attribute):
            start, _, rest = ast.unparse(node).partition(".")
            if start in known and rest.replace(".", "").isidentifier():
                paths.add(f"{known[start]}.{rest}")
    found = {canonical(path) for path in paths}
    return {name for name in found if name.rpartition(".")[0] in public_modules()}


def users_of_names(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Find the lessons that use each name.

    Args:
        folder: of the lessons' .ipynb files.

    Returns:
        For each full name the lessons, each as the name of its file and its title: first the one
        that says the name most often, which is taken to explain it, then the others in order.
    """
    users: dict[str, list[tuple[int, str, str]]] = {}
    for path in sorted(folder.glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        texts = ["".join(cell["source"]) for cell in cells]
        code = [t for t, cell in zip(texts, cells, strict=True) if cell["cell_type"] == "code"]
        title = texts[0].partition("\n")[0].lstrip("# ")
        for name in names_used(code):
            said = re.findall(rf"\b{name.rpartition('.')[2]}\b", "\n".join(texts))
            users.setdefault(name, []).append((len(said), path.stem, title))
    for lessons in users.values():
        explains = max(lessons, key=lambda lesson: lesson[0])  # the first of equals
        lessons.sort(key=lambda lesson: lesson is not explains)
    return {name: [lesson[1:] for lesson in lessons] for name, lessons in users.items()}
