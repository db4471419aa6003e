"""Web pages that the agent builds: what records them, and how they are scored."""
