"""`infra/placement.yaml`, checked: where tasks run on a cluster, put on a pipeline's tasks, and what they take here."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from components.core.contract import ComputeSection, Section, Step, TrainingSection, sentence
from components.core.errors import UserError
from pipelines.machine import Need
from pipelines.pipeline import CHECKOUT, NAMES, find
from pipelines.quantities import Duration, Quantity, amount, cpu_text, memory_text, seconds

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

FILE = Path("infra/placement.yaml")

ONE_POD = "one-pod"
"""What stands for a step where all run in one pod."""

STATE = "/ganflow"
"""Where the one pod of a run keeps its state folder."""

Keys = tuple[str | int, ...]
"""The keys that lead to a place in the file."""


def _accelerator(text: str) -> str:
    if not re.fullmatch(r"nvidia\.com/(gpu|mig-[1-9]g\.[1-9][0-9]*gb)", text):
        raise PydanticCustomError(
            "accelerator", "must be nvidia.com/gpu or a slice of one, such as nvidia.com/mig-1g.10gb"
        )
    return text


AcceleratorType = Annotated[str, AfterValidator(_accelerator)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
SecretKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]{1,253}$")]
Variable = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
LabelKey = Annotated[str, Field(pattern=r"^([a-z0-9.-]{1,253}/)?[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$")]
LabelValue = Annotated[str, Field(pattern=r"^([a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)?$")]


class Amounts(Section):
    """What a task is sure of, and what it must not exceed."""

    request: Quantity
    limit: Quantity

    @model_validator(mode="after")
    def _in_order(self) -> "Amounts":
        if amount(self.request) > amount(self.limit):
            raise PydanticCustomError("amounts", "request must not exceed limit")
        return self


class Accelerator(Section):
    """Devices of one type."""

    type: AcceleratorType
    count: int = Field(ge=1, le=16)


class Toleration(Section):
    """A taint of nodes that a task may run on nevertheless."""

    key: LabelKey
    operator: Literal["Exists", "Equal"]
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]

    @model_validator(mode="after")
    def _value_fits(self) -> "Toleration":
        if (self.operator == "Equal") != (self.value is not None):
            raise PydanticCustomError("toleration", "operator Equal needs a value, and Exists takes none")
        return self


class Retries(Section):
    """How often a failed task is tried again, and how long after: `backoff`, then each time `factor` times longer."""

    count: int = Field(ge=0, le=100)
    backoff: Duration
    factor: int = Field(ge=1, description="whole: Argo reads no other")

    @model_validator(mode="after")
    def _all_come(self) -> "Retries":
        if seconds(self.backoff) * self.factor ** (self.count - 1) > seconds("1d"):
            raise PydanticCustomError("retries", "the last retry would wait for more than a day; lower count or factor")
        return self


class Rules(Section):
    """What the file says of some steps; None where it says nothing."""

    accelerator: Accelerator | None = None
    cpu: Amounts | None = None
    memory: Amounts | None = None
    shm: Quantity | None = None
    node_selector: dict[LabelKey, LabelValue] | None = None
    tolerations: list[Toleration] | None = None
    retries: Retries | None = None
    timeout: Duration | None = None


class TaskRules(Rules):
    """All that a step's tasks need."""

    cpu: Amounts
    memory: Amounts
    retries: Retries
    timeout: Duration

    @model_validator(mode="after")
    def _shm_fits(self) -> "TaskRules":
        if self.shm and amount(self.shm) >= amount(self.memory.limit):
            raise PydanticCustomError("shm", "shm counts as memory and must be below its limit")
        return self


class Layers(Section):
    """Rules for loops, for every step, for those that train, and for single ones."""

    parallelism: int | None = Field(None, ge=1, description="turns of a loop at once")
    every: Rules = Rules()
    training: Rules = Rules()
    steps: dict[str, Rules] = Field(default_factory=dict)


class Profile(Layers):
    """A placement, by its name."""

    one_pod: bool = Field(False, description="all steps run in one pod; what `every` says is said of it")


class PipelineRules(Section):
    """What holds for a pipeline and all its tasks."""

    service_account: ObjectName
    run_as_user: int = Field(ge=1, description="never root")
    run_as_group: int = Field(ge=1)
    image_pull_secrets: list[ObjectName]
    secrets: dict[ObjectName, dict[SecretKey, Variable]]
    environment: dict[Variable, str]
    ttl: Duration
    deadline: Duration


class Memory(Section):
    """What a task is reckoned to take of the machine that `ganflow run` runs on."""

    every: Quantity
    training: Quantity
    steps: dict[str, Quantity] = Field(default_factory=dict)


class PlacementFile(Layers):
    """The content of `infra/placement.yaml`."""

    here: Memory
    pipeline: PipelineRules
    profiles: dict[str, Profile]


