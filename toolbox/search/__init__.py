"""A fixed corpus that agents search: documents, indexes, and the page stack of one episode."""
