"""The image, as a real engine builds and pushes it."""

import contextlib
import io
import json
import shutil
import subprocess
import tarfile
import time
import uuid

import pytest
import requests
from ports import free_port

from components.core.errors import UserError
from pipelines.image import build_image, push_image, revision
from pipelines.pipeline import CHECKOUT, NAMES, find

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # the first one waits for the image to be built

CODE_DIGESTS = """
import json
from pipelines.pipeline import NAMES, find

steps = {name: find(name).steps(find(name).load()) for name in NAMES}
print(json.dumps({name: {each: step.code_digest() for each, (step, _) in of.items()} for name, of in steps.items()}))
"""

WRITES = """
import errno, pathlib, tempfile
import matplotlib.pyplot, mlflow, torch

matplotlib.pyplot.figure().savefig(tempfile.mktemp(".png"))
pathlib.Path.home().joinpath("written").touch()
for folder in ("/", "/opt/ganflow", "/opt/venv", "/var/tmp"):
    try:
        pathlib.Path(folder, "written").touch()
    except OSError as error:
        assert error.errno == errno.EROFS
    else:
        raise AssertionError(folder)
print("done")
"""

LEFT = """
import importlib.util, pathlib, shutil
tools = [name for name in ("cc", "gcc", "g++", "clang", "ld", "as", "make", "nvcc", "git") if shutil.which(name)]
packages = [name for name in ("pytest", "hypothesis", "ruff", "pip") if importlib.util.find_spec(name)]
caches = [str(path) for path in pathlib.Path("/tmp").iterdir()]
print([*tools, *packages, *caches])
"""


def test_code_digests_inside_are_the_checkouts(in_container):
    inside = json.loads(in_container("python3", "-c", CODE_DIGESTS))
    outside = {name: find(name).steps(find(name).load()) for name in NAMES}
    assert inside == {
        name: {each: step.code_digest() for each, (step, _) in of.items()} for name, of in outside.items()
    }


def test_it_runs_as_a_user_without_rights_who_writes_to_tmp_alone(engine, image, in_container):
    assert engine.images.get(image).attrs["Config"]["User"] == "10001:10001"
    assert in_container("id", "-u").strip() == "10001"
    assert in_container("python3", "-c", WRITES).endswith("done\n")


def test_no_compiler_no_cache_and_no_test_package_is_left_in_it(in_container):
    assert in_container("python3", "-c", LEFT) == "[]\n"


def test_its_label_is_the_commit_and_whether_the_checkout_was_changed_since(engine, image):
    labels = engine.images.get(image).labels
    assert labels["org.opencontainers.image.revision"] == revision(CHECKOUT)
    assert labels["org.opencontainers.image.title"] == "ganflow"


def test_a_revision_is_dirty_after_a_change_and_unknown_outside_of_git(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        return subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True)

    assert revision(tmp_path) == "unknown"
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "first")
    commit = git("rev-parse", "HEAD").stdout.strip()
    assert revision(tmp_path) == commit
    (tmp_path / "new.py").touch()
    assert revision(tmp_path) == f"{commit}-dirty"


def test_a_changed_line_of_code_installs_nothing_anew(engine, image, tmp_path):
    for name in ("components", "pipelines", "infra"):
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dockerignore", "constraints.txt", "params.yaml", "pyproject.toml"):
        shutil.copyfile(CHECKOUT / name, tmp_path / name)
    with (tmp_path / "components" / "core" / "step.py").open("a") as source:
        source.write("# changed\n")
    changed = engine.images.get(build_image(tmp_path, "", print, tag="ganflow:changed"))
    before, after = (each.attrs["RootFS"]["Layers"] for each in (engine.images.get(image), changed))
    engine.images.remove("ganflow:changed")
    assert len(before) == len(after)
    shared = [layer for layer in before if layer in after]
    assert len(shared) >= len(before) - 3  # components, pipelines, their byte code


@pytest.fixture
def registry(engine, tmp_path):
    """Address of a real registry, empty."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed (Debian's package of that name)")
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    command = ["docker-registry", "serve", str(tmp_path / "registry.yml")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(address):
            assert server.poll() is None
            time.sleep(0.1)
        yield address
    finally:
        server.kill()
        server.wait()


def _answers(address):
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(f"http://{address}/v2/", timeout=5).ok
    return False


@pytest.fixture
def tiny_image(engine):
    """An image that is pushed in no time."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(uuid.uuid4().hex))
    name = f"ganflow-tiny:{uuid.uuid4().hex}"
    engine.api.import_image_from_data(content.getvalue(), *name.split(":"))
    yield engine.images.get(name).id
    for tag in engine.images.get(name).tags:
        engine.images.remove(tag)


def test_what_was_pushed_is_pulled_by_the_digest_that_was_handed_back(engine, registry, tiny_image):
    name = f"{registry}/team/tiny"
    reference = push_image(tiny_image, f"{name}:1", print)
    known = requests.head(
        f"http://{registry}/v2/team/tiny/manifests/1",
        headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
        timeout=5,
    ).headers["Docker-Content-Digest"]
    assert reference == f"{name}@{known}"
    assert engine.images.pull(reference).id == tiny_image
    engine.images.remove(reference)


def test_a_registry_that_is_away_is_told_in_a_sentence(tiny_image):
    with pytest.raises(UserError, match=r"127\.0\.0\.1:1/team/tiny does not take the image: .*connection refused"):
        push_image(tiny_image, "127.0.0.1:1/team/tiny", print)


def test_an_image_that_the_engine_has_not_is_told_in_a_sentence(engine):
    with pytest.raises(UserError, match=r"has no image no/such:image; build it with `ganflow image build`"):
        push_image("no/such:image", "127.0.0.1:1/team/tiny", print)
