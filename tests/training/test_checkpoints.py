import functools
import json
import random
import socket

import numpy as np
import pytest
import s3fs
import torch
from moto.server import ThreadedMotoServer
from peft import LoraConfig, get_peft_model

from finescale.batches.batching import Encoded, collate
from finescale.errors import UsageError
from finescale.evaluation.loss import evaluate, evaluation_batches
from finescale.models.decoder import build, config
from finescale.spec.run import OptimizerSpec
from finescale.training.checkpoint_store import CheckpointStore, Damaged
from finescale.training.checkpoints import Checkpoints
from finescale.training.loop import Schedule, evaluation_steps, train
from finescale.tuning.full import wrap_full
from finescale.tuning.lora import wrap_lora
from finescale.tuning.prompt import wrap_prompt
from finescale.tuning.tuned import Tuned

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 12
ADAFACTOR = OptimizerSpec(name="adafactor", parameter_scaling=True, weight_decay=0.01)
ADAMW = OptimizerSpec(name="adamw", weight_decay=0.01)


class Cut(Exception):
    """Stands for the end of the process."""


def dropping_lora(model):
    """LoRA with dropout, so that the random state counts."""
    model.requires_grad_(False)
    wrapped = get_peft_model(model, LoraConfig(r=2, lora_dropout=0.3, target_modules=["q_proj", "up_proj"]))
    trained = {name: p for name, p in wrapped.named_parameters() if p.requires_grad}
    return Tuned(model=model, trainable=trained, save=wrapped.save_pretrained)


METHODS = {
    "full": wrap_full,
    "lora": functools.partial(wrap_lora, rank=2, seed=0),
    "prompt": functools.partial(wrap_prompt, length=3, seed=0, frequent=range(70, 600)),
    "dropout": dropping_lora,
}


@functools.cache
def examples():
    rng = np.random.default_rng(0)
    return tuple(Encoded(rng.integers(70, 600, rng.integers(8, 30)).astype(np.int32), 4) for _ in range(24))


def run(shape, method="full", optimizer=ADAFACTOR, checkpoints=None, cut_in=None, cut_at=None, **options):
    """Three epochs of four steps. `cut_in` is an evaluation (from 1), `cut_at` a step's batch (from 0)."""
    torch.manual_seed(0)
    tuned = METHODS[method](build(config(shape, 128, 1, 0), seed=0))
    dev = evaluation_batches(examples()[:8], 0, tuned.prompt_length)
    micro = options.pop("micro", 6)

    def batches_at(step):
        if step == cut_at:
            raise Cut
        epoch, index = divmod(step, 4)
        order = np.random.default_rng(epoch).permutation(24)[index * 6 : index * 6 + 6]
        rows = [examples()[i] for i in order]
        return [collate(rows[i : i + micro], 0, tuned.prompt_length) for i in range(0, 6, micro)]

    def evaluated(progress):
        loss = evaluate(tuned, dev).mean
        if cut_in is not None and len(progress.dev_curve) == cut_in - 1:
            raise Cut
        progress.records.append({"tokens": progress.tokens})
        return loss

    at = evaluation_steps(STEPS, 4)
    schedule = Schedule(STEPS, optimizer, 3e-2, 0.1, at, keep_best=True, **options)
    progress = train(tuned, batches_at, schedule, evaluated, checkpoints)
    return tuned.state(), progress


def assert_same(found, wanted):
    (weights, progress), (wanted_weights, undisturbed) = found, wanted
    assert all(torch.equal(weights[name], tensor) for name, tensor in wanted_weights.items())
    for name in ("step", "tokens", "target_tokens", "train_loss", "dev_curve", "gradient_norms", "waited"):
        assert getattr(progress, name) == getattr(undisturbed, name), name
    for name in ("best_step", "best_loss", "records"):
        assert getattr(progress, name) == getattr(undisturbed, name), name


def every_step(folder, run="r", steps=1):
    return Checkpoints(str(folder), run, every_seconds=None, every_steps=steps)


def cut(folder, shape, steps=1, **options):
    with pytest.raises(Cut):
        run(shape, checkpoints=every_step(folder, steps=steps), **options)


@pytest.mark.parametrize("optimizer", [ADAFACTOR, ADAMW], ids=["adafactor", "adamw"])
@pytest.mark.parametrize("method", METHODS)
def test_a_training_cut_anywhere_ends_with_the_same_bits(tmp_path, tiny_shape, method, optimizer):
    wanted = run(tiny_shape, method, optimizer)
    folder, cuts = (
        tmp_path / "c",
        [{"cut_at": 1}, {"cut_in": 1}, {"cut_at": 6}, {"cut_in": 3}, {"cut_at": 11}],
    )
    for where in cuts:
        cut(folder, tiny_shape, 2, method=method, optimizer=optimizer, **where)
    checkpoints = every_step(folder)
    assert_same(run(tiny_shape, method, optimizer, checkpoints), wanted)
    assert [told for told in checkpoints.history if "resumed" in told] == [
        "resumed at step 2",
        "resumed at step 6",
        "resumed at step 8",
        "resumed at step 10",
    ]


