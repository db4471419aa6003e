"""The HTTP server: routes, the boundary, tokens, metrics, the OpenAPI document."""
