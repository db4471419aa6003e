"""Numbers for Prometheus: requests as they are served, the farm and its toolbox when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from envfarm.toolbox.toolbox import ToolboxStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COUNTED = {
    "warm_hits": "sandboxes handed out that were warm",
    "cold_starts": "sandboxes handed out that had to be started",
    "forks": "sandboxes made as copies of leased ones",
    "start_failures": "starts that failed",
    "dead_warm": "warm sandboxes found dead and replaced",
    "throttled": "tool calls that a rate limit held back",
}


class Metrics:
    """One registry for each server, so that several can live in one process."""

    def __init__(self, toolbox: Callable[[], ToolboxStats], episodes: Callable[[], Mapping[str, int]]) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "envfarm_http_request_seconds",
            "time to answer a request, waiting included",
            ("method", "path", "status"),
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self._known: dict[tuple[str, str, int], Histogram] = {}
        self._registry.register(_FarmCollector(toolbox, episodes))

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request; `path` is the route's, so that ids make no series of their own."""
        key = (method, path, status)
        child = self._known.get(key)
        if child is None:
            child = self._known[key] = self._seconds.labels(method, path, str(status))
        child.observe(seconds)

    def text(self) -> bytes:
        """Everything, in the Prometheus text format 0.0.4."""
        return generate_latest(self._registry)


class _FarmCollector(Collector):
    def __init__(self, toolbox: Callable[[], ToolboxStats], episodes: Callable[[], Mapping[str, int]]) -> None:
        self._toolbox = toolbox
        self._episodes = episodes

    def collect(self) -> Iterable[Metric]:
        """Read the farm at the time of the scrape."""
        stats = asdict(self._toolbox())
        for name, meaning in _COUNTED.items():
            yield CounterMetricFamily(f"envfarm_{name}", meaning, value=stats.pop(name))
        sandboxes = GaugeMetricFamily("envfarm_sandboxes", "sandboxes by what they do now", labels=["state"])
        for state in ("leased", "warm", "scoring", "starting", "ending"):
            sandboxes.add_metric([state], stats[state])
        yield sandboxes
        yield GaugeMetricFamily("envfarm_capacity", "agents' sandboxes that may live at once", value=stats["capacity"])
        yield GaugeMetricFamily("envfarm_queued", "episodes that wait for a sandbox", value=stats["queued"])
        episodes = GaugeMetricFamily("envfarm_episodes", "live episodes by state", labels=["state"])
        for state, number in self._episodes().items():
            episodes.add_metric([state], number)
        yield episodes
