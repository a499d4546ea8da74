import csv
import json
import re

import numpy as np
import pytest

from components.core.errors import UserError
from components.core.storage import digest_path
from components.evaluation.step import EvaluateColourParams, evaluate_colour

VARIANTS = ("pix2pix", "sa", "sa1", "sa2", "hinge_mse", "hinge_bce", "hcegan")
PARAMS = EvaluateColourParams(shown_images=4, shown_size=16, windows=10)


@pytest.fixture(scope="module")
def root(home, make_album, tmp_path_factory):
    """Holds the inputs and `out`, their evaluation; tests only read them."""
    root = tmp_path_factory.mktemp("root")
    evaluate_colour(PARAMS, out=root / "out", **make_album(root).inputs())
    return root


@pytest.fixture
def album(make_album, tmp_path):
    return make_album(tmp_path)


def read_metrics(root):
    return json.loads((root / "out" / "metrics.json").read_text())


def evaluate(album, **changes):
    """Page and metrics."""
    out = album.root / "out"
    evaluate_colour(PARAMS, out=out, **album.inputs() | changes)
    return (out / "report.html").read_text(encoding="utf-8"), read_metrics(album.root)


def refuse(album, words, **changes):
    out = album.root / "out"
    with pytest.raises(UserError, match=words):
        evaluate_colour(PARAMS, out=out, **album.inputs() | changes)
    assert not out.exists()


def rewrite(folder, **changes):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"facts": content["facts"] | changes}))


def test_metrics_have_the_promised_shape(metrics):
    for variant in VARIANTS:
        assert 10 < metrics["psnr"][variant]["mean"] < 20
        assert 0 < metrics["ssim"][variant]["mean"] < 1
        assert len(metrics["psnr"][variant]["values"]) == 3
        assert metrics["colourfulness"][variant] > 0
        assert metrics["stability"][variant]["psnr_spread"] == metrics["psnr"][variant]["std"] > 0
        assert metrics["stability"][variant]["vanishing_share"] == 0.25
    assert set(metrics["grey"]) == {"psnr", "ssim"}
    assert metrics["colourfulness"]["original"] > 0
    assert metrics["datasets"]["photographs"]["psnr"] == metrics["psnr"]
    assert (metrics["replicates"], metrics["images"]) == (3, 6)


def test_renderings_are_held_against_the_middle_of_the_photographs(make_album, tmp_path):
    errors = dict.fromkeys(VARIANTS, 0.0)
    album = make_album(tmp_path, errors=errors, replicates=(0,), seed_errors=(0.0,))
    _, metrics = evaluate(album)
    assert metrics["ssim"]["hcegan"]["mean"] == 1
    assert metrics["colourfulness"]["hcegan"] == metrics["colourfulness"]["original"]


def test_a_second_evaluation_gives_the_same_bytes_in_any_order(root, make_album, tmp_path):
    inputs = make_album(tmp_path).inputs()
    evaluate_colour(PARAMS, out=tmp_path / "again", **inputs | {"trainings": inputs["trainings"][::-1]})
    assert digest_path(root / "out") == digest_path(tmp_path / "again")


def test_the_report_is_sound_and_names_no_folder(root, page, assert_sound):
    assert_sound(page)
    assert str(root) not in page


def test_the_report_stands_ours_beside_the_papers(page, metrics):
    for gain in ("+1.20", "+0.35", "+1.61", "+1.57", "+1.76", "+1.82"):
        assert f"<td>{gain}</td>" in page
    (gain,) = (each for each in metrics["gains"]["psnr"] if (each["variant"], each["over"]) == ("hcegan", "pix2pix"))
    assert f"<td>+{gain['mean']:.2f} ± {gain['std']:.2f}</td>" in page
    assert gain["mean"] == pytest.approx(metrics["psnr"]["hcegan"]["mean"] - metrics["psnr"]["pix2pix"]["mean"])


