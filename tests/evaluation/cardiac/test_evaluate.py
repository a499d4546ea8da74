import csv
import io
import json
import re
import shutil
import statistics

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from components.core.errors import UserError
from components.core.storage import digest_path
from components.evaluation.cardiac.report import CardiacReport
from components.evaluation.step import CollectParams, EvaluateParams, GatherParams, collect, evaluate, gather
from pipelines.cardiac import summary

SETS, CONTROLS = ("none", "classic", "egan", "simgan"), ("oracle", "repeat")
PARAMS = EvaluateParams(windows=10)
GATHER = GatherParams(threads=1, seed=0, shown_images=2, network="xception", training_set="simgan")


def report_on(folds, out, replicate=0):
    """Collect one replicate's gathered folds, and evaluate them."""
    collected = out.parent / f"{out.name}-collected" / str(replicate)
    collect(CollectParams(), folds=folds, replicate=replicate, out=collected)
    evaluate(PARAMS, replicates=list(collected.parent.iterdir()), out=out)


@pytest.fixture(scope="module")
def root(home, make_cohort, tmp_path_factory):
    """Holds the folders of a cohort, of its two gathered folds, and `out`, their evaluation; tests only read them."""
    root = tmp_path_factory.mktemp("root")
    cohort = make_cohort(root, fold_count=2)
    for fold in (0, 1):
        gather(GATHER, out=root / f"gathered-{fold}", **cohort.inputs(fold))
    report_on([root / "gathered-0", root / "gathered-1"], root / "out")
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
    own = {name: metrics["accuracy"]["xception"][name]["mean"] for name in SETS}
    assert metrics["ratio"]["xception"] == {"0": own["none"]}
    swept = {"0": own["classic"], "1": 0.75, "2": 0.765, "3": own["egan"]}
    assert metrics["ratio_augmented"]["xception"] == pytest.approx(swept)
    assert metrics["ratio_refined"]["xception"] == {"0": own["classic"], "4": own["simgan"]}
    assert metrics["ratio_auc"]["xception"].keys() == swept.keys()
    areas = metrics["people"]["auc"]["xception"]
    assert metrics["ratio_auc"]["xception"]["0"] == pytest.approx(areas["classic"])
    assert metrics["ratio_auc_refined"]["xception"]["4"] == pytest.approx(areas["simgan"])
    assert "external" not in metrics and "control" not in metrics
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


@pytest.fixture(scope="module")
def apart(home, make_cohort, tmp_path_factory):
    """As `root`: two replicates with controls and eight external people of each class."""
    root = tmp_path_factory.mktemp("apart")
    cohort = make_cohort(root, fold_count=2, sets=(*SETS, *CONTROLS), external=8)
    for replicate in (0, 1):
        folders = [root / f"gathered-{fold}-{replicate}" for fold in (0, 1)]
        for fold, folder in enumerate(folders):
            gather(GATHER, out=folder, **cohort.inputs(fold, replicate))
        report_on(folders, root / "out", replicate)
    return root


def test_external_people_stand_apart_and_decide(apart):
    metrics = read_metrics(apart / "out")
    expected = {score: [] for score in ("auc", "accuracy", "balanced_accuracy")}
    for path in apart.glob("fold-*/xception-egan/result.json"):
        answers = json.loads(path.read_text())["external"]
        people = np.array(answers["probabilities"])[:, 1].reshape(-1, 2).mean(axis=1)
        labels = answers["labels"][::2]
        expected["auc"].append(roc_auc_score(labels, people))
        expected["accuracy"].append(accuracy_score(labels, people > 0.5))
        expected["balanced_accuracy"].append(balanced_accuracy_score(labels, people > 0.5))
    assert len(expected["auc"]) == 4
    assert metrics["external"]["xception"]["egan"] == pytest.approx({n: np.mean(v) for n, v in expected.items()})
    assert set(metrics["external"]["resnet50"]) == {*SETS, *CONTROLS}
    assert metrics["primary"]["people"] == "external"
    difference = [
        metrics["external"][network]["simgan"]["auc"] - metrics["external"][network]["classic"]["auc"]
        for network in ("resnet50", "xception")
    ]
    assert metrics["primary"]["estimate"] == pytest.approx(np.mean(difference))
    assert metrics["out_of_fold"]["comparison"] == "simgan - classic"
    assert metrics["control"]["comparison"] == "oracle - none"
    assert "simgan - repeat" in [each["comparison"] for each in metrics["others"]]


