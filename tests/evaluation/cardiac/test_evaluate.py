import csv
import io
import json
import re
import shutil
import statistics

import pytest
from rich.console import Console

from components.core.errors import UserError
from components.core.storage import digest_path
from components.evaluation.cardiac.report import CardiacReport
from components.evaluation.step import EvaluateParams, GatherParams, evaluate, gather
from pipelines.cardiac import summary

PARAMS = EvaluateParams(windows=10)
GATHER = GatherParams(threads=1, seed=0, shown_images=2, network="xception", training_set="simgan")


@pytest.fixture(scope="module")
def root(home, make_cohort, tmp_path_factory):
    """Holds the folders of a cohort, of its two gathered folds, and `out`, their evaluation; tests only read them."""
    root = tmp_path_factory.mktemp("root")
    cohort = make_cohort(root, fold_count=2)
    for fold in (0, 1):
        gather(GATHER, out=root / f"gathered-{fold}", **cohort.inputs(fold))
    evaluate(PARAMS, folds=[root / "gathered-0", root / "gathered-1"], out=root / "out")
    return root


@pytest.fixture
def gathered(root):
    return [root / "gathered-0", root / "gathered-1"]


@pytest.fixture
def out(root):
    return root / "out"


@pytest.fixture
def page(out):
    return (out / "report.html").read_text(encoding="utf-8")


def read_metrics(out):
    return json.loads((out / "metrics.json").read_text())


def test_metrics_are_means_and_deviations_over_the_folds(root, out):
    expected = []
    for fold in (0, 1):
        result = json.loads((root / f"fold-{fold}" / "xception-egan" / "result.json").read_text())
        right = [
            label == int(patient > 0.5)
            for label, (_, patient) in zip(result["labels"], result["probabilities"], strict=True)
        ]
        expected.append(sum(right) / len(right))
    found = read_metrics(out)["accuracy"]["xception"]["egan"]
    assert found["folds"] == pytest.approx(expected)
    assert found["mean"] == pytest.approx(statistics.mean(expected))
    assert found["std"] == pytest.approx(statistics.stdev(expected))


def test_metrics_have_the_promised_shape(out):
    metrics = read_metrics(out)
    for metric in ("accuracy", "balanced_accuracy", "auc"):
        for network in ("resnet50", "xception"):
            assert list(metrics[metric][network]) == ["none", "classic", "egan", "simgan"]
            assert set(metrics[metric][network]["none"]) == {"mean", "std", "folds"}
    own = {ratio: metrics["accuracy"]["xception"][name]["mean"] for ratio, name in (("0", "none"), ("3", "egan"))}
    assert metrics["ratio"]["xception"] == pytest.approx({"1": 0.75, "2": 0.765} | own)
    assert metrics["ratio_augmented"]["xception"]["0"] == metrics["accuracy"]["xception"]["classic"]["mean"]
    assert metrics["majority"]["mean"] == pytest.approx(0.75)


def test_the_primary_comparison_leads_metrics_report_and_terminal(out, page):
    primary = read_metrics(out)["primary"]
    assert (primary["comparison"], primary["metric"]) == ("simgan - classic", "auc")
    assert primary["interval"][0] < primary["estimate"] < primary["interval"][1]
    assert primary["smallest_effect"] > 0
    assert f"<h1>{primary['verdict']}</h1>" in page
    assert page.index(f"{primary['estimate']:+.3f}".replace("-", "−")) < page.index("<nav")
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(summary(read_metrics(out)))
    assert primary["verdict"] in " ".join(console.export_text().split())


def test_mlflow_gets_the_primary_comparisons_numbers(gathered, out):
    primary = read_metrics(out)["primary"]
    logged = CardiacReport.read(gathered, PARAMS.windows).headline_metrics()
    assert [logged["primary/low"], logged["primary/high"]] == primary["interval"]
    assert {name: logged[f"primary/{name}"] for name in ("estimate", "smallest_effect")} == {
        name: primary[name] for name in ("estimate", "smallest_effect")
    }


