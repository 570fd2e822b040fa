import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, VOCABULARY, tiny
from transformers import GenerationConfig

from finescale.errors import UsageError
from finescale.evaluation.decoding import decode
from finescale.spec.run import MethodSpec
from finescale.tuning.configured import wrap_configured
from finescale.tuning.full import wrap_full
from finescale.tuning.lora import wrap_lora
from finescale.tuning.prompt import wrap_prompt

pytestmark = pytest.mark.usefixtures("one_thread")
LIMIT = 16
PAD = 0


def prompts(count=11, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, VOCABULARY, rng.integers(1, 30)) for _ in range(count)]


def loud(architecture):
    """Fresh weights are so small that the prompt hardly matters: make it matter."""
    model = tiny(architecture)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return model


def wrapped(architecture, method):
    model = loud(architecture)
    if method == "full":
        return wrap_full(model)
    if method == "prompt":
        return wrap_prompt(model, 5, seed=0, frequent=range(1, 100))
    tuned = wrap_lora(model, 4, seed=0)
    with torch.no_grad():
        for parameter in tuned.trainable.values():
            parameter.add_(
                torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1
            )
    return tuned


def theirs(tuned, prompt, eos):
    """The library's own greedy decoding of one prompt."""
    ids = torch.as_tensor(prompt)[None]
    settings = GenerationConfig(max_new_tokens=LIMIT, do_sample=False, eos_token_id=eos, pad_token_id=PAD)
    inputs = {"inputs": ids}
    if tuned.soft_prompt is not None:
        embedded = tuned.model.get_input_embeddings()(ids)
        inputs = {"inputs_embeds": torch.cat([tuned.soft_prompt[None], embedded], 1).detach()}
    made = tuned.model.generate(**inputs, generation_config=settings)[0]
    made = made.tolist() if tuned.soft_prompt is not None else made[len(prompt) :].tolist()
    return made[: made.index(eos)] if eos in made else made


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("method", ["full", "lora", "prompt"])
def test_the_tokens_are_those_of_generate(architecture, method):
    tuned, given = wrapped(architecture, method), prompts()
    free = decode(tuned, given, pad=PAD, eos=-1, limit=LIMIT)
    assert {len(tokens) for tokens in free} == {LIMIT}
    assert len({tuple(tokens) for tokens in free}) > 5
    eos = free[3][10]  # a token that ends some of them early
    expected = [theirs(tuned, prompt, eos) for prompt in given]
    assert decode(tuned, given, pad=PAD, eos=eos, limit=LIMIT, batch_prompts=4) == expected
    lengths = [len(tokens) for tokens in expected]
    assert min(lengths) <= 10
    assert eos not in {token for tokens in expected for token in tokens}


@pytest.mark.parametrize("method", ["full", "prompt"])
def test_prompts_that_take_the_place_of_finished_ones_change_no_answer(method):
    tuned, given = wrapped("llama", method), prompts(24)
    alone = [decode(tuned, [prompt], pad=PAD, eos=-1, limit=LIMIT)[0] for prompt in given]
    places = {i: {tokens.index(i) for tokens in alone if i in tokens} for i in range(VOCABULARY)}
    eos = max(places, key=lambda token: len(places[token]))  # it ends continuations of the most lengths
    ended = [tokens[: tokens.index(eos)] if eos in tokens else tokens for tokens in alone]
    assert decode(tuned, given, pad=PAD, eos=eos, limit=LIMIT, batch_prompts=6) == ended
    assert len({len(tokens) for tokens in ended}) > 3


def test_the_context_s_end_ends_a_continuation():
    tuned = wrapped("gpt2", "full")
    (made,) = decode(tuned, [np.arange(1, 251)], pad=PAD, eos=-1, limit=100)
    assert len(made) == 256 - 250


def test_nothing_in_gives_nothing_out():
    assert decode(wrapped("llama", "full"), [], pad=PAD, eos=1, limit=5) == []


def test_a_prompt_without_tokens_is_refused_in_words():
    with pytest.raises(UsageError, match="at least one token"):
        decode(wrapped("llama", "full"), [[]], pad=PAD, eos=1, limit=5)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["PrefixTuningConfig", "PromptEncoderConfig", "PromptTuningConfig"])
def test_peft_s_own_prompts_decode_as_its_generate_does(architecture, kind):
    method = MethodSpec(name="own", peft=kind, settings={"num_virtual_tokens": 3})
    tuned, given = wrap_configured(loud(architecture), method, seed=0), prompts(5)
    with torch.no_grad():
        for parameter in tuned.trainable.values():
            parameter.mul_(4)
    made = decode(tuned, given, pad=PAD, eos=-1, limit=8)
    for prompt, tokens in zip(given, made, strict=True):
        ids = torch.as_tensor(prompt)[None]
        settings = GenerationConfig(max_new_tokens=8, do_sample=False, eos_token_id=-1, pad_token_id=PAD)
        theirs = tuned.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings
        )
        assert tokens == theirs[0, len(prompt) :].tolist()


def test_a_last_token_ends_its_continuation_and_is_part_of_it():
    tuned, given = wrapped("llama", "full"), prompts()
    free = decode(tuned, given, pad=PAD, eos=-1, limit=LIMIT)
    last = {free[3][10], free[5][4]}
    stopped = decode(tuned, given, pad=PAD, eos=-1, limit=LIMIT, last=last)
    for whole, made in zip(free, stopped, strict=True):
        ends = [index for index, token in enumerate(whole) if token in last]
        assert made == whole[: ends[0] + 1] if ends else whole
    assert min(map(len, stopped)) < LIMIT
