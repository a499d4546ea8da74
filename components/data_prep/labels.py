"""labels.csv: which image shows which patient, and what that patient is."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from components.data_prep.problems import Problems

LABELS = "labels.csv"
REQUIRED = ("image", "patient", "label")

Split = Literal["train", "test", "reserve"]
"""In the folds; external test people, on whom nothing is trained or chosen; people for the control `oracle` alone."""


@dataclass(frozen=True)
class Entry:
    """One row: file names relative to the data folder; what is not given is "", of the split "train"."""

    image: str
    mask: str
    patient: str
    label: str
    split: str


def read_labels(raw: Path, problems: Problems) -> list[Entry]:
    """Read `raw/labels.csv`: columns image, patient, label, and optionally mask and split; others are not read.

    What is amiss is noted; rows without a usable image are left out, and all of them where the table is unreadable.
    """
    path = raw / LABELS
    if not path.is_file():
        problems.add(LABELS, "there is no such file; it lists the images with their patients and labels")
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:  # -sig: Excel begins with a byte order mark
            rows = csv.DictReader(stream, skipinitialspace=True, strict=True)
            missing = [name for name in REQUIRED if name not in (rows.fieldnames or [])]
            if missing:
                problems.add(
                    LABELS, f"its first line must name the columns {', '.join(REQUIRED)}; no {_named(missing)}"
                )
                return []
            entries = [entry for row in rows if (entry := _entry(row, rows.line_num, problems))]
    except (UnicodeDecodeError, csv.Error) as error:
        problems.add(LABELS, f"is not a comma-separated table in UTF-8 ({error})")
        return []
    if not entries:
        problems.add(LABELS, "lists no image")
    return entries


def check_labels(entries: Sequence[Entry], classes: Sequence[str], folds: int, problems: Problems) -> None:
    """Note what contradicts itself: images listed twice, patients of two labels or splits, unknown labels and splits,
    classes that are too small or that the test people lack.
    """
    seen = set()
    for entry in entries:
        path = PurePosixPath(entry.image)
        if path in seen:
            problems.add(entry.image, f"is listed twice in {LABELS}")
        seen.add(path)
        if entry.label and entry.label not in classes:
            problems.add(entry.image, f"its label '{entry.label}' is none of the classes {', '.join(classes)}")
        if entry.split not in get_args(Split):
            problems.add(entry.image, f"its split '{entry.split}' is none of {', '.join(get_args(Split))}")
    _check_patients(entries, "label", problems)
    _check_patients(entries, "split", problems)
    for name in classes if entries else ():
        count = len(
            {entry.patient for entry in entries if entry.label == name and entry.split not in ("test", "reserve")}
        )
        if count < folds:
            problems.add(LABELS, f"class '{name}' has {count} patients, fewer than the {folds} folds")
    tested = {entry.label for entry in entries if entry.split == "test"}
    if absent := [name for name in classes if tested and name not in tested]:
        named = "', '".join(absent)
        problems.add(LABELS, f"nobody of the split 'test' is of class '{named}'; it needs people of every class")


def _check_patients(entries: Iterable[Entry], column: Literal["label", "split"], problems: Problems) -> None:
    found: dict[str, dict[str, str]] = defaultdict(dict)  # patient → value of the column → its first image
    for entry in entries:
        value = getattr(entry, column)
        if entry.patient and value:
            found[entry.patient].setdefault(value, entry.image)
    for patient, images in found.items():
        if len(images) > 1:
            named = ", ".join(f"'{value}' for {image}" for value, image in images.items())
            problems.add(LABELS, f"patient '{patient}' has {len(images)} {column}s: {named}")


def _entry(row: dict[str | None, str | list[str] | None], line: int, problems: Problems) -> Entry | None:
    """A row as an entry; None where it has no usable image."""
    if None in row:
        problems.add(LABELS, f"line {line} has more cells than the first line has columns")
        return None
    cells = {name: (value or "").strip() for name, value in row.items()}
    empty = [name for name in REQUIRED if not cells[name]]
    if empty:
        problems.add(LABELS, f"line {line} has no {_named(empty)}")
    for name in (cells["image"], cells.get("mask", "")):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            problems.add(LABELS, f"line {line} names {name}, which lies outside the data folder")
            return None
    if not cells["image"]:
        return None
    return Entry(cells["image"], cells.get("mask", ""), cells["patient"], cells["label"], cells.get("split") or "train")


def _named(columns: Sequence[str]) -> str:
    return " and no ".join(columns)
