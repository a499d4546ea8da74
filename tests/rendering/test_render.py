import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from components.core.errors import UserError
from components.rendering import render as rendering
from components.rendering.chroma import small_chroma
from components.rendering.render import render, render_files
from components.rendering.renderer import Renderer


def photograph(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


def lab(picture):
    return rgb2lab(np.asarray(picture))


@pytest.mark.parametrize("size", [(16, 16), (37, 90), (90, 37), (5, 7), (1, 1), (2, 300), (600, 20)])
def test_a_picture_keeps_its_size_and_lightness(orange, size):
    given = photograph(*size)
    rendered = render(orange, given)
    assert (rendered.height, rendered.width) == size
    assert np.abs(lab(rendered)[..., 0] - rgb2lab(given)[..., 0]).max() < 1


def test_black_and_white_stay_so(orange):
    given = np.repeat(np.linspace(0, 1, 50, dtype=np.float32)[None, :, None], 3, axis=2).repeat(20, axis=0)
    levels = np.asarray(render(orange, given))
    assert (levels[:, 0] <= 1).all() and (levels[:, -1] >= 254).all()


def test_colours_are_the_networks(orange):
    rendered = lab(render(orange, np.full((30, 40, 3), 0.5, dtype=np.float32)))
    wanted = rgb2lab((orange.predict(np.zeros((1, 1, 16, 16)))[0].transpose(1, 2, 0) + 1) / 2)
    assert np.abs(rendered[..., 1:] - wanted[0, 0, 1:]).max() < 1


def test_colours_of_the_photograph_are_forgotten(orange):
    grey = np.full((20, 20, 3), 0.4, dtype=np.float32)
    tinted = np.array(grey)
    tinted[..., 2] = 1
    hues = [np.arctan2(*lab(render(orange, each))[10, 10, 1:]) for each in (grey, tinted)]
    assert hues[0] == pytest.approx(hues[1], abs=0.1)


@given(st.integers(1, 60), st.integers(1, 60))
def test_a_network_that_gives_grey_back_adds_no_colour(height, width):
    same = Renderer(lambda grey: np.repeat(grey, 3, axis=1), 8, 12)
    assert np.abs(small_chroma(same, photograph(height, width)[..., 0] * 2 - 1)).max() < 0.1


def test_windows_hide_no_edge():
    """Where two windows overlap, the colours of one turn into those of the other little by little."""

    def shaded(grey):
        colours = np.zeros((len(grey), 3, 16, 16))
        colours[:, 0] = np.linspace(-1, 1, len(grey))[:, None, None]
        return colours

    chroma = small_chroma(Renderer(shaded, 16, 16), np.zeros((16, 64), np.float32))
    assert chroma.shape == (16, 64, 2)
    assert np.abs(np.diff(chroma, axis=1)).max() < 0.1 * np.ptp(chroma)


def test_bands_do_not_show(orange, monkeypatch):
    given = photograph(40, 30)
    whole = np.asarray(render(orange, given))
    monkeypatch.setattr(rendering, "BAND", 7)
    assert (np.asarray(render(orange, given)) == whole).all()


@pytest.fixture
def folder(tmp_path, orange, monkeypatch):
    """A folder with pictures; the model is `orange`, whatever its name."""
    monkeypatch.setattr(rendering, "load_renderer", lambda uri: orange)
    picture = Image.fromarray((photograph(20, 30) * 255).astype(np.uint8))
    for name in ("a.jpg", "b.png", "c.webp", "d.tif", "D.JPEG"):
        picture.save(tmp_path / name)
    return tmp_path


def test_a_jpeg_becomes_a_jpeg_and_everything_else_a_png(folder):
    files = [folder / name for name in ("a.jpg", "b.png", "c.webp", "d.tif", "D.JPEG")]
    written = render_files(files, "any", folder / "out" / "deep")
    names = ["a-coloured.jpg", "b-coloured.png", "c-coloured.png", "d-coloured.png", "D-coloured.JPEG"]
    assert [path.name for path in written] == names
    assert [Image.open(path).format for path in written] == ["JPEG", "PNG", "PNG", "PNG", "JPEG"]
    assert {Image.open(path).size for path in written} == {(30, 20)}


def test_unreadable_pictures_are_listed_and_the_others_rendered(folder):
    (folder / "text.png").write_text("no picture")
    (folder / "cut.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    files = [folder / name for name in ("text.png", "cut.jpg", "none.png", "b.png")]
    with pytest.raises(UserError, match=r"^Not rendered: .*text.png cannot .*; .*cut.jpg .*; .*none.png there is no"):
        render_files(files, "any", folder / "out")
    assert [path.name for path in (folder / "out").iterdir()] == ["b-coloured.png"]


def test_two_pictures_of_one_name_are_refused_before_anything_is_written(folder):
    (folder / "b.tif").write_bytes((folder / "d.tif").read_bytes())
    with pytest.raises(UserError, match=r"2 pictures would all become .*b-coloured.png"):
        render_files([folder / "b.png", folder / "b.tif"], "any", folder / "out")
    assert not (folder / "out").exists()


def test_a_folder_that_cannot_be_made_is_told(folder):
    with pytest.raises(UserError, match=r"b.png cannot be made \(File exists\); name another"):
        render_files([folder / "a.jpg"], "any", folder / "b.png")
