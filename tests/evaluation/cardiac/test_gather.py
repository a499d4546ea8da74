import json

import numpy as np
import pytest

from components.core.errors import UserError
from components.core.images import EXTERNAL
from components.core.storage import digest_path
from components.evaluation.cardiac.fold import Fold
from components.evaluation.step import GatherParams, gather

PARAMS = GatherParams(threads=1, seed=0, shown_images=4, network="xception", training_set="simgan")


@pytest.fixture
def cohort(make_cohort, tmp_path):
    return make_cohort(tmp_path, fold_count=2)


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_fold_is_gathered_into_one_folder(cohort, tmp_path):
    gather(PARAMS, out=tmp_path / "out", **cohort.inputs(0))
    fold = Fold.load(tmp_path / "out")
    assert fold.origin == cohort.real.training(0).digest()
    assert fold.counts["training"] == {"non-patient": 3, "patient": 9}
    assert fold.people == tuple(cohort.real.test(0).groups)
    assert [(each.network, each.training_set) for each in fold.classifications][:2] == [
        ("resnet50", "none"),
        ("resnet50", "classic"),
    ]
    assert np.load(tmp_path / "out" / "samples.npy").shape == (3, 2, 3, 1, 8, 8)  # 3: all there are of a class
    assert len(list((tmp_path / "out" / "histories").iterdir())) == 2 + 1 + 8


def test_external_people_and_controls_are_gathered_where_there_are_some(make_cohort, tmp_path):
    cohort = make_cohort(tmp_path, fold_count=2, sets=("none", "classic", "egan", "simgan", "repeat"), external=2)
    gather(PARAMS, out=tmp_path / "out", **cohort.inputs(1, replicate=3))
    fold = Fold.load(tmp_path / "out")
    assert (fold.fold, fold.replicate) == (1, 3)
    assert fold.external_people == tuple(cohort.real.test(EXTERNAL).groups)
    assert fold.counts["external"] == {"non-patient": 4, "patient": 4}
    assert len(fold.classifications) == 10
    assert all(len(each.external.probabilities) == 8 for each in fold.classifications)


def test_answers_for_other_external_people_are_refused(make_cohort, tmp_path):
    inputs = make_cohort(tmp_path, fold_count=2, external=2).inputs(0)
    path = tmp_path / "fold-0" / "resnet50-none" / "result.json"
    rewrite(path, external={"labels": [], "probabilities": []})
    with pytest.raises(UserError, match="resnet50 on none answered for other images than the external people's"):
        gather(PARAMS, out=tmp_path / "out", **inputs)


def test_a_curve_that_one_network_lacks_is_named(make_cohort, tmp_path):
    inputs = make_cohort(tmp_path, fold_count=2, swept=("egan", "simgan")).inputs(0)
    inputs["sweeps"] = [path for path in inputs["sweeps"] if path.name != "sweep-xception-simgan"]
    with pytest.raises(UserError, match="lacks sweep of xception on simgan"):
        gather(PARAMS, out=tmp_path / "out", **inputs)


def test_images_while_the_refiner_trains_are_kept_as_many_of_each_class_as_of_a_strip_s_two(cohort, tmp_path):
    gather(PARAMS, out=tmp_path / "out", **cohort.inputs(0))
    kept = {path.name: np.load(path) for path in (tmp_path / "out" / "milestones").iterdir()}
    assert kept.keys() == {"000000.npy", "000030.npy", "000060.npy"}
    assert all(images.shape == (2, 2, 1, 8, 8) for images in kept.values())  # of 3, in a row that holds 4


def test_a_sweep_of_other_images_is_refused(cohort, tmp_path):
    inputs = cohort.inputs(0)
    path = tmp_path / "fold-0" / "sweep-xception-egan" / "points.json"
    points = json.loads(path.read_text())
    path.write_text(json.dumps([points[0] | {"probabilities": []}, *points[1:]]))
    with pytest.raises(UserError, match="The sweep of xception answered for other images"):
        gather(PARAMS, out=tmp_path / "out", **inputs)


