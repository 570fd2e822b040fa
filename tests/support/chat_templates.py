"""Chat templates of fourteen kinds, each as short as shows what it does, and small tokenizers for them."""
# ruff: noqa: E501 - a template is one text

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "Where are the margins? On the page.",
    "system user assistant tool",
    "Größe, höher! Be short: one two three",
] * 8
Segments = list[tuple[str, bool]]
"""Pieces of a chat's text, and whether they carry a loss."""

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAMA_32 = (
    "{{ bos_token }}{% set date = strftime_now('%d %b %Y') if strftime_now is defined else 'no date' %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday: {{ date }}\n"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% set messages = messages[1:] %}{% endif %}"
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ 'ipython' if m['role'] == 'tool' else m['role'] }}<|end_header_id|>\n\n"
    "{% if m['tool_calls'] %}{% set f = m['tool_calls'][0]['function'] %}"
    '{"name": "{{ f[\'name\'] }}", "parameters": {{ f[\'arguments\'] | tojson }}}'
    "{% else %}{{ m['content'] | trim }}{% endif %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
ALTERNATE = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + ALTERNATE
    + "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}"
    + ALTERNATE
    + "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_V3 = (  # the system message stands in the last question
    "{{ bos_token }}{% set system = '' %}{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] + '\n\n' %}{% set messages = messages[1:] %}{% endif %}"
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ system if loop.index0 == ns.last else '' }}"
    "{{ m['content'] }}[/INST]{% elif m['role'] == 'tool' %}[TOOL_RESULTS] {{ m['content'] }}[/TOOL_RESULTS]"
    "{% elif m['tool_calls'] %}[TOOL_CALLS] {{ m['tool_calls'] | map(attribute='function') | list | tojson }}{{ eos_token }}"
    "{% else %} {{ m['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA_2 = (
    "{% set system = '' %}{% if messages[0]['role'] == 'system' %}"
    "{% set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}{% set messages = messages[1:] %}{% endif %}"
    + ALTERNATE
    + "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token }}[INST] {{ system if loop.first else '' }}"
    "{{ m['content'] | trim }} [/INST]{% else %} {{ m['content'] | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)
