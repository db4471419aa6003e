"""What a trainer installs: the HTTP client, and an adapter for each trainer. It imports nothing else of envfarm."""