@dataclass(frozen=True)
class Placement:
    """One profile of the file.

    Attributes:
        profile: its name.
        pipeline: what all tasks share.
        steps: each step's own rules, by its name.
        one_pod: the rules of the pod that runs all steps, None where each task has its own.
        parallelism: turns of a loop at once, None where they are not limited.
    """

    profile: str
    pipeline: PipelineRules
    steps: Mapping[str, TaskRules]
    one_pod: TaskRules | None
    parallelism: int | None

    def apply(self, image: str) -> None:
        """Configure every task of the pipeline that is being drawn, to run in `image`."""
        from kfp import kubernetes
        from kfp.dsl.pipeline_context import Pipeline

        for task in Pipeline.get_default_pipeline().tasks.values():
            task.set_container_image(image)
            task.set_env_variable("GANFLOW_IMAGE", image)
            share(task, self.pipeline)
            _place(task, self.one_pod or self.steps[task.component_spec.name], self.pipeline.deadline)
            if self.one_pod:  # it writes more than a step, and no more than its node has
                kubernetes.empty_dir_mount(task, "ganflow", STATE)
                task.set_env_variable("GANFLOW_HOME", STATE)

    def limit_loops(self, specification: "PipelineSpec") -> None:
        """Let each loop run no more than `parallelism` turns at once.

        KFP's backend (2.17.0) makes that the `parallelism` of an Argo template (v2/compiler/argocompiler/dag.go,
        `iteratorTask`), and Argo (4.0.5) holds back the turn that would be one too many
        (workflow/controller/operator.go, `checkParallelism`); loops within loops have limits of their own.
        """
        for component in (specification.root, *specification.components.values()):
            for task in component.dag.tasks.values():
                if self.parallelism and task.WhichOneof("iterator"):
                    task.iterator_policy.parallelism_limit = self.parallelism

    def pipeline_config(self) -> dict[str, int]:
        """The pipeline's own part of its platform specification, in Kubeflow's words.

        All three times to live: Kubeflow's manifests (workflow-controller-configmap, workflowDefaults) set them to an
        hour, and what Argo is told of success or failure wins over what it is told of both.
        """
        ttl = seconds(self.pipeline.ttl)
        return {
            "resourceTtlOnCompletion": ttl,
            "resourceTtlOnSuccess": ttl,
            "resourceTtlOnFailure": ttl,
            "activeDeadlineSeconds": seconds(self.pipeline.deadline),
        }


def load_placement(profile: str) -> Placement:
    """A profile of the current folder's `infra/placement.yaml`, or of the checkout's where there is none.

    Raises:
        UserError: names the line of every unknown key, step or accelerator, bad quantity or missing rule.
    """
    path, tree, file = _load()
    if profile not in file.profiles:
        raise UserError(f"There is no placement '{profile}'; choose one of {', '.join(file.profiles)}.")
    known = _known_steps()
    _check_names(path, tree, file, known)
    # The profiles that are not asked for are checked too: a mistake in one shows when it is made.
    complete = {name: _complete(path, tree, file, name, known) for name in file.profiles}
    steps, one_pod = complete[profile]
    parallelism = file.profiles[profile].parallelism or file.parallelism
    return Placement(profile, file.pipeline, steps, one_pod, parallelism)


def needs_here(steps: Mapping[str, tuple[Step, Section]]) -> dict[str, Need]:
    """What the tasks of each step take of this machine: by the same file, and by the threads they compute with.

    Raises:
        UserError: as `load_placement`.
    """
    _, _, file = _load()
    needs = {}
    for name, (_, section) in steps.items():
        trains = isinstance(section, TrainingSection)
        memory = file.here.steps.get(name, file.here.training if trains else file.here.every)
        threads = section.threads if isinstance(section, ComputeSection) else 1
        needs[name] = Need(threads, int(amount(memory)), trains)
    return needs


def memory_line(step: str, profile: str) -> str:
    """Where the file says how much memory a step's tasks may take, such as "infra/placement.yaml:31"; "" where it is
    not said for this step and profile, or cannot be read."""
    try:
        _, tree, file = _load()
    except UserError:
        return ""
    known = _known_steps().get(step)
    if known is None or profile not in file.profiles:
        return ""
    places = [place for place, layer in _layers(file, profile, known) if layer.memory]
    return f"{FILE}:{_line(tree, (*places[-1], 'memory'))}" if places else ""


def _load() -> tuple[Path, CommentedMap, PlacementFile]:
    path = FILE if FILE.exists() else CHECKOUT / FILE
    tree = _read(path)
    return path, tree, _check(path, tree)


def share(task: "PipelineTask", rules: PipelineRules, *, optional_secrets: bool = False) -> None:
    """Put on a task what all share.

    Args:
        optional_secrets: whether it starts where a secret or a key of it is not there.
    """
    from kfp import kubernetes

    kubernetes.set_security_context(task, rules.run_as_user, rules.run_as_group, run_as_non_root=True)
    kubernetes.set_image_pull_secrets(task, rules.image_pull_secrets)
    for name, variables in rules.secrets.items():
        kubernetes.use_secret_as_env(task, name, variables, optional=optional_secrets)
    for name, value in rules.environment.items():
        task.set_env_variable(name, value)


