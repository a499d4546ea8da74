import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from components.core.contract import GanSection, Run, TrainingSection
from components.core.errors import UserError
from components.core.storage import Checkpoints
from components.core.telemetry import Journal
from components.core.training import (
    DIVERSITY,
    MARGIN,
    PREEMPTED,
    RESTARTS,
    WINDOW,
    Batches,
    Collapse,
    restarting,
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
    given = {"threads": 1, "seed": 0, "batch_size": 4, "precision": "no", "checkpoint_seconds": 1e-9}
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
    """Loses its diversity for good at step 50, unless torch's seed is one that spares it."""

    def __init__(self, spared=()):
        super().__init__()
        self.collapses = torch.initial_seed() not in spared
        self.steps = 0

    def step(self, inputs, targets):
        self.steps += 1
        ratio = 0.0 if self.collapses and self.steps > 50 else 1.0
        return super().step(inputs, targets) | {DIVERSITY: torch.tensor(ratio), MARGIN: torch.tensor(0.5)}

    def state_dict(self):
        return super().state_dict() | {"steps": self.steps}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.steps = state["steps"]


FIRST_SIGN = 50 + round(0.75 * WINDOW)
"""About where the mean over the window falls below a quarter."""


def gan_params(on_collapse):
    return GanSection(**params().model_dump(), on_collapse=on_collapse)


def test_a_collapse_is_a_warning_and_a_metric_while_the_training_goes_on(make_run, capsys):
    history = fit(make_run(), Collapsing(), gan_params("warn"), steps=400)
    assert abs(history.collapsed_at() - FIRST_SIGN) <= 2
    assert [row["collapsed"] for row in history.rows] == [
        float(row["step"] >= history.collapsed_at()) for row in history.rows
    ]
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
        return fit_as_seeded(given, Collapsing(spared=[run.seed + 2]), section)

    torch.manual_seed(run.seed)
    history = restarting(section, run, attempt)
    assert attempts == [run.seed, run.seed + 1, run.seed + 2]
    assert (len(history.rows), history.collapsed_at()) == (400, 0)
    assert "It begins anew (2 of 3 times at most)." in capsys.readouterr().err


def test_a_training_that_always_collapses_is_given_up(make_run):
    run, section = make_run(), gan_params("restart")
    attempts = []
    with pytest.raises(Collapse):
        restarting(section, run, lambda given: attempts.append(1) or fit_as_seeded(given, Collapsing(), section))
    assert len(attempts) == RESTARTS + 1


def test_a_restarted_training_resumes_where_it_was_killed(make_run):
    run, section = make_run(), gan_params("restart")
    calls = []

    def attempt(given, at_call):
        collapsing = Collapsing(spared=[run.seed + 1])
        if not collapsing.collapses:
            collapsing.at_call = at_call
        try:
            return fit_as_seeded(given, collapsing, section)
        finally:
            calls.append(collapsing.calls)

    torch.manual_seed(run.seed)
    with pytest.raises(Killed):
        restarting(section, run, lambda given: attempt(given, {300: kill}))
    torch.manual_seed(run.seed)
    history = restarting(section, run, lambda given: attempt(given, {}))
    assert len(history.rows) == 400
    assert calls[-1] == 101


def fit_as_seeded(run, regression, section):
    """`fit` without seeding: that is `restarting`'s."""
    inputs = torch.linspace(-1, 1, 20).reshape(10, 2)
    batches = Batches(inputs, inputs.sum(dim=1, keepdim=True), batch_size=4, seed=run.seed)
    return train(regression, [batches], section, run, steps=400)


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
