"""Gathering of one fold: find what belongs together, refuse what does not descend from the fold, copy the rest."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np

from components.core.errors import UserError
from components.core.images import EXTERNAL, ImageSet, model_facts
from components.evaluation.cardiac.fold import MILESTONES, Classification, Drawn, Fold, Network, Point, TrainingSet

SETS: tuple[TrainingSet, ...] = get_args(TrainingSet)
CONTROLS: tuple[TrainingSet, ...] = ("oracle", "repeat")
"""Training sets that a pipeline may do without."""


@dataclass(frozen=True)
class Sources:
    """The folders a fold is gathered from, by what they hold; their order on the command line is forgotten.

    Attributes:
        drawn: what became of the synthetic images, by class.
        generators: by class, in the order of the classes.
        classifications: by network and training set, sorted.
        points: of the sweeps, sorted.
    """

    fold: int
    replicate: int
    real: ImageSet
    synthetic: ImageSet
    drawn: dict[str, Drawn]
    refined: ImageSet
    refinement: Path
    generators: dict[str, Path]
    classifications: dict[tuple[Network, TrainingSet], tuple[Path, Classification]]
    points: tuple[Point, ...]

    @classmethod
    def find(
        cls,
        fold: int,
        replicate: int,
        *,
        data: Path,
        generators: list[Path],
        synthetic: Path,
        refined: Path,
        classifications: list[Path],
        sweeps: list[Path],
    ) -> "Sources":
        """Read what the folders hold.

        Raises:
            UserError: a generator, classification or sweep is absent, there twice, or of another fold.
        """
        real = ImageSet.load(data)
        trained = [(model_facts(path)["label"], path) for path in generators]
        results = [
            (path, Classification.model_validate_json((path / "result.json").read_text())) for path in classifications
        ]
        swept = [[Point(**each) for each in json.loads((path / "points.json").read_text())] for path in sweeps]
        points = [point for sweep in swept for point in sweep]
        keys = [(result.network, result.training_set) for _, result in results]
        networks = sorted({network for network, _ in keys})
        given = {name for _, name in keys}
        sets = [name for name in SETS if name in given or name not in CONTROLS]
        _expect(fold, "train-egan", [(label,) for label, _ in trained], [(name,) for name in real.classes])
        _expect(fold, "classify", keys, product(networks, sets))
        curves = [(sweep[0].network, sweep[0].training_set) for sweep in swept]
        _expect(fold, "sweep", curves, product(networks, sorted({name for _, name in curves})))
        strangers = {each.fold for each in (*points, *(result for _, result in results))} - {fold}
        if strangers:
            raise UserError(f"Fold {fold} was given results of fold {min(strangers)}; gather each fold's own.")
        return cls(
            fold=fold,
            replicate=replicate,
            real=real,
            synthetic=ImageSet.load(synthetic),
            drawn={name: Drawn(**each) for name, each in json.loads((synthetic / "fidelity.json").read_text()).items()},
            refined=ImageSet.load(refined),
            refinement=refined,
            generators={name: dict(trained)[name] for name in real.classes},
            classifications={key: dict(zip(keys, results, strict=True))[key] for key in sorted(keys, key=_rank)},
            points=tuple(sorted(points, key=lambda point: (point.network, point.training_set, point.ratio))),
        )

    def check_descent(self) -> None:
        """Assert that everything trained or generated descends from this fold's training part.

        Raises:
            UserError: names everything that does not (a leak), or answers for another test part.
        """
        origin = self.real.training(self.fold).digest()
        origins = {
            "the synthetic images": self.synthetic.origin,
            "the refined images": self.refined.origin,
            "the refiner": model_facts(self.refinement / "refiner")["origin"],
            **{f"the generator of '{name}'": model_facts(path)["origin"] for name, path in self.generators.items()},
            **{
                f"the classifier {network} on {name}": model_facts(path)["origin"]
                for (network, name), (path, _) in self.classifications.items()
            },
        }
        leaks = [name for name, each in origins.items() if each != origin]
        if leaks:
            raise UserError(
                f"Not made from the training part of fold {self.fold}: {', '.join(leaks)}; "
                "make them again from this fold, else its test images leak."
            )
        answered = {
            f"{network} on {name}": (result.labels, result.external.labels)
            for (network, name), (_, result) in self.classifications.items()
        }
        test, external = (tuple(self.real.test(part).labels.tolist()) for part in (self.fold, EXTERNAL))
        for name, labels in answered.items():
            if labels != (test, external):
                part = "the external people's" if labels[0] == test else f"fold {self.fold}'s"
                raise UserError(f"{name} answered for other images than {part}; classify again.")
        if strangers := {each.network for each in self.points if len(each.probabilities) != len(test)}:
            raise UserError(
                f"The sweep of {min(strangers)} answered for other images than fold {self.fold}'s; sweep again."
            )

    def record(self, shipped: tuple[Network, TrainingSet]) -> Fold:
        """The training's numbers."""
        training, test, external = self.real.training(self.fold), self.real.test(self.fold), self.real.test(EXTERNAL)
        parts = {
            "training": training,
            "test": test,
            **({"external": external} if len(external) else {}),
            "synthetic": self.synthetic,
            "refined": self.refined,
        }
        return Fold(
            fold=self.fold,
            replicate=self.replicate,
            origin=training.digest(),
            classes=self.real.classes,
            counts={part: each.counts() for part, each in parts.items()},
            drawn=self.drawn,
            people=tuple(test.groups.tolist()),
            external_people=tuple(external.groups.tolist()),
            selection=model_facts(self.generators[self.real.classes[0]])["selection"],
            shipped=shipped,
            classifications=tuple(result for _, result in self.classifications.values()),
            points=self.points,
        )

    def samples(self, count: int) -> np.ndarray:
        """(kinds, classes, k, C, H, W) images spread evenly over each set, k ≤ count alike for all.

        Refined images are those of the synthetic ones shown, as `refine` keeps their order.
        """
        kinds = (self.real.training(self.fold), self.synthetic, self.refined)
        parts = [[each.of_class(name).images for name in self.real.classes] for each in kinds]
        count = min(count, *(len(images) for kind in parts for images in kind))
        return np.array([[images[_spread(len(images), count)] for images in kind] for kind in parts])

    def copy_milestones(self, directory: Path, count: int) -> None:
        """Keep `count` images of each class, or all, of those that `refine` kept while the refiner trained."""
        directory.mkdir()
        for path in (self.refinement / MILESTONES).iterdir():
            images = np.load(path)
            kept = _spread(images.shape[1], min(count, images.shape[1]))
            np.save(directory / path.name, images[:, kept])

    def copy_histories(self, directory: Path) -> None:
        """Copy every training's history.csv under a name of its own."""
        histories = {
            **{f"egan-{name}": path for name, path in self.generators.items()},
            "simgan": self.refinement,
            **{f"{network}-{name}": path for (network, name), (path, _) in self.classifications.items()},
        }
        directory.mkdir()
        for name, path in histories.items():
            shutil.copyfile(path / "history.csv", directory / f"{name}.csv")

    def copy_models(self, directory: Path, shipped: tuple[Network, TrainingSet]) -> None:
        """Copy the generators, the refiner and the classifier that is to be shipped."""
        models = {
            **{f"generator-{name}": path for name, path in self.generators.items()},
            "refiner": self.refinement / "refiner",
            "classifier": self.classifications[shipped][0],
        }
        for name, path in models.items():
            (directory / name).mkdir(parents=True)
            for file in ("config.json", "weights.safetensors"):
                shutil.copyfile(path / file, directory / name / file)


