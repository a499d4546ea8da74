"""A Kubeflow Pipelines API server in a thread: real HTTP, and every request checked with the API's own models.

It knows the endpoints that ganflow calls, refuses what the real one refuses (unknown fields, names that are none of
Kubernetes', long tags, unknown inputs of the MLflow plugin, a wrong token). What it says of runs a real server said.
"""

import contextlib
import json
import re
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kfp_server_api as api
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from recordings import recorded, recorded_version

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
OWN = (
    "experiment_id",
    "run_id",
    "display_name",
    "description",
    "pipeline_version_reference",
    "runtime_config",
    "service_account",
    "created_at",
    "recurring_run_id",
    "plugins_input",
    "plugins_output",
)
"""What a submitted run keeps of its own when it is shown in the state of a recorded one."""

PLUGIN_INPUTS = {"mlflow": {"experiment_name": str, "experiment_id": str, "disabled": bool}}


class UploadFailed(Exception):
    """What keeps a version from being stored, which only the server's log tells."""


class Refused(Exception):
    """An HTTP status and what is wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def parse(data: Any, kind: str) -> Any:
    """JSON as one of the API's models; a field or value that the model does not know is refused."""
    _check(data, kind, kind)
    return api.ApiClient().deserialize(SimpleNamespace(data=json.dumps(data)), kind)


def _check(data: Any, kind: str, place: str) -> None:
    if nested := re.fullmatch(r"(?:list\[|dict\(str, )(\w+)[\])]", kind):
        expected = list if kind.startswith("list") else dict
        _expect(isinstance(data, expected), place, data)
        items = enumerate(data) if expected is list else data.items()
        for key, value in items:
            _check(value, nested[1], f"{place}.{key}")
    elif kind in ("str", "int", "bool"):
        _expect(type(data).__name__ == kind, place, data)
    elif kind == "datetime":
        datetime.fromisoformat(data)
    elif kind != "object":
        model = getattr(api, kind)
        if not model.openapi_types:
            _expect(data in model.allowable_values, place, data)
            return
        _expect(isinstance(data, dict), place, data)
        fields = {model.attribute_map[name]: hint for name, hint in model.openapi_types.items()}
        for key, value in data.items():
            if key not in fields:
                raise Refused(400, f'proto: (line 1:2): unknown field "{key}" in {place}')
            _check(value, fields[key], f"{place}.{key}")


def _expect(right: bool, place: str, data: Any) -> None:
    if not right:
        raise Refused(400, f"invalid value for {place}: {data!r}")