@pytest.mark.parametrize("options", [{"micro": 2}, {"patience": 1}, {"bf16": True}], ids=str)
def test_options_of_training_survive_a_cut(tmp_path, tiny_shape, options):
    wanted = run(tiny_shape, **options)
    cut(tmp_path, tiny_shape, 2, cut_at=5, **options)
    assert_same(run(tiny_shape, checkpoints=every_step(tmp_path), **options), wanted)


def test_a_run_cut_after_its_last_step_or_its_early_stop_takes_no_other_step(tmp_path, tiny_shape):
    for name, optimizer, options in (("whole", ADAFACTOR, {}), ("stopped", ADAMW, {"patience": 1})):
        wanted = run(tiny_shape, "full", optimizer, every_step(tmp_path / name), **options)
        again = run(
            tiny_shape, "full", optimizer, every_step(tmp_path / name), cut_at=wanted[1].step, **options
        )
        assert_same(again, wanted)


@pytest.mark.parametrize("place", ["folder", "memory://checkpoints"])
@pytest.mark.parametrize("harm", ["truncated", "flipped", "gone", "manifest"])
def test_a_damaged_checkpoint_is_skipped_for_the_one_before_and_told(tmp_path, tiny_shape, place, harm):
    folder = f"{place}-{harm}" if "://" in place else str(tmp_path / place)
    wanted = run(tiny_shape)
    cut(folder, tiny_shape, cut_at=7)
    store = CheckpointStore(folder)
    newest = store.manifests()[0]
    files, _ = store.read(newest)
    damage(store, newest if harm == "manifest" else files["state"].name, harm)
    checkpoints = every_step(folder)
    assert_same(run(tiny_shape, checkpoints=checkpoints), wanted)
    skipped, resumed = checkpoints.history
    assert skipped.startswith("the checkpoint of step 7 was skipped: ")
    assert resumed == "resumed at step 6"


