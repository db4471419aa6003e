"""The reference rollout: tasks played by a model, over the farm's HTTP API and an OpenAI-compatible endpoint."""
