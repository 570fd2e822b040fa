import json

import numpy as np
import polars as pl
import pytest
from paper_tables import simulate

import finescale as fs
from finescale.errors import DataError, UsageError
from finescale.laws.bootstrap import seed_effect, setting_weights

LAW = {"A_model": 2.1e3, "alpha_model": 0.36, "A_pretrain": 140.0, "alpha_pretrain": 0.18, "A_pet": 1.4}
LAW |= {"alpha_pet": -0.0017, "beta": 0.081, "E": 0.62}
# the stars meet at the base setting: level the other factors' coefficients there
LEVEL = LAW["A_model"] * 1e9 ** -LAW["alpha_model"]
LAW |= {"A_pretrain": LEVEL * 283e9 ** LAW["alpha_pretrain"], "A_pet": LEVEL * 4 ** LAW["alpha_pet"]}
STARS = ("model_params", "pretrain_tokens", "pet_size")


def lora(noise=0.005, seed_effect=0.0, factors=STARS, seed=0, **options):
    rng = np.random.default_rng(seed)
    frame = simulate(
        LAW, "wmt14-en-de", "lora", noise=noise, seed_effect=seed_effect, rng=rng, factors=factors, **options
    )
    return frame.unique(
        subset=["model_params", "pretrain_tokens", "pet_size", "finetune_examples", "seed"],
        maintain_order=True,
    )


def test_shared_fit_recovers_the_shared_beta_and_floor():
    fitted = fs.fit(lora(noise=0.0), factors=STARS[:2], shared=("beta", "E"), bootstrap=0)[0]
    assert fitted.factors == STARS[:2]
    expected = {"beta": 0.081, "E": 0.62, "alpha.model_params": 0.36, "alpha.pretrain_tokens": 0.18}
    for name, value in expected.items():
        assert fitted.value(name) == pytest.approx(value, rel=1e-6)


def test_two_steps_give_every_factor_the_same_beta_and_floor_in_every_draw():
    fits = fs.joint_fit(lora(), bootstrap=60)
    assert [law.factors for law in fits] == [(name,) for name in STARS]
    for law in fits[1], fits[2]:
        assert np.array_equal(law.draws["beta"], fits[0].draws["beta"])
        assert np.array_equal(law.draws["E"], fits[0].draws["E"])
    assert fits[2].value("alpha") == pytest.approx(-0.0017, abs=0.002)
    assert fits[0].value("alpha") == pytest.approx(0.36, abs=0.06)


def test_exponents_are_shared_across_methods():
    full = lora(noise=0.0, factors=("model_params",)).with_columns(
        pl.lit("other").alias("method"), (0.1 + 1.5 * pl.col("test_loss")).alias("test_loss")
    )
    both = pl.concat([lora(noise=0.0, factors=("model_params",)), full])
    fits = fs.fit(both, factors="model_params", shared=("alpha", "beta"), across=("method",), bootstrap=0)
    assert [law.by["method"] for law in fits] == ["lora", "other"]
    assert fits[0].value("alpha") == fits[1].value("alpha") == pytest.approx(0.36, rel=1e-5)
    assert fits[1].value("E") == pytest.approx(0.1 + 1.5 * 0.62, rel=1e-5)


def test_slice_is_taken_at_the_base_and_the_result_says_so():
    fits = fs.fit(lora(), bootstrap=0)
    assert fits.only(factor="model_params").base == {"pretrain_tokens": 283e9, "pet_size": 4.0}
    assert fits.only(factor="pet_size").base == {"model_params": 1e9, "pretrain_tokens": 283e9}
    with pytest.raises(UsageError, match="model_params = 3e"):
        fs.fit(lora(), factors="pet_size", base={"model_params": 3e9})


def test_held_out_runs_stay_out_and_are_predicted():
    fitted = fs.fit(lora(factors=("model_params",)), factors="model_params", bootstrap=0)[0]
    assert fitted.n_held_out == 15
    assert fitted.n_fitted == 40
    assert fitted.delta_h < 0.01
    ruled = fs.fit(
        lora(factors=("model_params",)), factors="model_params", hold_out="model_params >= 8e9", bootstrap=0
    )[0]
    assert ruled.n_held_out == 22
    largest = fs.fit(
        lora(factors=("model_params",)), factors="model_params", hold_out="largest", bootstrap=0
    )[0]
    assert largest.n_held_out == 15


def test_seeds_are_averaged_unless_asked_otherwise():
    frame = lora(factors=("model_params",))
    assert fs.fit(frame, factors="model_params", bootstrap=0)[0].n_fitted == 40
    single = fs.fit(frame, factors="model_params", average_seeds=False, bootstrap=20)[0]
    assert single.n_fitted == 120


def test_weight_of_zero_removes_a_run():
    frame = lora(factors=("model_params",), noise=0.0, seeds=1).with_columns(
        pl.when(pl.col("finetune_examples") == 8e3)
        .then(9.0)
        .otherwise(pl.col("test_loss"))
        .alias("test_loss"),
        pl.when(pl.col("finetune_examples") == 8e3).then(0.0).otherwise(1.0).alias("trust"),
    )
    fitted = fs.fit(frame, factors="model_params", weights="trust", bootstrap=0)[0]
    assert fitted.value("alpha") == pytest.approx(0.36, rel=1e-5)


