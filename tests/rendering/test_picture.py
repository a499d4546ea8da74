import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from components.data_prep.problems import Unusable
from components.rendering.picture import read_picture

LEVELS = np.arange(240, dtype=np.uint8).reshape(10, 24)


def write(path, array, mode=None):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


def test_levels_become_fractions(tmp_path):
    colours = np.stack([LEVELS, LEVELS[::-1], LEVELS[:, ::-1]], axis=2)
    picture = read_picture(write(tmp_path / "a.png", colours))
    assert picture.dtype == np.float32
    assert np.allclose(picture, colours / 255)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_all_sixteen_bits_of_a_grey_picture_count(tmp_path, name):
    deep = LEVELS.astype(np.uint16) * 273 + 7
    picture = read_picture(write(tmp_path / name, deep))
    assert picture.shape == (10, 24, 3)
    assert np.allclose(picture, deep[..., None] / 65535, atol=1e-7)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "YCbCr"])
def test_pictures_of_every_mode_are_read(tmp_path, mode):
    path = write(tmp_path / "a.tif", np.full((6, 9, 3), 255, np.uint8), mode)
    assert np.allclose(read_picture(path), 1, atol=0.01)


def test_what_is_transparent_is_white(tmp_path):
    path = write(tmp_path / "a.png", np.zeros((6, 9, 4), np.uint8))
    assert (read_picture(path) == 1).all()


def test_exif_rotation_is_obeyed(tmp_path):
    image, exif = Image.fromarray(LEVELS), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    image.save(tmp_path / "a.png", exif=exif)
    assert np.allclose(read_picture(tmp_path / "a.png")[..., 0], np.rot90(LEVELS, -1) / 255)


def test_values_without_a_range_are_windowed(tmp_path):
    values = np.linspace(-5, 3000, 240, dtype=np.float32).reshape(10, 24)
    values[0, 0] = np.nan
    picture = read_picture(write(tmp_path / "a.tif", values))
    assert (picture.min(), picture.max()) == (0, 1)
    assert picture[5, 0, 0] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", ["a.mha", "a.nii.gz"])
def test_of_a_volume_the_middle_slice_is_shown(tmp_path, name):
    ramp = np.linspace(0, 900, 240, dtype=np.float32).reshape(10, 24)
    volume = np.stack([np.zeros_like(ramp), ramp, np.zeros_like(ramp)]).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(volume), str(tmp_path / name))
    picture = read_picture(tmp_path / name)
    assert picture.shape == (10, 24, 3)
    assert (picture.min(), picture.max()) == (0, 1)
    assert np.ptp(picture, axis=2).max() == 0


def test_a_slice_of_one_value_is_black(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 6), 9, np.int16)), str(tmp_path / "a.mha"))
    assert (read_picture(tmp_path / "a.mha") == 0).all()


@pytest.mark.parametrize("name", ["text.png", "text.mha", "text.dcm"])
def test_what_is_no_picture_is_told(tmp_path, name):
    (tmp_path / name).write_text("no picture")
    with pytest.raises(Unusable, match="cannot be read"):
        read_picture(tmp_path / name)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(Unusable, match="there is no such file"):
        read_picture(tmp_path / "none.png")


def test_a_bomb_is_told(tmp_path, monkeypatch):
    path = write(tmp_path / "a.png", LEVELS)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Unusable, match="too many to be decoded"):
        read_picture(path)
