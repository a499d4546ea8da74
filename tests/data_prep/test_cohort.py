import csv
from collections import Counter

import numpy as np
import pytest
import SimpleITK as sitk

from components.core.images import EXTERNAL, RESERVE, ImageSet
from components.core.storage import digest_path
from components.data_prep.step import ExternalPeople, PrepareParams, SimulateParams, prepare, simulate

PARAMS = SimulateParams(
    patients=8,
    non_patients=3,
    slices=2,
    size=160,
    spacing=1.3,
    spacing_jitter=0.1,
    noise=0.03,
    external={"patients": 0, "non_patients": 0},
    reserve=0,
    seed=0,
)


@pytest.fixture
def cohort(tmp_path):
    simulate(PARAMS, out=tmp_path / "cohort")
    return tmp_path / "cohort"


def table(cohort):
    with (cohort / "labels.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def pixels(cohort, name):
    return sitk.GetArrayFromImage(sitk.ReadImage(cohort / name))[0]


def test_every_person_has_images_masks_and_a_label(cohort):
    rows = table(cohort)
    assert list(rows[0]) == ["image", "mask", "patient", "group", "label", "split"]
    assert [row["label"] for row in rows] == ["patient"] * 16 + ["non-patient"] * 6
    assert len({row["patient"] for row in rows}) == 11
    assert {row["group"] for row in rows if row["label"] == "patient"} == {"DCM", "HCM", "MINF", "RV"}
    files = {path.relative_to(cohort).as_posix() for path in cohort.rglob("*.mha")}
    assert files == {row[kind] for row in rows for kind in ("image", "mask")}


def test_the_same_seed_gives_the_same_bytes(cohort, tmp_path):
    simulate(PARAMS, out=tmp_path / "again")
    assert digest_path(tmp_path / "again") == digest_path(cohort)


def test_another_seed_gives_other_hearts(cohort, tmp_path):
    simulate(PARAMS.model_copy(update={"seed": 1}), out=tmp_path / "other")
    name = "images/patient001_slice01.mha"
    assert (pixels(cohort, name) != pixels(tmp_path / "other", name)).any()


def test_a_persons_pixels_hang_on_seed_and_number_alone(cohort, tmp_path):
    many = PARAMS.model_copy(
        update={
            "patients": 9,
            "external": ExternalPeople(patients=2, non_patients=1),
            "reserve": 2,
        }
    )
    more = many.model_copy(update={"external": ExternalPeople(patients=2, non_patients=3)})
    for name, params in (("many", many), ("more", more)):
        simulate(params, out=tmp_path / name)
    for name in ("patient001_slice01", "patient008_slice02"):
        assert (cohort / f"images/{name}.mha").read_bytes() == (tmp_path / f"many/images/{name}.mha").read_bytes()
    for name in ("patient009_slice01", "external003_slice02", "reserve003_slice01"):
        assert (tmp_path / f"many/images/{name}.mha").read_bytes() == (
            tmp_path / f"more/images/{name}.mha"
        ).read_bytes()
    rows = table(tmp_path / "many")
    people = Counter((split, label) for _, split, label in {(r["patient"], r["split"], r["label"]) for r in rows})
    assert people == {
        ("train", "patient"): 9,
        ("train", "non-patient"): 3,
        ("test", "patient"): 2,
        ("test", "non-patient"): 1,
        ("reserve", "patient"): 18,
        ("reserve", "non-patient"): 6,
    }
    assert len({pixels(tmp_path / "many", row["image"]).tobytes() for row in rows}) == len(rows)


def test_the_people_of_the_folds_are_those_from_before_there_were_others(tmp_path):
    params = PARAMS.model_copy(update={"patients": 2, "spacing": 1.316, "spacing_jitter": 0.11})
    simulate(params, out=tmp_path / "raw")
    image = pixels(tmp_path / "raw", "images/patient002_slice01.mha")
    assert image.sum() == pytest.approx(3917978, abs=100)  # processors round one pixel or another otherwise


def test_the_spacing_is_the_patients_own_and_within_its_bounds(cohort):
    spacings = {}
    for row in table(cohort):
        image = sitk.ReadImage(cohort / row["image"])
        assert image.GetSpacing() == sitk.ReadImage(cohort / row["mask"]).GetSpacing()
        assert 1.17 <= image.GetSpacing()[0] <= 1.43
        spacings.setdefault(row["patient"], set()).add(image.GetSpacing())
    assert all(len(each) == 1 for each in spacings.values())
    assert len(set.union(*spacings.values())) == 11


def test_masks_mark_both_ventricles_and_the_wall_between_them(cohort):
    for row in table(cohort):
        image, mask = pixels(cohort, row["image"]), pixels(cohort, row["mask"])
        assert set(np.unique(mask)) == {0, 1, 2, 3}
        right, wall, left = (np.median(image[mask == value]) for value in (1, 2, 3))
        assert left > 2 * wall
        assert right > 1.5 * wall


def test_diseases_show_in_the_masks(tmp_path):
    simulate(PARAMS.model_copy(update={"patients": 40, "non_patients": 10, "slices": 1}), out=tmp_path / "cohort")
    areas = {}
    for row in table(tmp_path / "cohort"):
        mask = sitk.ReadImage(tmp_path / "cohort" / row["mask"])
        pixel = mask.GetSpacing()[0] ** 2
        counts = np.bincount(sitk.GetArrayViewFromImage(mask).ravel(), minlength=4) * pixel
        areas.setdefault(row["group"], []).append(counts)
    right, wall, left = ({group: np.mean(each, axis=0)[value] for group, each in areas.items()} for value in (1, 2, 3))
    assert left["DCM"] > 1.5 * left["NOR"]
    assert wall["HCM"] > 1.2 * wall["NOR"] and left["HCM"] < left["NOR"]
    assert right["RV"] > 1.3 * right["NOR"]
    assert left["MINF"] > 1.1 * left["NOR"]


def test_noise_raises_the_dark_lung_as_rician_noise_does(tmp_path):
    means = []
    for noise in (0.0, 0.1):
        simulate(PARAMS.model_copy(update={"noise": noise}), out=tmp_path / "cohort")
        image = pixels(tmp_path / "cohort", "images/patient001_slice01.mha")
        means.append(image[image <= np.percentile(image, 10)].mean())
    assert means[1] > means[0]


def test_a_cohort_goes_through_the_door_of_real_data(tmp_path):
    further = {"external": ExternalPeople(patients=2, non_patients=1), "reserve": 1}
    cohort = tmp_path / "cohort"
    simulate(PARAMS.model_copy(update=further), out=cohort)
    params = PrepareParams(
        spacing=1.5,
        size=80,
        low_percentile=1,
        high_percentile=99,
        classes=["non-patient", "patient"],
        folds=[0, 1, 2],
        seed=0,
    )
    prepare(params, raw=cohort, out=tmp_path / "images")
    images = ImageSet.load(tmp_path / "images")
    assert images.images.shape == (22 + 6 + 22, 1, 80, 80)
    assert images.training(0).counts().keys() == {"non-patient", "patient"}
    assert images.test(EXTERNAL).counts() == {"non-patient": 2, "patient": 4}
    assert images.test(RESERVE).counts() == {"non-patient": 6, "patient": 16}
    assert sum(len(images.test(fold)) for fold in (0, 1, 2)) == 22
    assert [len(set(images.test(fold).groups)) for fold in (0, 1, 2)] in ([4, 4, 3], [4, 3, 4], [3, 4, 4])
