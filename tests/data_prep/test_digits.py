"""Folders of idx files: read as they are, or told in one message what is wrong with them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import UserError
from components.core.images import ImageSet
from components.data_prep.idx import Kind, read_idx, write_idx
from components.data_prep.problems import Unusable
from components.data_prep.step import PrepareDigitsParams, prepare_digits

MNIST = Path(__file__).parents[2].parent / "shared" / "data" / "mnist"

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(values):
    """The bytes of an idx file, spelt out."""
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


class Folder:
    """Four idx files, 20 training and 10 test images of 28 × 28 pixels, until something is changed."""

    def __init__(self, root):
        self.root, self.raw = root, root / "raw"
        self.raw.mkdir()
        random = np.random.default_rng(0)
        self.images = {"train": pixels(random, 20), "t10k": pixels(random, 10)}
        self.labels = {part: (np.arange(len(images)) % 10).astype(np.uint8) for part, images in self.images.items()}
        self.save()

    def save(self):
        for part in self.images:
            self.write(f"{part}-images-idx3-ubyte", idx(self.images[part]))
            self.write(f"{part}-labels-idx1-ubyte", idx(self.labels[part]))

    def read(self, name):
        return (self.raw / name).read_bytes()

    def write(self, name, content):
        (self.raw / name).write_bytes(content)

    def rename(self, name, new):
        (self.raw / name).rename(self.raw / new)

    def compress(self):
        for path in list(self.raw.iterdir()):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()

    def prepare(self, size=28):
        out = self.root / "out"
        prepare_digits(PrepareDigitsParams(size=size), raw=self.raw, out=out)
        return ImageSet.load(out)

    def failure(self, **changes):
        """What a failing preparation tells; it must leave nothing."""
        with pytest.raises(UserError) as error:
            self.prepare(**changes)
        assert not [path for path in self.root.iterdir() if "out" in path.name]
        return str(error.value)

    def told(self):
        """The lines that tell what is wrong, without the first."""
        first, *lines = self.failure().splitlines()
        assert first == f"The data in {self.raw} cannot be used; mend or remove what is listed here, then run again:"
        return lines


def pixels(random, count, size=28):
    return random.integers(0, 256, (count, size, size), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_images_labels_and_parts_are_filled(folder):
    digits = folder.prepare()
    assert digits.images.shape == (30, 1, 28, 28)
    assert digits.images.dtype == np.uint8
    assert digits.classes == tuple("0123456789")
    assert set(digits.groups) == {""}
    np.testing.assert_array_equal(digits.training(0).images[:, 0], folder.images["train"])
    np.testing.assert_array_equal(digits.test(0).images[:, 0], folder.images["t10k"])
    assert digits.training(0).labels.tolist() == folder.labels["train"].tolist()
    assert digits.test(0).labels.tolist() == folder.labels["t10k"].tolist()


def test_compressed_files_give_the_same_set(folder):
    plain = folder.prepare().digest()
    folder.compress()
    assert folder.prepare().digest() == plain


def test_a_suffix_that_lies_does_no_harm(folder):
    plain = folder.prepare().digest()
    folder.rename(TRAIN_IMAGES, f"{TRAIN_IMAGES}.gz")
    folder.write(TEST_IMAGES, gzip.compress(folder.read(TEST_IMAGES)))
    assert folder.prepare().digest() == plain


def test_names_with_a_dot_are_read(folder):
    for path in list(folder.raw.iterdir()):
        folder.rename(path.name, path.name.replace("-idx", ".idx"))
    assert len(folder.prepare()) == 30


def test_a_folder_without_a_word_on_its_source_is_of_mnist_s_format(folder):
    assert folder.prepare().source == "MNIST-format idx files"


def test_a_folder_s_own_word_on_its_source_is_kept(folder):
    folder.write("source.txt", b"what I wrote\n")
    assert folder.prepare().source == "what I wrote"


@given(st.lists(st.integers(1, 5), min_size=3, max_size=3) | st.lists(st.integers(1, 50), min_size=1, max_size=1))
def test_what_is_written_is_read_again(tmp_path_factory, shape):
    path = tmp_path_factory.mktemp("idx") / "file"
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    write_idx(path, values)
    assert gzip.decompress(path.read_bytes()) == idx(values)
    np.testing.assert_array_equal(read_idx(path, Kind.IMAGES if len(shape) == 3 else Kind.LABELS), values)


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda tail: bytes([0, 0, 8, 3]) + tail))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(content)
    try:
        images = read_idx(path, Kind.IMAGES)
    except Unusable:
        return
    assert idx(images) == content


def test_truncated_images(folder):
    folder.write(TRAIN_IMAGES, folder.read(TRAIN_IMAGES)[:-100])
    assert folder.told() == [
        f"{TRAIN_IMAGES}: is cut short: its header announces 20 × 28 × 28 bytes, and 15580 follow",
    ]


def test_bytes_after_the_end(folder):
    folder.write(TEST_LABELS, folder.read(TEST_LABELS) + b"\0")
    assert folder.told() == [f"{TEST_LABELS}: goes on after its end: its header announces 10 bytes, and 11 follow"]


@pytest.mark.parametrize("kept", [0, 3, 15])
def test_a_truncated_header(folder, kept):
    folder.write(TRAIN_IMAGES, folder.read(TRAIN_IMAGES)[:kept])
    assert folder.told() == [
        f"{TRAIN_IMAGES}: is cut short: it holds {kept} bytes, and the header of images takes 16",
    ]


def test_a_header_that_lies_takes_no_memory(folder):
    folder.write(TRAIN_IMAGES, bytes([0, 0, 8, 3]) + b"\xff" * 12)
    (line,) = folder.told()
    assert "is cut short: its header announces 4294967295 × 4294967295 × 4294967295 bytes, and 0 follow" in line


@pytest.mark.parametrize("kept", [2, 9, 200, -4])
def test_a_truncated_gzip_file(folder, kept):
    folder.compress()
    folder.write(f"{TRAIN_IMAGES}.gz", folder.read(f"{TRAIN_IMAGES}.gz")[:kept])
    assert folder.told() == [
        f"{TRAIN_IMAGES}.gz: cannot be decompressed: the gzip file is damaged or cut short",
    ]


@pytest.mark.parametrize("position", [3, 100, -6])
def test_a_damaged_gzip_file(folder, position):
    folder.compress()
    content = bytearray(folder.read(f"{TRAIN_IMAGES}.gz"))
    content[position] ^= 0xFF
    folder.write(f"{TRAIN_IMAGES}.gz", content)
    (line,) = folder.told()
    assert line == f"{TRAIN_IMAGES}.gz: cannot be decompressed: the gzip file is damaged or cut short"


def test_a_wrong_magic_number(folder):
    folder.write(TEST_IMAGES, b"\x89PNG" + folder.read(TEST_IMAGES)[4:])
    assert folder.told() == [
        f"{TEST_IMAGES}: begins with 0x89504e47, an idx file of images with 0x00000803",
    ]


def test_images_where_labels_belong(folder):
    folder.write(TRAIN_LABELS, folder.read(TRAIN_IMAGES))
    assert folder.told() == [f"{TRAIN_LABELS}: is a file of images, where labels belong"]


def test_labels_where_images_belong(folder):
    folder.write(TRAIN_IMAGES, folder.read(TRAIN_LABELS))
    assert folder.told() == [f"{TRAIN_IMAGES}: is a file of labels, where images belong"]


def test_fewer_labels_than_images(folder):
    folder.labels["t10k"] = folder.labels["t10k"][:-1]
    folder.save()
    assert folder.told() == [f"{TEST_LABELS}: holds 9 labels for 10 images"]


def test_a_label_that_is_no_digit(folder):
    folder.labels["train"][3] = 10
    folder.save()
    assert folder.told() == [f"{TRAIN_LABELS}: label 10 at position 3 is none of the digits 0 to 9"]


def test_digits_that_do_not_occur(folder):
    folder.labels["train"] %= 8
    folder.save()
    assert folder.told() == [f"{TRAIN_LABELS}: labels no image as 8 or 9; every digit is needed"]


def test_an_empty_part(folder):
    folder.images["t10k"], folder.labels["t10k"] = np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8)
    folder.save()
    assert folder.told() == [
        f"{TEST_IMAGES}: is empty: its header announces 0 × 28 × 28 bytes",
        f"{TEST_LABELS}: is empty: its header announces 0 bytes",
    ]


def test_images_without_pixels(folder):
    folder.images["t10k"] = np.zeros((10, 0, 28), np.uint8)
    folder.save()
    assert folder.told() == [f"{TEST_IMAGES}: is empty: its header announces 10 × 0 × 28 bytes"]


def test_no_files(folder):
    for path in list(folder.raw.iterdir()):
        path.unlink()
    assert folder.told() == [
        f"{name}: there is no such file, neither plain nor as .gz"
        for name in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
    ]


def test_a_file_that_is_there_twice(folder):
    folder.write(f"{TRAIN_IMAGES}.gz", gzip.compress(folder.read(TRAIN_IMAGES)))
    assert folder.told() == [
        f"{TRAIN_IMAGES}: is there more than once; keep {TRAIN_IMAGES}, remove {TRAIN_IMAGES}.gz",
    ]


def test_parts_of_different_sizes(folder):
    folder.images["t10k"] = pixels(np.random.default_rng(0), 10, size=16)
    folder.save()
    assert folder.told() == [
        f"{TEST_IMAGES}: its images are of 16×16 pixels, those of the training part of 28×28",
    ]


def test_digits_of_another_size_than_the_parameter_s(folder):
    assert folder.failure(size=32) == f"The digits in {folder.raw} have 28×28 pixels; scale them to 32×32."


def test_everything_is_told_at_once(folder):
    folder.write(TRAIN_IMAGES, folder.read(TRAIN_IMAGES)[:-1])
    folder.write(TRAIN_LABELS, folder.read(TRAIN_IMAGES))
    (folder.raw / TEST_IMAGES).unlink()
    folder.labels["t10k"][0] = 77
    folder.write(TEST_LABELS, idx(folder.labels["t10k"]))
    assert folder.told() == [
        f"{TRAIN_IMAGES}: is cut short: its header announces 20 × 28 × 28 bytes, and 15679 follow",
        f"{TRAIN_LABELS}: is a file of images, where labels belong",
        f"{TEST_IMAGES}: there is no such file, neither plain nor as .gz",
        f"{TEST_LABELS}: label 77 at position 0 is none of the digits 0 to 9",
    ]


@pytest.mark.skipif(not MNIST.exists(), reason="MNIST is not on this machine")
def test_the_real_mnist_is_prepared_whole(tmp_path):
    prepare_digits(PrepareDigitsParams(size=28), raw=MNIST, out=tmp_path / "images")
    digits = ImageSet.load(tmp_path / "images")
    assert digits.images.shape == (70000, 1, 28, 28)
    train, test = digits.training(0), digits.test(0)
    assert [*train.counts().values()] == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert [*test.counts().values()] == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
