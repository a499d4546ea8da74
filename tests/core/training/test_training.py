import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from components.core.contract import GanSection, Run, TrainingSection, derive_seed
from components.core.errors import Collapse, UserError
from components.core.storage import Checkpoints
from components.core.telemetry import Journal
from components.core.training import (
    LOOK_STEPS,
    PREEMPTED,
    RESTARTS,
    WINDOW,
    Batches,
    History,
    Look,
    restarting,
    through,
    train,
)


class Regression:
    """A line fitted to a batch with noise from the global generator."""

    def __init__(self):
        self.network = nn.Linear(2, 1)
        self.optimiser = torch.optim.Adam(self.network.parameters(), 0.05)
        self.calls = 0
        self.at_call = {}

    def step(self, inputs, targets):
        self.calls += 1
        self.at_call.get(self.calls, lambda: None)()
        loss = (self.network(inputs + torch.randn_like(inputs) * 0.1) - targets).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.detach()}

    def state_dict(self):
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state):
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


class Killed(BaseException):
    pass


def params(**changes):
    given = {"threads": 1, "seed": 0, "batch_size": 4, "precision": "fp32", "checkpoint_seconds": 1e-9}
    return TrainingSection(**(given | changes))


@pytest.fixture
def make_run(tmp_path):
    def make(fingerprint="f"):
        return Run(
            tmp_path, fingerprint, {}, 7, Checkpoints(fingerprint), Journal(tmp_path / "journals", {"step": "s"})
        )

    return make


def fit(run, regression, section=None, steps=60, **options):
    torch.manual_seed(1)
    inputs = torch.randn(10, 2)
    batches = Batches(inputs, inputs.sum(dim=1, keepdim=True), batch_size=4, seed=run.seed)
    return train(regression, [batches], section or params(), run, steps=steps, **options)


def kill():
    raise Killed


def points(run):
    """What the journal was told of: values by step and metric, each with the times that it was given."""
    told = {}
    with run.journal.undelivered() as record:
        for event in record.events("metrics"):
            for name, value, time, step in event.points():
                told.setdefault((step, name), []).append((value, time))
    return told


@pytest.mark.parametrize("kills", [[1], [30], [60], [3, 17, 20, 41]])
def test_a_killed_training_ends_like_one_left_alone(make_run, kills):
    torch.manual_seed(0)
    left_alone = Regression()
    start = {name: value.clone() for name, value in left_alone.network.state_dict().items()}
    expected = fit(make_run("alone"), left_alone).rows
    run = make_run("killed")
    done = 0
    for killed_at in [*kills, None]:
        resumed = Regression()
        resumed.network.load_state_dict(start)
        if killed_at:
            resumed.at_call[killed_at - done] = kill
            with pytest.raises(Killed):
                fit(run, resumed)
            done = killed_at - 1
        else:
            rows = fit(run, resumed).rows
    assert rows == expected
    assert torch.equal(resumed.network.weight, left_alone.network.weight)


def test_a_resumed_training_tells_of_earlier_steps_as_the_very_same_points(make_run):
    first = make_run()
    regression = Regression()
    regression.at_call[40] = kill
    with pytest.raises(Killed):
        fit(first, regression)
    second = make_run()
    rows = fit(second, Regression()).rows
    earlier, all_of_them = points(first), points(second)
    assert all(len(each) == 1 for each in all_of_them.values())
    assert {step: value for (step, _), [(value, _)] in all_of_them.items()} == {
        row["step"]: row["loss"] for row in rows
    }
    assert 35 <= len(earlier) < 40
    assert all(all_of_them[point] == told for point, told in earlier.items())


def test_what_no_checkpoint_has_is_not_told_yet_for_it_will_be_measured_again(make_run):
    run = make_run()
    regression = Regression()
    regression.at_call[40] = kill
    with pytest.raises(Killed):
        fit(run, regression, params(checkpoint_seconds=1e6))
    assert points(run) == {}


