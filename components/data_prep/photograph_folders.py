"""A folder of photographs: which there are, of which class, and to which part they belong."""

import re
from dataclasses import dataclass
from pathlib import Path

from components.core.images import ALL
from components.data_prep.photograph import SUFFIXES
from components.data_prep.problems import Problems

TRAIN, TEST = PARTS = ("train", "test")

PHOTOGRAPHS = "photographs"
"""The one class of a folder with parts."""


@dataclass(frozen=True)
class PhotographFolder:
    """N photographs, found but not yet looked into.

    Attributes:
        names: their paths relative to the data folder, in order.
        folders: those they lie in, in order: `train` and `test`, or one per category.
        has_parts: whether the folders are `train` and `test`.
    """

    names: list[str]
    folders: list[str]
    has_parts: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the data sets."""
        return (PHOTOGRAPHS,) if self.has_parts else tuple(self.folders)


def find_photographs(raw: Path, problems: Problems) -> PhotographFolder:
    """List the photographs in `train` and `test` where one of them exists, else in every folder, a category each.

    What begins with a dot is not looked at. What is amiss with the folders is noted.
    """
    folders = [path.name for path in sorted(raw.glob("[!.]*")) if path.is_dir()]
    has_parts = not set(PARTS).isdisjoint(name.lower() for name in folders)
    if has_parts:
        folders = [name for name in folders if name.lower() in PARTS]
        _check_parts(folders, problems)
    else:
        _check_categories(folders, problems)
    names = [name for folder in folders for name in _photographs(raw, folder, problems)]
    return PhotographFolder(names, folders, has_parts)


def folder_of(name: str) -> str:
    """The folder that a photograph lies in, by its name."""
    return name.split("/")[0]


def _photographs(raw: Path, folder: str, problems: Problems) -> list[str]:
    names = []
    for path in sorted((raw / folder).rglob("[!.]*")):
        place = path.relative_to(raw)
        if path.suffix.lower() not in SUFFIXES or any(part.startswith(".") for part in place.parts):
            continue
        if len(place.parts) > 2:
            problems.add(place.parent.as_posix(), f"lies too deep; photographs are looked for in {folder} itself")
        else:
            names.append(place.as_posix())
    return names


def _check_parts(folders: list[str], problems: Problems) -> None:
    for part in PARTS:
        if part not in folders:
            problems.add(part, f"there is no such folder; {TRAIN} and {TEST}, so written, belong together")


def _check_categories(folders: list[str], problems: Problems) -> None:
    if not folders:
        problems.add(f"{TRAIN}, {TEST}", "there are no such folders, nor one for each category of photographs")
    known: dict[str, str] = {}
    for name in folders:
        if not re.fullmatch(r"[\w-]+", name):
            problems.add(name, "is no name for a category; give it one of letters, digits, - and _ only")
        if name.lower() == ALL:
            problems.add(name, "is no name for a category: all of them together are called so")
        if (other := known.setdefault(name.lower(), name)) != name:
            problems.add(name, f"differs from the category {other} in case only")