def collect_folds(folds: Iterable[Path], replicate: int, directory: Path) -> None:
    """Copy gathered folds into a folder, each under its number.

    Raises:
        UserError: one is of another replicate, or there twice.
    """
    for path in folds:
        fold = Fold.load(path)
        if fold.replicate != replicate:
            raise UserError(
                f"Replicate {replicate} was given a fold of replicate {fold.replicate}; collect each's own."
            )
        if (directory / str(fold.fold)).exists():
            raise UserError(f"Fold {fold.fold} was given twice; give each fold's gathered folder once.")
        shutil.copytree(path, directory / str(fold.fold), copy_function=shutil.copyfile)


def collected_folds(replicates: Iterable[Path]) -> list[Path]:
    """The folders that `collect_folds` filled those of several replicates with."""
    return [path.parent for replicate in replicates for path in replicate.glob("*/fold.json")]


def _expect(fold: int, step: str, found: Iterable[tuple[str, ...]], wanted: Iterable[tuple[str, ...]]) -> None:
    """Assert that each wanted result was found once."""
    counts = Counter(found)
    missing = [" on ".join(key) for key in wanted if counts[key] == 0]
    twice = [" on ".join(key) for key, count in counts.items() if count > 1]
    if missing:
        raise UserError(f"Fold {fold} lacks {step} of {', '.join(missing)}; run it for this fold.")
    if twice:
        raise UserError(f"Fold {fold} was given {step} of {', '.join(twice)} twice; give each once.")


def _rank(key: tuple[Network, TrainingSet]) -> tuple[str, int]:
    return key[0], SETS.index(key[1])


def _spread(length: int, count: int) -> np.ndarray:
    """`count` indices, evenly over `length`."""
    return np.linspace(0, length - 1, count).round().astype(int)
