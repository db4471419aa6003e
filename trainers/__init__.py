"""What a trainer installs: the HTTP client. It imports nothing else of envfarm."""
