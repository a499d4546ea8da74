"""Kubeflow Pipelines on a cluster: versions of pipelines, their runs, their schedules.

The generated client is called directly: kfp's own passes no `plugins_input`, without which the MLflow plugin would put
all runs into one experiment.
"""

import json
import os
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_server_api as api
import urllib3
from kfp_server_api.exceptions import ApiException

from components.core.errors import UserError
from pipelines.package import Package

TOKEN = "KF_PIPELINES_TOKEN"
"""The environment variable that holds the bearer token."""

TAG_CHARACTERS = 20
"""Kubeflow's limit of a tag's value."""

FINAL = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
"""The states that a run does not leave."""


class Away(UserError):
    """The server does not answer now; it may later."""


@dataclass(frozen=True)
class Version:
    """An uploaded version of a pipeline.

    Attributes:
        pipeline: the pipeline's name.
        name: the version's.
        pipeline_id: the server's name of the pipeline.
        id: the server's name of the version.
        description: for people; its runs are described alike.
        parameters: names of what a run of it must be given.
        new: whether it was uploaded just now.
    """

    pipeline: str
    name: str
    pipeline_id: str
    id: str
    description: str | None
    parameters: frozenset[str]
    new: bool = False

    @property
    def reference(self) -> api.V2beta1PipelineVersionReference:
        """It, as runs refer to it."""
        return api.V2beta1PipelineVersionReference(pipeline_id=self.pipeline_id, pipeline_version_id=self.id)


