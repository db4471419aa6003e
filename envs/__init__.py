"""What a kind of task is: its tools, how an episode starts, how it is scored."""