def test_a_control_that_one_network_lacks_is_named(make_cohort, tmp_path):
    inputs = make_cohort(tmp_path, fold_count=2, sets=("none", "classic", "egan", "simgan", "repeat")).inputs(0)
    inputs["classifications"] = [path for path in inputs["classifications"] if path.name != "xception-repeat"]
    with pytest.raises(UserError, match="lacks classify of xception on repeat"):
        gather(PARAMS, out=tmp_path / "out", **inputs)


def test_the_chosen_classifier_is_shipped(cohort, tmp_path):
    inputs = cohort.inputs(0)
    gather(PARAMS, out=tmp_path / "out", **inputs)
    models = tmp_path / "out" / "models"
    assert {each.name for each in models.iterdir()} == {
        "generator-patient",
        "generator-non-patient",
        "refiner",
        "classifier",
    }
    chosen = next(path for path in inputs["classifications"] if path.name == "xception-simgan")
    assert (models / "classifier" / "weights.safetensors").read_bytes() == (chosen / "weights.safetensors").read_bytes()


def test_the_order_of_inputs_does_not_matter(cohort, tmp_path):
    inputs = cohort.inputs(0)
    gather(PARAMS, out=tmp_path / "one", **inputs)
    turned = {name: value[::-1] if isinstance(value, list) else value for name, value in inputs.items()}
    gather(PARAMS, out=tmp_path / "other", **turned)
    assert digest_path(tmp_path / "one") == digest_path(tmp_path / "other")


@pytest.mark.parametrize(
    ("file", "offender"),
    [
        ("generator-patient/config.json", "the generator of 'patient'"),
        ("refined/refiner/config.json", "the refiner"),
        ("xception-egan/config.json", "the classifier xception on egan"),
    ],
)
def test_a_model_of_other_descent_is_refused(cohort, tmp_path, file, offender):
    inputs = cohort.inputs(0)
    path = tmp_path / "fold-0" / file
    rewrite(path, facts=json.loads(path.read_text())["facts"] | {"origin": "another"})
    with pytest.raises(UserError, match=f"training part of fold 0: {offender};"):
        gather(PARAMS, out=tmp_path / "out", **inputs)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["synthetic", "refined"])
def test_images_of_other_descent_are_refused(cohort, tmp_path, kind):
    inputs = cohort.inputs(0)
    rewrite(tmp_path / "fold-0" / kind / "meta.json", origin="another")
    with pytest.raises(UserError, match=f"the {kind} images"):
        gather(PARAMS, out=tmp_path / "out", **inputs)


def test_an_absent_classification_is_named(cohort, tmp_path):
    inputs = cohort.inputs(0)
    inputs["classifications"] = [path for path in inputs["classifications"] if path.name != "xception-egan"]
    with pytest.raises(UserError, match="lacks classify of xception on egan"):
        gather(PARAMS, out=tmp_path / "out", **inputs)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("generators", "train-egan of patient twice"), ("sweeps", "sweep of xception on egan twice")],
)
def test_a_result_given_twice_is_named(cohort, tmp_path, kind, words):
    inputs = cohort.inputs(0)
    inputs[kind].append(inputs[kind][-1])
    with pytest.raises(UserError, match=words):
        gather(PARAMS, out=tmp_path / "out", **inputs)


def test_a_result_of_another_fold_is_refused(cohort, tmp_path):
    inputs = cohort.inputs(0)
    rewrite(tmp_path / "fold-0" / "resnet50-none" / "result.json", fold=1)
    with pytest.raises(UserError, match="results of fold 1"):
        gather(PARAMS, out=tmp_path / "out", **inputs)


def test_answers_to_other_test_images_are_refused(cohort, tmp_path):
    inputs = cohort.inputs(0)
    path = tmp_path / "fold-0" / "resnet50-none" / "result.json"
    rewrite(path, labels=json.loads(path.read_text())["labels"][::-1])
    with pytest.raises(UserError, match="resnet50 on none answered for other images"):
        gather(PARAMS, out=tmp_path / "out", **inputs)
