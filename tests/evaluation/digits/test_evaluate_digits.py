import csv
import json
import math
import re

import numpy as np
import pytest
from scipy.stats import ttest_rel

from components.core.errors import UserError
from components.core.storage import digest_path
from components.evaluation.step import EvaluateDigitsParams, evaluate_digits

FIELDS = {
    "threads": 1,
    "seed": 0,
    "images": 60,
    "parts": 3,
    "batch_size": 25,
    "compared_images": 20,
    "neighbours": 2,
    "shown_images": 4,
    "shown_samples": 4,
    "windows": 10,
}
PARAMS = EvaluateDigitsParams(**FIELDS)


@pytest.fixture(scope="module")
def root(home, make_handwriting, tmp_path_factory):
    """Holds the inputs and `out`, their evaluation; tests only read them."""
    root = tmp_path_factory.mktemp("root")
    evaluate_digits(PARAMS, out=root / "out", **make_handwriting(root).inputs())
    return root


@pytest.fixture
def handwriting(make_handwriting, tmp_path):
    return make_handwriting(tmp_path)


def evaluate(handwriting, params=PARAMS, **changes):
    """Page and metrics."""
    out = handwriting.root / "evaluated"
    evaluate_digits(params, out=out, **handwriting.inputs() | changes)
    return (out / "report.html").read_text(encoding="utf-8"), json.loads((out / "metrics.json").read_text())


def refuse(handwriting, words, **changes):
    out = handwriting.root / "out"
    with pytest.raises(UserError, match=words):
        evaluate_digits(PARAMS, out=out, **handwriting.inputs() | changes)
    assert not out.exists()


def rewrite(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"facts": content["facts"] | changes}))


def test_metrics_have_the_promised_shape(metrics):
    for network in ("gan", "dcgan"):
        for experiment, concepts in (("complex", 10), ("simple", 3)):
            score = metrics["inception_score"][network][experiment]
            assert 1 <= score["mean"] <= concepts
            assert len(score["values"]) == 3
            assert score["marginal_entropy"] <= math.log(concepts) + 1e-12
            assert metrics["distance"][network][experiment]["frechet"] >= 0
            assert sum(metrics["histogram"][network][experiment]["drawn"]) == pytest.approx(1)
    assert set(metrics["ceiling"]) == {"complex", "simple"}
    assert 0 <= metrics["concept_accuracy"] <= 1 and 0 <= metrics["style_accuracy"] <= 1
    assert metrics["iterations"] == {"gan": {"complex": 100, "simple": 100}, "dcgan": {"complex": 20, "simple": 20}}
    assert metrics["data"] == "MNIST-format idx files"
    assert metrics["published"]["inception_score"]["dcgan"]["complex"] == 6.10


def test_real_images_are_scored_over_parts_as_large_as_the_generated_ones(metrics):
    assert len(metrics["held_out"]["complex"]["values"]) == 2  # 40 images, 20 a part
    assert len(metrics["held_out"]["simple"]["values"]) == 1  # 4 images


def test_a_second_evaluation_gives_the_same_bytes_in_any_order(root, make_handwriting, tmp_path):
    inputs = make_handwriting(tmp_path).inputs()
    evaluate_digits(PARAMS, out=tmp_path / "again", **inputs | {"generators": inputs["generators"][::-1]})
    assert digest_path(root / "out") == digest_path(tmp_path / "again")


def test_the_report_is_sound_and_names_no_folder(root, page, assert_sound):
    assert_sound(page)
    assert str(root) not in page


def test_the_report_stands_ours_beside_the_papers(page, metrics):
    for number in ("4.55", "6.10", "4.80", "6.82", "+1.55", "+2.02"):
        assert f"<td>{number}</td>" in page
    for network in ("gan", "dcgan"):
        score = metrics["inception_score"][network]["complex"]
        assert f"<td>{score['mean']:.2f} ± {score['std']:.2f}</td>" in page


