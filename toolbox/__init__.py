"""What an agent touches, and who hands it out: sandboxes, tools, quotas and warm pools."""
