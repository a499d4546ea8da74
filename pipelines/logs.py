"""The logs of a run's tasks: of the pod while it is there, then what Kubeflow's launcher kept of it.

The launcher copies a step's output to an object beside the step's outputs, `executor-logs-N` for attempt N from 0, when
the step has ended, well or not (backend/src/v2/component/launcher_v2.go). A step that was killed leaves none.
"""

import time
from collections.abc import Iterator, Sequence

from components.core.errors import UserError
from pipelines import following
from pipelines.kubectl import Kubectl
from pipelines.runners import Task
from pipelines.status import Observer, Seen, Status

_ATTEMPTS = 10
"""How many are looked for where their number is not known."""


def choose(status: Status, words: Sequence[str]) -> list[Seen]:
    """The tasks that are meant: of a step, with all the given NAME=VALUE; without words what failed, else what runs.

    Raises:
        UserError: there is none.
    """
    wanted = " ".join(words).split()
    if wanted:
        found = [each for each in status.tasks if each.task.step == wanted[0] and _has(each.task, wanted[1:])]
        if found:
            return found
        steps = ", ".join(dict.fromkeys(each.task.step for each in status.tasks))
        raise UserError(f"The run has no task '{' '.join(wanted)}'; its steps are {steps}.")
    own = [each for each in status.tasks if not each.within]
    for state in ("failed", "running"):
        if found := [each for each in own if each.task.state == state]:
            return found
    raise UserError("Nothing of it failed, and nothing runs; say which task's log to show, such as `register`.")


def log_of(seen: Seen, kubectl: Kubectl) -> str:
    """What a task's last attempt printed, or the last one before it of which something is left.

    Raises:
        UserError: there is nothing to read, or no right to.
    """
    if seen.pod and (text := kubectl.log(seen.pod)):
        return text
    title = seen.task.title
    if seen.task.state in ("waiting", "skipped", "cached") and not seen.attempt:
        raise UserError(f"{title} has no log: it is {seen.task.state}.")
    if not seen.logs:
        why = f" ({kubectl.problem})" if kubectl.problem else ""
        raise UserError(f"Where the log of {title} lies only kubectl{why} or MLflow could tell.")
    text = _kept(seen)
    if text is None:
        raise UserError(f"No log of {title} is kept at {seen.logs}: its pod was ended before it could be, or it runs.")
    return text


def follow(observer: Observer, words: Sequence[str]) -> Iterator[str]:
    """The lines of one task's log as they come, attempt after attempt, until the task has ended.

    Raises:
        UserError: more than one task is meant, or there is nothing to read.
    """
    told = ""
    while True:
        status = following.patiently(observer)
        seen = _one(choose(status, words))
        words = seen.task.title.split()
        ended = status.final or seen.task.state not in ("waiting", "running")
        if seen.pod and seen.pod != told and seen.task.state != "waiting":
            with observer.kubectl.following(seen.pod) as lines:
                for line in lines:
                    told = seen.pod
                    yield line
        if ended:
            if not told:
                yield log_of(seen, observer.kubectl)
            return
        time.sleep(following.POLL_SECONDS)


def _one(found: list[Seen]) -> Seen:
    if len(found) > 1:
        titles = "\n".join(f"  {each.task.title}" for each in found)
        raise UserError(f"--follow shows one task's log; say which:\n{titles}")
    return found[0]


def _has(task: Task, pairs: Sequence[str]) -> bool:
    return set(pairs) <= set(task.title.split()[1:])


def _kept(seen: Seen) -> str | None:
    """What the launcher kept of the last attempt of which it kept something."""
    from components.core.storage.s3 import S3Folder  # boto3 is imported only where something lies on S3

    folder, _, name = seen.logs.rpartition("/")
    with S3Folder(folder) as kept:
        for number in reversed(range(seen.attempt or _ATTEMPTS)):
            if (content := kept.read(f"{name}-{number}")) is not None:
                return content.decode(errors="replace")
    return None
