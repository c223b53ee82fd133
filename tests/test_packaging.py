"""The files around the package say the same thing as pyproject.toml."""

import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import satkit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = ("help", "setup", "demo", "test", "site", "bench", "clean")


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [line for name in extras for line in extras[name]]
    return [Requirement(line) for line in lines if not line.startswith("satkit[")]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pins}


def test_environment_yml_takes_its_requirements_from_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, nested = environment["dependencies"]
    assert (environment["name"], pip) == (PROJECT["name"], "pip")
    assert python == f"python{PROJECT['requires-python']}"
    assert nested == {"pip": ["--constraint constraints.txt", "--editable .[all]"]}
    assert "all" in PROJECT["optional-dependencies"]


def test_all_is_every_other_extra():
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    assert Requirement(everything).extras == set(extras) - {"all"}


def test_constraints_hold_every_requirement_within_its_bounds():
    pins = constraints()
    for requirement in requirements():
        name = requirement.name.lower().replace("_", "-")
        assert name in pins, f"{name} is not in constraints.txt; run `make lock`"
        assert requirement.specifier.contains(pins[name]), f"{requirement} but {pins[name]}"


def test_constraints_name_no_place_and_no_accelerator():
    text = (ROOT / "constraints.txt").read_text()
    pins = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert re.search(r"://|@|/|--|^(nvidia|cuda|triton)|satkit", pins, re.MULTILINE) is None


def test_requirements_have_lower_bounds_and_no_pins():
    for requirement in requirements():
        assert {spec.operator for spec in requirement.specifier} == {">="}, str(requirement)


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == citation["version"] == satkit.__version__
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_citation_names_the_paper():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    assert "Spatial-Aware Token" in paper["title"]
    assert paper["authors"][0]["family-names"] == "Wu"


def test_make_help_has_a_line_for_every_target():
    text = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in TARGETS:
        assert re.search(rf"^  {target} +\S", text, re.MULTILINE), target


def test_ci_calls_the_readme_s_test_command():
    assert "\nmake test " in (ROOT / "README.md").read_text()
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^exec make test\b", script.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md"])
def test_file_is_there(name):
    assert (ROOT / name).stat().st_size > 200


def test_choosing_settings_imports_no_torch():
    """So the first cells of a notebook take a second."""
    code = """
        import sys, satkit
        satkit.configure("05_train_cub", profile="lab", dataset="", method="cam", seed=0)
        heavy = {"torch", "torchvision", "timm", "accelerate", "torchmetrics"} & set(sys.modules)
        sys.exit(f"imported: {heavy}" if heavy else 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(code)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
