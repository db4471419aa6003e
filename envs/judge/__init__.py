"""A model that judges what an agent made: statements of a rubric, answered from frames or a text."""
