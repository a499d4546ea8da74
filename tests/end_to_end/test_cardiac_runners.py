"""The cardiac pipeline, for real, under both runners: same bytes, nothing stale, nothing rerun in vain."""

import mlflow
import numpy as np
import pytest
import SimpleITK as sitk
from promises import Promises
from workplace import Workplace, computed, counts

from components.core.images import ImageSet, model_facts

EVERY_STEP = {
    "prepare": 1,
    "train-egan": 4,
    "synthesize": 2,
    "refine": 2,
    "classify": 20,
    "sweep": 8,
    "gather": 2,
    "collect": 1,
    "evaluate": 1,
    "register": 1,
}


AFTER_A_FOLD = {"gather": 2, "collect": 1, "evaluate": 1, "register": 1}


def simulate(place):
    place.edit("params.yaml", "controls: [oracle, repeat]", "controls: [repeat]")  # as with data of one's own
    place("ganflow", "step", "cardiac", "simulate", f"out={place.raw}")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Workplace(tmp_path_factory.mktemp("place"), "cardiac", simulate)
    place.stages = place.repro()
    place.steps = place.run()
    return place


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestBothRunners(Promises):
    """These run in order, on one workplace."""

    metrics = ("accuracy/resnet50/none/mean", "external/xception/egan/auc", "ratio_refined/xception/1")
    models = ("cardiac-generator", "cardiac-refiner", "cardiac-classifier")

    def dvc_output(self, place, step):
        arguments = step["arguments"]
        fold = place.output(f"fold-{arguments.get('fold')}-{arguments.get('replicate')}")
        return {
            "prepare": place.output("images"),
            "train-egan": fold / "generators" / str(arguments.get("label")),
            "synthesize": fold / "synthetic",
            "refine": fold / "refined",
            "classify": fold / "trials" / f"{arguments.get('network')}-{arguments.get('training_set')}",
            "sweep": fold / "sweeps" / f"{arguments.get('network')}-{arguments.get('images')}",
            "gather": place.output("gathered", str(arguments.get("replicate")), str(arguments.get("fold"))),
            "collect": place.output("collected", str(arguments.get("replicate"))),
            "evaluate": place.output("report"),
            "register": place.output("registered"),
        }[step["step"]]

    def test_the_first_runs_computed_every_step(self, place):
        assert computed(place.steps) == EVERY_STEP
        assert len(place.stages) == 1 + sum(EVERY_STEP.values())

    def test_mlflow_shows_a_run_for_every_stage_of_dvc(self, place):
        stages = {run.data.tags["DVC_STAGE"] for run in place.runs("tags.DVC_STAGE != ''")}
        assert len(stages) == len(place.stages)
        assert "cardiac-train-egan@0-0-patient" in stages

    def test_lineage_leads_by_digests_from_the_classifier_to_the_prepared_images(self, place):
        found = place.runs("tags.`ganflow.argument.training_set` = 'simgan'")
        tags, chain = found[0].data.tags, []
        for name in ("generated", "synthetic", "generators", "data"):
            digest = tags[f"ganflow.input.{name}"].split(",")[0]
            # Two runners wrote the same bytes; either is an origin.
            writer, _ = place.runs(f"tags.`ganflow.output` = '{digest}'")
            tags = writer.data.tags
            chain.append(tags["ganflow.step"])
        assert chain == ["refine", "synthesize", "train-egan", "prepare"]
        training_set = found[0].inputs.dataset_inputs[0].dataset
        assert training_set.name.endswith("training part")

    def test_the_champions_work_from_the_registry_alone(self, place):
        # Not by the environment: a test before this one may have set MLflow's global address, which wins.
        mlflow.set_tracking_uri(f"sqlite:///{place.folder}/mlflow.db")
        inputs = {
            "generator": np.zeros((3, 64 + 32 * 32), np.float32),
            "refiner": np.zeros((3, 1, 32, 32), np.float32),
            "classifier": np.zeros((3, 1, 32, 32), np.float32),
        }
        shapes = {
            name: mlflow.pyfunc.load_model(f"models:/cardiac-{name}@champion").predict(batch).shape
            for name, batch in inputs.items()
        }
        assert shapes == {"generator": (3, 2, 1, 32, 32), "refiner": (3, 1, 32, 32), "classifier": (3, 2)}

    def test_no_patient_and_no_generated_image_crosses_a_fold(self, place):
        work = place.output()
        images = ImageSet.load(work / "images")
        for fold in (0, 1):
            training = images.training(fold)
            assert set(training.groups.tolist()).isdisjoint(images.test(fold).groups.tolist())
            for kind in ("synthetic", "refined"):
                assert ImageSet.load(work / f"fold-{fold}-0" / kind).origin == training.digest()
            for model in work.glob(f"fold-{fold}-0/*/*/config.json"):
                assert model_facts(model.parent)["origin"] == training.digest()

    def test_a_parameter_of_simgan_reruns_what_hangs_on_it_and_nothing_else(self, place):
        dependent = {"refine": 2, "classify": 4, "sweep": 4, **AFTER_A_FOLD}
        place.edit("params.yaml", "regularisation:", "regularisation: 0.4321 #")
        steps = place.run()
        assert computed(steps) == dependent
        rerun = [step["arguments"] for step in steps if step["state"] == "done"]
        assert {each["training_set"] for each in rerun if "training_set" in each} == {"simgan"}
        assert {each["images"] for each in rerun if "images" in each} == {"refined"}
        stages = counts(place.repro())
        assert stages == {name.replace("classify", "classify-simgan"): count for name, count in dependent.items()}

    def test_a_changed_line_of_code_reruns_its_step(self, place):
        name = "components/evaluation/cardiac/scores.py"
        place.append(name, "\n# changed\n")
        assert computed(place.run()) == AFTER_A_FOLD
        assert counts(place.repro()) == AFTER_A_FOLD

    def test_one_byte_of_raw_data_reruns_everything(self, place):
        path = str(min((place.folder / place.raw / "images").iterdir()))
        image = sitk.ReadImage(path)
        image[80, 80, 0] = image[80, 80, 0] ^ 0x40
        sitk.WriteImage(image, path)
        assert computed(place.run()) == EVERY_STEP
        # DVC does the first fold again, and says what it would do then.
        stages = counts([*place.repro("gather@0-0"), *place.changed()])
        expected = EVERY_STEP | {"classify": 8, "classify-egan": 4, "classify-simgan": 4, "classify-control": 4}
        del expected["evaluate"]  # what it reads, a replicate's collected folds, was not collected again yet
        assert stages == expected
