"""TRL's stock `OpenRewardSpec`, in a virtual environment without torch: what `GRPOTrainer` does with it, by hand.

ors_trl_agent.py URL TOKEN TASK COMMAND: writes one JSON line of what it saw.
"""

import json
import os
import sys

URL, TOKEN, TASK, COMMAND = sys.argv[1:]
os.environ |= {"OPENREWARD_API_URL": URL, "OPENREWARD_SESSION_URL": URL, "OPENREWARD_API_KEY": TOKEN}

from trl.experimental.openreward import OpenRewardSpec  # noqa: E402

spec = OpenRewardSpec(URL, env_name=TASK.partition("/")[0])
[row] = [row for row in spec.train_dataset if row["task_id"] == TASK]
make = spec.environment_factory
solver, idler = make(), make()
prompt = solver.reset(**row)
idler.reset(**row)
output = solver.bash(command=COMMAND)
solver.finish()
idler.finish()
left = make()
left.reset(**row)
rewards = spec.reward_funcs([solver, idler, left])
for one in (solver, idler, left):
    one._close()
sys.stdout.write(json.dumps({"prompt": prompt, "output": output, "rewards": rewards}))
