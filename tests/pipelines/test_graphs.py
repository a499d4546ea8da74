"""`dvc.yaml` and the Kubeflow pipeline draw the same graph."""

import re
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest
from google.protobuf import json_format
from kfp import dsl, local
from kfp.local.orchestrator import task_executor
from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
from kfp.local.status import Status

from components.core.contract import read_yaml
from pipelines.data import Source
from pipelines.pipeline import NAMES, find
from pipelines.runners import SHARED_ARGUMENTS

CHECKOUT = Path(__file__).parents[2]
SUFFIXES = {"cardiac": "", "digits": "-digits", "colour": "-colour"}
Node = frozenset
Edges = set[tuple[Node, Node]]


def node(step, arguments):
    return Node({("step", step), *((name, str(value)) for name, value in arguments.items())})


@pytest.fixture(params=NAMES)
def pipeline(request):
    return find(request.param)


def kubeflow_edges(pipeline, folder, *overrides) -> Edges:
    """Every edge between two tasks of the pipeline, loops unrolled; nothing is computed."""
    made_by, edges = {}, set()

    def pretend(**given):
        inputs = OrchestratorUtils.make_task_arguments(given["task_spec"].inputs, given["io_store"])
        artifacts = [each for value in inputs.values() for each in (value if isinstance(value, list) else [value])]
        scalars = {name: value for name, value in inputs.items() if isinstance(value, str | float)}
        arguments = {name: int(value) if isinstance(value, float) else value for name, value in scalars.items()}
        for shared in SHARED_ARGUMENTS:
            arguments.pop(shared, None)
        component = given["task_spec"].component_ref.name
        here = node(component.removeprefix("comp-").rstrip("-0123456789"), arguments)
        edges.update((made_by[each.uri], here) for each in artifacts if isinstance(each, dsl.Artifact))
        definitions = given["components"][component].output_definitions.artifacts
        outputs = {name: dsl.Artifact(name=name, uri=f"{len(made_by)}-{name}") for name in definitions}
        made_by.update({each.uri: here for each in outputs.values()})
        return outputs, Status.SUCCESS

    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder))
    with patch.object(task_executor, "execute_single_task", pretend):
        params = pipeline.load(overrides=list(overrides))
        pipeline.graph(params, Source(str(folder), "0") if pipeline.name == "colour" else None)()
    return edges


@pytest.fixture
def dvc_edges(pipeline, monkeypatch) -> Edges:
    """Every edge between two of the pipeline's stages of dvc.yaml, matrices unrolled."""
    from dvc.repo import Repo

    monkeypatch.chdir(CHECKOUT)

    def stage_node(stage):
        _, _, _, step, *words = stage.cmd.replace("'", "").split()
        pairs = dict(word.split("=", 1) for word in words)
        return node(step, {name: value for name, value in pairs.items() if "/" not in value})

    graph = Repo().index.graph
    own = [(consumer, producer) for consumer, producer in graph.edges if consumer.name.startswith(f"{pipeline.name}-")]
    return {(stage_node(producer), stage_node(consumer)) for consumer, producer in own}


def test_both_graphs_have_the_same_edges(pipeline, tmp_path, dvc_edges):
    edges = kubeflow_edges(pipeline, tmp_path)
    assert edges == dvc_edges
    assert len(edges) >= 20


def waited_for(pipeline) -> dict[str, tuple[dict, set[str]]]:
    """Of every task of the compiled graph: its constants, and the steps that must have ended before Kubeflow starts it.

    A loop waits for everything that anything in it needs, since it is a graph of its own with one driver.
    """
    specification = json_format.MessageToDict(pipeline.graph(pipeline.load("smoke"), None).pipeline_spec)
    components, found = specification["components"], {}

    def inside(component):
        dag = components[component].get("dag")
        return (
            set().union(*(inside(each["componentRef"]["name"]) for each in dag["tasks"].values()))
            if dag
            else {re.sub(r"^comp-|-\d+$", "", component)}
        )

    def walk(dag, before):
        waits = {}

        def wait(name):
            if name not in waits:
                upstream = dag["tasks"][name].get("dependentTasks", [])
                own = (inside(dag["tasks"][each]["componentRef"]["name"]) | wait(each) for each in upstream)
                waits[name] = set().union(before, *own)
            return waits[name]

        for name, task in dag["tasks"].items():
            component = task["componentRef"]["name"]
            if "dag" in components[component]:
                walk(components[component]["dag"], wait(name))
            else:
                given = task.get("inputs", {}).get("parameters", {})
                constants = {
                    key: value["runtimeValue"]["constant"] for key, value in given.items() if "runtimeValue" in value
                }
                found[component] = constants, wait(name)

    walk(specification["root"]["dag"], set())
    return found


def test_what_trains_on_real_images_alone_waits_for_no_generated_ones():
    classified = [waits for component, waits in waited_for(find("cardiac")).items() if "classify" in component]
    generated = {"egan": {"train-egan", "synthesize"}, "simgan": {"train-egan", "synthesize", "refine"}}
    assert {constants["training_set"] for constants, _ in classified} > {"none", "classic", "repeat", "oracle"}
    for constants, steps in classified:
        assert steps == {"simulate", "prepare"} | generated.get(constants["training_set"], set())


def test_replicates_of_digits_are_trainings_and_all_else_is_computed_once(tmp_path):
    edges = kubeflow_edges(find("digits"), tmp_path, "digits.replicates=[0,1,2]")
    steps = Counter(dict(each)["step"] for each in {each for edge in edges for each in edge})
    assert (steps.pop("train-gan"), steps.pop("train-dcgan"), steps.pop("train-concept")) == (6, 6, 2)
    assert set(steps.values()) == {1}


def test_every_stage_hangs_on_its_own_section_and_code_alone():
    stages = read_yaml(CHECKOUT / "dvc.yaml")["stages"]
    steps = {name: find(name).steps(find(name).load()) for name in NAMES}
    for name, stage in stages.items():
        _, _, pipeline, called, *_ = stage["cmd"].split()
        assert name.startswith(f"{pipeline}-")
        step, _ = steps[pipeline][called]
        code = [dependency for dependency in stage["deps"] if dependency.startswith("components/")]
        assert code == ["components/core", step.package.relative_to(CHECKOUT).as_posix()], name


def test_what_registers_models_is_never_taken_from_a_cache(pipeline):
    dag = pipeline.graph(pipeline.load(), Source("s3://data", "0")).pipeline_spec.root.dag
    always = {name for name, task in dag.tasks.items() if not task.caching_options.enable_cache}
    assert {name for name in always if not name.startswith("for-loop")} == {f"register{SUFFIXES[pipeline.name]}"}
    stages = read_yaml(CHECKOUT / "dvc.yaml")["stages"]
    always = {name for name, stage in stages.items() if stage.get("always_changed")}
    assert {name for name in always if name.startswith(pipeline.name)} == {f"{pipeline.name}-register"}


def test_no_two_stages_share_an_output():
    from dvc.repo import Repo

    outputs = [out.fspath for stage in Repo(CHECKOUT).index.stages for out in stage.outs]
    assert len(outputs) == len(set(outputs)) > 60
