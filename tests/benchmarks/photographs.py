"""Rate of preparing photographs against only decoding them: `python tests/benchmarks/photographs.py`.

As many processes decode the same files, in full; both are timed in turn, so that a busy machine slows both, and
medians are told. The target is 85 %. Preparing decodes a large JPEG at a smaller size, which pays for its filter; a
photograph hardly larger than the image it becomes is decoded in full by both, and its filter costs more than that.
`step` has the digests of input and output, too.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import joblib
import numpy as np
from PIL import Image

from components.core.telemetry import Journal
from components.data_prep.photograph import SUFFIXES
from components.data_prep.photographs import read_photographs
from components.data_prep.step import PreparePhotographsParams, prepare_photographs

PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "photos"


def main() -> None:
    arguments = read_arguments()
    print(f"{joblib.cpu_count()} processes, images of {arguments.size}×{arguments.size}")
    print("photographs                     decode /s  prepare /s  ratio   step /s")
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"GANFLOW_HOME": f"{folder}/home", "GANFLOW_JOURNALS": f"{folder}/journals"}
        for width, height, count in arguments.pictures:
            raw = Path(folder, f"{width}x{height}")
            write_photographs(raw, width, height, count)
            compare(f"{count} of {width}×{height}", raw, Path(folder), arguments)
        if PHOTOS.exists():
            compare("the real ones, 288 pixels high", PHOTOS, Path(folder), arguments)


def compare(name: str, raw: Path, folder: Path, arguments: argparse.Namespace) -> None:
    """Print a line of rates, photographs a second."""
    paths = [path for part in ("train", "test") for path in (raw / part).iterdir() if path.suffix.lower() in SUFFIXES]
    journal = Journal(folder / "journals", {})
    params = PreparePhotographsParams(size=arguments.size, test_share=0.2, seed=0)

    def prepare(out: Path) -> None:
        out.mkdir()
        read_photographs(raw, out, **params.model_dump(), journal=journal).kept.save_meta(out)

    ways = [lambda _: decode(paths), prepare, lambda out: prepare_photographs(params, raw=raw, out=out)]
    decoded, prepared, whole = (len(paths) / seconds for seconds in measure(ways, arguments.repetitions))
    journal.close("FINISHED")
    print(f"{name:30}  {decoded:9.0f}  {prepared:10.0f}  {prepared / decoded:5.0%}  {whole:8.0f}")


def measure(ways: list[Callable[[Path], None]], repetitions: int) -> list[float]:
    """Median seconds of each way, taken in turn."""
    times: list[list[float]] = [[] for _ in ways]
    for repetition in range(repetitions + 1):
        for way, taken in zip(ways, times, strict=True):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                way(Path(folder, "out"))
                if repetition:  # the first one reads the files from the disk
                    taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def decode(paths: list[Path]) -> None:
    with ProcessPoolExecutor(joblib.cpu_count(), multiprocessing.get_context("fork")) as pool:
        for _ in pool.map(decode_one, paths, chunksize=8):
            pass


def decode_one(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def write_photographs(raw: Path, width: int, height: int, count: int) -> None:
    """JPEGs of as much detail as a camera's: areas of colour, edges of all sizes and some noise."""
    random = np.random.default_rng(0)
    for number in range(count):
        levels = np.zeros((height, width, 3), np.float32)
        for cells, contrast in ((4, 90), (16, 40), (64, 20), (256, 10)):
            small = Image.fromarray(random.integers(0, 256, (cells * 3 // 4, cells, 3), dtype=np.uint8))
            levels += np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)) * (contrast / 160)
        levels += random.normal(0, 4, (height, width, 1))
        path = raw / ("train" if number % 5 else "test") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--pictures",
        type=lambda text: tuple(map(int, text.split("x"))),
        nargs="+",
        metavar="WIDTHxHEIGHTxCOUNT",
        default=[(2000, 1500, 100), (4000, 3000, 30)],
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
