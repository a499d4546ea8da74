"""Folders of photographs: decoded alike by any number of processes, or told in one message what is wrong with them."""

import json
import os
import random
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.core.errors import UserError
from components.core.images import NO_FOLD, TEST_FOLD, ImageSet
from components.core.storage import digest_path
from components.data_prep.photograph import LeftOut, read_photograph
from components.data_prep.problems import Unusable
from components.data_prep.step import PreparePhotographsParams, prepare_photographs

PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "photos"
on_photos = pytest.mark.skipif(not PHOTOS.exists(), reason="the photographs are not on this machine")

SIZE = 32
UNREADABLE = "cannot be read: damaged, cut short, or no JPEG, PNG, WebP or TIFF of 8 or 16 bits"
TOO_LARGE = "has more than 134 million pixels, too many to be decoded; scale it down"
GREY = "is grey: its red, green and blue are the same everywhere"


def picture(width=48, height=40, seed=0):
    """Smooth colours, so that JPEG and scaling change little: red grows to the right, green downwards."""
    rows, columns = np.mgrid[:height, :width]
    blue = np.full(rows.shape, 40 + 20 * (seed % 10))
    return Image.fromarray(np.stack([columns * 255 // width, rows * 255 // height, blue], -1).astype(np.uint8))


def square(image, size=SIZE):
    """(3, size, size) levels of the middle, scaled without any short cut."""
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box)).transpose(2, 0, 1)


def difference(levels, expected):
    return np.abs(levels.astype(int) - expected).max()


class Folder:
    """Six photographs to train with and two to test with, until something is changed."""

    def __init__(self, root):
        self.root, self.raw = root, root / "raw"
        for number in range(8):
            self.add(f"{'train' if number < 6 else 'test'}/{number}.jpg", picture(seed=number))

    def add(self, name, image, **options):
        path = self.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)
        return path

    def clear(self):
        for path in sorted(self.raw.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()

    def categories(self, **counts):
        self.clear()
        for name, count in counts.items():
            for number in range(count):
                self.add(f"{name}/{number:02d}.png", picture(seed=number))

    @property
    def out(self):
        return self.root / "out"

    def prepare(self, size=SIZE, test_share=0.25, seed=0):
        params = PreparePhotographsParams(size=size, test_share=test_share, seed=seed)
        prepare_photographs(params, raw=self.raw, out=self.out)
        return ImageSet.load(self.out)

    def left_out(self):
        return json.loads((self.out / "left-out.json").read_text())

    def told(self, **changes):
        """The lines that tell what is wrong, without the first; nothing may be left."""
        with pytest.raises(UserError) as error:
            self.prepare(**changes)
        assert not [path for path in self.root.iterdir() if "out" in path.name]
        first, *lines = str(error.value).splitlines()
        assert first == f"The data in {self.raw} cannot be used; mend or remove what is listed here, then run again:"
        return lines


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_images_names_and_parts_are_filled(folder):
    photographs = folder.prepare()
    assert photographs.images.shape == (8, 3, SIZE, SIZE)
    assert photographs.images.dtype == np.uint8
    assert photographs.classes == ("photographs",)
    assert photographs.groups.tolist() == [
        *(f"test/{number}.jpg" for number in (6, 7)),
        *(f"train/{number}.jpg" for number in range(6)),
    ]
    assert photographs.folds.tolist() == [TEST_FOLD] * 2 + [NO_FOLD] * 6
    assert set(photographs.labels) == {0}
    assert difference(photographs.images[1], square(picture(seed=7))) <= 8
    assert folder.left_out() == {}


def test_other_folders_than_the_parts_are_not_looked_into(folder):
    folder.add("categories/fish/1.jpg", picture())
    folder.add("train/.thumbnails/1.jpg", picture())
    (folder.raw / "train" / "._0.jpg").write_text("what macOS leaves")
    (folder.raw / "train" / "notes.txt").write_text("no photograph")
    assert len(folder.prepare()) == 8


def test_every_folder_is_a_category_where_there_are_no_parts(folder):
    folder.categories(lion=8, ladybug=4)
    photographs = folder.prepare()
    assert photographs.classes == ("ladybug", "lion")
    assert photographs.counts() == {"ladybug": 4, "lion": 8}
    assert photographs.test(TEST_FOLD).counts() == {"ladybug": 1, "lion": 2}
    assert photographs.groups[0] == "ladybug/00.png"


@pytest.mark.parametrize(("share", "held_out"), [(0.01, 1), (0.5, 2), (0.99, 3)])
def test_each_category_has_photographs_on_both_sides(folder, share, held_out):
    folder.categories(lion=4)
    assert len(folder.prepare(test_share=share).test(TEST_FOLD)) == held_out


def test_the_seed_decides_what_is_held_out(folder):
    folder.categories(lion=10)
    splits = {tuple(folder.prepare(seed=seed).folds) for seed in (0, 0, 1, 2)}
    assert len(splits) == 3


def test_a_category_is_split_alike_whatever_others_there_are(folder):
    folder.categories(lion=10)
    alone = folder.prepare().test(TEST_FOLD).groups.tolist()
    folder.categories(lion=10, dog=3)
    assert folder.prepare().of_class("lion").test(TEST_FOLD).groups.tolist() == alone


@pytest.mark.parametrize("processes", ["1", "3"])
def test_the_bytes_do_not_hang_on_the_number_of_processes(folder, processes, monkeypatch):
    for number in range(30):
        folder.add(f"train/more{number}.png", picture(seed=number).convert("L" if number % 7 == 2 else "RGB"))
    folder.prepare()
    digest = digest_path(folder.out)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", processes)
    folder.prepare()
    assert digest_path(folder.out) == digest


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp", ".TIF", ".tiff"])
def test_every_format_is_read(folder, suffix):
    path = folder.add(f"train/x{suffix}", picture())
    assert difference(read_photograph(path, SIZE), square(picture())) <= 12
    assert len(folder.prepare()) == 9


def test_a_suffix_that_lies_does_no_harm(folder):
    path = folder.add("train/x.jpg", picture(), format="PNG")
    np.testing.assert_array_equal(read_photograph(path, SIZE), square(picture()))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_obeyed(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x{suffix}"
    picture(64, 48).save(path, exif=exif, quality=95)
    upright = square(picture(64, 48))
    columns, rows = upright[:, ::, ::-1], upright[:, ::-1, :]
    turned = upright.transpose(0, 2, 1)
    expected = {
        1: upright,
        2: columns,
        3: rows[:, :, ::-1],
        4: rows,
        5: turned,
        6: turned[:, :, ::-1],
        7: turned[:, ::-1, ::-1],
        8: turned[:, ::-1, :],
    }[orientation]
    assert difference(read_photograph(path, SIZE), expected) <= 8


def test_the_middle_of_a_photograph_of_the_right_size_is_cut_out_as_it_is(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE + 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_photograph(tmp_path / "x.png", SIZE), noise[:, 4:-4].transpose(2, 0, 1))


@pytest.mark.parametrize("short", [300, 515, 1030])
def test_a_jpeg_decoded_at_a_smaller_size_looks_the_same(tmp_path, short):
    smooth = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
    Image.fromarray(smooth).resize((short * 4 // 3, short), Image.Resampling.BICUBIC).save(tmp_path / "x.jpg")
    with Image.open(tmp_path / "x.jpg") as image:
        expected = square(image, 128)
    assert np.abs(read_photograph(tmp_path / "x.jpg", 128).astype(int) - expected).mean() < 1


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits_keep_their_range(tmp_path, suffix, channels):
    levels = np.asarray(picture(SIZE, SIZE))
    opaque = np.full((SIZE, SIZE, 1), 255, np.uint8)
    wide = np.concatenate([levels, opaque], axis=2)[..., :channels].astype(np.uint16) * 257
    sitk.WriteImage(sitk.GetImageFromArray(wide, isVector=True), tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(read_photograph(tmp_path / f"x{suffix}", SIZE), levels.transpose(2, 0, 1))


def test_a_palette_is_looked_up(tmp_path):
    image = picture(SIZE, SIZE).quantize(16)
    image.save(tmp_path / "x.png")
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_photograph(tmp_path / "x.png", SIZE), expected)


@pytest.mark.parametrize("mode", ["RGBA", "P", "RGB"])
def test_what_is_transparent_is_laid_on_white(tmp_path, mode):
    image = Image.new("RGB", (SIZE, SIZE), (200, 0, 0))
    image.paste((0, 200, 0), (0, 0, SIZE // 2, SIZE))
    if mode == "RGBA":
        image.putalpha(Image.fromarray((np.asarray(image)[..., 0] > 0).astype(np.uint8) * 255))
        options = {}
    elif mode == "P":
        image = image.quantize(2)
        options = {"transparency": image.getpixel((0, 0))}
    else:
        options = {"transparency": (0, 200, 0)}
    image.save(tmp_path / "x.png", **options)
    levels = read_photograph(tmp_path / "x.png", SIZE)
    assert (levels[:, :, : SIZE // 2] == 255).all()
    assert (levels[:, :, SIZE // 2 :] == np.array([200, 0, 0]).reshape(3, 1, 1)).all()


def test_half_transparent_colours_do_not_fringe(tmp_path):
    image = picture(4 * SIZE, 4 * SIZE).convert("RGBA")
    image.putalpha(128)
    image.save(tmp_path / "x.png")
    expected = (square(picture(4 * SIZE, 4 * SIZE)).astype(int) * 128 + 255 * 127) // 255
    assert difference(read_photograph(tmp_path / "x.png", SIZE), expected) <= 2


def test_grey_and_cmyk_photographs_are_left_out_and_reported(folder, capfd):
    folder.add("train/grey.jpg", picture().convert("L"))
    folder.add("train/also_grey.jpg", picture().convert("L").convert("RGB"))
    folder.add("train/print.jpg", picture().convert("CMYK"))
    folder.add("train/lab.tif", Image.new("LAB", (SIZE, SIZE)))
    sitk.WriteImage(sitk.GetImageFromArray(np.full((40, 40), 999, np.uint16)), folder.raw / "test" / "deep.png")
    photographs = folder.prepare()
    assert folder.left_out() == {
        "test/deep.png": "is grey",
        "train/also_grey.jpg": GREY,
        "train/grey.jpg": "is grey",
        "train/lab.tif": "its colours are LAB, not RGB",
        "train/print.jpg": "its colours are CMYK, not RGB",
    }
    assert capfd.readouterr().err.splitlines() == [
        "warning: 5 of 13 photographs are left out, as left-out.json explains: "
        "test/deep.png, train/also_grey.jpg, train/grey.jpg …",
    ]
    assert len(photographs) == 8
    for name, levels in zip(photographs.groups, photographs.images, strict=True):
        np.testing.assert_array_equal(levels, read_photograph(folder.raw / name, SIZE))


@pytest.mark.parametrize("colour", [(90, 94, 92), (90, 96, 92)])
def test_grey_is_what_hardly_differs_between_its_channels(tmp_path, colour):
    Image.new("RGB", (SIZE, SIZE), colour).save(tmp_path / "x.png")
    if max(colour) - min(colour) <= 4:
        with pytest.raises(LeftOut, match=GREY):
            read_photograph(tmp_path / "x.png", SIZE)
    else:
        read_photograph(tmp_path / "x.png", SIZE)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.6, 0.97])
def test_a_truncated_photograph(folder, suffix, kept):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    path = folder.add(f"train/cut{suffix}", Image.fromarray(noise))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert folder.told() == [f"train/cut{suffix}: {UNREADABLE}"]


@pytest.mark.parametrize("name", ["train/text.png", "test/text.JPG"])
def test_text_where_a_photograph_belongs(folder, name):
    (folder.raw / name).write_text("this is text\n")
    assert folder.told() == [f"{name}: {UNREADABLE}"]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (31, 500), (500, 31)])
def test_a_photograph_that_is_too_small(folder, width, height):
    folder.add("train/small.png", picture(width, height))
    why = f"is of {width}×{height} pixels; each side must have at least 32"
    assert folder.told() == [f"train/small.png: {why}"]


@pytest.mark.parametrize("side", [12_000, 20_000])
def test_a_bomb_is_refused_by_its_header(folder, side):
    path = folder.add("train/bomb.png", Image.new("1", (side, side)))
    assert folder.told() == [f"train/bomb.png: {TOO_LARGE}"]
    path.write_bytes(path.read_bytes()[:100])
    assert folder.told() == [f"train/bomb.png: {TOO_LARGE}"]


def test_a_link_to_nowhere(folder):
    (folder.raw / "train" / "link.jpg").symlink_to("nowhere")
    assert folder.told() == ["train/link.jpg: cannot be opened: No such file or directory"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(folder):
    (folder.raw / "train" / "0.jpg").chmod(0)
    (folder.raw / "train" / "1.jpg").write_text("text")
    assert folder.told() == [
        "train/0.jpg: cannot be opened: Permission denied",
        f"train/1.jpg: {UNREADABLE}",
    ]


def test_no_worker_outlives_a_killed_step(folder):
    os.mkfifo(folder.raw / "train" / "endless.jpg")
    code = f"""
from pathlib import Path
from components.data_prep.step import PreparePhotographsParams, prepare_photographs
params = PreparePhotographsParams(size={SIZE}, test_share=0.25, seed=0)
prepare_photographs(params, raw=Path({str(folder.raw)!r}), out=Path({str(folder.out)!r}))
"""
    step = psutil.Popen([sys.executable, "-c", code])
    while not (workers := step.children()):
        time.sleep(0.02)
    step.kill()
    step.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive


def test_an_empty_folder(folder):
    folder.clear()
    assert folder.told() == ["train, test: there are no such folders, nor one for each category of photographs"]


def test_a_part_that_is_missing(folder):
    for path in (folder.raw / "test").iterdir():
        path.unlink()
    assert folder.told() == ["test: holds too few photographs in colour: 0 of at least 1"]
    (folder.raw / "test").rmdir()
    assert folder.told() == ["test: there is no such folder; train and test, so written, belong together"]


def test_a_part_of_grey_photographs_only(folder):
    for path in (folder.raw / "test").iterdir():
        Image.open(path).convert("L").save(path)
    assert folder.told() == ["test: holds too few photographs in colour: 0 of at least 1"]


def test_parts_written_otherwise(folder):
    (folder.raw / "train").rename(folder.raw / "Train")
    assert folder.told() == ["train: there is no such folder; train and test, so written, belong together"]


def test_a_category_too_small_to_be_split(folder):
    folder.categories(dog=1, lion=2)
    (folder.raw / "empty").mkdir()
    assert folder.told() == [
        "dog: holds too few photographs in colour: 1 of at least 2",
        "empty: holds too few photographs in colour: 0 of at least 2",
    ]


def test_categories_that_differ_in_case_only(folder):
    folder.categories(Lion=2, lion=2)
    assert folder.told() == ["lion: differs from the category Lion in case only"]


def test_names_that_no_category_may_have(folder):
    folder.categories(All=2, **{"a b": 2})
    assert folder.told() == [
        "All: is no name for a category: all of them together are called so",
        "a b: is no name for a category; give it one of letters, digits, - and _ only",
    ]


def test_photographs_that_lie_too_deep(folder):
    folder.categories(lion=2)
    folder.add("lion/cubs/0.jpg", picture())
    folder.add("lion/cubs/1.jpg", picture())
    assert folder.told() == ["lion/cubs: lies too deep; photographs are looked for in lion itself"]


def test_everything_is_told_at_once(folder):
    folder.add("train/1.jpg", picture(1, 1))
    (folder.raw / "train" / "2.jpg").write_bytes((folder.raw / "train" / "2.jpg").read_bytes()[:-50])
    folder.add("train/grey.jpg", picture().convert("L"))
    folder.add("train/deep/1.jpg", picture())
    (folder.raw / "test").rename(folder.raw / "Test")
    (folder.raw / "Test" / "6.jpg").write_text("text")
    assert folder.told() == [
        "test: there is no such folder; train and test, so written, belong together",
        "train/deep: lies too deep; photographs are looked for in train itself",
        f"Test/6.jpg: {UNREADABLE}",
        "train/1.jpg: is of 1×1 pixels; each side must have at least 32",
        f"train/2.jpg: {UNREADABLE}",
    ]


@settings(max_examples=60)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF"]), st.integers(0, 10**6))
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, form, seed):
    path = tmp_path_factory.mktemp("photo") / "x"
    picture().save(path, format=form)
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)
    try:
        levels = read_photograph(path, SIZE)
    except (LeftOut, Unusable):
        return
    assert levels.shape == (3, SIZE, SIZE)


@on_photos
def test_real_photographs_are_prepared_whole(tmp_path):
    prepare_photographs(
        PreparePhotographsParams(size=256, test_share=0.25, seed=0), raw=PHOTOS, out=tmp_path / "images"
    )
    photographs = ImageSet.load(tmp_path / "images")
    assert photographs.images.shape == (360, 3, 256, 256)
    assert len(photographs.training(TEST_FOLD)) == 300
    assert isinstance(photographs.images, np.memmap)


@on_photos
def test_real_categories_are_prepared_whole(tmp_path):
    params = PreparePhotographsParams(size=128, test_share=0.25, seed=0)
    prepare_photographs(params, raw=PHOTOS / "categories", out=tmp_path / "images")
    photographs = ImageSet.load(tmp_path / "images")
    assert photographs.classes == ("bird", "dog", "fish", "ladybug", "lion", "orange")
    assert len(photographs) == 28
    assert len(photographs.test(TEST_FOLD)) == 6
