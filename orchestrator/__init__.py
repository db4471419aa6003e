"""HTTP routes, the episode state machine, reward jobs, the store, metrics and the command line."""
