import math

import numpy as np
import pytest
import torch

from finescale.batches.batching import Encoded, collate
from finescale.evaluation.loss import evaluate, evaluation_batches
from finescale.models.decoder import build, config
from finescale.spec.run import OptimizerSpec
from finescale.training.loop import Diverged, FrozenParameters, Schedule, evaluation_steps, train
from finescale.tuning.full import wrap_full
from finescale.tuning.lora import wrap_lora

ADAMW = OptimizerSpec(name="adamw")


def examples(count=24):
    rng = np.random.default_rng(0)
    return [Encoded(rng.integers(70, 600, rng.integers(8, 30)).astype(np.int32), 4) for _ in range(count)]


def parts(batch, micro):
    return [collate(batch[i : i + micro], pad=0) for i in range(0, len(batch), micro)]


def run(tuned, given, steps=30, learning_rate=1e-2, evaluate_dev=None, evaluations=3, micro=8, **options):
    batches = evaluation_batches(given, pad=0)
    at = evaluation_steps(steps, evaluations)
    return train(
        tuned,
        lambda step: parts(given[(step * 8) % 24 : (step * 8) % 24 + 8], micro),
        Schedule(steps, ADAMW, learning_rate, 0.1, at, keep_best=True, **options),
        evaluate_dev or (lambda _: evaluate(tuned, batches).mean),
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


@pytest.mark.parametrize("steps", [1, 2])
def test_lora_whose_first_matrix_cannot_move_in_the_first_step_is_not_taken_for_frozen(tiny_model, steps):
    assert run(wrap_lora(tiny_model, 2, seed=0), examples(), steps, evaluations=1).step == steps


def test_the_same_run_twice_is_bit_identical(tiny_shape):
    curves = []
    for _ in range(2):
        tuned = wrap_full(build(config(tiny_shape, 128, 1, 0), seed=0))
        curves.append(run(tuned, examples()).dev_curve)
    assert curves[0] == curves[1]


def test_evaluations_are_evenly_spaced_and_end_with_the_last_step():
    assert evaluation_steps(32, 4) == {8, 16, 24, 32}
    assert max(evaluation_steps(33, 8)) == 33
    assert evaluation_steps(3, 8) <= {1, 2, 3}


@pytest.mark.parametrize("micro", [1, 4, 5])
def test_micro_batches_add_up_to_the_whole_batch(tiny_shape, micro):
    curves = []
    for size in (8, micro):
        progress = run(
            wrap_full(build(config(tiny_shape, 128, 1, 0), seed=0)), examples(), 12, 1e-3, micro=size
        )
        curves.append([loss for _, loss in progress.dev_curve])
        counts = (progress.tokens, progress.target_tokens)
    assert curves[0] == pytest.approx(curves[1], abs=1e-6)
    assert counts == (4 * sum(len(e.ids) for e in examples()), 4 * sum(e.target_tokens for e in examples()))


def test_training_stops_when_the_dev_loss_has_not_fallen_for_patience_evaluations(tiny_model):
    losses = iter([3.0, 2.0, 2.5, 1.9, 2.0, 1.9, 1.0])
    tuned = wrap_full(tiny_model)
    progress = run(tuned, examples(), 28, evaluate_dev=lambda _: next(losses), evaluations=7, patience=2)
    assert (progress.step, progress.best_step, progress.best_loss) == (24, 16, 1.9)


def test_without_patience_training_goes_on(tiny_model):
    progress = run(wrap_full(tiny_model), examples(), 28, evaluate_dev=lambda _: 2.0, evaluations=7)
    assert (progress.step, progress.best_step) == (28, 4)


def test_bf16_trains_float32_weights_to_nearly_the_same_loss(tiny_shape):
    losses = []
    for bf16 in (False, True):
        tuned = wrap_full(build(config(tiny_shape, 128, 1, 0), seed=0))
        losses.append(run(tuned, examples(), bf16=bf16).best_loss)
        assert {p.dtype for p in tuned.trainable.values()} == {torch.float32}
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


def test_checkpointing_computes_the_same_gradients(tiny_shape):
    losses = []
    for checkpointing in (False, True):
        tuned = wrap_full(build(config(tiny_shape, 128, 1, 0), seed=0))
        calls = []
        tuned.model.model.layers[0].self_attn.register_forward_hook(lambda *_: calls.append(1))  # noqa: B023
        if checkpointing:
            tuned.model.gradient_checkpointing_enable({"use_reentrant": False})
        losses.append(run(tuned, examples(), 6, evaluations=1).best_loss)
    assert losses[0] == losses[1]
    assert len(calls) == 2 * 6 + 1  # each step computes the block again