def test_times_are_not_in_the_history_that_is_saved(make_run, tmp_path):
    for name in ("first", "second"):
        torch.manual_seed(0)
        fit(make_run(name), Regression()).save(tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize("killed_at", [900, 1500, 2999])
def test_a_training_of_many_parts_is_resumed_whole(make_run, killed_at):
    torch.manual_seed(0)
    expected = fit(make_run("alone"), Regression(), params(checkpoint_seconds=0.01), steps=3000)
    run = make_run("killed")
    torch.manual_seed(0)
    killed = Regression()
    killed.at_call[killed_at] = kill
    with pytest.raises(Killed):
        fit(run, killed, params(checkpoint_seconds=0.01), steps=3000)
    assert fit(make_run("killed"), Regression(), params(checkpoint_seconds=0.01), steps=3000).rows == expected.rows


def test_a_checkpoint_is_no_larger_however_long_the_training_has_lasted(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr("components.core.training.history.PART_STEPS", 20)
    checkpoints, written = tmp_path / "home" / "checkpoints", []
    for steps in (30, 230):
        before = {}
        regression = Regression()
        regression.at_call[steps] = lambda found=before: found.update(sizes(checkpoints))
        fit(make_run(str(steps)), regression, steps=steps)
        written.append(sum(size for file, size in sizes(checkpoints).items() if file not in before))
    assert 0 < written[1] <= 1.2 * written[0]


def sizes(folder):
    """The bytes of every file in a folder, by its path and last change."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {(path, path.stat().st_mtime_ns): path.stat().st_size for path in files}


@given(
    rows=st.lists(st.dictionaries(st.sampled_from("abcd"), st.floats(-9, 9, width=32), min_size=1), max_size=60),
    cuts=st.lists(st.integers(0, 60)),
    milestones=st.sets(st.integers(1, 60)),
)
def test_a_history_in_parts_is_the_history(rows, cuts, milestones, tmp_path_factory):
    folder = tmp_path_factory.mktemp("history")
    run = Run(folder, "f", {}, 7, Checkpoints("f"), Journal(folder / "journals", {"step": "s"}))
    whole, resumed = (History(run) for _ in range(2))
    parts = []
    for step, row in enumerate(rows, start=1):
        whole.add(step, {name: torch.tensor(value) for name, value in row.items()})
        if step in milestones:
            whole.snapshots[step] = torch.tensor(step)
        if step in cuts:
            whole.flush()
            parts.append(whole.part())
    whole.flush()
    for part in [*filter(None, parts), whole.part() or whole.rest()]:
        resumed.restore(part)
    assert resumed.rows == whole.rows
    assert resumed.snapshots == whole.snapshots
    for name, history in (("whole", whole), ("resumed", resumed)):
        history.save(folder / name)
    assert (folder / "whole").read_bytes() == (folder / "resumed").read_bytes()


def test_a_full_disk_ends_a_training_with_a_sentence_and_with_room_it_goes_on(make_run, small_disk, monkeypatch):
    monkeypatch.setenv("CHECKPOINT_URI", str(small_disk))
    run = make_run()
    regression = Regression()
    full = small_disk / "full"
    regression.at_call[40] = lambda: full.write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(UserError, match=r"No space left on device\): mend that, or set CHECKPOINT_URI"):
        fit(run, regression)
    full.unlink()
    resumed = Regression()
    assert len(fit(make_run(), resumed).rows) == 60
    assert resumed.calls == 60 - 39


class Adversaries:
    """A generator that draws without gradients before it learns, and a critic that is looked at after it learnt."""

    def __init__(self):
        self.generator, self.critic = nn.Linear(4, 4), nn.Linear(4, 1)
        self.optimisers = [torch.optim.SGD(each.parameters(), 0.5) for each in (self.generator, self.critic)]
        self.looks = []

    def step(self, inputs, _):
        with torch.no_grad():
            fake = through(self.generator, torch.ones(4, 4))
        for network, optimiser in zip((self.critic, self.generator), reversed(self.optimisers), strict=True):
            fake = fake if network is self.critic else through(self.generator, torch.ones(4, 4))
            loss = through(self.critic, fake).sum()
            self.looks.append(loss.detach())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert loss.dtype == fake.dtype == torch.float32
        return {"loss": loss.detach()}

    def state_dict(self):
        return {}


def test_in_bf16_networks_learn_and_are_seen_as_they_have_learnt(make_run):
    adversaries = Adversaries()
    before = adversaries.generator.weight.detach().clone()
    fit(make_run(), adversaries, params(precision="bf16"), steps=1)
    assert not torch.equal(adversaries.generator.weight, before)
    assert adversaries.looks[0] != adversaries.looks[1]


@pytest.mark.parametrize(("sent", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_sigterm_and_ctrl_c_write_a_checkpoint_first(make_run, sent, raised):
    run = make_run()
    regression = Regression()
    regression.at_call[5] = lambda: os.kill(os.getpid(), sent)
    with pytest.raises(raised) as caught:
        fit(run, regression, params(checkpoint_seconds=1e6))
    assert getattr(caught.value, "code", PREEMPTED) == PREEMPTED  # which asks for a retry
    resumed = Regression()
    assert len(fit(run, resumed).rows) == 60
    assert resumed.calls == 55


@pytest.mark.parametrize("step", [25, 60])
def test_a_signal_in_any_step_ends_the_training_even_in_its_last(make_run, step):
    regression = Regression()
    regression.at_call[step] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        fit(make_run(), regression, params(checkpoint_seconds=1e6))
    assert caught.value.code == PREEMPTED
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_is_not_lost_where_a_collapse_begins_the_training_anew(make_run):
    run, section = make_run(), gan_params("restart")

    class Signalled(Collapsing):
        def step(self, *batch):
            if self.steps == 300:
                raise AssertionError("it goes on")
            return super().step(*batch)

    class Told(Journal):
        def history(self, *given, **named):
            os.kill(os.getpid(), signal.SIGTERM)  # while what ends in the collapse is told
            super().history(*given, **named)

    told = replace(run, journal=Told(run.journal.folder.parent, {"step": "s"}))
    with pytest.raises(SystemExit):
        restarting(section, told, lambda given: fit(given, Signalled(), section, steps=400))


def test_divergence_ends_with_a_sentence_and_keeps_the_good_checkpoint(make_run):
    run = make_run()
    regression = Regression()

    def spoil():
        with torch.no_grad():
            regression.network.weight.fill_(float("nan"))

    regression.at_call[40] = spoil
    with pytest.raises(UserError, match="diverged at step 40: loss is not finite"):
        fit(run, regression)
    assert fit(run, Regression()).rows[-1]["step"] == 60


def test_what_is_trained_is_observed_at_the_start_and_every_tenth(make_run):
    seen = []
    fit(make_run(), Regression(), steps=20, observe=seen.append)
    assert seen == list(range(0, 21, 2))


def test_what_is_observed_is_kept_even_by_a_killed_training(make_run):
    def observing(regression):
        return lambda step: regression.network.weight.detach().clone() if step in (0, 30, 60) else None

    torch.manual_seed(0)
    left_alone = Regression()
    expected = fit(make_run("alone"), left_alone, observe=observing(left_alone)).snapshots
    run = make_run("killed")
    torch.manual_seed(0)
    killed = Regression()
    killed.at_call[45] = kill
    with pytest.raises(Killed):
        fit(run, killed, observe=observing(killed))
    resumed = Regression()
    snapshots = fit(run, resumed, observe=observing(resumed)).snapshots
    assert list(snapshots) == list(expected) == [0, 30, 60]
    assert all(torch.equal(snapshots[step], expected[step]) for step in snapshots)


class Collapsing(Regression):
    """Loses its diversity for good at step 50, unless it is spared."""

    real = torch.linspace(-1, 1, 4 * 9).reshape(4, 1, 3, 3)

    def __init__(self, spared=False):
        super().__init__()
        self.collapses = not spared
        self.steps = 0
        self.look = None
        self.optimisers = {"generator": self.optimiser}

    def step(self, inputs, targets):
        self.steps += 1
        alike = self.collapses and self.steps > 50
        self.look = Look(self.real, self.real[1:2].expand_as(self.real) if alike else self.real)
        return super().step(inputs, targets)

    def state_dict(self):
        return super().state_dict() | {"steps": self.steps}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.steps = state["steps"]


FIRST_SIGN = 50 + round(0.75 * WINDOW) * LOOK_STEPS
"""About where the mean over the window falls below a quarter."""


def gan_params(on_collapse):
    return GanSection(**params().model_dump(), on_collapse=on_collapse)


def test_a_collapse_is_a_warning_and_a_metric_while_the_training_goes_on(make_run, capsys):
    history = fit(make_run(), Collapsing(), gan_params("warn"), steps=400)
    assert abs(history.collapsed_at() - FIRST_SIGN) <= LOOK_STEPS
    looks = [row for row in history.rows if "collapsed" in row]
    assert [row["step"] for row in looks] == list(range(1, 401, LOOK_STEPS))
    assert [row["collapsed"] for row in looks] == [float(row["step"] >= history.collapsed_at()) for row in looks]
    assert capsys.readouterr().err.startswith(
        f"warning: The training collapsed at step {history.collapsed_at()}: the generator has lost its diversity"
    )


def test_a_collapse_ends_the_training_where_that_is_asked_for(make_run):
    collapsing = Collapsing()
    with pytest.raises(Collapse, match="set on_collapse to restart; the last checkpoint is kept"):
        fit(make_run(), collapsing, gan_params("stop"), steps=400)
    assert collapsing.calls < 300


def test_a_collapsed_training_begins_anew_with_another_seed(make_run, capsys):
    run, section = make_run(), gan_params("restart")
    attempts = []

    def attempt(given):
        attempts.append(given.seed)
        return fit(given, Collapsing(spared=len(attempts) == 3), section, steps=400)

    history = restarting(section, run, attempt)
    assert attempts[0] == run.seed
    assert len(set(attempts)) == 3
    assert (len(history.rows), history.collapsed_at()) == (400, 0)
    assert "It begins anew (2 of 3 times at most)." in capsys.readouterr().err


def test_a_training_that_always_collapses_is_given_up(make_run):
    run, section = make_run(), gan_params("restart")
    attempts = []
    with pytest.raises(Collapse, match=rf"collapsed at step \d+: .*\. It had begun anew {RESTARTS} times, in vain: "):
        restarting(section, run, lambda given: attempts.append(1) or fit(given, Collapsing(), section, steps=400))
    assert len(attempts) == RESTARTS + 1


def test_a_restarted_training_resumes_where_it_was_killed(make_run):
    run, section = make_run(), gan_params("restart")
    calls = []

    def attempt(given, at_call):
        collapsing = Collapsing(spared=given.attempt == 1)
        if not collapsing.collapses:
            collapsing.at_call = at_call
        try:
            return fit(given, collapsing, section, steps=400)
        finally:
            calls.append(collapsing.calls)

    with pytest.raises(Killed):
        restarting(section, run, lambda given: attempt(given, {300: kill}))
    history = restarting(section, run, lambda given: attempt(given, {}))
    assert len(history.rows) == 400
    assert calls[-1] == 101


def test_the_history_leaves_cells_empty_where_nothing_was_measured(make_run, tmp_path):
    history = fit(make_run(), Regression(), steps=2)
    history.rows.append({"step": 3, "other": 1.5})
    history.save(tmp_path / "history.csv")
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0] == "step,loss,other"
    assert lines[1].endswith(",")
    assert lines[3] == "3,,1.5"


@given(count=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 2**63 - 1))
def test_every_epoch_shows_every_item_once(count, batch_size, seed):
    batches = Batches(torch.arange(count), batch_size=batch_size, seed=seed)
    epochs = 3
    steps = -(-epochs * count // batch_size)
    order = torch.cat([batches[step][0] for step in range(steps)])[: epochs * count].tolist()
    for epoch in range(epochs):
        assert sorted(order[epoch * count : (epoch + 1) * count]) == list(range(count))


@given(step=st.integers(0, 500), seed=st.integers(0, 100))
def test_a_batch_does_not_hang_on_the_batches_before(step, seed):
    items = torch.arange(13)
    fresh, used = (Batches(items, batch_size=4, seed=seed) for _ in range(2))
    used[step // 2], used[0]
    assert torch.equal(fresh[step][0], used[step][0])


def test_tensors_are_drawn_together():
    images, labels = Batches(torch.arange(9), torch.arange(9) * 2, batch_size=5, seed=0)[1]
    assert np.array_equal(images.numpy() * 2, labels.numpy())


@pytest.mark.parametrize("draws", [0, 1, 9])
def test_what_a_step_draws_hangs_on_its_number_not_on_earlier_draws(make_run, draws):
    class Drawing(Regression):
        def step(self, inputs, targets):
            drawn = torch.rand(())
            torch.rand(draws)
            return super().step(inputs, targets) | {"drawn": drawn}

    run = make_run()
    drawn = [row["drawn"] for row in fit(run, Drawing(), steps=5).rows]
    expected = [
        torch.rand((), generator=torch.Generator().manual_seed(derive_seed(run.seed, "step", step))).item()
        for step in range(5)
    ]
    assert drawn == expected
