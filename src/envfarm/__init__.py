"""envfarm: an environment farm for agentic reinforcement learning."""

__version__ = "0.1.0"