QWEN_3 = (  # what was thought is left out of earlier answers; the last one has at least an empty thought
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "{% set said = m['content'].split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = m['content'].split('</think>')[0].split('<think>')[-1].strip('\n') if '</think>' in m['content'] else '' %}"
    "{% if loop.index0 > ns.last %}<think>\n{{ thought }}\n</think>\n\n{% endif %}{{ said }}"
    "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] + eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}{% elif m['role'] == 'user' %}"
    "<|User|>{{ m['content'] }}<|Assistant|>{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
VICUNA = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {{ m['content'] }} {% elif m['role'] == 'assistant' %}"
    "ASSISTANT: {{ m['content'] }}{{ eos_token }}{% else %}{{ m['content'] }} {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
PARTS = (  # of a model for text and images
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}: "
    "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def chatml(system: str, turns: list[tuple[str, str]]) -> Segments:
    return [(f"<|im_start|>system\n{system}<|im_end|>\n", False)] + [
        piece
        for asked, said in turns
        for piece in (
            (f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n", False),
            (f"{said}<|im_end|>", True),
            ("\n", False),
        )
    ]


def headers(system: str, turns: list[tuple[str, str]], date: str = "") -> Segments:
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    return [("<s>" + head.format("system") + date + system + "<|eot_id|>", False)] + [
        piece
        for asked, said in turns
        for piece in (
            (f"{head.format('user')}{asked}<|eot_id|>{head.format('assistant')}", False),
            (f"{said}<|eot_id|>", True),
        )
    ]


def gemma(_: str, turns: list[tuple[str, str]]) -> Segments:
    return [("<s>", False)] + [
        piece
        for asked, said in turns
        for piece in (
            (f"<start_of_turn>user\n{asked}<end_of_turn>\n<start_of_turn>model\n", False),
            (f"{said}<end_of_turn>", True),
            ("\n", False),
        )
    ]


def mistral(_: str, turns: list[tuple[str, str]]) -> Segments:
    pieces = [((f"[INST] {asked} [/INST]", False), (f" {said}</s>", True)) for asked, said in turns]
    return [("<s>", False)] + [piece for pair in pieces for piece in pair]


def mistral_v3(system: str, turns: list[tuple[str, str]]) -> Segments:
    found: Segments = [("<s>", False)]
    for index, (asked, said) in enumerate(turns):
        told = f"{system}\n\n" if index == len(turns) - 1 else ""
        # before an earlier answer the text is no longer the one that the model read: what is said begins the loss
        found += [
            (f"[INST] {told}{asked}[/INST]", False),
            (" ", index == len(turns) - 1),
            (f"{said}</s>", True),
        ]
    return found


def llama_2(system: str, turns: list[tuple[str, str]]) -> Segments:
    found: Segments = []
    for index, (asked, said) in enumerate(turns):
        told = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if index == 0 else ""
        found += [(f"<s>[INST] {told}{asked} [/INST]", False), (f" {said} </s>", True)]
    return found


def qwen_3(system: str, turns: list[tuple[str, str]]) -> Segments:
    pieces = chatml(system, turns)
    said, _ = pieces[-2]
    pieces[-2] = ("<think>\n\n</think>\n\n" + said, True)
    return pieces


def zephyr(system: str, turns: list[tuple[str, str]]) -> Segments:
    return [(f"<|system|>\n{system}</s>\n", False)] + [
        piece
        for asked, said in turns
        for piece in (
            (f"<|user|>\n{asked}</s>\n<|assistant|>\n", False),
            (f"{said}</s>", True),
            ("\n", False),
        )
    ]


def phi(system: str, turns: list[tuple[str, str]]) -> Segments:
    found: Segments = [(f"<|system|>\n{system}<|end|>\n", False)]
    for asked, said in turns:
        found += [
            (f"<|user|>\n{asked}<|end|>\n<|assistant|>\n", False),
            (f"{said}<|end|>", True),
            ("\n", False),
        ]
    return [*found[:-2], (found[-2][0] + "\n</s>", True)]


def deepseek(system: str, turns: list[tuple[str, str]]) -> Segments:
    pieces = [((f"<|User|>{asked}<|Assistant|>", False), (f"{said}</s>", True)) for asked, said in turns]
    return [(f"<s>{system}", False)] + [piece for pair in pieces for piece in pair]


def vicuna(system: str, turns: list[tuple[str, str]]) -> Segments:
    pieces = [((f"USER: {asked} ASSISTANT:", False), (f" {said}</s>", True)) for asked, said in turns]
    return [(f"{system} ", False)] + [piece for pair in pieces for piece in pair]


def parts(system: str, turns: list[tuple[str, str]]) -> Segments:
    found: Segments = [(f"<|im_start|>System: {system}<end_of_utterance>\n", False)]
    for asked, said in turns:
        found += [(f"User: {asked}<end_of_utterance>\nAssistant:", False)]
        found += [(f" {said}<end_of_utterance>", True), ("\n", False)]
    return found


def plain(system: str, turns: list[tuple[str, str]]) -> Segments:
    found: Segments = [(f"<s>System: {system}\n", False)]
    for asked, said in turns:
        found += [(f"User: {asked}\nAssistant:", False), (f" {said}</s>", True), ("\n", False)]
    return found


@dataclass(frozen=True)
class Kind:
    """A template with its tokenizer.

    Attributes:
        template: Jinja; None: the tokenizer has none.
        tokenizer: What kind of tokenizer.
        special: Its special tokens besides `<s>` and `</s>`.
        expected: The text of a system message and turns, by hand.
    """

    template: str | None
    tokenizer: Callable[[tuple[str, ...]], PreTrainedTokenizerFast]
    special: tuple[str, ...]
    expected: Callable[[str, list[tuple[str, str]]], Segments]

    def build(self) -> PreTrainedTokenizerFast:
        """The tokenizer with the template."""
        made = self.tokenizer(self.special)
        made.chat_template = self.template
        return made


@cache
def byte_level(special: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """As GPT-2, Llama 3 and Qwen have it; it starts every text with `<s>`."""
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<s>", "</s>", *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    built.train_from_iterator(TEXTS, trainer)
    return _fast(built)


@cache
def sentencepiece(special: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """As Llama 2 and Mistral have it: a space marker before every text, bytes for what is unknown."""
    built = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    built.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    built.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<unk>", "<s>", "</s>", *special, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    built.train_from_iterator(TEXTS, trainer)
    return _fast(built)


@cache
def unigram(special: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """SentencePiece's unigram model with words split at spaces, as XLM-R and Gemma's relatives have it."""
    built = Tokenizer(models.Unigram())
    built.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    built.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(
        vocab_size=120,
        special_tokens=["<unk>", "<s>", "</s>", *special],
        unk_token="<unk>",
        initial_alphabet=[*"abcdefghijklmnopqrstuvwxyzABDGHMOPQRSTWYäöüß\n:,.!?<>/|_[]{}\"'0123456789"],
        show_progress=False,
    )
    built.train_from_iterator(TEXTS, trainer)
    return _fast(built)


def _fast(built: Tokenizer) -> PreTrainedTokenizerFast:
    built.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", built.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token="<s>", eos_token="</s>", clean_up_tokenization_spaces=False
    )


IM = ("<|im_start|>", "<|im_end|>")
HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
TURNS = ("<start_of_turn>", "<end_of_turn>")
INST = ("[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")

KINDS = {
    "chatml": Kind(CHATML, byte_level, IM, chatml),
    "chatml-unigram": Kind(CHATML, unigram, IM, chatml),
    "llama-3": Kind(LLAMA_3, byte_level, HEADERS, headers),
    "llama-3.2": Kind(LLAMA_32, byte_level, HEADERS, lambda s, t: headers(s, t, "Today: 26 Jul 2024\n")),
    "gemma": Kind(GEMMA, sentencepiece, TURNS, gemma),
    "mistral": Kind(MISTRAL, sentencepiece, (), mistral),
    "mistral-v3": Kind(MISTRAL_V3, byte_level, INST, mistral_v3),
    "llama-2": Kind(LLAMA_2, sentencepiece, (), llama_2),
    "qwen-3": Kind(QWEN_3, byte_level, IM, qwen_3),
    "zephyr": Kind(ZEPHYR, sentencepiece, (), zephyr),
    "phi": Kind(PHI, sentencepiece, ROLES, phi),
    "deepseek": Kind(DEEPSEEK, byte_level, ("<|User|>", "<|Assistant|>"), deepseek),
    "vicuna": Kind(VICUNA, sentencepiece, (), vicuna),
    "parts": Kind(PARTS, byte_level, ("<|im_start|>", "<end_of_utterance>"), parts),
    "none": Kind(None, byte_level, (), plain),
}
"""Kinds of chat templates by name."""