def test_the_sheet_shows_the_best_and_the_worst_photograph_in_every_colour(page):
    assert page.count("<b>Best</b>") == page.count("<b>Worst</b>") == 1
    assert page.count('src="data:image/png') == 4 * (2 + len(VARIANTS))


def test_every_chart_has_its_data_for_dvc(root):
    plots = root / "out" / "plots"
    assert len(list(plots.iterdir())) == 3 + 3 * 2
    with (plots / "psnr.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0]["variant"] == "pix2pix" and len(rows) == len(VARIANTS)
    assert list(rows[0]) == ["variant", "ours", "ours_std", "grey"]
    with (plots / "discriminator_loss-attention.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 10


def test_one_replicate_has_no_spread_and_the_report_says_so(make_album, tmp_path):
    page, metrics = evaluate(make_album(tmp_path, replicates=(0,)))
    assert "Open: HCEGAN differs" in page and "One replicate only" in page
    assert metrics["stability"]["hcegan"]["psnr_spread"] is None
    assert metrics["psnr"]["hcegan"]["std"] == 0


@pytest.mark.parametrize(("failure", "words"), [("collapsed", "collapsed at step 1"), ("restarted", "begun anew")])
def test_a_training_that_collapsed_is_named(failure, words, make_album, tmp_path):
    page, metrics = evaluate(make_album(tmp_path, replicates=(0, 1), failure=failure))
    assert len(metrics["collapsed"]) == 2 * len(VARIANTS)
    assert metrics["collapsed"][1] == f"pix2pix of photographs, replicate 1, {words}"
    assert f"{'; '.join(metrics['collapsed'])}</td>" in page


def test_where_none_collapsed_the_report_says_so(page, metrics):
    assert metrics["collapsed"] == []
    assert re.search("Adversarial trainings that collapsed</th><td[^>]*>none</td>", page)


def test_data_sets_stand_side_by_side(make_album, tmp_path, assert_sound):
    album = make_album(tmp_path, classes=("bird", "dog"), datasets=("dog", "bird", "all"), replicates=(0, 1))
    page, metrics = evaluate(album)
    assert_sound(page)
    assert list(metrics["datasets"]) == ["all", "bird", "dog"]
    assert [each["images"] for each in metrics["datasets"].values()] == [12, 6, 6]
    assert metrics["images"] == 24
    means = [each["psnr"]["sa"]["mean"] for each in metrics["datasets"].values()]
    assert metrics["psnr"]["sa"]["mean"] == pytest.approx(np.average(means, weights=[12, 6, 6]))
    assert "<td>+0.44</td>" in page and "<td>+0.29</td>" in page  # the paper's dogs and birds


def test_an_absent_training_is_named(album):
    refuse(album, r"lacks the training of pix2pix on photographs \(replicate 0\);", trainings=album.folders[1:])


def test_a_training_given_twice_is_named(album):
    refuse(
        album, r"training of hcegan on photographs \(replicate 2\) twice", trainings=[*album.folders, album.folders[-1]]
    )


def test_a_training_of_other_descent_is_refused(album):
    rewrite(album.root / "sa-photographs-1", origin="another")
    refuse(album, r"Not trained on the training part of these photographs: sa on photographs \(replicate 1\);")


def test_a_training_on_unknown_photographs_is_refused(album):
    rewrite(album.root / "sa-photographs-1", dataset="cats")
    refuse(album, "trainings on cats, of which there are no photographs")


def test_a_training_on_a_part_must_have_seen_that_part_only(make_album, tmp_path):
    album = make_album(tmp_path, classes=("bird", "dog"), datasets=("bird",))
    rewrite(album.root / "sa-bird-0", origin=album.data.training(0).digest())
    refuse(album, r"Not trained on .*: sa on bird \(replicate 0\)")


def test_renderings_of_other_photographs_are_refused(album):
    np.save(album.root / "sa-photographs-1" / "rendered.npy", np.zeros((2, 3, 16, 16), np.uint8))
    refuse(album, r"sa on photographs \(replicate 1\) rendered pictures of shape")
