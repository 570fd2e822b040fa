"""A study that uses every short form that a file may use."""

SHORT = """\
name: short
task: {name: mine, train: a.jsonl}
models: {m: {from: ./m, pretrain_tokens: 7.0e6}}
methods: {dora: {peft: LoraConfig, use_dora: true}, lora: {lora_alpha: 16}}
test_examples: 100
base: {model: m, pet_size: {dora: 8}}
grids:
  - {vary: model, values: [m], finetune_examples: {full: [100], lora: [100], dora: [100]}}
  - {vary: pet_size, values: {lora: [2, 4]}, finetune_examples: {lora: [100]}}
  - {vary: pretrain_tokens, values: [last], finetune_examples: {full: [100]}, seeds: [0, 1]}
learning_rates:
  full: 1e-3
  lora: [{optimizer: adamw, rates: 1e-3}, {optimizer: {name: adafactor}, rates: [0.1, 0.2]}]
  dora: [0.001]
sweep: {model: m, finetune_examples: 100}
train: {optimizer: {full: adamw, lora: {name: adafactor}}, epochs: {full: 2}, batch_size: 8}
evaluation: {metrics: [chrf], forgetting: true}
resources: {full: {cpus: 2}}
retries: 2
tracking: mlflow
"""