def test_every_chart_has_its_data_for_dvc(root):
    plots = root / "out" / "plots"
    assert len(list(plots.iterdir())) == 3 * 2 + 2 * 4
    with (plots / "loss-dcgan-simple.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    assert list(rows[0]) == ["iteration", "discriminator_loss", "generator_loss"]


def test_mnist_needs_no_warning(page):
    assert "not MNIST" not in page
    assert "MNIST-format idx files" in page


def test_other_digits_are_announced_loudly(make_handwriting, tmp_path):
    inputs = make_handwriting(tmp_path, source="somebody’s digits").inputs()
    evaluate_digits(PARAMS, out=tmp_path / "out", **inputs)
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'class="banner"' in page and page.count("somebody’s digits") == 2


@pytest.mark.parametrize(("failure", "words"), [("collapsed", "collapsed at step 1"), ("restarted", "begun anew")])
def test_a_training_that_collapsed_is_named(failure, words, make_handwriting, tmp_path):
    page, metrics = evaluate(make_handwriting(tmp_path, failure=failure))
    named = [
        f"{network} of {digits}, replicate 0, {words}"
        for digits in ("all digits", "the digit 6")
        for network in ("GAN", "DCGAN")
    ]
    assert metrics["collapsed"] == named
    assert re.search(f"Adversarial trainings that collapsed</th><td[^>]*>{'; '.join(named)}</td>", page)


def test_where_none_collapsed_the_report_says_so(page, metrics):
    assert metrics["collapsed"] == []
    assert "No training collapsed." in page
    assert re.search("Adversarial trainings that collapsed</th><td[^>]*>none</td>", page)


def test_one_part_has_no_deviation(handwriting):
    page, metrics = evaluate(handwriting, EvaluateDigitsParams(**FIELDS | {"parts": 1}))
    assert metrics["inception_score"]["gan"]["complex"]["std"] == 0
    assert metrics["advantage"]["complex"]["interval"] == [None, None]
    assert "Open: without several parts" in page


def test_one_replicate_is_judged_by_the_parts_of_its_images(metrics, page):
    assert metrics["replicates"] == 1
    scores = {network: metrics["inception_score"][network]["complex"]["values"] for network in ("dcgan", "gan")}
    found = ttest_rel(scores["dcgan"], scores["gan"])
    assert metrics["primary"]["p"] == pytest.approx(found.pvalue)
    assert metrics["primary"]["interval"] == pytest.approx(list(found.confidence_interval()))
    assert metrics["primary"]["verdict"] in page and "of these models" in metrics["primary"]["verdict"]


@pytest.fixture(scope="module")
def three(home, make_handwriting, tmp_path_factory):
    """Page and metrics of three replicates, and of the first alone."""
    handwriting = make_handwriting(tmp_path_factory.mktemp("three"), replicates=(0, 1, 2))
    together = evaluate(handwriting)
    alone = evaluate(handwriting, generators=[each for each in handwriting.folders if each.name.endswith("-0")])
    return together, alone


def test_three_replicates_speak_of_the_recipe(three):
    (page, metrics), _ = three
    assert metrics["replicates"] == 3
    assert "by this recipe" in metrics["primary"]["verdict"] and metrics["primary"]["verdict"] in page


def test_replicates_are_judged_by_the_mean_of_each(three):
    (_, metrics), (_, alone) = three
    for network in ("gan", "dcgan"):
        for experiment in ("complex", "simple"):
            score = metrics["inception_score"][network][experiment]
            assert len(score["values"]) == 3
            assert score["mean"] == pytest.approx(np.mean(score["values"]))
            assert score["values"][0] == alone["inception_score"][network][experiment]["mean"]
            assert len(metrics["distance"][network][experiment]["kernel"]["values"]) == 3
            assert sum(metrics["histogram"][network][experiment]["drawn"]) == pytest.approx(1)
    scores = {network: metrics["inception_score"][network]["complex"]["values"] for network in ("dcgan", "gan")}
    assert metrics["primary"]["p"] == pytest.approx(ttest_rel(scores["dcgan"], scores["gan"]).pvalue)


def test_what_is_real_is_judged_once_for_all_replicates(three):
    (_, metrics), (_, alone) = three
    for shared in ("ceiling", "held_out", "concept_accuracy", "style_accuracy", "floor"):
        assert metrics[shared] == alone[shared]


def test_the_report_on_replicates_is_sound_and_shows_the_first_ones_pictures(three, assert_sound):
    (page, _), (alone, _) = three
    assert_sound(page)
    pictures = [re.findall('src="data:image/png;base64,([^"]+)"', each) for each in (page, alone)]
    assert pictures[0] == pictures[1]
    assert "All pictures are the first replicate’s." in page and "the first replicate’s" not in alone


def test_an_absent_training_is_named(handwriting):
    refuse(handwriting, r"lacks the training of gan on all \(replicate 0\);", generators=handwriting.folders[1:])


def test_every_network_is_trained_as_often(make_handwriting, tmp_path):
    handwriting = make_handwriting(tmp_path, replicates=(0, 1))
    refuse(handwriting, r"lacks the training of dcgan on 6 \(replicate 1\);", generators=handwriting.folders[:-1])


def test_a_training_given_twice_is_named(handwriting):
    refuse(
        handwriting,
        r"training of dcgan on 6 \(replicate 0\) twice",
        generators=[*handwriting.folders, handwriting.folders[-1]],
    )


def test_experiment_2_is_about_one_digit(handwriting):
    rewrite(handwriting.root / "gan-6-0" / "config.json", label="7")
    refuse(handwriting, "about one digit, but was given trainings on 6, 7;")


def test_a_generator_of_other_descent_is_refused(handwriting):
    rewrite(handwriting.root / "dcgan-all-0" / "config.json", origin="another")
    refuse(handwriting, r"Not trained on the training part of these data: dcgan on all \(replicate 0\);")


@pytest.mark.parametrize(("folder", "name"), [("concept", "concept"), ("style-concept", "style concept")])
def test_a_concept_network_of_other_descent_is_refused(handwriting, folder, name):
    rewrite(handwriting.root / folder / "config.json", origin="another")
    refuse(handwriting, f"The {name} network in .* was trained on other images")


def test_styles_of_another_digit_are_refused(handwriting):
    handwriting.real.of_class("7").save(handwriting.root / "sevens")
    refuse(handwriting, "are not of the digit 6", styles=handwriting.root / "sevens")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parts": 61}, "images must be at least parts, 61"),
        ({"compared_images": 61}, "images must be at least compared_images, 61"),
        ({"shown_images": 21}, "compared_images must be at least shown_images, 21"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_runs(changes, words):
    with pytest.raises(ValueError, match=words):
        EvaluateDigitsParams(**FIELDS | changes)
