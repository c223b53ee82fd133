"""What the tests of the methods share."""

import pytest

import satkit

FEW = {"pretrained": False, "train_images": 8, "eval_images": 4, "batch_size": 4}


@pytest.fixture
def train_briefly(tmp_path):
    """Train a method on a few drawings: `train_briefly(method, **settings)` gives the run."""

    def train(method, **given):
        settings = {**FEW, "runs_dir": str(tmp_path), **given}
        return satkit.train(satkit.TrainSettings.for_profile("smoke", method=method, **settings))

    return train
