"""Everything wrong with a data set is told at once, and nothing is written."""

import numpy as np
import pytest
import SimpleITK as sitk

from components.core.errors import UserError


def told(folder, **changes):
    """The lines that tell what is wrong, without the first."""
    folder.save_labels()
    return told_as_it_is(folder, **changes)


def told_as_it_is(folder, **changes):
    with pytest.raises(UserError) as error:
        folder.prepare_as_it_is(**changes)
    assert not [path for path in folder.root.iterdir() if "out" in path.name]
    first, *lines = str(error.value).splitlines()
    assert first == f"The data in {folder.raw} cannot be used; mend or remove what is listed here, then run again:"
    return lines


UNREADABLE = "cannot be read: damaged, cut short, or no image of its format"


@pytest.mark.parametrize("suffix", [".mha", ".nii", ".nii.gz", ".dcm"])
@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_a_truncated_image(folder, suffix, kept):
    folder.only({"image": f"cut{suffix}"})
    folder.write(f"cut{suffix}", folder.picture()[0][np.newaxis], (1.5, 1.5, 8))
    path = folder.raw / f"cut{suffix}"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert told(folder) == [f"cut{suffix}: {UNREADABLE}"]


def test_a_truncated_compressed_mha(folder):
    path = folder.raw / "p0_0.mha"
    sitk.WriteImage(sitk.ReadImage(path), path, useCompression=True)
    path.write_bytes(path.read_bytes()[:-200])
    assert told(folder) == [f"p0_0.mha: {UNREADABLE}"]


def test_a_header_without_its_raw_file(folder):
    folder.only({"image": "alone.mhd"})
    folder.write("alone.mhd", folder.picture()[0])
    (folder.raw / "alone.raw").unlink()
    assert told(folder) == [f"alone.mhd: {UNREADABLE}"]


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nii", ".nii.gz", ".dcm"])
@pytest.mark.parametrize("content", [b"", b"this is text, not an image\n"])
def test_text_where_an_image_belongs(folder, suffix, content):
    folder.only({"image": f"text{suffix}"})
    (folder.raw / f"text{suffix}").write_bytes(content)
    assert told(folder) == [f"text{suffix}: {UNREADABLE}"]


def test_a_file_of_another_format(folder):
    folder.only({"image": "photo.jpg"})
    (folder.raw / "photo.jpg").write_bytes(b"\xff\xd8")
    assert told(folder) == ["photo.jpg: is none of .mha .mhd .nii .nii.gz .dcm"]


def test_a_colour_image(folder):
    image = sitk.ReadImage(folder.raw / "p0_0.mha")
    sitk.WriteImage(sitk.Compose(image, image, image), folder.raw / "p0_0.mha")
    assert told(folder) == ["p0_0.mha: is in colour; grey values are needed"]