@dataclass
class KfpServer:
    """The server's content, and what becomes of runs.

    Attributes:
        address: where it answers.
        token: the only one it takes; None: it asks for none.
        fate: the recorded runs in whose state a new one is seen, one after the other; it stays in the last.
        recordings: of replayed runs, what they are seen as, one after the other.
        fates: the states that single runs are seen in, one after the other.
        end: the states that a run is seen in after it was terminated.
        vanished: runs whose workflow is gone: they stay in their state for ever; schedules whose ScheduledWorkflow is.
        plugin: whether the API server has MLflow's plugin.
        plugin_failures: why it cannot make its run, of the runs that are created next.
        broken: how many answers from now on are failures of the server.
        uploads_broken: whether it cannot keep what is uploaded.
    """

    address: str = ""
    token: str | None = None
    multi_user: bool = False
    fate: list[str] = field(default_factory=lambda: ["running-early", "succeeded"])
    recordings: dict[str, list[Any]] = field(default_factory=dict)
    fates: dict[str, list[str]] = field(default_factory=dict)
    end: list[str] = field(default_factory=lambda: ["CANCELING", "CANCELING", "FAILED"])
    vanished: set[str] = field(default_factory=set)
    plugin: bool = True
    plugin_failures: list[str] = field(default_factory=list)
    broken: int = 0
    uploads_broken: bool = False
    pipelines: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    experiments: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)
    recurring_runs: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    def replay(self, *names: str) -> str:
        """Have a recorded run, under its own id, that is seen as in these recordings, one after the other."""
        answers = [recorded(f"run-{name}") for name in names]
        (run_id,) = {each["run_id"] for each in answers}
        self.recordings[run_id] = answers
        self.runs[run_id] = parse(answers[0], "V2beta1Run")
        if reference := answers[0].get("pipeline_version_reference"):
            version = parse(recorded_version(reference["pipeline_version_id"]), "V2beta1PipelineVersion")
            self.versions[version.pipeline_version_id] = version
            self.pipelines.setdefault(version.pipeline_id, api.V2beta1Pipeline(pipeline_id=version.pipeline_id))
        return run_id

    def replay_list(self, name: str) -> None:
        """Have the runs of a recorded list."""
        for answer in recorded(name)["runs"]:
            self.runs[answer["run_id"]] = parse(answer, "V2beta1Run")

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> Any:
        """The model, or plain JSON, that a request is answered with."""
        for pattern, handler in ROUTES[method].items():
            if match := re.fullmatch(f"/apis/v2beta1/{pattern}", path):
                return handler(self, *match.groups(), query=query, body=body, kind=kind)
        raise Refused(404, "Not Found")

    def healthz(self, **_: Any) -> Any:
        return recorded("healthz") | {"multi_user": self.multi_user}

    def list_pipelines(self, query: dict[str, str], **_: Any) -> Any:
        return api.V2beta1ListPipelinesResponse(pipelines=_filtered(self.pipelines.values(), query))

    def create_pipeline(self, body: bytes, **_: Any) -> Any:
        pipeline = parse(json.loads(body), "V2beta1Pipeline")
        _expect(bool(NAME.fullmatch(pipeline.name or "")), "name", pipeline.name)
        pipeline.pipeline_id = str(uuid.uuid4())
        return _keep(self.pipelines, pipeline.pipeline_id, pipeline)

    def list_versions(self, pipeline_id: str, query: dict[str, str], **_: Any) -> Any:
        own = [each for each in self.versions.values() if each.pipeline_id == pipeline_id]
        return api.V2beta1ListPipelineVersionsResponse(pipeline_versions=_filtered(own, query))

    def upload_version(self, query: dict[str, str], body: bytes, kind: str, **_: Any) -> Any:
        _known(self.pipelines, query["pipelineid"], "Pipeline")
        _expect(bool(NAME.fullmatch(query["name"])), "name", query["name"])
        if any(each.name == query["name"] for each in self.versions.values()):
            raise Refused(409, f"Already exist error: The name {query['name']} already exist")
        if self.uploads_broken:
            raise UploadFailed
        tags = json.loads(query.get("tags", "{}"))
        _check_tags(tags)
        form = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        (package,) = (part.get_payload(decode=True).decode() for part in form.get_payload())
        documents = specification, platform = tuple(yaml.safe_load_all(package))
        json_format.ParseDict(specification, pipeline_spec_pb2.PipelineSpec())
        json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
        version = api.V2beta1PipelineVersion(
            pipeline_id=query["pipelineid"],
            pipeline_version_id=str(uuid.uuid4()),
            name=query["name"],
            display_name=query.get("display_name", query["name"]),
            description=query.get("description"),
            tags=tags,
            pipeline_spec=dict(zip(("pipeline_spec", "platform_spec"), documents, strict=True)),
        )
        self.packages[version.name] = package
        return _keep(self.versions, version.pipeline_version_id, version)

    def get_version(self, pipeline_id: str, version_id: str, **_: Any) -> Any:
        _known(self.pipelines, pipeline_id, "Pipeline")
        return _known(self.versions, version_id, "PipelineVersion")

    def list_experiments(self, query: dict[str, str], **_: Any) -> Any:
        return api.V2beta1ListExperimentsResponse(experiments=_filtered(self.experiments.values(), query))

    def create_experiment(self, body: bytes, **_: Any) -> Any:
        experiment = parse(json.loads(body), "V2beta1Experiment")
        experiment.experiment_id = str(uuid.uuid4())
        return _keep(self.experiments, experiment.experiment_id, experiment)

    def create_run(self, body: bytes, **_: Any) -> Any:
        return self._created(self._ordered(parse(json.loads(body), "V2beta1Run")))

    def _created(self, run: Any) -> Any:
        end = recorded(f"run-{self.fate[-1]}")
        run.run_id, run.state, run.created_at = str(uuid.uuid4()), "PENDING", datetime.now(UTC)
        run.state_history = parse(end["state_history"][:1], "list[V2beta1RuntimeStatus]")
        if self.plugin and self.plugin_failures:
            failed = api.V2beta1PluginOutput(state="PLUGIN_FAILED", state_message=self.plugin_failures.pop(0))
            run.plugins_output = {"mlflow": failed}
        elif self.plugin:
            run.plugins_output = parse(end["plugins_output"], "dict(str, V2beta1PluginOutput)")
        return _keep(self.runs, run.run_id, run)

    def list_runs(self, query: dict[str, str], **_: Any) -> Any:
        runs = [run for run in self.runs.values() if run.experiment_id == query.get("experiment_id", run.experiment_id)]
        newest = sorted(_filtered(runs, query), key=lambda run: run.created_at, reverse=True)
        return api.V2beta1ListRunsResponse(runs=newest[: int(query["page_size"])])

    def terminate_run(self, run_id: str, **_: Any) -> Any:
        """RunStore.TerminateRun, then TerminateWorkflow (backend/src/apiserver at 2.17.0)."""
        run = _known(self.runs, run_id, "Run")
        if run.state not in ("PENDING", "RUNNING", "PAUSED"):
            raise Refused(400, f"Invalid input error: Failed to terminate a run {run_id}. Row not found")
        run.state = "CANCELING"
        run.state_history = [*(run.state_history or []), api.V2beta1RuntimeStatus(state="CANCELING")]
        self.fates[run_id], self.seen[run_id] = ["CANCELING"] if run_id in self.vanished else self.end, -1
        if run_id in self.vanished:
            patching = "Failed to terminate workflow cardiac-qlhrd due to patching error"
            raise Refused(
                500,
                f"InternalServerError: Failed to terminate run {run_id} due to error terminating its workflow: "
                f'{patching} after multiple retries: {patching}: workflows.argoproj.io "cardiac-qlhrd" not found',
            )
        return {}

    def delete_run(self, run_id: str, **_: Any) -> Any:
        _known(self.runs, run_id, "Run")
        del self.runs[run_id]
        return {}

    def get_run(self, run_id: str, **_: Any) -> Any:
        run = _known(self.runs, run_id, "Run")
        turn = self.seen[run_id] = self.seen.get(run_id, -1) + 1
        if answers := self.recordings.get(run_id):
            return answers[min(turn, len(answers) - 1)]
        if fate := self.fates.get(run_id):
            run.state = fate[min(turn, len(fate) - 1)]
            if run.state in ("SUCCEEDED", "FAILED") and run.finished_at is None:
                run.finished_at = datetime.now(UTC).replace(microsecond=0)
            return run
        answer = recorded(f"run-{self.fate[min(turn, len(self.fate) - 1)]}")
        own = api.ApiClient().sanitize_for_serialization(run)
        shown = {name: each for name, each in answer.items() if name not in OWN} | {
            name: own[name] for name in OWN if name in own
        }
        self.runs[run_id] = parse(shown, "V2beta1Run")
        return shown

    def get_recurring_run(self, recurring_run_id: str, **_: Any) -> Any:
        return _known(self.recurring_runs, recurring_run_id, "Job")

    def list_recurring_runs(self, query: dict[str, str], **_: Any) -> Any:
        return api.V2beta1ListRecurringRunsResponse(recurring_runs=_filtered(self.recurring_runs.values(), query))

    def create_recurring_run(self, body: bytes, **_: Any) -> Any:
        recurring = self._ordered(parse(json.loads(body), "V2beta1RecurringRun"))
        fields = recurring.trigger.cron_schedule.cron.split()
        _expect(len(fields) == 6, "cron (seconds first)", fields)
        recurring.recurring_run_id = str(uuid.uuid4())
        return _keep(self.recurring_runs, recurring.recurring_run_id, recurring)

    def disable_recurring_run(self, recurring_run_id: str, **_: Any) -> Any:
        schedule = _known(self.recurring_runs, recurring_run_id, "RecurringRun")
        if recurring_run_id in self.vanished:
            raise Refused(
                500,
                f"InternalServerError: Failed to change recurring run's {recurring_run_id} mode to enable:false: "
                'scheduledworkflows.kubeflow.org "digitsx7k2p" not found',
            )
        schedule.mode, schedule.status = "DISABLE", "DISABLED"
        return {}

    def delete_recurring_run(self, recurring_run_id: str, query: dict[str, str], **_: Any) -> Any:
        """Kubernetes deletes the workflows that a ScheduledWorkflow owns with it, unless they shall be orphans."""
        _known(self.recurring_runs, recurring_run_id, "RecurringRun")
        del self.recurring_runs[recurring_run_id]
        if query.get("propagation_policy") != "ORPHAN":
            own = [run for run in self.runs.values() if run.recurring_run_id == recurring_run_id]
            self.vanished |= {run.run_id for run in own}
            self.fates |= {run.run_id: [run.state] for run in own}
        return {}

    def tick(self, recurring_run_id: str) -> Any:
        """The run that a schedule's time brings, as the controller asks for it (crd/controller/scheduledworkflow).

        The parameters of a schedule are not passed on where it names a version and has inputs of plugins: see
        CreateJob in backend/src/apiserver/resource/resource_manager.go.
        """
        schedule = self.recurring_runs[recurring_run_id]
        names = ("experiment_id", "pipeline_version_reference", "plugins_input", "recurring_run_id", "service_account")
        given = {name: getattr(schedule, name) for name in names}
        return self._created(self._ordered(api.V2beta1Run(display_name=f"{schedule.display_name}-1", **given)))

    def _ordered(self, asked: Any) -> Any:
        """A run or a recurring one whose references are there, with the parameters and inputs that they take."""
        _known(self.experiments, asked.experiment_id, "Experiment")
        version = _known(self.versions, asked.pipeline_version_reference.pipeline_version_id, "PipelineVersion")
        inputs = version.pipeline_spec["pipeline_spec"]["root"].get("inputDefinitions", {}).get("parameters", {})
        given = ((asked.runtime_config and asked.runtime_config.parameters) or {}).keys()
        missing = {name for name, each in inputs.items() if not each.get("isOptional") and "defaultValue" not in each}
        _expect(missing <= given <= inputs.keys(), "runtime_config.parameters", sorted(given))
        for plugin, given in (asked.plugins_input or {}).items():
            for key, value in given.items():
                _expect(isinstance(value, PLUGIN_INPUTS[plugin].get(key, ())), f"plugins_input.{plugin}.{key}", value)
        return asked


