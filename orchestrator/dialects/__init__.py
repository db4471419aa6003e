"""Dialects: facades that translate protocols which trainers and agents know already onto what `/v1` offers."""
