"""A folder of photographs → an image set, decoded in parallel into one memory-mapped file."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import joblib
import numpy as np

from components.core.errors import UserError
from components.core.images import IMAGES, NO_FOLD, TEST_FOLD, ImageSet
from components.core.telemetry import Journal, progress
from components.data_prep.photograph import LeftOut, read_photograph
from components.data_prep.photograph_folders import TEST, PhotographFolder, find_photographs, folder_of
from components.data_prep.problems import Problems, Unusable

_PER_TASK = 8
"""Photographs handed to a process at a time."""


@dataclass(frozen=True)
class Photographs:
    """What became of a folder.

    Attributes:
        kept: the image set; its images lie in the output folder and are mapped from there.
        left_out: why, by name, in order.
    """

    kept: ImageSet
    left_out: dict[str, str]


def read_photographs(raw: Path, out: Path, *, size: int, test_share: float, seed: int, journal: Journal) -> Photographs:
    """Decode a folder's photographs into `out` / `IMAGES`, the same bytes however many processes there are.

    Args:
        raw: holds `train` and `test`, or one folder per category.
        out: an existing folder.
        size: pixels along each side of the images.
        test_share: how much of each category is held out, one photograph at least; parts are taken as they are.
        seed: decides which.
        journal: is told of the progress.

    Returns:
        Images (N, 3, size, size) uint8 RGB sorted by name, which is their group; the test part is that of fold 0.

    Raises:
        UserError: one line for everything in the folder that cannot be used; or a decoding process was killed.
    """
    problems = Problems()
    folder = find_photographs(raw, problems)
    outcomes = _decode([raw / name for name in folder.names], out / IMAGES, size, journal)
    left_out = {}
    for name, outcome in zip(folder.names, outcomes, strict=True):
        match outcome:
            case Unusable():
                problems.add(name, str(outcome))
            case LeftOut():
                left_out[name] = str(outcome)
    names = [name for name in folder.names if name not in left_out]
    _check_counts(folder, names, problems)
    problems.stop(raw)

    _keep(out / IMAGES, [index for index, outcome in enumerate(outcomes) if outcome is None])
    labels = [0 if folder.has_parts else folder.classes.index(folder_of(name)) for name in names]
    kept = ImageSet(
        images=np.load(out / IMAGES, mmap_mode="r"),
        labels=np.array(labels, dtype=np.int64),
        classes=folder.classes,
        groups=np.array(names),
        folds=_folds(folder, names, test_share, seed),
    )
    return Photographs(kept, left_out)


def _decode(paths: Sequence[Path], target: Path, size: int, journal: Journal) -> list[LeftOut | Unusable | None]:
    """Decode every photograph into its place in a new `.npy` file; what kept one from it, None where nothing did."""
    images = np.lib.format.open_memmap(target, "w+", np.uint8, (len(paths), 3, size, size))
    place = partial(_place, images.filename, images.offset, size)
    # Forked workers start within milliseconds; the bar, which has a thread, comes after them.
    context = multiprocessing.get_context("fork")
    outcomes = []
    try:
        with ProcessPoolExecutor(joblib.cpu_count(), context, _follow_parent) as pool:
            pending = pool.map(place, range(len(paths)), paths, chunksize=_PER_TASK)
            with progress(journal, "photographs", len(paths)) as advance:
                for outcome in pending:
                    outcomes.append(outcome)
                    advance(len(outcomes))
    except BrokenProcessPool:
        raise UserError(
            "A process that decoded photographs was killed, most likely for want of memory; give the step more of it."
        ) from None
    return outcomes


def _place(target: Path, offset: int, size: int, index: int, path: Path) -> LeftOut | Unusable | None:
    """Decode a photograph into place `index`; what kept it from that is a value, as it must not end the others."""
    try:
        levels = read_photograph(path, size)
    except (LeftOut, Unusable) as reason:
        return reason
    with target.open("r+b") as stream:  # mapping it anew for every photograph would take three times as long
        stream.seek(offset + index * levels.nbytes)
        stream.write(levels)
    return None


def _follow_parent() -> None:
    """Let a worker end when its parent does, even a killed one, and never before it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _keep(target: Path, chosen: Sequence[int]) -> None:
    """Move the chosen images of an `.npy` file together, in order, and cut the file off behind them."""
    images = np.load(target, mmap_mode="r+")
    if len(chosen) == len(images):
        return
    for place, index in enumerate(chosen):
        images[place] = images[index]
    images.flush()
    kept = images[: len(chosen)]
    with target.open("r+b") as stream:  # NumPy leaves room in the header for a length of any number of digits
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(kept))
        stream.truncate(images.offset + kept.nbytes)


def _check_counts(folder: PhotographFolder, names: Sequence[str], problems: Problems) -> None:
    """Note which folder has too few photographs to train and to test with."""
    needed = 1 if folder.has_parts else 2
    folders = [folder_of(name) for name in names]
    for name in folder.folders:
        if (count := folders.count(name)) < needed:
            problems.add(name, f"holds too few photographs in colour: {count} of at least {needed}")


def _folds(folder: PhotographFolder, names: Sequence[str], test_share: float, seed: int) -> np.ndarray:
    """The fold of every photograph; how one category is split does not hang on the others."""
    folders = np.array([folder_of(name) for name in names])
    if folder.has_parts:
        return np.where(folders == TEST, TEST_FOLD, NO_FOLD)
    folds = np.full(len(names), NO_FOLD)
    for category in folder.folders:
        (places,) = np.nonzero(folders == category)
        held_out = min(max(round(test_share * len(places)), 1), len(places) - 1)
        folds[np.random.default_rng(seed).permutation(places)[:held_out]] = TEST_FOLD
    return folds
