"""Records a page: serves it to a browser without a network, drives it through its steps, and writes what happened."""