def test_the_same_seed_gives_the_same_draws_and_another_seed_others():
    frame = lora(factors=("model_params",))
    first, again, other = (fs.fit(frame, bootstrap=30, seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first.draws["alpha"], again.draws["alpha"])
    assert not np.array_equal(first.draws["alpha"], other.draws["alpha"])


def test_a_setting_has_one_weight_in_every_fit_that_sees_it():
    assert np.array_equal(setting_weights(["a", "b"], 0, 9)[:, 1], setting_weights(["b"], 0, 9)[:, 0])


def test_weights_have_mean_one_and_the_asked_variance():
    weights = setting_weights([str(index) for index in range(40)], 0, 4000, spread=1.3)
    assert weights.mean() == pytest.approx(1.0, abs=0.01)
    assert weights.var() == pytest.approx(1.3, rel=0.05)


def test_seed_effect_is_found_where_there_is_one():
    rng = np.random.default_rng(5)
    effects, points = rng.normal(0, 0.02, 8), 60
    rows = [
        {"point": point, "loss": 1 + point / 50 + effects[seed] + rng.normal(0, 0.004), "seed": str(seed)}
        for point in range(points)
        for seed in range(8)
    ]
    effect = seed_effect(pl.DataFrame(rows), log=False)
    assert effect.run_variance == pytest.approx(0.004**2, rel=0.2)
    assert effect.seed_sum == pytest.approx(np.sum((effects - effects.mean()) ** 2), rel=0.2)


def test_seed_effect_widens_the_intervals_of_the_mean():
    def width(effect):
        fitted = fs.fit(lora(factors=("model_params",), seed_effect=effect), bootstrap=200)[0]
        shown = fitted.predict(model_params=2e9, finetune_examples=2e4)
        assert shown.run_low < shown.low < shown.high < shown.run_high
        return float(shown.high - shown.low)

    assert width(0.01) > 2 * width(0.0)


def test_result_survives_json_at_full_precision():
    fits = fs.joint_fit(lora(), bootstrap=15)
    again = fs.Fits.from_dict(json.loads(json.dumps(fits.to_dict())))
    assert again.to_dict() == fits.to_dict()
    asked = {"model_params": [2e9, 5e9], "finetune_examples": 3e4}
    one, two = fits[0].predict(asked), again[0].predict(asked)
    assert np.array_equal(one.value, two.value)
    assert np.array_equal(one.run_high, two.run_high)


def test_predictions_far_outside_are_flagged_and_bad_questions_refused():
    fitted = fs.fit(lora(factors=("model_params",)), factors="model_params", bootstrap=20)[0]
    far = fitted.predict(model_params=1e12, finetune_examples=1e4)
    assert "model_params lies 125x outside the fitted data: more than 10x, do not rely on it" in far.status
    assert fitted.predict(model_params=2e9, finetune_examples=2e4).status == ()
    for question in ({"model_params": 1e9}, {"model_params": -1, "finetune_examples": 5}, {"other": 3}):
        with pytest.raises(UsageError):
            fitted.predict(question)


def test_draws_of_the_mean_have_the_shape_of_the_question():
    fitted = fs.fit(lora(factors=("model_params",)), factors="model_params", bootstrap=20)[0]
    x, d = np.meshgrid([1e9, 2e9, 4e9], [1e4, 5e4])
    assert fitted.mean_draws(model_params=x, finetune_examples=d).shape == (20, 2, 3)


def test_many_settings_are_resampled_in_blocks_with_the_same_spread():
    rng = np.random.default_rng(3)
    sizes = 10 ** rng.uniform(3, 6, size=3000)
    loss = 5 * sizes**-0.2 + 0.5 + rng.normal(0, 0.01, sizes.size)
    table = pl.DataFrame({"finetune_examples": sizes, "test_loss": loss})
    many = fs.fit(table, "power", bootstrap=200)[0]
    few = fs.fit(table[:900], "power", bootstrap=200)[0]
    ratio = np.std(few.draws["beta"]) / np.std(many.draws["beta"])
    assert ratio == pytest.approx(np.sqrt(3000 / 900), rel=0.35)


def test_solvers_agree():
    frame = lora(factors=("model_params",))
    ours, theirs = (fs.fit(frame, bootstrap=0, solver=solver)[0] for solver in ("varpro", "lbfgs"))
    assert ours.objective <= theirs.objective * (1 + 1e-9)
    assert ours.value("alpha") == pytest.approx(theirs.value("alpha"), rel=1e-3)


def test_groups_that_cannot_be_fitted_are_left_out_when_others_can():
    frame = pl.concat(
        [
            lora(factors=("model_params",)),
            lora(factors=("model_params",))[:3].with_columns(method=pl.lit("x")),
        ]
    )
    fits = fs.fit(frame, factors="model_params", bootstrap=0)
    assert len(fits) == 1
    assert {one.by["method"] for one in fits.left_out} == {"x"}
    with pytest.raises(DataError):
        fs.fit(frame.filter(pl.col("method") == "x"), factors="model_params")


@pytest.mark.parametrize(
    "options",
    [{"residual": "square"}, {"solver": "adam"}, {"bootstrap": 1}, {"level": 1.5}, {"shared": ("zeta",)}],
)
def test_options_that_do_not_exist_are_usage_errors(options):
    with pytest.raises(UsageError):
        fs.fit(lora(factors=("model_params",)), **options)


def test_a_notebook_shows_laws_as_a_table_and_never_as_markup():
    rows = [
        {
            "task": "<script>",
            "method": m,
            "model_params": x,
            "finetune_examples": d,
            "test_loss": 9 * x**-0.1 * d**-0.1,
        }
        for m in ("full", "lora")
        for x in (1e6, 2e6, 4e6)
        for d in (100, 200, 400, 800)
    ]
    shown = fs.fit(pl.DataFrame(rows), bootstrap=10)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert shown.count("<tr>") == 3
    assert "warning: " in shown
