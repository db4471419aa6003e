"""Search in the real web, for operators who want it: pages of listed hosts, and a recording of all answers."""
