import math

import numpy as np
import pytest
import torch

from finescale.evaluation.loss import evaluate, evaluation_batches
from finescale.run_spec import OptimizerSpec
from finescale.training.batching import Encoded, collate
from finescale.training.loop import Diverged, FrozenParameters, evaluation_steps, train
from finescale.tuning.full import wrap_full

ADAMW = OptimizerSpec(name="adamw")


def examples(count=24):
    rng = np.random.default_rng(0)
    return [Encoded(rng.integers(70, 600, rng.integers(8, 30)).astype(np.int32), 4) for _ in range(count)]


def run(tuned, given, steps=30, learning_rate=1e-2, evaluate_dev=None, evaluations=3, keep_best=True):
    batches = evaluation_batches(given, pad=0)
    return train(
        tuned,
        lambda step: collate(given[(step * 8) % 24 : (step * 8) % 24 + 8], pad=0),
        steps,
        optimizer=ADAMW,
        learning_rate=learning_rate,
        floor=0.1,
        evaluate_at=evaluation_steps(steps, evaluations),
        evaluate=evaluate_dev or (lambda _: evaluate(tuned, batches).mean),
        keep_best=keep_best,
    )


def test_training_lowers_the_loss_and_counts_what_it_processed(tiny_model):
    tuned, given = wrap_full(tiny_model), examples()
    before = evaluate(tuned, evaluation_batches(given, pad=0)).mean
    progress = run(tuned, given)
    after = evaluate(tuned, evaluation_batches(given, pad=0)).mean
    assert after < before - 1
    assert after == pytest.approx(progress.best_loss, abs=1e-6)
    assert progress.tokens == 10 * sum(len(e.ids) for e in given)
    assert progress.target_tokens == 10 * sum(e.target_tokens for e in given)
    assert [step for step, _ in progress.dev_curve] == [10, 20, 30]


def test_the_weights_of_the_best_evaluation_are_put_back(tiny_model):
    tuned, given = wrap_full(tiny_model), examples()
    seen = []

    def dev(progress):
        seen.append(tuned.state())
        return [3.0, 1.0, 2.0][len(seen) - 1]

    progress = run(tuned, given, evaluate_dev=dev)
    assert (progress.best_step, progress.best_loss) == (20, 1.0)
    for name, tensor in tuned.trainable.items():
        assert torch.equal(tensor, seen[1][name])


def test_a_loss_that_is_not_finite_ends_the_run_with_its_step(tiny_model):
    tuned, given = wrap_full(tiny_model), examples()

    def poison(progress):
        with torch.no_grad():
            tiny_model.model.norm.weight.fill_(math.nan)
        return 1.0

    with pytest.raises(Diverged, match="not finite at step 11") as error:
        run(tuned, given, evaluate_dev=poison)
    assert error.value.step == 11


def test_a_trained_tensor_that_does_not_move_is_named(tiny_model):
    tuned, given = wrap_full(tiny_model), examples()
    tiny_model.model.layers[0].mlp.up_proj.weight.register_hook(torch.zeros_like)
    with pytest.raises(FrozenParameters, match=r"layers\.0\.mlp\.up_proj\.weight"):
        run(tuned, given)


def test_the_same_run_twice_is_bit_identical(tiny_shape):
    from finescale.models.decoder import build, config

    curves = []
    for _ in range(2):
        tuned = wrap_full(build(config(tiny_shape, 128, 1, 0), seed=0))
        curves.append(run(tuned, examples()).dev_curve)
    assert curves[0] == curves[1]


def test_evaluations_are_evenly_spaced_and_end_with_the_last_step():
    assert evaluation_steps(32, 4) == {8, 16, 24, 32}
    assert max(evaluation_steps(33, 8)) == 33
    assert evaluation_steps(3, 8) <= {1, 2, 3}
