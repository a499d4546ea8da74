import pytest
from pydantic import Field

from components.core.contract import Section, check, dump_params, load_params, write_params
from components.core.errors import UserError


class Inner(Section):
    gamma: float = Field(ge=0)
    generations: int = Field(ge=1)


class Outer(Section):
    egan: Inner


TEXT = """\
demo:
  egan:
    gamma: 0.5 # a comment
    generations: 10
profiles:
  smoke:
    demo:
      egan: {generations: 2}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    return path


def problem(path, *overrides):
    with pytest.raises(UserError) as caught:
        load_params(path, "demo", Outer, overrides=overrides)
    return str(caught.value)


def test_a_profile_replaces_the_defaults_and_an_override_the_profile(path):
    assert load_params(path, "demo", Outer, "smoke").egan.generations == 2
    loaded = load_params(path, "demo", Outer, "smoke", ["demo.egan.generations=3"])
    assert (loaded.egan.generations, loaded.egan.gamma) == (3, 0.5)


def test_a_value_out_of_range_is_named_with_its_bound(path):
    assert problem(path, "demo.egan.gamma=-1") == "demo.egan.gamma: must be ≥ 0, got -1"


def test_an_unknown_key_is_named_with_the_nearest_known_one(path):
    assert problem(path, "demo.egan.gama=1") == "demo.egan.gama: unknown parameter; did you mean 'gamma'?"


def test_a_wrong_type_is_named(path):
    assert problem(path, "demo.egan.generations=many") == 'demo.egan.generations: must be a whole number, got "many"'


def test_every_offender_is_listed(path):
    assert len(problem(path, "demo.egan.generations=0", "demo.egan.gamma=-1").splitlines()) == 2


def test_an_override_of_another_pipeline_is_refused(path):
    assert "demo.SECTION.NAME=VALUE" in problem(path, "other.egan.gamma=1")


def test_an_unknown_section_is_refused(path):
    assert problem(path, "demo.nothing.gamma=1") == "demo.nothing: unknown parameter."


def test_an_unknown_profile_lists_the_known_ones(path):
    with pytest.raises(UserError, match="choose one of default, smoke"):
        load_params(path, "demo", Outer, "huge")


def test_a_missing_file_and_broken_yaml_are_told(tmp_path):
    with pytest.raises(UserError, match="There is no"):
        load_params(tmp_path / "none.yaml", "demo", Outer)
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(UserError, match="not valid YAML"):
        load_params(tmp_path / "bad.yaml", "demo", Outer)


def test_what_is_dumped_is_read_again(path, tmp_path):
    values = load_params(path, "demo", Outer, "smoke")
    (tmp_path / "dumped.yaml").write_text(dump_params("demo", values))
    assert load_params(tmp_path / "dumped.yaml", "demo", Outer) == values


def test_writing_keeps_comments_and_profiles(path):
    write_params(path, "demo", load_params(path, "demo", Outer, "smoke"))
    assert path.read_text() == TEXT.replace("generations: 10", "generations: 2")


def test_a_section_survives_its_json(path):
    section = load_params(path, "demo", Outer).egan
    assert check(section.model_dump_json(), Inner, "egan") == section