class Cluster:
    """A Kubeflow Pipelines server.

    Every method raises a `UserError` that says what to do, `Away` where trying again may help.

    Args:
        host: its address; `https://` is meant where no scheme is given.
        namespace: the user's, where the server has several.
    """

    def __init__(self, host: str | None, namespace: str | None = None) -> None:
        if not host:
            raise UserError("Give --host or KF_PIPELINES_ENDPOINT the address of Kubeflow Pipelines.")
        self.host = (host if "://" in host else f"https://{host}").rstrip("/")
        self._namespace = namespace
        client = api.ApiClient(_configuration(self.host))
        self._pipelines, self._uploads = api.PipelineServiceApi(client), api.PipelineUploadServiceApi(client)
        self._experiments = api.ExperimentServiceApi(client)
        self._runs, self._schedules = api.RunServiceApi(client), api.RecurringRunServiceApi(client)
        if self._serves_several(api.HealthzServiceApi(client)) and not namespace:
            raise UserError(f"{self.host} serves several namespaces; give --namespace yours.")

    def upload(self, package: Package) -> Version:
        """A package as a version, uploaded unless one of its name is there; the pipeline is made if need be."""
        name, pipeline = package.name, self._pipeline(package.pipeline)
        if pipeline is None:
            asked = api.V2beta1Pipeline(name=package.pipeline, display_name=package.pipeline, namespace=self._namespace)
            pipeline = self._call(self._pipelines.pipeline_service_create_pipeline, pipeline=asked)
        if known := self._version(pipeline, name):
            return known
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.yaml"
            path.write_text(package.text)
            version = self._call(
                self._uploads.upload_pipeline_version,
                uploadfile=str(path),
                pipelineid=pipeline.pipeline_id,
                name=name,
                display_name=name,
                description=package.description,
                tags=json.dumps({key: value[:TAG_CHARACTERS] for key, value in package.tags.items()}),
            )
        return _as_version(pipeline, version, new=True)

    def version(self, pipeline: str, name: str) -> Version:
        """The uploaded version of a pipeline under a name."""
        found = self._pipeline(pipeline)
        version = found and self._version(found, name)
        if version:
            return version
        names = [each.display_name for each in self._newest_versions(found)] if found else []
        known = f"the newest are {', '.join(names)}" if names else "none was submitted yet"
        raise UserError(f"There is no version '{name}' of {pipeline} at {self.host}; {known}.")

    def submit(self, version: Version, parameters: Mapping[str, str], service_account: str) -> api.V2beta1Run:
        """Start a run of a version, in the experiments of the pipeline's name, Kubeflow's and MLflow's."""
        run = api.V2beta1Run(
            display_name=f"{version.pipeline} {version.name}",
            description=version.description,
            experiment_id=self._experiment(version.pipeline),
            pipeline_version_reference=version.reference,
            runtime_config=_runtime(version, parameters),
            service_account=service_account,
            plugins_input=_plugins_input(version),
        )
        return self._call(self._runs.run_service_create_run, run=run)

    def schedule(
        self, version: Version, parameters: Mapping[str, str], name: str, service_account: str, cron: str
    ) -> bool:
        """Run a version again and again; True where that replaces a schedule of the same name.

        Args:
            cron: six fields, the first of seconds.
        """
        old = self._scheduled(name)
        recurring = api.V2beta1RecurringRun(
            display_name=name,
            description=version.description,
            experiment_id=self._experiment(version.pipeline),
            pipeline_version_reference=version.reference,
            runtime_config=_runtime(version, parameters),
            service_account=service_account,
            namespace=self._namespace,
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
            mode=api.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,
            plugins_input=_plugins_input(version),
        )
        self._call(self._schedules.recurring_run_service_create_recurring_run, recurring_run=recurring)
        self._unschedule(old)
        return bool(old)

    def unschedule(self, name: str) -> None:
        """End a schedule."""
        old = self._scheduled(name)
        if not old:
            raise UserError(f"There is no schedule '{name}' at {self.host}.")
        self._unschedule(old)

    def run(self, run_id: str) -> api.V2beta1Run:
        """A run as it is now."""
        return self._call(self._runs.run_service_get_run, run_id=run_id)

    def version_of(self, run: api.V2beta1Run) -> api.V2beta1PipelineVersion | None:
        """The version that a run is of; None where it was deleted, or the run brought its own specification."""
        reference = run.pipeline_version_reference
        if not (reference and reference.pipeline_version_id):
            return None
        return self._found(
            self._pipelines.pipeline_service_get_pipeline_version,
            pipeline_id=reference.pipeline_id,
            pipeline_version_id=reference.pipeline_version_id,
        )

    def has_schedule(self, recurring_run_id: str) -> bool:
        """Whether a schedule is there still."""
        get = self._schedules.recurring_run_service_get_recurring_run
        return self._found(get, recurring_run_id=recurring_run_id) is not None

    def newest_runs(self, count: int) -> list[api.V2beta1Run]:
        """The newest runs, the newest first."""
        found = self._call(
            self._runs.run_service_list_runs,
            page_size=count,
            sort_by="created_at desc",
            **self._in_namespace(),
        )
        return found.runs or []

    def link(self, run_id: str) -> str:
        """The page of a run."""
        return f"{os.environ.get('KF_PIPELINES_UI_ENDPOINT', self.host).rstrip('/')}/#/runs/details/{run_id}"

    def _serves_several(self, health: api.HealthzServiceApi) -> bool:
        """Whether users have namespaces; that somebody else answers, say with a login page, shows here too."""
        answer = self._call(health.healthz_service_get_healthz, _preload_content=False)
        try:
            return bool(json.loads(answer.data).get("multi_user"))
        except (ValueError, AttributeError):
            raise UserError(self._nobody()) from None

    def _pipeline(self, name: str) -> api.V2beta1Pipeline | None:
        listed = self._call(
            self._pipelines.pipeline_service_list_pipelines, filter=_called(name), **self._in_namespace()
        )
        return next(iter(listed.pipelines or []), None)

    def _version(self, pipeline: api.V2beta1Pipeline, name: str) -> Version | None:
        listed = self._call(
            self._pipelines.pipeline_service_list_pipeline_versions,
            pipeline_id=pipeline.pipeline_id,
            filter=_called(name),
        )
        for each in listed.pipeline_versions or []:
            found = self._call(
                self._pipelines.pipeline_service_get_pipeline_version,
                pipeline_id=pipeline.pipeline_id,
                pipeline_version_id=each.pipeline_version_id,
            )
            return _as_version(pipeline, found)
        return None

    def _newest_versions(self, pipeline: api.V2beta1Pipeline) -> list[api.V2beta1PipelineVersion]:
        listed = self._call(
            self._pipelines.pipeline_service_list_pipeline_versions,
            pipeline_id=pipeline.pipeline_id,
            page_size=5,
            sort_by="created_at desc",
        )
        return listed.pipeline_versions or []

    def _experiment(self, name: str) -> str:
        """The id of an experiment, which is made if need be."""
        listed = self._call(
            self._experiments.experiment_service_list_experiments, filter=_called(name), **self._in_namespace()
        )
        for each in listed.experiments or []:
            return each.experiment_id
        asked = api.V2beta1Experiment(display_name=name, namespace=self._namespace)
        made = self._call(self._experiments.experiment_service_create_experiment, experiment=asked)
        return made.experiment_id

    def _scheduled(self, name: str) -> list[api.V2beta1RecurringRun]:
        listed = self._call(
            self._schedules.recurring_run_service_list_recurring_runs, filter=_called(name), **self._in_namespace()
        )
        return listed.recurring_runs or []

    def _unschedule(self, schedules: list[api.V2beta1RecurringRun]) -> None:
        for each in schedules:
            self._call(
                self._schedules.recurring_run_service_delete_recurring_run, recurring_run_id=each.recurring_run_id
            )

    def _in_namespace(self) -> dict[str, str]:
        return {"namespace": self._namespace} if self._namespace else {}

    def _found(self, function: Callable[..., Any], **given: Any) -> Any | None:
        """What the server answers, None where it knows of no such thing."""
        try:
            return self._call(function, **given)
        except UserError as error:
            if getattr(error.__cause__, "status", None) == 404:
                return None
            raise

    def _call(self, function: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """What the server answers; its complaints become sentences."""
        try:
            return function(*args, **given)
        except ApiException as error:
            message = _message(error)
            if error.status in (401, 403):
                raise UserError(
                    f"{self.host} refuses the token ({error.status}{message and f': {message}'}); "
                    f"set {TOKEN} to a valid one."
                ) from error
            if error.status and error.status >= 500:
                raise Away(f"Kubeflow Pipelines at {self.host} fails ({error.status}: {message}).") from error
            raise UserError(
                f"Kubeflow Pipelines at {self.host} refuses: {message}." if message else self._nobody()
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Away(self._nobody()) from error

    def _nobody(self) -> str:
        return f"There is no Kubeflow Pipelines at {self.host}; check --host or KF_PIPELINES_ENDPOINT."


def _configuration(host: str) -> api.Configuration:
    configuration = api.Configuration(host=host)
    configuration.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
    # A request that never reached the server is sent again, so is a question that its proxy could not pass on.
    configuration.retries = urllib3.Retry(
        total=3, backoff_factor=0.2, status_forcelist=(502, 503, 504), raise_on_status=False
    )
    if token := os.environ.get(TOKEN):
        configuration.api_key["authorization"] = token
        configuration.api_key_prefix["authorization"] = "Bearer"
    return configuration


def _as_version(pipeline: api.V2beta1Pipeline, found: api.V2beta1PipelineVersion, new: bool = False) -> Version:
    specification = found.pipeline_spec or {}
    root = specification.get("pipeline_spec", specification)["root"]  # under its name where a platform's is beside it
    parameters = frozenset(root.get("inputDefinitions", {}).get("parameters", {}))
    ids = pipeline.pipeline_id, found.pipeline_version_id
    return Version(pipeline.display_name, found.display_name, *ids, found.description, parameters, new)


def _runtime(version: Version, parameters: Mapping[str, str]) -> api.V2beta1RuntimeConfig:
    if version.parameters - parameters.keys():
        raise UserError(f"Version {version.name} of {version.pipeline} reads data of yours; give --data.")
    if parameters.keys() - version.parameters:
        raise UserError(f"Version {version.name} of {version.pipeline} brings its own data; leave --data out.")
    return api.V2beta1RuntimeConfig(parameters=dict(parameters))


def _plugins_input(version: Version) -> dict[str, Any]:
    return {"mlflow": {"experiment_name": version.pipeline}}


def _called(name: str) -> str:
    """The filter of lists that keeps what has a display name."""
    predicate = api.V2beta1Predicate(
        operation=api.V2beta1PredicateOperation.EQUALS, key="display_name", string_value=name
    )
    return json.dumps(api.ApiClient().sanitize_for_serialization(api.V2beta1Filter(predicates=[predicate])))


def _message(error: ApiException) -> str:
    """What the server says is wrong, "" where it is none of Kubeflow's."""
    try:
        message = json.loads(error.body or "")["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return textwrap.shorten(message, 300).rstrip(".")
