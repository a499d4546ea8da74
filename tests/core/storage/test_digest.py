import shutil

from hypothesis import given
from hypothesis import strategies as st

from components.core.storage import digest_code, digest_json, digest_path


def folder(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def test_a_copy_has_its_originals_digest(tmp_path):
    original = folder(tmp_path / "a", {"x": b"1", "deep/y": b"2"})
    shutil.copytree(original, tmp_path / "b")
    assert digest_path(original) == digest_path(tmp_path / "b")


@given(content=st.binary(min_size=1, max_size=64), data=st.data())
def test_one_changed_byte_changes_the_digest(tmp_path_factory, content, data):
    position = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[position] ^= 1
    root = tmp_path_factory.mktemp("digest")
    before = folder(root / "a", {"x": content})
    after = folder(root / "b", {"x": bytes(changed)})
    assert digest_path(before) != digest_path(after)


def test_a_renamed_file_changes_the_digest(tmp_path):
    assert digest_path(folder(tmp_path / "a", {"x": b"1"})) != digest_path(folder(tmp_path / "b", {"y": b"1"}))


def test_bytes_moved_between_files_change_the_digest(tmp_path):
    before = folder(tmp_path / "a", {"x": b"12", "y": b"3"})
    after = folder(tmp_path / "b", {"x": b"1", "y": b"23"})
    assert digest_path(before) != digest_path(after)


def test_code_is_its_sources_and_not_its_byte_code(tmp_path):
    package = folder(tmp_path / "package", {"step.py": b"x = 1"})
    before = digest_code(package)
    folder(package, {"__pycache__/step.pyc": b"junk"})
    assert digest_code(package) == before
    folder(package, {"step.py": b"x = 2"})
    assert digest_code(package) != before


def test_a_template_is_code_too(tmp_path):
    before = digest_code(folder(tmp_path / "a", {"step.py": b"x", "templates/page.html": b"1"}))
    assert digest_code(folder(tmp_path / "b", {"step.py": b"x", "templates/page.html": b"2"})) != before


def test_the_order_of_keys_does_not_count():
    assert digest_json({"a": 1, "b": [1, 2]}) == digest_json({"b": [1, 2], "a": 1})
