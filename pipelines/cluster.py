"""Kubeflow Pipelines on a cluster: versions of pipelines, their runs, their schedules.

The generated client is called directly: kfp's own passes no `plugins_input`, without which the MLflow plugin would put
all runs into one experiment.
"""

import copy
import hashlib
import json
import os
import re
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
from pipelines.package import FRESH, Package

TOKEN = "KF_PIPELINES_TOKEN"
"""The environment variable that holds the bearer token."""

TAG_CHARACTERS = 63
"""Kubeflow's limit of a tag's value (MaxTagValueLength in backend/src/apiserver/model/pipeline_tags.go, 2.17.0)."""

FINAL = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
"""The states that a run does not leave."""


class Away(UserError):
    """The server does not answer now; it may later."""


class Vanished(UserError):
    """A run's workflow is gone: Kubeflow can neither end the run nor see that it has ended."""


@dataclass(frozen=True)
class Version:
    """An uploaded version of a pipeline.

    Attributes:
        pipeline: the pipeline's name.
        name: the version's.
        pipeline_id: the server's name of the pipeline.
        id: the server's name of the version.
        description: for people; its runs are described alike.
        tags: to find it by.
        specification: what was uploaded: the pipeline's, and the platform's under its name.
        new: whether it was uploaded just now.
    """

    pipeline: str
    name: str
    pipeline_id: str
    id: str
    description: str | None
    tags: Mapping[str, str]
    specification: Mapping[str, Any]
    new: bool = False

    @property
    def reference(self) -> api.V2beta1PipelineVersionReference:
        """It, as runs refer to it."""
        return api.V2beta1PipelineVersionReference(pipeline_id=self.pipeline_id, pipeline_version_id=self.id)

    @property
    def parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """What a run of it may be given, by name; what has no `defaultValue` it must be given."""
        return self.specification["pipeline_spec"]["root"].get("inputDefinitions", {}).get("parameters", {})


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
        self.health = self._health(api.HealthzServiceApi(client))
        """What the server says of itself: its version as `tag_name`, `multi_user`."""
        if self.health.get("multi_user") and not namespace:
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

    def fresh(self, pipeline: str) -> str:
        """Since when Kubeflow's cache counts for a pipeline, "" where ever: its newest versions say so."""
        found = self._pipeline(pipeline)
        newest = self._newest_versions(found) if found else []
        return max(((each.tags or {}).get(FRESH, "") for each in newest), default="")

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
        _check_parameters(version, parameters)
        run = api.V2beta1Run(
            display_name=f"{version.pipeline} {version.name}",
            description=version.description,
            experiment_id=self._experiment(version.pipeline),
            pipeline_version_reference=version.reference,
            runtime_config=api.V2beta1RuntimeConfig(parameters=dict(parameters)),
            service_account=service_account,
            plugins_input=_plugins_input(version),
        )
        return self._call(self._runs.run_service_create_run, run=run)

    def try_out(self, name: str, specification: Mapping[str, Any], service_account: str) -> api.V2beta1Run:
        """Start a run of a pipeline that is not uploaded, in the experiments of its name, Kubeflow's and MLflow's."""
        run = api.V2beta1Run(
            display_name=name,
            experiment_id=self._experiment(name),
            pipeline_spec=dict(specification),
            service_account=service_account,
            plugins_input={"mlflow": {"experiment_name": name}},
        )
        return self._call(self._runs.run_service_create_run, run=run)

    def pod_log(self, run_id: str, pod: str) -> str:
        """What a pod of a run has printed, as long as it or Argo's archive of it is there; else what is wrong.

        The server answers 200 in any case (backend/src/apiserver/server/run_log_server.go); its client has no method.
        """
        path = f"/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log"
        answer = self._call(
            self._runs.api_client.call_api, path, "GET", auth_settings=["Bearer"], _preload_content=False
        )
        return answer.data.decode(errors="replace")

    def with_parameters(self, version: Version, parameters: Mapping[str, str]) -> Version:
        """A version that brings what runs of another are given; the same where that is nothing.

        A schedule can give its runs none: for one that names a version and has inputs of plugins, Kubeflow makes a
        ScheduledWorkflow without `spec.workflow`, where they would stand, and each of its runs is then refused
        (CreateJob in backend/src/apiserver/resource/resource_manager.go, 2.17.0).
        """
        _check_parameters(version, parameters)
        if not parameters:
            return version
        specification = copy.deepcopy(dict(version.specification))
        inputs = specification["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
        for name, value in parameters.items():
            inputs[name] |= {"defaultValue": value, "isOptional": True}
        digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
        return self.upload(
            Package(
                pipeline=version.pipeline,
                name=f"{version.name}-{digest[:8]}",
                text="---\n".join(json.dumps(each, indent=1) + "\n" for each in specification.values()),  # JSON is YAML
                description="; ".join([version.description or "", *(f"{key} {parameters[key]}" for key in parameters)]),
                tags=dict(version.tags),
                parameters={},
            )
        )

    def schedule(self, version: Version, name: str, service_account: str, cron: str) -> list[str] | None:
        """Run a version, which brings its parameters, again and again.

        Args:
            cron: six fields, the first of seconds.

        Returns:
            None, or where that replaces a schedule of the same name, the runs of that one that go on.
        """
        _check_parameters(version, {})
        old = self._scheduled(name)
        recurring = api.V2beta1RecurringRun(
            display_name=name,
            description=version.description,
            experiment_id=self._experiment(version.pipeline),
            pipeline_version_reference=version.reference,
            service_account=service_account,
            namespace=self._namespace,
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
            mode=api.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,
            plugins_input=_plugins_input(version),
        )
        self._call(self._schedules.recurring_run_service_create_recurring_run, recurring_run=recurring)
        return self._unschedule(old) if old else None

    def unschedule(self, name: str) -> list[str]:
        """End a schedule; returns the runs of it that go on."""
        old = self._scheduled(name)
        if not old:
            raise UserError(f"There is no schedule '{name}' at {self.host}.")
        return self._unschedule(old)

    def delete(self, run_id: str) -> None:
        """Let a run that was started just now never have been."""
        self._call(self._runs.run_service_delete_run, run_id=run_id)

    def terminate(self, run_id: str) -> None:
        """Begin to end a run; it is `CANCELING` from now on, even where this raises `Vanished`."""
        try:
            self._call(self._runs.run_service_terminate_run, run_id=run_id)
        except Away as error:
            # TerminateRun (backend/src/apiserver/resource/resource_manager.go, 2.17.0) notes first and asks Argo then.
            if re.search(r"workflows\.argoproj\.io .* not found", _message(error.__cause__)):
                raise Vanished(f"The workflow of run {run_id} is gone.") from error
            raise

    def run(self, run_id: str) -> api.V2beta1Run:
        """A run as it is now."""
        return self._call(self._runs.run_service_get_run, run_id=run_id)

    def newest_runs_of(self, pipeline: str, count: int) -> list[api.V2beta1Run]:
        """The newest runs of a pipeline, the newest first."""
        found = self._call(
            self._runs.run_service_list_runs,
            experiment_id=self._experiment(pipeline),
            page_size=count,
            sort_by="created_at desc",
        )
        return found.runs or []

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
        """Whether a schedule is there still; of one that was deleted, nothing is kept.

        GetJob in backend/src/apiserver/storage/job_store.go, 2.17.0: 404, where several are served, too.
        """
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

    def _health(self, health: api.HealthzServiceApi) -> dict[str, Any]:
        """What the server says of itself; that somebody else answers, say with a login page, shows here too."""
        answer = self._call(health.healthz_service_get_healthz, _preload_content=False)
        try:
            return {**json.loads(answer.data)}
        except (ValueError, TypeError):
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

    def _unschedule(self, schedules: list[api.V2beta1RecurringRun]) -> list[str]:
        """End schedules, not their runs; returns those of them that go on.

        A ScheduledWorkflow owns its runs' workflows (SetOwnerReferences in backend/src/common/util/workflow.go, at
        2.17.0), which Kubernetes deletes with it, unless they shall be orphans: then it takes the owner out of them,
        and Kubeflow goes on by their label of the run (ReportWorkflowResource in backend/src/apiserver/resource/
        resource_manager.go). None may begin while it is deleted.
        """
        running = []
        for each in schedules:
            given = {"recurring_run_id": each.recurring_run_id}
            self._disable(each.recurring_run_id)
            newest = self._call(
                self._runs.run_service_list_runs,
                page_size=10,
                sort_by="created_at desc",
                filter=_equals("recurring_run_id", each.recurring_run_id),
                **self._in_namespace(),
            )
            running += [run.run_id for run in newest.runs or [] if run.state not in FINAL]
            policy = api.V2beta1DeletePropagationPolicy.ORPHAN
            self._call(self._schedules.recurring_run_service_delete_recurring_run, **given, propagation_policy=policy)
        return running

    def _disable(self, recurring_run_id: str) -> None:
        """Have a schedule begin no more runs; one whose ScheduledWorkflow was deleted begins none.

        To delete such a one Kubeflow takes, to disable it not (ChangeJobMode and DeleteJob in
        backend/src/apiserver/resource/resource_manager.go, 2.17.0).
        """
        try:
            self._call(self._schedules.recurring_run_service_disable_recurring_run, recurring_run_id=recurring_run_id)
        except Away as error:
            if not re.search(r"scheduledworkflows\.kubeflow\.org .* not found", _message(error.__cause__)):
                raise

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
            message = textwrap.shorten(_message(error), 300).rstrip(".")
            if error.status in (401, 403):
                raise UserError(
                    f"{self.host} refuses the token ({error.status}{message and f': {message}'}); "
                    f"set {TOKEN} to a valid one."
                ) from error
            if error.status and error.status >= 500:
                told = message or "without a word"
                raise Away(
                    f"Kubeflow Pipelines at {self.host} fails ({error.status}: {told}); try again, or see its log: "
                    "`kubectl -n kubeflow logs deployment/ml-pipeline`."
                ) from error
            raise UserError(
                f"Kubeflow Pipelines at {self.host} refuses: {message}." if message else self._nobody()
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Away(self._nobody()) from error

    def _nobody(self) -> str:
        return f"There is no Kubeflow Pipelines at {self.host}; check --host or KF_PIPELINES_ENDPOINT."


def state_of(run: api.V2beta1Run) -> str:
    """A run's state, CANCELED where somebody ended it, which Kubeflow calls FAILED."""
    cancelled = run.state == "FAILED" and any(each.state == "CANCELING" for each in run.state_history or ())
    return "CANCELED" if cancelled else run.state or "PENDING"


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
    given = found.pipeline_spec or {}
    specification = given if "pipeline_spec" in given else {"pipeline_spec": given}  # where it has no platform's
    ids = pipeline.pipeline_id, found.pipeline_version_id
    named = pipeline.display_name, found.display_name
    return Version(*named, *ids, found.description, found.tags or {}, specification, new)


def _check_parameters(version: Version, given: Mapping[str, str]) -> None:
    required = {name for name, each in version.parameters.items() if "defaultValue" not in each}
    if required - given.keys():
        raise UserError(f"Version {version.name} of {version.pipeline} reads data of yours; give --data.")
    if given.keys() - version.parameters.keys():
        raise UserError(f"Version {version.name} of {version.pipeline} brings its own data; leave --data out.")


def _plugins_input(version: Version) -> dict[str, Any]:
    return {"mlflow": {"experiment_name": version.pipeline}}


def _called(name: str) -> str:
    """The filter of lists that keeps what has a display name."""
    return _equals("display_name", name)


def _equals(key: str, value: str) -> str:
    """The filter of lists that keeps what has a value."""
    predicate = api.V2beta1Predicate(operation=api.V2beta1PredicateOperation.EQUALS, key=key, string_value=value)
    return json.dumps(api.ApiClient().sanitize_for_serialization(api.V2beta1Filter(predicates=[predicate])))


def _message(error: BaseException | None) -> str:
    """What the server says is wrong, "" where it is none of Kubeflow's.

    Uploads have a form of their own (writeErrorToResponse in backend/src/apiserver/server/pipeline_upload_server.go).
    """
    try:
        answer = json.loads(getattr(error, "body", None) or "")
        return answer.get("message") or answer.get("error_message") or ""
    except (ValueError, AttributeError):
        return ""
