"""The digits pipeline, for real, under both runners, on the bundled digits."""

import gzip
import json

import mlflow
import numpy as np
import pytest
from promises import Promises
from workplace import Workplace, computed, counts

EVERY_STEP = {
    "prepare-digits": 1,
    "train-concept": 2,
    "label-styles": 1,
    "train-gan": 2,
    "train-dcgan": 2,
    "evaluate-digits": 1,
    "register-digits": 1,
}
STAGES = {
    "prepare": "prepare-digits",
    "concept": "train-concept",
    "style-concept": "train-concept",
    "styles": "label-styles",
    "gan": "train-gan",
    "dcgan": "train-dcgan",
    "evaluate": "evaluate-digits",
    "register": "register-digits",
}


def acquire(place):
    place("ganflow", "step", "digits", "acquire", "--set", "digits.acquire.source=bundled", f"out={place.raw}")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Workplace(tmp_path_factory.mktemp("place"), "digits", acquire)
    place.stages = as_steps(place.repro())
    place.steps = place.run()
    return place


def as_steps(stages):
    """Which steps the stages run."""
    return counts(STAGES.get(stage, stage) for stage in stages)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestBothRunners(Promises):
    """These run in order, on one workplace."""

    metrics = ("inception_score/dcgan/complex/mean", "ceiling/simple")
    models = ("digit-generator",)

    def dvc_output(self, place, step):
        arguments = step["arguments"]
        training = f"{arguments.get('label')}-{arguments.get('replicate')}"
        return place.output(
            *{
                "prepare-digits": ["images"],
                "train-concept": ["concept" if arguments.get("concepts") == "digits" else "style-concept"],
                "label-styles": ["styles"],
                "train-gan": ["generators", f"gan-{training}"],
                "train-dcgan": ["generators", f"dcgan-{training}"],
                "evaluate-digits": ["report"],
                "register-digits": ["registered"],
            }[step["step"]]
        )

    def test_the_first_runs_computed_every_step(self, place):
        assert computed(place.steps) == EVERY_STEP
        assert place.stages == EVERY_STEP | {"acquire": 1}

    def test_the_report_says_loudly_that_these_digits_are_not_mnist(self, place):
        assert "not MNIST" in place.output("report", "report.html").read_text()
        metrics = json.loads(place.output("report", "metrics.json").read_text())
        assert metrics["data"].startswith("scikit-learn's bundled digits")

    def test_the_champion_works_from_the_registry_alone(self, place):
        mlflow.set_tracking_uri(f"sqlite:///{place.folder}/mlflow.db")
        generator = mlflow.pyfunc.load_model("models:/digit-generator@champion")
        images = generator.predict(np.zeros((3, 100), np.float32))
        assert images.shape == (3, 1, 28, 28)
        assert np.abs(images).max() <= 1

    def test_a_parameter_of_the_gan_reruns_what_hangs_on_it_and_nothing_else(self, place):
        place.edit("params.yaml", "leak: 0.2", "leak: 0.25")  # the GAN's stands before the DCGAN's
        dependent = {"train-gan": 2, "evaluate-digits": 1, "register-digits": 1}
        assert computed(place.run()) == dependent
        assert as_steps(place.repro()) == dependent

    def test_a_changed_line_of_code_reruns_its_step(self, place):
        place.append("components/evaluation/digits/distances.py", "\n# changed\n")
        dependent = {"evaluate-digits": 1, "register-digits": 1}
        assert computed(place.run()) == dependent
        assert as_steps(place.repro()) == dependent

    def test_one_byte_of_raw_data_reruns_everything(self, place):
        path = place.folder / place.raw / "train-images-idx3-ubyte.gz"
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[16 + 400] ^= 0x40
        path.write_bytes(gzip.compress(bytes(content), mtime=0))
        assert computed(place.run()) == EVERY_STEP
        assert place.changed() == ["prepare", "register"]
