"""Web tasks: what the agent builds is run in a real browser, used by a script, recorded and looked at."""

from envfarm.envs.web.environment import WebEnvironment

ENVIRONMENT = WebEnvironment