def test_the_report_shows_external_people_controls_and_what_they_say(apart, assert_sound):
    page = (apart / "out" / "report.html").read_text()
    assert_sound(page)
    assert "<caption>16 external people</caption>" in page
    assert "16 external people" in page[: page.index("<nav")] and "Control: " in page[: page.index("<nav")]
    for words in (
        "SimGAN over repeat",
        "Oracle over real only<br><small>control",
        "SimGAN over classic<br><small>the folds’ own",
    ):
        assert words in page


def test_mlflow_and_the_terminal_get_the_scores_of_people(apart, root):
    metrics = read_metrics(apart / "out")
    folders = [*apart.glob("gathered-*")]
    logged = CardiacReport.read(folders, PARAMS.windows).headline_metrics()
    assert logged["external/auc/xception/oracle"] == metrics["external"]["xception"]["oracle"]["auc"]
    assert logged["people/auc/xception/none"] == metrics["people"]["auc"]["xception"]["none"]
    plain = read_metrics(root / "out")
    areas = metrics["external"]["xception"]["egan"]["auc"], plain["people"]["auc"]["xception"]["egan"]
    for given, area, whom in zip((metrics, plain), areas, ("external people", "the folds' test people"), strict=True):
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(summary(given))
        told = console.export_text()
        assert f"AUC of {whom}, accuracy of test images" in told
        assert f"{area:.3f}" in told and "…" not in told


def test_folds_with_other_trainings_are_refused(apart, tmp_path):
    with pytest.raises(UserError, match=r"Fold 0 has the trainings \[0, 1\], fold 1 \[0\]; give every fold's"):
        CardiacReport.read([each for each in apart.glob("gathered-*") if each.name != "gathered-1-1"], 10)


def test_a_fold_of_another_replicate_is_not_collected(apart, tmp_path):
    with pytest.raises(UserError, match="Replicate 0 was given a fold of replicate 1"):
        collect(CollectParams(), folds=[apart / "gathered-0-1"], replicate=0, out=tmp_path / "out")


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


def test_what_contradicted_its_label_where_it_was_drawn_is_told(gathered, out, page):
    found = read_metrics(out)["images"]
    assert found["egan"]["contradicting"] == pytest.approx({"non-patient": 0.05, "patient": 0.15})
    assert found["egan"]["contradicting_folds"] == {"non-patient": [0.0, 0.1], "patient": [0.1, 0.2]}
    assert found["egan"]["contradicting_left"] == {"non-patient": 0, "patient": 2}
    assert "contradicting" not in found["simgan"]
    logged = CardiacReport.read(gathered, PARAMS.windows).headline_metrics()
    assert logged["images/egan/contradicting"] == pytest.approx(0.1)
    assert "15.0<br><small>10.0 to 20.0</small>" in page
    assert "Of those that contradicted, 2 stayed all the same." in page


def test_a_second_evaluation_gives_the_same_bytes(gathered, out, tmp_path):
    report_on(gathered, tmp_path / "again")
    assert digest_path(out) == digest_path(tmp_path / "again")


