"""Options and steps of methods, as settings know them."""

from pathlib import Path

import pytest
import torch

from satkit import TrainSettings, list_methods, results, train
from satkit.methods import METHODS, check_options


def test_options_of_the_method_are_given_by_name_and_converted():
    settings = TrainSettings.for_profile("lab", gate="before_softmax", spatial_blocks="2")
    assert settings.options == {"gate": "before_softmax", "spatial_blocks": 2}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "cam", "gate": "before_softmax"}, "'cam' has no option 'gate'.*belongs to sat"),
        ({"gate": "beside"}, "option gate of 'sat' is 'beside'"),
        ({"spatial_blocks": "many"}, "option spatial_blocks of 'sat' is 'many'"),
        ({"gaet": "after_softmax"}, "no setting 'gaet'. Did you mean 'gate'"),
        ({"method": "sta"}, "method is 'sta'.*Did you mean 'sat'"),
        ({"method": "cam", "two_stage": True}, "for SAT only"),
        ({"two_stage": True, "freeze": "b"}, "two_stage freezes by itself"),
        ({"classifier": "runs/x"}, "learns from no classifier"),
        ({"method": "cam", "area_term": "area"}, "no foreground probabilities"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(given, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings.for_profile("lab", **given)


@pytest.mark.parametrize("method", list_methods())
def test_defaults_of_every_method_are_valid(method):
    assert check_options(method, METHODS[method].options) == METHODS[method].options
    assert TrainSettings.for_profile("lab", method=method).method == method


def test_two_stages_change_only_the_token_in_the_second(tmp_path):
    """Table 13: classification first; then all but the spatial token stays as it is."""
    settings = TrainSettings.for_profile(
        "smoke", two_stage=True, area_term="area", runs_dir=str(tmp_path), train_images=16,
        eval_images=8,
    )  # fmt: skip
    second = train(settings)
    first = results.Run(Path(second.settings.checkpoint).parent)
    assert (first.settings.area_term, first.settings.pixel_term) == ("none", "none")
    assert second.settings.area_term == "area" and "area" in second.steps
    before, after = first.model().state_dict(), second.model().state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    running = {name for name in changed if "running" in name or "num_batches" in name}
    assert changed - running == {"loc_token", "loc_embed"}
    assert train(settings).dir == second.dir  # found, both
