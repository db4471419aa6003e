"""One module for each trainer that the farm plugs into; only those who have the trainer import what needs it."""
