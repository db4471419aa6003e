"""Every endpoint of the server, in one table."""

from __future__ import annotations

from envfarm.orchestrator.http.boundary import Route
from envfarm.orchestrator.http.routes import episodes, runs, search, service, steps, tasks
from envfarm.orchestrator.http.routes import queries as q
from envfarm.orchestrator.schemas import episodes as s
from envfarm.orchestrator.schemas import runs as r
from envfarm.orchestrator.schemas import tasks as t
from envfarm.orchestrator.schemas.base import Page
from envfarm.orchestrator.schemas.search import RetrieveRequest, RetrieveView

PENDING = ((202, s.StepPending),)

# The first that matches is taken, so what is called most often comes first.
ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/episodes/{id}/steps", steps.step, s.StepView, body=s.StepRequest, others=PENDING),
    Route("GET", "/v1/episodes/{id}/steps", steps.recorded, Page[s.StepRecord], query=q.Paged),
    Route("GET", "/v1/episodes/{id}/steps/{step}", steps.result, s.StepView, query=q.Wait, others=PENDING),
    Route("POST", "/v1/batch:steps", steps.batch, s.BatchView, body=s.BatchRequest),
    Route("POST", "/v1/episodes", episodes.create, s.EpisodesCreated, body=s.EpisodeRequest, status=202),
    Route("GET", "/v1/episodes", episodes.listed, Page[s.EpisodeView], query=q.Episodes),
    Route("GET", "/v1/episodes/{id}", episodes.get, s.EpisodeView, query=q.Wait),
    Route("DELETE", "/v1/episodes/{id}", episodes.delete),
    Route("POST", "/v1/episodes/{id}/fork", episodes.fork, s.EpisodesCreated, body=s.ForkRequest, status=201),
    Route("POST", "/v1/episodes/{id}/finish", episodes.finish, s.EpisodeView, body=s.FinishRequest, status=202),
    Route("POST", "/v1/episodes/{id}/cancel", episodes.cancel, s.EpisodeView),
    Route("POST", "/v1/episodes/{id}/suspend", episodes.suspend, s.EpisodeView, body=s.SuspendRequest),
    Route("POST", "/v1/episodes/{id}/resume", episodes.resume, s.EpisodeView, body=s.ResumeRequest),
    Route("GET", "/v1/episodes/{id}/reward", episodes.reward, s.RewardView, query=q.Wait),
    Route("GET", "/v1/episodes/{id}/artifacts", episodes.artifacts, Page[s.ArtifactView], query=q.Paged),
    Route("GET", "/v1/groups/{group}", runs.group, s.GroupView, query=q.Group),
    Route("GET", "/v1/rewards", runs.rewards, s.RewardsView, query=q.Rewards),
    Route("POST", "/v1/leases:renew", runs.renew, r.LeaseView, body=r.LeaseRequest),
    Route("PUT", "/v1/runs/{run}", runs.put, r.RunView, body=r.RunRequest),
    Route("GET", "/v1/runs/{run}", runs.get, r.RunView),
    Route("GET", "/v1/events", runs.events, "text/event-stream", query=q.Events),
    Route("GET", "/v1/tasks", tasks.listed, Page[t.TaskView], query=q.Tasks),
    Route("GET", "/v1/tasks/{task:.+}", tasks.get, t.TaskView),
    Route("GET", "/v1/tools", tasks.tools, Page[t.ToolSchema], query=q.Tools),
    Route("POST", "/v1/sample", tasks.sample, t.SampleView, body=t.SampleRequest),
    Route("POST", "/retrieve", search.retrieve, RetrieveView, body=RetrieveRequest),
    Route("GET", "/v1/stats/tasks", tasks.stats, Page[t.TaskStats], query=q.Stats),
    Route("GET", "/v1/artifacts/{digest}", service.artifact, "application/octet-stream", query=q.Artifact),
    Route("GET", "/health", service.health, s.HealthView, open=True),
    Route("GET", "/ready", service.ready, s.ReadyView, others=((503, s.ReadyView),), open=True),
    Route("GET", "/metrics", service.metrics, "text/plain"),
    Route("GET", "/openapi.json", service.openapi, "application/json", open=True),
    Route("GET", "/docs", service.docs, "text/html", open=True),
)
