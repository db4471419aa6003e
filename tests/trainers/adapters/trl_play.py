"""The example's loop, a real GRPOTrainer, trains a tiny model of random weights for two steps by a script.

The four rollouts of the first step solve the task, do nothing, lose their sandbox, and say something without a call;
those of the second say something. Prints what was seen as JSON.
"""

import json
import os
import re
import sys
from pathlib import Path

os.environ |= {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))
import tiny
import torch
from grpo_terminal import make_trainer
from lose import lose
from transformers import Qwen3ForCausalLM
from transformers.utils import get_json_schema

from envfarm.trainers.adapters.shared import shared_farm
from envfarm.trainers.adapters.trl import SearchEnvironment, ShellEnvironment

TASK, SOLUTION = sys.argv[1:]
FINISH = ("finish", {})
SCRIPTS = {
    "0": [("bash", {"command": SOLUTION}), FINISH, ("bash", {"command": "echo too late"})],
    "1": [("bash", {"command": "true"}), FINISH],
    "2": [("bash", {"command": "true"}), ("bash", {"command": "true"}), FINISH],
}


class Scripted(Qwen3ForCausalLM):
    """Qwen 3, very small, with random weights; `generate` says what the script has."""

    def generate(self, input_ids, **more):
        said = [self.tokenizer(self.say(self.tokenizer.decode(ids), i)).input_ids for i, ids in enumerate(input_ids)]
        most = max(map(len, said))
        padded = [ids + [self.tokenizer.pad_token_id] * (most - len(ids)) for ids in said]
        return torch.cat([input_ids, torch.tensor(padded)], dim=1)

    def say(self, prompt, index):
        """The next message of a rollout, which is known again by the word that its first one begins with."""
        done = re.findall(r"I am rollout (\d)\.", prompt)
        who = done[0] if done else str(index)
        turn = len(done)
        self.prompts.setdefault(who, []).append(prompt)
        if turn == 0:
            self.rounds += who == "0"
        if self.rounds > 1 or who not in SCRIPTS or turn >= len(SCRIPTS[who]):
            return f"I am rollout {who}. That is all.<|im_end|>"
        if who == "2" and turn == 1:
            lose(BEGUN[2])
        name, arguments = SCRIPTS[who][turn]
        call = json.dumps({"name": name, "arguments": arguments})
        return f"I am rollout {who}.\n<tool_call>\n{call}\n</tool_call><|im_end|>"


class Recorded(ShellEnvironment):
    """Keeps what TRL was told."""

    def reset(self, task, **row):
        said = super().reset(task, **row)
        BEGUN.append(self._episode.id)
        return said

    def get_reward(self):
        reward = super().get_reward()
        SEEN.append([self._episode.id, reward])
        return reward


BEGUN, SEEN = [], []


def main():
    words = tiny.tokenizer()
    config = tiny.config(words)
    torch.manual_seed(0)
    model = Scripted(config)
    model.tokenizer, model.prompts, model.rounds = words, {}, 0
    before = model.lm_head.weight.detach().clone()
    trainer = make_trainer(
        model,
        [TASK],
        generations=4,
        tokenizer=words,
        environment=Recorded,
        output_dir="out", max_steps=2, max_completion_length=9000, save_strategy="no", learning_rate=0.01,
        use_cpu=True, bf16=False, gradient_checkpointing=False, disable_tqdm=True, chat_template_kwargs={},
    )  # fmt: skip
    trainer.train()
    logs = [one["reward"] for one in trainer.state.log_history if "reward" in one]
    moved = not torch.equal(before, trainer.model.lm_head.weight.detach().cpu())
    episodes = [shared_farm().attach(id).inner.view for id, _ in SEEN]
    shown = {
        "rewards": [reward for _, reward in SEEN],
        "logs": logs,
        "moved": moved,
        "groups": [one.group_id for one in episodes],
        "places": [one.rollout_index for one in episodes],
        "states": [one.state for one in episodes],
        "last": {who: prompts[-1] for who, prompts in model.prompts.items()},
        "late": [prompt for prompt in model.prompts["0"] if "too late" in prompt][-1:],
        "lost": [prompt for prompt in model.prompts["2"] if prompt.count("I am rollout") == 2][-1:],
        "schemas": {
            name: get_json_schema(getattr(kind, name))["function"]
            for kind in (ShellEnvironment, SearchEnvironment)
            for name in vars(kind)
            if not name.startswith("_") and name != "kinds"
        },
    }
    print(json.dumps(shown))  # noqa: T201


main()
