"""The contract that wraps every step, and the parameters it is given. `component` is its Kubeflow face."""

from components.core.contract.outputs import check_replaceable, replacing
from components.core.contract.params import (
    DEFAULT_PROFILE,
    ComputeSection,
    GanSection,
    Section,
    TrainingSection,
    check,
    dump_params,
    load_params,
    read_yaml,
    sentence,
    write_params,
)
from components.core.contract.seeds import derive_seed
from components.core.contract.step import (
    INPUT_TYPES,
    KEEP_CHECKPOINTS,
    Run,
    Step,
    comparing_step,
    registering_step,
    step,
)
