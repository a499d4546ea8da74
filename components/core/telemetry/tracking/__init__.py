"""MLflow: the only package that imports it, and only when it is called.

`Store` is what the courier delivers to, `open_pipeline_run` what a runner hangs its steps' runs under, `end_killed`
what ends those of a cluster's run that was cancelled,
`register_model` the way into the model registry, `load_model` the way out of it.
"""

from components.core.telemetry.tracking.registry import LoadedModel, ModelVersion, load_model, register_model
from components.core.telemetry.tracking.runs import PipelineRun, end_killed, find_output, open_pipeline_run
from components.core.telemetry.tracking.store import Refused, Store, system_metrics
