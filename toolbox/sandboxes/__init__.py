"""Sandboxes and the back ends that make them."""
