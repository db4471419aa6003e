"""Web development: pages built by the agent, run in a real browser, recorded, checked and judged."""
