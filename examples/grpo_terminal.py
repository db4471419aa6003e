"""GRPO on the farm's terminal tasks with TRL: a small model on one GPU.

make example-grpo ARGS="--steps 50"    # finds or starts all that it needs, a farm too
python examples/grpo_terminal.py       # the farm at ENVFARM_URL, with ENVFARM_TOKEN
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from envfarm.trainers.adapters.shared import shared_farm
from envfarm.trainers.adapters.trl import ShellEnvironment


def options() -> argparse.Namespace:
    """What can be chosen."""
    parser = argparse.ArgumentParser(description="Train a model on the farm's tasks with GRPO.")
    parser.add_argument("--model", default="Qwen/Qwen3-0.6B", help="a model that can call tools, by name or folder")
    parser.add_argument("--tasks", nargs="*", help="ids of tasks; all of the kind `terminal` when none is named")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--generations", type=int, default=8, help="rollouts of a task in each step")
    parser.add_argument("--tokens", type=int, default=6144, help="of a rollout: answers and results")
    parser.add_argument("--turns", type=int, default=30, help="of a rollout")
    parser.add_argument("--out", default="grpo-terminal")
    parser.add_argument("--cpu", action="store_true", help="for a model that is very small")
    return parser.parse_args()


def make_trainer(
    model: Any,
    tasks: Sequence[str],
    *,
    generations: int,
    turns: int = 30,
    tokenizer: Any = None,
    environment: type[ShellEnvironment] = ShellEnvironment,
    **config: Any,
) -> GRPOTrainer:
    """A trainer whose rollouts are episodes of the tasks, a group of `generations` for each prompt."""
    settings = {
        "per_device_train_batch_size": 1,  # one rollout's logits at a time: they are what fills a small GPU
        "gradient_accumulation_steps": generations,
        "num_generations": generations,
        "max_tool_calling_iterations": turns,
        "learning_rate": 1e-6,
        "logging_steps": 1,
        "log_completions": False,
        "report_to": [],
        "chat_template_kwargs": {"enable_thinking": False},
    }
    return GRPOTrainer(
        model=model,
        args=GRPOConfig(**settings | config),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"task": task} for task in tasks]),
        environment_factory=partial(environment, generations=generations),
    )


def main() -> None:
    """Train, and keep the model."""
    chosen = options()
    tasks = chosen.tasks or [task.id for task in shared_farm().tasks(kind="terminal")]
    trainer = make_trainer(
        chosen.model,
        tasks,
        generations=chosen.generations,
        turns=chosen.turns,
        output_dir=chosen.out,
        max_steps=chosen.steps,
        max_completion_length=chosen.tokens,
        **({"use_cpu": True, "bf16": False} if chosen.cpu else {}),
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