def _check_tags(tags: dict[str, str]) -> None:
    """backend/src/apiserver/model/pipeline_tags.go."""
    _expect(len(tags) <= 20, "tags (at most 20)", len(tags))
    for key, value in tags.items():
        _expect(bool(key) and "." not in key, "tag key (not empty, without '.')", key)
        for text in (key, value):
            _expect(len(text) <= 63, "tag (at most 63 characters)", text)


def _keep(table: dict[str, Any], key: str, model: Any) -> Any:
    table[key] = model
    return model


def _known(table: dict[str, Any], key: str, kind: str) -> Any:
    if key not in table:
        raise Refused(404, f"{kind} {key} not found")
    return table[key]


def _filtered(models: Any, query: dict[str, str]) -> list[Any]:
    found = list(models)
    if "filter" in query:
        for each in parse(json.loads(query["filter"]), "V2beta1Filter").predicates:
            _expect(each.operation == "EQUALS", "operation", each.operation)
            found = [model for model in found if getattr(model, each.key) == each.string_value]
    return found


ROUTES = {
    "GET": {
        "healthz": KfpServer.healthz,
        "pipelines": KfpServer.list_pipelines,
        "pipelines/([^/]+)/versions": KfpServer.list_versions,
        "pipelines/([^/]+)/versions/([^/]+)": KfpServer.get_version,
        "experiments": KfpServer.list_experiments,
        "runs": KfpServer.list_runs,
        "runs/([^/]+)": KfpServer.get_run,
        "recurringruns": KfpServer.list_recurring_runs,
        "recurringruns/([^/]+)": KfpServer.get_recurring_run,
    },
    "POST": {
        "pipelines": KfpServer.create_pipeline,
        "pipelines/upload_version": KfpServer.upload_version,
        "experiments": KfpServer.create_experiment,
        "runs": KfpServer.create_run,
        "runs/([^/]+):terminate": KfpServer.terminate_run,
        "recurringruns": KfpServer.create_recurring_run,
        "recurringruns/([^/]+):disable": KfpServer.disable_recurring_run,
    },
    "DELETE": {
        "recurringruns/([^/]+)": KfpServer.delete_recurring_run,
        "runs/([^/]+)": KfpServer.delete_run,
    },
}


@contextlib.contextmanager
def kfp_server(**given: Any) -> Iterator[KfpServer]:
    """A server on a free port of this machine."""
    server = KfpServer(**given)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(server)) as listener:
        server.address = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()


def _handler(server: KfpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = urlsplit(self.path)
            try:
                if server.broken:
                    server.broken -= 1
                    raise Refused(500, "Internal Server Error")
                if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
                    raise Refused(401, "Request header error: there is no user identity")
                kind = self.headers.get("Content-Type", "")
                answer = server.answer(self.command, url.path, dict(parse_qsl(url.query)), body, kind)
                status, content = 200, api.ApiClient().sanitize_for_serialization(answer)
            except Refused as error:
                status, content = error.status, {"code": 3, "message": str(error), "details": []}
            except UploadFailed:  # writeErrorToResponse in backend/src/apiserver/server/pipeline_upload_server.go
                text = "Failed to create a pipeline version"
                status, content = 500, {"error_message": text, "error_details": text}
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = respond

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    return Handler