def test_a_film_of_volumes(folder):
    folder.only({"image": "film.nii.gz"})
    volume = sitk.GetImageFromArray(np.stack([folder.picture()[0]] * 3))
    sitk.WriteImage(sitk.JoinSeries([volume, volume]), folder.raw / "film.nii.gz")
    assert told(folder) == ["film.nii.gz: has 4 dimensions; 2 or 3 are needed"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number(folder, value):
    image = folder.picture()[0].astype(np.float32)
    image[30, 20] = value
    folder.write("p1_1.mha", image)
    assert told(folder) == ["p1_1.mha: holds values that are not finite (NaN or infinity)"]


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_image(folder, value):
    folder.write("p1_1.mha", np.full((60, 50), value, np.uint16))
    assert told(folder) == [f"p1_1.mha: is constant: every pixel is {value}"]


def test_an_image_constant_where_the_heart_should_be(folder):
    image = np.zeros((60, 50), np.uint16)
    image[0, 0] = 1
    folder.write("p1_1.mha", image)
    assert told(folder, size=8) == ["p1_1.mha: is constant within the region of interest"]


def test_the_bad_slice_of_a_volume_is_named(folder):
    image = folder.picture()[0]
    folder.only({"image": "first.mha"})
    folder.write("first.mha", np.stack([image, image * 0, image]), (1.5, 1.5, 8))
    assert told(folder) == ["first.mha: slice 1 is constant: every pixel is 0"]


def test_a_mask_of_another_size(folder):
    folder.write("p0_1_mask.mha", np.ones((50, 60), np.uint8))
    assert told(folder) == ["p0_1_mask.mha: is of size 60 × 50 × 1, its image of 50 × 60 × 1"]


def test_a_mask_that_lies_elsewhere(folder):
    folder.write("p0_1_mask.mha", np.ones((60, 50), np.uint8), (1.2, 1.2))
    assert told(folder) == ["p0_1_mask.mha: has another spacing, origin or orientation than its image"]


def test_an_empty_mask(folder):
    folder.write("p2_0_mask.mha", np.zeros((60, 50), np.uint8))
    assert told(folder) == ["p2_0_mask.mha: is empty: no pixel is marked"]


def test_missing_files(folder):
    (folder.raw / "p2_0.mha").unlink()
    (folder.raw / "p3_0_mask.mha").unlink()
    assert told(folder) == ["p2_0.mha: there is no such file", "p3_0_mask.mha: there is no such file"]


def test_a_file_outside_the_folder(folder):
    folder.rows[0]["image"] = "../p0_0.mha"
    assert told(folder) == ["labels.csv: line 2 names ../p0_0.mha, which lies outside the data folder"]


def test_an_image_listed_twice(folder):
    folder.rows.append(folder.rows[0] | {"image": "./p0_0.mha"})
    assert told(folder) == ["./p0_0.mha: is listed twice in labels.csv"]


def test_a_patient_with_two_labels(folder):
    folder.rows[1]["label"] = "non-patient"
    assert told(folder) == [
        "labels.csv: patient 'p0' has 2 labels: 'patient' for p0_0.mha, 'non-patient' for p0_1.mha",
    ]


def test_a_split_that_is_none(folder):
    folder.mark(p0="validation")
    assert told(folder) == [
        "p0_0.mha: its split 'validation' is none of train, test, reserve",
        "p0_1.mha: its split 'validation' is none of train, test, reserve",
    ]


def test_a_patient_in_two_splits(folder):
    folder.add("p4", "p4", "patient")
    folder.add("p5", "p5", "non-patient")
    folder.mark(p0="test", p5="test")
    folder.rows[1]["split"] = ""
    assert told(folder) == [
        "labels.csv: patient 'p0' has 2 splits: 'test' for p0_0.mha, 'train' for p0_1.mha",
    ]


def test_test_people_of_one_class_alone(folder):
    folder.add("p4", "p4", "patient")
    folder.mark(p4="test")
    assert told(folder) == [
        "labels.csv: nobody of the split 'test' is of class 'non-patient'; it needs people of every class",
    ]


def test_test_people_do_not_count_for_the_folds(folder):
    folder.mark(p0="test", p2="test")
    assert told(folder) == [
        "labels.csv: class 'non-patient' has 1 patients, fewer than the 2 folds",
        "labels.csv: class 'patient' has 1 patients, fewer than the 2 folds",
    ]


def test_a_class_with_fewer_patients_than_folds(folder):
    assert told(folder, folds=[0, 1, 2]) == [
        "labels.csv: class 'non-patient' has 2 patients, fewer than the 3 folds",
        "labels.csv: class 'patient' has 2 patients, fewer than the 3 folds",
    ]


def test_a_label_that_is_no_class(folder):
    folder.add("p4_0", "p4", "sick")
    folder.add("p4_1", "p4", "sick")
    assert told(folder) == [
        "p4_0.mha: its label 'sick' is none of the classes non-patient, patient",
        "p4_1.mha: its label 'sick' is none of the classes non-patient, patient",
    ]


def test_no_table(folder):
    (told_line,) = told_as_it_is(folder)
    assert told_line == "labels.csv: there is no such file; it lists the images with their patients and labels"


@pytest.mark.parametrize("content", ["", "image,mask,patient,group,label\n"])
def test_an_empty_table(folder, content):
    (folder.raw / "labels.csv").write_text(content)
    (told_line,) = told_as_it_is(folder)
    assert told_line in (
        "labels.csv: lists no image",
        "labels.csv: its first line must name the columns image, patient, label; no image and no patient and no label",
    )


def test_a_missing_column(folder):
    folder.columns.remove("patient")
    assert told(folder) == ["labels.csv: its first line must name the columns image, patient, label; no patient"]


def test_a_missing_cell(folder):
    folder.rows[3]["patient"] = " "
    assert told(folder) == ["labels.csv: line 5 has no patient"]


def test_a_row_with_too_many_cells(folder):
    folder.save_labels()
    table = folder.raw / "labels.csv"
    table.write_text(table.read_text() + "x.mha,,p1,,patient,more\n")
    assert told_as_it_is(folder) == ["labels.csv: line 10 has more cells than the first line has columns"]


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\xff", b'image,patient,label\n"a.mha,p,patient\n'])
def test_a_table_that_is_none(folder, content):
    (folder.raw / "labels.csv").write_bytes(content)
    assert told_as_it_is(folder)[0].startswith("labels.csv: is not a comma-separated table in UTF-8 (")


def test_everything_is_told_at_once(folder):
    path = folder.raw / "p0_0.mha"
    path.write_bytes(path.read_bytes()[:-200])
    folder.write("p0_0_mask.mha", np.zeros((60, 50), np.uint8))
    (folder.raw / "p0_1.mha").unlink()
    folder.write("p1_0.mha", np.zeros((60, 50), np.uint16))
    folder.write("p1_1_mask.mha", np.ones((9, 9), np.uint8))
    folder.rows[4]["label"] = "sick"
    folder.rows.append(folder.rows[7])
    assert told(folder, folds=[0, 1, 2]) == [
        "p2_0.mha: its label 'sick' is none of the classes non-patient, patient",
        "p3_1.mha: is listed twice in labels.csv",
        "labels.csv: patient 'p2' has 2 labels: 'sick' for p2_0.mha, 'non-patient' for p2_1.mha",
        "labels.csv: class 'non-patient' has 2 patients, fewer than the 3 folds",
        "labels.csv: class 'patient' has 2 patients, fewer than the 3 folds",
        f"p0_0.mha: {UNREADABLE}",
        "p0_0_mask.mha: is empty: no pixel is marked",
        "p0_1.mha: there is no such file",
        "p1_0.mha: is constant: every pixel is 0",
        "p1_1_mask.mha: is of size 9 × 9 × 1, its image of 50 × 60 × 1",
    ]


def test_itk_prints_nothing(folder, capfd):
    for name in ("p0_0.mha", "p0_1_mask.mha"):
        path = folder.raw / name
        path.write_bytes(path.read_bytes()[:-200])
    told(folder)
    assert capfd.readouterr() == ("", "")
