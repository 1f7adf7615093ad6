"""What options of other trainers are called here.

The options are those of LLaMA-Factory, of ChatGLM's own scripts (`ptuning/main.py`, `finetune_demo`), KnowLM, LaWGPT
and Lawyer LLaMA, of TRL's SFTConfig and of axolotl, as far as a person may type them into a recipe.

Not here: options that have the same name here, as most of transformers' and PEFT's own have.
"""

from __future__ import annotations

OTHER_NAMES = {
    # this project, before
    "steps": "max_steps",
    "batch": "per_device_train_batch_size",
    "warmup": "warmup_steps",
    "rank": "r",
    "virtual_tokens": "num_virtual_tokens",
    # where a stage starts, and what it trains
    "model_name_or_path": "from",
    "base_model": "from",
    "adapter_name_or_path": "from",
    "ptuning_checkpoint": "from",
    "stage": "method",
    "finetuning_type": "method",
    "use_ptuning": "method: prefix",
    "use_lora": "method: lora",
    "adapter": "method",
    "peft_type": "method",
    "peft_config": "method, and PEFT's settings beside it",
    "training_args": "the arguments themselves, such as learning_rate, in the stage",
    "quantization_bit": "from: PATH,quantize=int4 or int8",
    "load_in_8bit": "from: PATH,quantize=int8",
    "load_in_4bit": "from: PATH,quantize=int4",
    "bnb_4bit_quant_type": "from: PATH,quantize=int4 or fp4",
    "pure_bf16": "from: PATH,dtype=bfloat16",
    "torch_dtype": "from: PATH,dtype=bfloat16",
    "trust_remote_code": "from: PATH,trust_remote_code=true",
    "model_revision": "from: PATH,revision=NAME",
    # corpora
    "dataset": "corpora",
    "datasets": "corpora",
    "dataset_dir": "paths in corpora",
    "data_path": "corpora",
    "data_config": "corpora",
    "train_file": "corpora",
    "train_data": "corpora",
    "mix_strategy": "mix",
    "interleave_probs": "weights in corpora",
    "template": "template in the recipe's corpora",
    "prompt_template_name": "template in the recipe's corpora",
    "chat_template": "template in the recipe's corpora",
    "default_system": "system in the recipe's corpora",
    "conversation": "template in the recipe's corpora",
    "train_on_prompt": "learn: everything in the recipe's corpora",
    "train_on_inputs": "learn: everything in the recipe's corpora",
    "assistant_only_loss": "learn: answers in the recipe's corpora",
    "completion_only_loss": "learn: answers in the recipe's corpora",
    "mask_history": "learn: last_answer in the recipe's corpora",
    "val_size": "validation, the name of a corpus",
    "val_set_size": "validation, the name of a corpus",
    "eval_dataset": "validation",
    "validation_file": "validation, the name of a corpus",
    # lengths
    "cutoff_len": "max_length",
    "max_source_length": "max_length",
    "max_target_length": "max_length",
    "max_input_length": "max_length",
    "max_output_length": "max_length",
    "max_seq_length": "max_length",
    "model_max_length": "max_length",
    "block_size": "max_length",
    "sequence_len": "max_length",
    "neat_packing": "packing",
    "sample_packing": "packing",
    "group_by_length": "packing: true, which leaves less padding",
    # the training
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "micro_batch_size": "per_device_train_batch_size",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "gradient_accumulation": "gradient_accumulation_steps",
    "lr": "learning_rate",
    "lr_scheduler": "lr_scheduler_type",
    "scheduler": "lr_scheduler_type",
    "warmup_ratio": "warmup_steps, which below 1 is a share of all steps",
    "optimizer": "optim",
    "max_train_samples": "max_steps, which counts batches",
    "max_samples": "max_steps, which counts batches",
    "eval_batch_size": "per_device_eval_batch_size",
    "evaluation_strategy": "eval_strategy",
    "eval_epochs": "eval_strategy",
    "disable_gradient_checkpointing": "gradient_checkpointing: false",
    "wandb_project": "project, with report_to: wandb",
    "wandb_run_name": "run_name, with report_to: wandb",
    "use_swanlab": "report_to: swanlab",
    # adapters
    "lora_r": "r",
    "lora_rank": "r",
    "lora_target": "target_modules",
    "lora_target_modules": "target_modules",
    "lora_target_linear": "target_modules: all-linear",
    "lora_modules_to_save": "modules_to_save",
    "additional_target": "modules_to_save",
    "pissa_init": "init_lora_weights: pissa",
    "pre_seq_len": "num_virtual_tokens",
    "prefix_len": "num_virtual_tokens",
}
"""Names in other trainers' configurations → what to write here."""

OF_CORPORA = {
    # the file
    **dict.fromkeys(("path", "file_name", "filename", "file_path", "dataset", "dataset_name", "data_path"), "file"),
    **dict.fromkeys(("data_file", "data_files", "train_file", "folder", "dir", "files"), "file"),
    # how a conversation becomes text, and what of it is learned
    **dict.fromkeys(("prompt_template", "chat_template", "conversation", "prompt_style", "format"), "template"),
    "system_prompt": "system",
    "default_system": "system",
    "mask_history": "learn: last_answer",
    "train_on_prompt": "learn: everything",
    "train_on_inputs": "learn: everything",
    "assistant_only_loss": "learn: answers",
    # how much of it is read
    **dict.fromkeys(("weight", "ratio", "share", "probability", "interleave_probs"), "weights in the stage's corpora"),
    **dict.fromkeys(("num_samples", "max_samples"), "max_steps in the stage, and weights in its corpora"),
    "val_size": "a corpus of its own for the stage's validation",
}
"""Settings of a data set in other trainers' configurations → what to write for a corpus here."""

NOT_NEEDED = {
    **dict.fromkeys(
        ("formatting", "columns", "field", "field_messages", "tags", "type", "ds_type"),
        "columns and roles are recognised by their names, see the documentation of the recipe's corpora",
    ),
    **dict.fromkeys(
        ("early_stopping_patience", "early_stopping_threshold", "early_stopping_steps", "early_stopping"),
        "set load_best_model_at_end: true, which keeps the weights of the best evaluation",
    ),
    "add_eos_token": "every answer ends with the end-of-text token",
    "train_on_eos": "every answer ends with the end-of-text token",
    "ignore_pad_token_for_loss": "padding is never learned",
    "overwrite_cache": "encoded corpora are kept under a digest of their content",
    "overwrite_output_dir": "pass --replace to train a stage anew that was trained from something else",
    "preprocessing_num_workers": "corpora are encoded by the tokenizer's own threads",
    "prompt_column": "columns are recognised by their names, see the documentation of the recipe's corpora",
    "response_column": "columns are recognised by their names, see the documentation of the recipe's corpora",
    "history_column": "columns are recognised by their names, see the documentation of the recipe's corpora",
    "dataset_text_field": "columns are recognised by their names, see the documentation of the recipe's corpora",
    "plot_loss": "the curve is in the stage's trainer_state.json",
    "predict_with_generate": "evaluate the checkpoint with 'harness run'",
    "max_predict_samples": "evaluate the checkpoint with 'harness run'",
    "test_file": "evaluate the checkpoint with 'harness run'",
    "rope_scaling": "it belongs in the config.json of the base",
    "resize_vocab": "a stage keeps the vocabulary of what it starts from",
    "use_fast_tokenizer": "a tokenizer is loaded as an evaluation loads it",
    "shuffle": "each corpus is read in a random order, and in another one in each epoch",
}
"""Options of other trainers that have no counterpart here → why none is needed."""
