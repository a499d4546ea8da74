"""What a training set is made of, and what a classifier answers for."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.classification.classifier import Classifier
from components.classification.networks import NETWORKS
from components.classification.params import ClassifyParams, SweepParams
from components.classification.step import classify, sweep
from components.classification.trial import scores, tensors
from components.core.errors import UserError
from components.core.images import EXTERNAL, RESERVE, ImageSet, load_model
from pipelines.pipeline import find

CLASSES = ("non-patient", "patient")
SIZE = 16
BATCH = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two slices each of 12 people in two folds, of 4 external ones and of 30 in reserve; every image is another."""
    folder = tmp_path_factory.mktemp("data") / "images"
    folds = np.repeat([*[0, 1] * 6, *[EXTERNAL] * 4, *[RESERVE] * 30], 2)
    people = np.arange(len(folds)) // 2
    ImageSet(
        images=noise(len(folds), seed=0),
        labels=(people % 3 != 0).astype(np.int64),
        classes=CLASSES,
        groups=np.array([f"person-{number}" for number in people]),
        folds=folds,
    ).save(folder)
    return folder


@pytest.fixture(scope="module")
def generated(data, tmp_path_factory) -> Path:
    """Images that descend from the training part of fold 0, 40 of each class."""
    folder = tmp_path_factory.mktemp("generated") / "images"
    origin = ImageSet.load(data).training(0).digest()
    sets = [ImageSet.generated(noise(40, seed=1 + label), label, CLASSES, origin) for label in (0, 1)]
    ImageSet.concatenate(sets).save(folder)
    return folder


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 1, SIZE, SIZE)).astype(np.float32)


def params(**changes) -> ClassifyParams:
    section = find("cardiac").load("smoke").classify
    return section.model_copy(update={"batch_size": BATCH, "updates": 3} | changes)


def arguments(training_set: str, generated: Path) -> dict[str, object]:
    given = {"fold": 0, "replicate": 0, "network": "resnet50", "training_set": training_set}
    return given | ({"generated": generated} if training_set in ("egan", "simgan") else {})


class Watched:
    """What a classifier was shown while a training ran."""

    def __init__(self, monkeypatch) -> None:
        self.steps: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.statistics: list[torch.Tensor] = []
        self.weights: list[dict[str, torch.Tensor]] = []
        step, estimate = Classifier.step, Classifier.estimate_statistics

        def watched_step(classifier, images, labels):
            if not self.steps:
                self.weights.append({name: each.clone() for name, each in classifier.network.state_dict().items()})
            self.steps.append((images.clone(), labels.clone()))
            return step(classifier, images, labels)

        def watched_estimate(classifier, batches):
            self.statistics = list(batches)
            return estimate(classifier, self.statistics)

        monkeypatch.setattr(Classifier, "step", watched_step)
        monkeypatch.setattr(Classifier, "estimate_statistics", watched_estimate)


@pytest.fixture
def train(data, generated, tmp_path, monkeypatch):
    """Train and test on a training set; returns what was watched, the result and the folder."""

    def run(training_set: str, **changes):
        with monkeypatch.context() as patched:
            watched = Watched(patched)
            out = tmp_path / training_set
            classify(params(**changes), data=data, out=out, **arguments(training_set, generated))
        return watched, json.loads((out / "result.json").read_text()), out

    return run


def known(images: torch.Tensor, directory: Path) -> list[int]:
    """Of every image, which of a set's images it is; -1 for none."""
    there = torch.from_numpy(np.array(ImageSet.load(directory).images))
    return [next((n for n, each in enumerate(there) if torch.equal(each, image)), -1) for image in images]


def test_none_sees_the_real_images_as_they_are(train, data):
    watched, result, _ = train("none")
    training = set(np.flatnonzero(ImageSet.load(data).folds == 1))
    shown = [number for images, _ in watched.steps for number in known(images, data)]
    assert set(shown) <= training
    assert len(shown) == 3 * BATCH
    assert (result["ratio"], result["images"]) == (0, 12)


@pytest.fixture
def unvaried(monkeypatch):
    monkeypatch.setattr("components.classification.trial.flip_turn_and_shift", lambda images, *_: images)


