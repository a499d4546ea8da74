"""Steps: train and test classifiers on training sets, and sweep the ratio of generated images (paper 1); train concept
networks, and label one digit's images by writing style (paper 2).
"""

import json
from pathlib import Path
from typing import Any

from components.classification.params import (
    SETS_OF,
    ClassifyParams,
    ConceptParams,
    Concepts,
    Images,
    Network,
    StylesParams,
    SweepParams,
    TrainingSet,
)
from components.core.contract import Run, comparing_step, step


@comparing_step("network", "training_set")
def classify(
    params: ClassifyParams,
    run: Run,
    *,
    data: Path,
    generated: Path | None,
    fold: int,
    replicate: int,
    network: Network,
    training_set: TrainingSet,
) -> None:
    """Train one network on one training set of one fold and test it on the fold's test part and on external people.

    `none` are the real images; `classic` varies them on the fly, and so does every set where others join them:
    `egan` and `simgan` generated ones, `oracle` those of further simulated people, `repeat` the real ones again.
    """
    from components.classification.trial import Trial
    from components.core.images import save_model

    trial = Trial(data, fold, network, params, run)
    ratio = params.ratios.of(training_set)
    match training_set:
        case "none" | "classic":
            added = None
        case "egan" | "simgan":
            added = trial.generated(generated, ratio)
        case "oracle":
            added = trial.oracle(ratio)
        case "repeat":
            added = trial.repeat(ratio)
    outcome = trial.conduct(added, augmented=training_set != "none", name="training")
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
            "labels": trial.test.labels.tolist(),
            "probabilities": outcome.probabilities.tolist(),
            "external": {"labels": trial.external.labels.tolist(), "probabilities": outcome.external.tolist()},
        },
    )
    run.journal.metrics(outcome.scores, step=params.updates)


@comparing_step("network", "images")
def sweep(
    params: SweepParams,
    run: Run,
    *,
    data: Path,
    generated: Path,
    fold: int,
    replicate: int,
    network: Network,
    images: Images,
) -> None:
    """Train one network with every ratio of `images` (Figure 7), all augmented on the fly as `classic`.

    A curve of Figure 7 begins with the training set `classic`, and at the ratio of `egan` or `simgan` it is that set,
    so that ratio is left out. Without conventional augmentation there is the beginning alone: the training set `none`.
    """
    from components.classification.trial import Trial

    training_set = SETS_OF[images]
    ratios = [ratio for ratio in params.sweep_ratios if ratio != params.ratios.of(training_set)]
    trial = Trial(data, fold, network, params, run)
    points = []
    for ratio in ratios:
        outcome = trial.conduct(trial.generated(generated, ratio), augmented=True, name=f"ratio-{ratio}")
        point = {
            "network": network,
            "training_set": training_set,
            "fold": fold,
            "ratio": ratio,
            "images": outcome.images,
            "labels": trial.test.labels.tolist(),
            "probabilities": outcome.probabilities.tolist(),
        }
        points.append(point | outcome.scores)
        run.journal.metrics(outcome.scores, step=ratio)
    _write_json(run.out / "points.json", points)


@step
def train_concept(params: ConceptParams, run: Run, *, data: Path, concepts: Concepts) -> None:
    """Train the network that tells the classes of an image set apart, and test it on the test part."""
    from components.classification.classifier import fit
    from components.classification.concept import ConceptNetwork
    from components.classification.trial import scores, tensors
    from components.core.images import TEST_FOLD, ImageSet, save_model
    from components.core.training import Batches, as_floats, device, seed_draws

    images = ImageSet.load(data)
    training, test = images.training(TEST_FOLD), images.test(TEST_FOLD)
    origin = training.digest()
    run.journal.dataset(f"{concepts}, training part", origin, str(data), training.counts())
    config = {"classes": len(images.classes), "in_channels": images.images.shape[1], "width": params.width}
    seed_draws(run, "network")
    network = ConceptNetwork(**config)
    shown = [tensor.to(device()) for tensor in tensors(training)]
    batches = Batches(*shown, batch_size=params.batch_size, seed=run.seed)
    classifier, history = fit(network, [batches], params, run, augment=lambda batch: [as_floats(batch[0]), batch[1]])
    probabilities = classifier.predict(tensors(test)[0].to(device())).double().cpu().numpy()
    tested = scores(test, probabilities)
    history.save(run.out / "history.csv")
    save_model(run.out, network, config, origin=origin, concepts=concepts)
    _write_json(run.out / "result.json", {"concepts": concepts, "classes": images.classes, **tested})
    run.journal.metrics(tested, step=params.updates)


@step
def label_styles(params: StylesParams, run: Run, *, data: Path, concept: Path, label: str) -> None:
    """Label the images of one class by writing style: clusters in the concept network's features."""
    from components.classification.concept import ConceptNetwork
    from components.classification.styles import by_style
    from components.core.errors import UserError
    from components.core.images import TEST_FOLD, ImageSet, load_model, model_facts

    images = ImageSet.load(data)
    if model_facts(concept)["origin"] != images.training(TEST_FOLD).digest():
        raise UserError(f"The concept network in {concept} was not trained on {data}; train it again.")
    if label not in images.classes:
        raise UserError(f"There is no class '{label}' in {data}; choose one of {', '.join(images.classes)}.")
    network = load_model(concept, ConceptNetwork)
    styles = by_style(images.of_class(label), network, params.styles, params.threads, run.seed)
    styles.save(run.out)
    run.journal.dataset(f"writing styles of {label}", styles.digest(), str(data), styles.counts())


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
