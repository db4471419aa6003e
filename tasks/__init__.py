"""The task format, the registry of tasks, and the factory that makes them."""