@pytest.mark.parametrize("training_set", ["egan", "simgan", "oracle", "repeat"])
def test_half_of_every_batch_is_real(training_set, train, data, generated, unvaried):
    watched, _, _ = train(training_set)
    real = ImageSet.load(data)
    for images, labels in watched.steps:
        assert len(images) == 2 * BATCH
        numbers = known(images[:BATCH], data)
        assert (real.folds[numbers] == 1).all()
        assert (real.labels[numbers] == labels[:BATCH].numpy()).all()


@pytest.mark.parametrize("training_set", ["egan", "simgan"])
def test_the_other_half_is_generated(training_set, train, generated, unvaried):
    watched, result, _ = train(training_set)
    there = ImageSet.load(generated)
    for images, labels in watched.steps:
        numbers = known(images[BATCH:], generated)
        assert -1 not in numbers
        assert (there.labels[numbers] == labels[BATCH:].numpy()).all()
    ratio = getattr(params().ratios, training_set)
    assert (result["ratio"], result["images"]) == (ratio, 12 * (1 + ratio))


def test_the_other_half_of_oracle_are_people_in_reserve(train, data, unvaried):
    watched, result, _ = train("oracle", updates=30)
    real = ImageSet.load(data)
    numbers = [number for images, _ in watched.steps for number in known(images[BATCH:], data)]
    assert (real.folds[numbers] == RESERVE).all()
    ratio = params().ratios.simgan
    assert np.bincount(real.labels[sorted(set(numbers))]).tolist() == [4 * ratio, 8 * ratio]
    assert (result["ratio"], result["images"]) == (ratio, 12 * (1 + ratio))


def test_the_other_half_of_repeat_are_the_real_images_again(train, data, unvaried):
    watched, result, _ = train("repeat", updates=30)
    real = ImageSet.load(data)
    numbers = [number for images, _ in watched.steps for number in known(images[BATCH:], data)]
    assert set(numbers) == set(np.flatnonzero(real.folds == 1))
    assert result["images"] == 12 * (1 + params().ratios.simgan)


@pytest.mark.parametrize("training_set", ["egan", "simgan", "oracle", "repeat"])
def test_a_set_with_others_begins_as_classic_and_sees_the_same_real_images_varied_alike(training_set, train):
    alone, _, _ = train("classic")
    joined, _, _ = train(training_set)
    for name, weight in alone.weights[0].items():
        assert torch.equal(weight, joined.weights[0][name]), name
    for (images, labels), (others, their_labels) in zip(alone.steps, joined.steps, strict=True):
        assert torch.equal(images, others[:BATCH])
        assert torch.equal(labels, their_labels[:BATCH])


def test_none_and_classic_see_the_same_real_images(train, unvaried):
    plain, _, _ = train("none")
    classic, _, _ = train("classic")
    assert all(torch.equal(one[0], other[0]) for one, other in zip(plain.steps, classic.steps, strict=True))


def test_classic_varies_every_image_anew(train, data):
    watched, _, _ = train("classic", updates=6)  # two epochs
    shown = torch.cat([images for images, _ in watched.steps])
    assert set(known(shown, data)) == {-1}
    assert len({image.numpy().tobytes() for image in shown}) == len(shown)


@pytest.mark.parametrize("training_set", ["none", "egan"])
def test_statistics_are_those_of_the_real_training_images_alone(training_set, train, data, unvaried):
    watched, _, out = train(training_set)
    numbers = known(torch.cat(watched.statistics), data)
    assert set(numbers) == set(np.flatnonzero(ImageSet.load(data).folds == 1))
    network = load_model(out, NETWORKS["resnet50"]).train()
    kept = {name: each.clone() for name, each in network.named_buffers()}
    with torch.no_grad():
        network(torch.randn(8, 1, SIZE, SIZE))
        Classifier(network, learning_rate=1.0, weight_decay=0.0, updates=1).estimate_statistics(watched.statistics)
    for name, each in network.named_buffers():
        torch.testing.assert_close(each, kept[name])


@pytest.mark.parametrize("training_set", ["none", "classic", "egan", "simgan", "oracle", "repeat"])
def test_every_classifier_answers_for_the_external_people_in_the_sets_order(training_set, train, data):
    _, result, out = train(training_set)
    external = ImageSet.load(data).test(EXTERNAL)
    assert result["external"]["labels"] == external.labels.tolist()
    network = load_model(out, NETWORKS["resnet50"]).eval()
    with torch.no_grad():
        expected = network(tensors(external)[0]).softmax(dim=1)
    torch.testing.assert_close(torch.tensor(result["external"]["probabilities"]), expected, rtol=1e-4, atol=1e-5)