def _place(task: "PipelineTask", rules: TaskRules, deadline: Duration) -> None:
    """Put one step's rules on its task; retries may come until the deadline.

    Argo starts none later than `backoff_max_duration` after the first attempt began (operator.go, processNodeRetries),
    which kfp sets to an hour: a training that fails in its second would never be retried. Which failures are retried
    no pipeline can say: Kubeflow compiles no policy, so what the cluster says of all holds (api-server-patch.yaml).
    """
    from kfp import kubernetes

    task.set_cpu_request(cpu_text(rules.cpu.request)).set_cpu_limit(cpu_text(rules.cpu.limit))
    task.set_memory_request(memory_text(rules.memory.request)).set_memory_limit(memory_text(rules.memory.limit))
    retries = rules.retries
    task.set_retry(retries.count, retries.backoff, float(retries.factor), f"{seconds(deadline)}s")
    kubernetes.set_timeout(task, seconds(rules.timeout))
    if rules.accelerator:
        task.set_accelerator_type(rules.accelerator.type).set_accelerator_limit(rules.accelerator.count)
    if rules.shm:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=rules.shm)
    for key, value in (rules.node_selector or {}).items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in rules.tolerations or ():
        kubernetes.add_toleration(task, **toleration.model_dump(exclude_none=True))


def _known_steps() -> dict[str, Step]:
    """The steps of all pipelines by name."""
    return {name: step for each in map(find, NAMES) for name, (step, _) in each.steps(each.load()).items()}


def _read(path: Path) -> CommentedMap:
    """The file with its line numbers."""
    try:
        return YAML().load(path) or CommentedMap()
    except FileNotFoundError:
        raise UserError(f"There is no {path}; run from the checkout or restore the file from Git.") from None
    except MarkedYAMLError as error:
        raise UserError(f"{path}:{error.problem_mark.line + 1}: {error.problem}.") from None


def _check(path: Path, tree: CommentedMap) -> PlacementFile:
    try:
        return PlacementFile.model_validate(tree)
    except ValidationError as error:
        told = [f"{_line(tree, each['loc'])}: {sentence('', PlacementFile, each)[1:]}" for each in error.errors()]
        raise UserError("\n".join(f"{path}:{each}" for each in told)) from None


def _check_names(path: Path, tree: CommentedMap, file: PlacementFile, known: Mapping[str, Step]) -> None:
    lists = [
        ((), file),
        (("here",), file.here),
        *((("profiles", name), layers) for name, layers in file.profiles.items()),
    ]
    unknown = [
        f"{path}:{_line(tree, (*place, 'steps', name))}: there is no step '{name}'; choose of {', '.join(known)}."
        for place, layers in lists
        for name in layers.steps
        if name not in known
    ]
    if unknown:
        raise UserError("\n".join(unknown))


def _complete(
    path: Path, tree: CommentedMap, file: PlacementFile, profile: str, known: Mapping[str, Step]
) -> tuple[dict[str, TaskRules], TaskRules | None]:
    """Each step's rules in a profile, and the one pod's; of what the file says of them, the last word counts."""
    rules, problems = {}, []
    named = {step.name: list(_layers(file, profile, step)) for step in known.values()}
    if file.profiles[profile].one_pod:
        named[ONE_POD] = list(_every(file, profile))
    for who, layers in named.items():
        said = {name: (value, place) for place, layer in layers for name, value in layer if value is not None}
        try:
            rules[who] = TaskRules(**{name: value for name, (value, _) in said.items()})
        except ValidationError as error:
            for each in error.errors():
                name = each["loc"][0] if each["loc"] else each["type"]
                line = _line(tree, (*said[name][1], name) if name in said else ("profiles", profile))
                problem = "is missing" if each["type"] == "missing" else each["msg"]
                problems.append(f"{path}:{line}: {who} in profile {profile}: {name}: {problem}.")
    if problems:
        raise UserError("\n".join(problems))
    return rules, rules.pop(ONE_POD, None)


def _layers(file: PlacementFile, profile: str, step: Step) -> Iterator[tuple[Keys, Rules]]:
    """What the file says of a step, and where: the more general first, and before a profile's word on the same."""
    yield from _every(file, profile)
    if issubclass(step.section, TrainingSection):
        yield from (((*place, "training"), layers.training) for place, layers in _both(file, profile))
    for place, layers in _both(file, profile):
        yield (*place, "steps", step.name), layers.steps.get(step.name, Rules())


def _every(file: PlacementFile, profile: str) -> Iterator[tuple[Keys, Rules]]:
    return (((*place, "every"), layers.every) for place, layers in _both(file, profile))


def _both(file: PlacementFile, profile: str) -> list[tuple[Keys, Layers]]:
    return [((), file), (("profiles", profile), file.profiles[profile])]


def _line(tree: CommentedMap, place: Keys) -> int:
    """The line, from 1, of the innermost key on the way to a place that stands in the file."""
    node, line = tree, 1
    for key in place:
        if isinstance(node, CommentedMap) and key in node:
            line = node.lc.key(key)[0] + 1
        elif isinstance(node, CommentedSeq):
            line = node.lc.item(key)[0] + 1
        else:
            break
        node = node[key]
    return line