def test_the_order_of_folds_does_not_matter(gathered, out, tmp_path):
    report_on(gathered[::-1], tmp_path / "other")
    assert digest_path(out) == digest_path(tmp_path / "other")
    collected = (tmp_path / "other-collected" / "0", out.parent / "out-collected" / "0")
    assert len({digest_path(each) for each in collected}) == 1


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
        rows = list(csv.DictReader(stream))
    assert [row["ratio"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [bool(row["egan"]) for row in rows] == [True, True, True, True, False]
    assert [bool(row["simgan"]) for row in rows] == [True, False, False, False, True]
    assert [row["published"] for row in rows] == ["0.828", "", "", "0.869", "0.88"]
    assert rows[0]["egan"] == rows[0]["simgan"]  # classic augmentation alone
    with (plots / "survivors-patient.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == PARAMS.windows
    for row in rows:
        assert sum(float(row[name]) for name in ("minimax", "heuristic", "least_squares")) == pytest.approx(1, abs=1e-5)
    with (plots / "confusion-resnet50-none.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 24


def test_refined_images_have_a_curve_of_their_own_where_it_was_swept(make_cohort, tmp_path):
    cohort = make_cohort(tmp_path, fold_count=2, swept=("egan", "simgan"), ratios=(2,))
    gather(GATHER, out=tmp_path / "gathered", **cohort.inputs(0))
    report_on([tmp_path / "gathered"], tmp_path / "out")
    metrics = read_metrics(tmp_path / "out")
    for name, own in (("ratio_augmented", "3"), ("ratio_refined", "4"), ("ratio_auc", "3"), ("ratio_auc_refined", "4")):
        assert set(metrics[name]["resnet50"]) == {"0", "2", own}


def test_what_is_drawn_of_a_refiner_is_its_change_of_what_the_egan_made(out):
    made = read_metrics(out)["images"]["egan"]["sharpness"]
    with (out / "plots" / "simgan-sharpness_ratio.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[-1]["sharpness_ratio"]) == pytest.approx(1.2 * made, rel=0.1)
    assert {row["real"] for row in rows} == {"1"}
    with (out / "plots" / "egan-sharpness_ratio.csv").open() as stream:
        assert float(list(csv.DictReader(stream))[-1]["patient"]) == pytest.approx(0.8, abs=0.05)


def test_the_report_shows_the_same_images_while_the_refiner_trains(page):
    section = page[page.index("<h3>While the refiner trains") : page.index('<section id="quality">')]
    for moment in ("As synthesized", "After 30 updates", "After 60 updates", "What changed", "Real"):
        assert section.count(f"<span>{moment}</span>") == 1
    assert section.count("<img") == 10  # two classes


def test_one_fold_and_two_steps_are_enough(make_cohort, tmp_path):
    cohort = make_cohort(tmp_path, fold_count=2, steps=2, ratios=(1,))
    gather(GATHER, out=tmp_path / "gathered", **cohort.inputs(0))
    report_on([tmp_path / "gathered"], tmp_path / "out")
    metrics = read_metrics(tmp_path / "out")
    assert metrics["accuracy"]["resnet50"]["none"]["std"] == 0.0
    assert metrics["primary"]["verdict"].startswith("Open")
    assert metrics["primary"]["interval"] == [None, None]
    assert "±" not in re.sub(r"<figure.*?</figure>", "", (tmp_path / "out" / "report.html").read_text(), flags=re.S)


def test_a_fold_given_twice_is_refused(gathered, tmp_path):
    with pytest.raises(UserError, match="Fold 0 was given twice"):
        report_on([gathered[0], gathered[0]], tmp_path / "out")


def test_folds_that_do_not_belong_together_are_refused(gathered, make_cohort, tmp_path):
    other = make_cohort(tmp_path / "elsewhere", fold_count=2, ratios=(5,))
    gather(GATHER, out=tmp_path / "stranger", **other.inputs(1))
    with pytest.raises(UserError, match="Folds 0 and 1 differ"):
        report_on([gathered[0], tmp_path / "stranger"], tmp_path / "out")


def test_names_of_classes_are_escaped(gathered, tmp_path):
    folders = [shutil.copytree(folder, tmp_path / folder.name) for folder in gathered]
    for folder in folders:
        text = (folder / "fold.json").read_text().replace('"patient"', '"a<b"')
        (folder / "fold.json").write_text(text)
        (folder / "histories" / "egan-patient.csv").rename(folder / "histories" / "egan-a<b.csv")
    report_on(folders, tmp_path / "out")
    assert "a<b" not in (tmp_path / "out" / "report.html").read_text()
