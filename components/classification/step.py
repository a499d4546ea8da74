"""Steps: train and test one classifier on one training set; sweep the ratio of synthetic images."""

import json
from pathlib import Path
from typing import Any

from components.classification.params import ClassifyParams, Network, SweepParams, TrainingSet
from components.core.step import Run, step


@step
def classify(
    params: ClassifyParams,
    run: Run,
    *,
    data: Path,
    generated: Path | None,
    fold: int,
    network: Network,
    training_set: TrainingSet,
) -> None:
    """Train one network on one training set of one fold and test it on the fold's test part."""
    from components.classification.trial import Trial
    from components.core.modeldir import save_model

    trial = Trial(data, generated, fold, network, params, run)
    ratio = getattr(params.ratios, training_set, 0)
    outcome = trial.conduct(ratio, classic=training_set == "classic", name="training")
    outcome.history.save(run.out / "history.csv")
    save_model(run.out, outcome.network, trial.config, origin=trial.origin, kind=network)
    _write_json(
        run.out / "result.json",
        {
            "network": network,
            "training_set": training_set,
            "fold": fold,
            "ratio": ratio,
            "images": outcome.images,
            "labels": trial.test_labels,
            "probabilities": outcome.probabilities.tolist(),
        },
    )
    run.journal.metrics(outcome.scores, step=params.updates)


@step
def sweep(params: SweepParams, run: Run, *, data: Path, generated: Path, fold: int, network: Network) -> None:
    """Train one network with every ratio of synthetic images, with and without classic augmentation (Figure 7).

    The ratio of the training set `egan` is left out where it would be that set again.
    """
    from components.classification.trial import Trial

    trial = Trial(data, generated, fold, network, params, run)
    points = []
    for classic in (False, True):
        for ratio in params.sweep_ratios:
            if not classic and ratio == params.ratios.egan:
                continue
            name = f"ratio-{ratio}-{'classic' if classic else 'plain'}"
            outcome = trial.conduct(ratio, classic=classic, name=name)
            point = {
                "network": network,
                "fold": fold,
                "ratio": ratio,
                "augmented": classic,
                "images": outcome.images,
            }
            points.append(point | outcome.scores)
            curves = {f"{score}{'_classic' if classic else ''}": value for score, value in outcome.scores.items()}
            run.journal.metrics(curves, step=ratio)
    _write_json(run.out / "points.json", points)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