def test_the_images_are_measured_in_metrics_mlflow_and_report(gathered, out, page):
    images = read_metrics(out)["images"]
    for kind in ("real", "egan", "simgan"):
        found = images[kind]
        assert found["diversity"] > 0
        assert found["sharpness"] > 0
        assert 0 <= found["near_copies"] <= 1
        assert list(found["fidelity"]) == ["non-patient", "patient"]
        for name in ("kernel_distance", "kernel_distance_random"):
            estimate, low, high = found[name]
            assert low < estimate < high
    assert images["egan"]["sharpness"] > images["simgan"]["sharpness"]  # the cohort's E-GAN images are noisier
    logged = CardiacReport.read(gathered, PARAMS.windows).headline_metrics()
    assert logged["images/egan/diversity"] == images["egan"]["diversity"]
    assert logged["images/simgan/kernel_distance"] == images["simgan"]["kernel_distance"][0]
    section = page[page.index('<section id="quality">') : page.index('<section id="training">')]
    assert images["refiner"]["answer"] in section
    assert section.count("<img") == 6


def test_a_second_evaluation_gives_the_same_bytes(gathered, out, tmp_path):
    evaluate(PARAMS, folds=gathered, out=tmp_path / "again")
    assert digest_path(out) == digest_path(tmp_path / "again")


def test_the_order_of_folds_does_not_matter(gathered, out, tmp_path):
    evaluate(PARAMS, folds=gathered[::-1], out=tmp_path / "other")
    assert digest_path(out) == digest_path(tmp_path / "other")


def test_the_report_is_sound_and_names_no_folder(root, page, assert_sound):
    assert_sound(page)
    assert str(root) not in page


def test_the_report_stands_ours_beside_the_papers(out, page):
    for number in ("77.7", "80.9", "84.8", "86.1", "79.5", "82.8", "86.9", "88.0"):
        assert f"<td>{number}</td>" in page
    ours = read_metrics(out)["accuracy"]["resnet50"]["classic"]
    assert f"{100 * ours['mean']:.1f} ± {100 * ours['std']:.1f}" in page


def test_every_chart_has_its_data_for_dvc(out):
    plots = out / "plots"
    with (plots / "ratio-xception.csv").open() as stream:
        assert [row["ratio"] for row in csv.DictReader(stream)] == ["0", "1", "2", "3"]
    with (plots / "survivors-patient.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == PARAMS.windows
    for row in rows:
        assert sum(float(row[name]) for name in ("minimax", "heuristic", "least_squares")) == pytest.approx(1, abs=1e-5)
    with (plots / "confusion-resnet50-none.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 24


def test_one_fold_and_two_steps_are_enough(make_cohort, tmp_path):
    cohort = make_cohort(tmp_path, fold_count=2, steps=2, ratios=(1,))
    gather(GATHER, out=tmp_path / "gathered", **cohort.inputs(0))
    evaluate(PARAMS, folds=[tmp_path / "gathered"], out=tmp_path / "out")
    metrics = read_metrics(tmp_path / "out")
    assert metrics["accuracy"]["resnet50"]["none"]["std"] == 0.0
    assert metrics["primary"]["verdict"].startswith("Open")
    assert metrics["primary"]["interval"] == [None, None]
    assert "±" not in re.sub(r"<figure.*?</figure>", "", (tmp_path / "out" / "report.html").read_text(), flags=re.S)


def test_a_fold_given_twice_is_refused(gathered, tmp_path):
    with pytest.raises(UserError, match="A fold was given twice"):
        evaluate(PARAMS, folds=[gathered[0], gathered[0]], out=tmp_path / "out")


def test_folds_that_do_not_belong_together_are_refused(gathered, make_cohort, tmp_path):
    other = make_cohort(tmp_path / "elsewhere", fold_count=2, ratios=(5,))
    gather(GATHER, out=tmp_path / "stranger", **other.inputs(1))
    with pytest.raises(UserError, match="Folds 0 and 1 differ"):
        evaluate(PARAMS, folds=[gathered[0], tmp_path / "stranger"], out=tmp_path / "out")


def test_names_of_classes_are_escaped(gathered, tmp_path):
    folders = [shutil.copytree(folder, tmp_path / folder.name) for folder in gathered]
    for folder in folders:
        text = (folder / "fold.json").read_text().replace('"patient"', '"a<b"')
        (folder / "fold.json").write_text(text)
        (folder / "histories" / "egan-patient.csv").rename(folder / "histories" / "egan-a<b.csv")
    evaluate(PARAMS, folds=folders, out=tmp_path / "out")
    assert "a<b" not in (tmp_path / "out" / "report.html").read_text()
