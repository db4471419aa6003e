"""What crosses the HTTP boundary: one pydantic model for each request and each answer."""
