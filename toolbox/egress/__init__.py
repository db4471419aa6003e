"""What lets sandboxes reach some hosts of the world, and no others."""