def test_without_external_people_the_answers_are_none(data, tmp_path):
    real = ImageSet.load(data)
    real.where(real.folds >= 0).save(tmp_path / "images")
    classify(params(), data=tmp_path / "images", out=tmp_path / "out", **arguments("none", tmp_path))
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["external"] == {"labels": [], "probabilities": []}


def test_no_external_image_changes_a_training(train, data, tmp_path):
    _, result, _ = train("oracle")
    real = ImageSet.load(data)
    images = np.array(real.images)
    images[real.folds == EXTERNAL] = 1
    replace(real, images=images).save(tmp_path / "images")
    classify(params(), data=tmp_path / "images", out=tmp_path / "out", **arguments("oracle", tmp_path))
    assert json.loads((tmp_path / "out" / "result.json").read_text())["probabilities"] == result["probabilities"]


def test_too_few_people_in_reserve_are_told(data, tmp_path):
    real = ImageSet.load(data)
    real.where(real.folds != RESERVE).save(tmp_path / "images")
    with pytest.raises(UserError, match=r"needs 8 images of people in reserve of class 'non-patient', there are 0"):
        classify(params(), data=tmp_path / "images", out=tmp_path / "out", **arguments("oracle", tmp_path))


@pytest.mark.parametrize("training_set", ["egan", "simgan"])
def test_images_of_another_fold_are_a_leak(training_set, data, generated, tmp_path):
    other = arguments(training_set, generated) | {"fold": 1}
    with pytest.raises(UserError, match="do not descend from the training part of fold 1"):
        classify(params(), data=data, out=tmp_path / "out", **other)


def test_a_set_of_generated_images_needs_them(data, tmp_path):
    with pytest.raises(UserError, match="give the folder that has them"):
        classify(
            params(), data=data, out=tmp_path / "out", fold=0, replicate=0, network="resnet50", training_set="egan"
        )


@pytest.mark.parametrize(("images", "training_set"), [("synthetic", "egan"), ("refined", "simgan")])
def test_a_point_of_the_sweep_is_the_training_set_of_its_ratio(images, training_set, data, generated, tmp_path):
    ratios = params().ratios.model_copy(update={training_set: 2})
    section = params(ratios=ratios).model_dump()
    given = {"data": data, "generated": generated, "fold": 0, "replicate": 0, "network": "resnet50"}
    ratios = ratios.model_copy(update={training_set: 1})
    classify(params(ratios=ratios), training_set=training_set, out=tmp_path / "set", **given)
    sweep(SweepParams(**section, sweep_ratios=[1, 2, 3]), images=images, out=tmp_path / "sweep", **given)
    points = json.loads((tmp_path / "sweep" / "points.json").read_text())
    assert [point["ratio"] for point in points] == [1, 3]  # the training set has 2 already
    assert {point["training_set"] for point in points} == {training_set}
    result = json.loads((tmp_path / "set" / "result.json").read_text())
    assert points[0]["probabilities"] == result["probabilities"]
    assert points[0]["labels"] == result["labels"]


def answers(people: list[int], labels: list[int], of_patient: list[float]) -> dict[str, float]:
    part = ImageSet(
        images=np.zeros((len(people), 1, 1, 1), np.float32),
        labels=np.array(labels)[people],
        classes=CLASSES,
        groups=np.array([f"person-{person}" for person in people]),
        folds=np.zeros(len(people), np.int64),
    )
    return scores(part, np.stack([1 - np.array(of_patient), of_patient], axis=1))


def test_a_persons_probability_is_the_mean_over_the_slices():
    people, labels = [0, 0, 1, 1], [0, 1]
    assert answers(people, labels, [0.9, 0.1, 0.6, 0.6])["person_auc"] == 1  # one slice of the healthy is worse
    assert answers(people, labels, [0.9, 0.5, 0.6, 0.6])["person_auc"] == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1)), min_size=1, max_size=30))
def test_peoples_auc_is_there_where_both_classes_are(slices):
    people = [person for person, _ in slices]
    found = answers(people, [0, 1, 1, 0, 1], [value for _, value in slices])
    assert ("person_auc" in found) == (len({person in (0, 3) for person in people}) == 2)
