"""The steps that bring in data: `prepare…` from files, `simulate` and `acquire` for whoever has none."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from components.core.contract import Run, Section, step


def _distinct(values: list) -> list:
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "must not name one twice")
    return values


class ExternalPeople(Section):
    """Test people of no fold."""

    patients: int = Field(ge=0)
    non_patients: int = Field(ge=0)


class SimulateParams(Section):
    """The simulated cohort; what hearts look like stands in `cohort.py`."""

    patients: int = Field(ge=1, description="those with a disease; the four diseases take turns")
    non_patients: int = Field(ge=1)
    slices: int = Field(ge=1, description="per patient, from base to apex")
    size: int = Field(ge=96, description="pixels along each side of an image")
    spacing: float = Field(ge=0.5, le=3, description="mean distance of pixels, in mm")
    spacing_jitter: float = Field(ge=0, le=0.5, description="largest deviation of a patient's spacing, as a fraction")
    noise: float = Field(ge=0, le=1, description="Rician noise: its σ as a fraction of the brightness of blood")
    external: ExternalPeople = Field(description="whom every classifier answers for, and none is trained on")
    reserve: int = Field(ge=0, description="further people per person, whom the control `oracle` alone is trained on")
    seed: int = Field(ge=0)


class PrepareParams(Section):
    """From files to images of one size and scale, with labels and folds."""

    spacing: float = Field(gt=0, description="distance of the resampled pixels, in mm")
    size: int = Field(ge=8, description="pixels along each side of the region of interest")
    low_percentile: float = Field(ge=0, lt=50, description="what becomes -1")
    high_percentile: float = Field(gt=50, le=100, description="what becomes 1")
    classes: Annotated[list[Annotated[str, Field(pattern=r"^[\w-]+$")]], AfterValidator(_distinct)] = Field(
        min_length=2,
        description="names, fit for file names, in the order of their indices; the last is the positive one",
    )
    folds: Annotated[list[Annotated[int, Field(ge=0)]], AfterValidator(_distinct)] = Field(
        min_length=2, description="the folds' names"
    )
    seed: int = Field(ge=0, description="decides which patients share a fold")


class AcquireParams(Section):
    """Where digits come from when nobody gives any."""

    source: Literal["auto", "mnist", "bundled"] = Field(
        description="MNIST; scikit-learn's bundled digits; or MNIST where a mirror answers, else those"
    )
    mirrors: list[Annotated[str, Field(pattern=r"^https?://\S*[^\s/]$")]] = Field(
        min_length=1, description="addresses of folders with MNIST's files, tried in turn"
    )


class PrepareDigitsParams(Section):
    """What digits must be like; they are taken as they are."""

    size: int = Field(ge=8, description="pixels along each side of an image")


class PreparePhotographsParams(Section):
    """From photographs of any size to squares of one."""

    size: int = Field(ge=8, le=4096, description="pixels along each side; the short side is scaled to it")
    test_share: float = Field(
        gt=0, lt=1, description="of each category, to test with; train/ and test/ stay as they are"
    )
    seed: int = Field(ge=0, description="decides which photographs of a category are held out")


@step
def simulate(params: SimulateParams, run: Run) -> None:
    """Write a cohort of short-axis phantoms as `labels.csv`, `images/*.mha`, `masks/*.mha`."""
    from components.data_prep.cohort import write_cohort

    write_cohort(run.out, **params.model_dump())


@step
def prepare(params: PrepareParams, run: Run, *, raw: Path) -> None:
    """Turn a folder of images and their `labels.csv` into an image set with folds, and external test people.

    Raises:
        UserError: one line for everything in the data that cannot be used.
    """
    import numpy as np

    from components.core.images import EXTERNAL, RESERVE, ImageSet
    from components.data_prep.folds import assign_folds
    from components.data_prep.labels import check_labels, read_labels
    from components.data_prep.problems import Problems
    from components.data_prep.region import Window, regions

    problems = Problems()
    entries = read_labels(raw, problems)
    check_labels(entries, params.classes, len(params.folds), problems)
    window = Window(params.size, params.spacing, params.low_percentile, params.high_percentile)
    images = [regions(raw, entry, window, problems) for entry in entries]
    problems.stop(raw)

    counts = [len(each) for each in images]
    labels = np.repeat([params.classes.index(entry.label) for entry in entries], counts)
    patients = np.repeat([entry.patient for entry in entries], counts)
    splits = np.repeat([entry.split for entry in entries], counts)
    folds = np.where(splits == "test", EXTERNAL, RESERVE)
    train = splits == "train"
    folds[train] = assign_folds(labels[train], patients[train], params.folds, params.seed)
    prepared = ImageSet(
        images=np.concatenate(images),
        labels=labels,
        classes=tuple(params.classes),
        groups=patients,
        folds=folds,
    )
    prepared.save(run.out)
    run.journal.dataset(raw.name, run.inputs["raw"], str(raw), prepared.counts())


@step
def acquire(params: AcquireParams, run: Run) -> None:
    """Write MNIST's four files, or scikit-learn's bundled digits in the like; `source.txt` says which.

    Raises:
        UserError: MNIST is wanted, or a mirror answers, but none delivers it.
    """
    from components.core.storage import digest_path
    from components.data_prep import bundled, digits, mnist

    if params.source == "mnist" or (params.source == "auto" and mnist.is_available(params.mirrors)):
        source, address = mnist.SOURCE, params.mirrors[0]
        mnist.write_mnist(run.out, params.mirrors)
    else:
        source, address = bundled.SOURCE, "sklearn.datasets.load_digits"
        bundled.write_bundled(run.out)
        run.journal.warn(f"the digits are not MNIST's but {source}; no number compares with the paper's.")
    (run.out / digits.SOURCE).write_text(f"{source}\n")
    run.journal.dataset(source, digest_path(run.out), address, digits.read_digits(run.out).counts())


@step
def prepare_digits(params: PrepareDigitsParams, run: Run, *, raw: Path) -> None:
    """Turn a folder of MNIST's four files, plain or `.gz`, into an image set whose fold 0 has the test part.

    Raises:
        UserError: one line for everything in the data that cannot be used.
    """
    from components.core.errors import UserError
    from components.data_prep.digits import read_digits

    prepared = read_digits(raw)
    height, width = prepared.images.shape[2:]
    if {height, width} != {params.size}:
        raise UserError(f"The digits in {raw} have {height}×{width} pixels; scale them to {params.size}×{params.size}.")
    prepared.save(run.out)
    run.journal.dataset(raw.name, run.inputs["raw"], str(raw), prepared.counts())


@step
def prepare_photographs(params: PreparePhotographsParams, run: Run, *, raw: Path) -> None:
    """Turn a folder of photographs into an image set whose fold 0 has the test part.

    Grey photographs and those of other colours than RGB are left out, and listed in `left-out.json`.

    Raises:
        UserError: one line for everything in the data that cannot be used.
    """
    import json

    from components.data_prep.photographs import read_photographs

    prepared = read_photographs(raw, run.out, **params.model_dump(), journal=run.journal)
    prepared.kept.save_meta(run.out)
    (run.out / "left-out.json").write_text(json.dumps(prepared.left_out, indent=1) + "\n")
    if names := list(prepared.left_out):
        count = len(names) + len(prepared.kept)
        named = ", ".join(names[:3]) + (" …" if names[3:] else "")
        run.journal.warn(f"{len(names)} of {count} photographs are left out, as left-out.json explains: {named}")
    run.journal.dataset(raw.name, run.inputs["raw"], str(raw), prepared.kept.counts())