@pytest.fixture
def bucket(monkeypatch):
    """A folder in a bucket of an S3 server on this machine, which s3fs finds by the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("studies")
    yield "s3://studies/nano/run", server
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_training_goes_on_from_an_object_store_skips_what_is_damaged_there_and_outlives_it(
    bucket, tiny_shape
):
    url, server = bucket
    wanted = run(tiny_shape)
    cut(url, tiny_shape, cut_at=7)
    store = CheckpointStore(url)
    damage(store, store.read(store.manifests()[0])[0]["state"].name, "flipped")
    checkpoints = every_step(url)
    assert_same(run(tiny_shape, checkpoints=checkpoints), wanted)
    skipped, resumed = checkpoints.history
    assert skipped.startswith("the checkpoint of step 7 was skipped: the checksum of state-")
    assert resumed == "resumed at step 6"
    assert len(store.manifests()) == 2
    checkpoints.clear()
    assert store.manifests() == []
    server.stop()
    away = every_step(url, steps=6)
    assert_same(run(tiny_shape, checkpoints=away), wanted)
    assert any(told.startswith("checkpoints could not be saved: ") for told in away.history)


def damage(store, name, harm):
    path = f"{store._folder}/{name}"
    content = bytearray(store._system.cat_file(path))
    if harm == "gone":
        store._system.rm_file(path)
        return
    if harm == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 4
    store._system.pipe_file(path, bytes(content))


def test_where_every_checkpoint_is_damaged_the_run_starts_again(tmp_path, tiny_shape):
    wanted = run(tiny_shape)
    cut(tmp_path, tiny_shape, cut_at=7)
    for file in tmp_path.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    checkpoints = every_step(tmp_path)
    assert_same(run(tiny_shape, checkpoints=checkpoints), wanted)
    assert checkpoints.history[-1] == "started from the beginning"
    assert len(checkpoints.history) == 3


def test_any_single_bit_flipped_is_found(tmp_path, tiny_shape):
    cut(tmp_path, tiny_shape, cut_at=1)
    store, rng = CheckpointStore(str(tmp_path)), random.Random(0)
    (manifest,) = store.manifests()
    files, _ = store.read(manifest)
    for name in (manifest, files["state"].name):
        whole = (tmp_path / name).read_bytes()
        for _ in range(50):
            changed = bytearray(whole)
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            (tmp_path / name).write_bytes(changed)
            with pytest.raises(Damaged):
                store.load(store.read(manifest)[0]["state"])
        (tmp_path / name).write_bytes(whole)
    store.load(store.read(manifest)[0]["state"])


def test_a_checkpoint_of_another_run_or_format_is_never_used(tmp_path, tiny_shape):
    cut(tmp_path, tiny_shape, cut_at=7)
    other = every_step(tmp_path, run="other")
    with pytest.raises(Cut):
        run(tiny_shape, checkpoints=other, cut_at=0)
    assert "it is of another run (r)" in other.history[0]
    for file in tmp_path.glob("*.json"):
        file.write_text(file.read_text().replace('"format":1', '"format":2'))
    later = every_step(tmp_path)
    with pytest.raises(Cut):
        run(tiny_shape, checkpoints=later, cut_at=0)
    assert "it has format 2, not 1" in later.history[0]


def test_only_the_newest_the_one_before_and_the_best_are_kept_and_a_finished_run_leaves_nothing(
    tmp_path, tiny_shape
):
    folder = tmp_path / "checkpoints"
    checkpoints = every_step(folder)
    _, progress = run(tiny_shape, checkpoints=checkpoints)
    store = CheckpointStore(str(folder))
    assert [name[:14] for name in store.manifests()] == ["step-000000012", "step-000000011"]
    needed = {file.name for name in store.manifests() for file in store.read(name)[0].values()}
    assert {file.name for file in folder.iterdir()} == needed | set(store.manifests())
    assert f"best-{progress.best_step:09d}" in {name[:14] for name in needed}
    checkpoints.clear()
    assert not folder.exists()


def test_a_place_that_cannot_be_written_costs_a_note_and_no_bit(tmp_path, tiny_shape):
    (tmp_path / "file").write_text("not a folder")
    checkpoints = every_step(tmp_path / "file" / "checkpoints")
    assert_same(run(tiny_shape, checkpoints=checkpoints), run(tiny_shape))
    assert all("NotADirectoryError" in told for told in checkpoints.history)
    assert sum("could not be saved" in told for told in checkpoints.history) == 1


def test_a_disk_that_fills_up_leaves_the_older_checkpoint_whole(tmp_path, tiny_shape, monkeypatch):
    wanted = run(tiny_shape)
    cut(tmp_path, tiny_shape, cut_at=4)
    before = {file.name for file in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("finescale.training.checkpoint_store.CheckpointStore.commit", full)
        checkpoints = every_step(tmp_path)
        with pytest.raises(Cut):
            run(tiny_shape, checkpoints=checkpoints, cut_at=8)
    assert [told for told in checkpoints.history if "No space left" in told] == [
        "checkpoints could not be saved: OSError: [Errno 28] No space left on device"
    ]
    assert {file.name for file in tmp_path.iterdir()} < before
    assert_same(run(tiny_shape, checkpoints=every_step(tmp_path)), wanted)


def test_time_decides_when_to_save_and_saving_takes_a_small_share_of_it(tmp_path, tiny_shape, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("finescale.training.checkpoints.time.monotonic", lambda: now[0])
    saved = []
    checkpoints = Checkpoints(str(tmp_path), "r", every_seconds=60.0)

    def write(training):
        saved.append(now[0])
        now[0] += 10.0
        return {}

    monkeypatch.setattr(checkpoints, "_write", write)
    monkeypatch.setattr(checkpoints, "_commit", lambda training, files: None)
    while now[0] < 500:
        checkpoints.offer(None)
        now[0] += 1.0
    assert saved == [60.0, 270.0, 480.0]  # 60 seconds first; then 20 times the 10 that it took


def test_time_spent_adds_up_over_attempts(tmp_path, tiny_shape, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("finescale.training.checkpoints.time.monotonic", lambda: now[0])
    first = every_step(tmp_path)
    now[0] = 100.0
    with pytest.raises(Cut):
        run(tiny_shape, checkpoints=first, cut_at=3)
    now[0] = 1000.0
    second = every_step(tmp_path)
    with pytest.raises(Cut):
        run(tiny_shape, checkpoints=second, cut_at=3)
    now[0] = 1007.0
    assert second.wall_seconds() == 107.0


def test_a_checkpoint_is_json_and_safetensors_only(tmp_path, tiny_shape):
    cut(tmp_path, tiny_shape, cut_at=4, optimizer=ADAMW)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}
    manifest = json.loads(next(tmp_path.glob("step-000000004-*")).read_text())
    wanted = {"run", "processes", "wall_seconds", "history", "progress", "optimizer", "sharded"}
    assert set(manifest["content"]["body"]) == wanted


def test_a_url_that_needs_a_package_says_which(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(UsageError, match="pip install gcsfs"):
        Checkpoints("gs://bucket/x", "r")


def test_a_state_that_does_not_fit_changes_nothing(tmp_path, tiny_shape):
    cut(tmp_path, tiny_shape, cut_at=4, method="lora")
    checkpoints = every_step(tmp_path)
    wanted = run(tiny_shape)
    assert_same(run(tiny_shape, checkpoints=checkpoints), wanted)
    assert "it holds other trained tensors than this run has" in checkpoints.history[0]
