"""What crosses the HTTP boundary about episodes: one pydantic model for each request and each answer.

Times that end in `_at` are seconds since the epoch; other times are durations in seconds.
Requests refuse unknown fields. Answers are built by the farm from what it stored and are not validated again.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from envfarm.orchestrator.schemas.base import MAX_INT, Id, Name, RequestModel, ViewModel

EpisodeState = Literal["queued", "starting", "running", "scoring", "scored", "failed", "expired", "cancelled"]
FinishReason = Literal["model", "length", "context", "abort"]
RewardStatus = Literal["pending", "done", "error", "invalid"]
EventType = Literal[
    "episode.state",
    "step.started",
    "step.finished",
    "episode.collected",
    "episode.suspended",
    "episode.resumed",
    "reward.ready",
    "lease.expiring",
    "lease.expired",
    "quota.throttled",
    "pod.lost",
]

StopGroup = Literal["pass", "mixed"]

ENDED: frozenset[str] = frozenset({"scored", "failed", "expired", "cancelled"})
"""States that an episode never leaves."""


class EpisodeLimits(RequestModel):
    """Limits on one episode; whatever is null is the server's setting. Each one reached ends it as `truncated`."""

    max_turns: int | None = Field(None, ge=1, description="steps until the episode is cut")
    max_errors: int | None = Field(None, ge=1, description="tool errors (bad arguments) until it is cut; null: never")
    timeout_s: float | None = Field(None, gt=0, description="seconds from the first observation until it is cut")
    step_timeout_s: float | None = Field(None, gt=0, description="seconds for one call")
    output_limit: int | None = Field(None, ge=256, description="bytes of each output that the model is shown")
    max_output: int | None = Field(None, ge=1, description="bytes shown over all steps until it is cut; null: never")
    stop_group: StopGroup | None = Field(
        None, description="ends it, without a score, once one of its group passed (`pass`), or one did and one did not"
    )


class EpisodeRequest(RequestModel):
    """One episode of a task, or a group of `n` of them. Name the task by `task_id`, or by dataset and index or seed."""

    task_id: str | None = None
    dataset: str | None = Field(None, description="the first part of the tasks' ids, e.g. `swe`")
    split: str | None = None
    index: int | None = Field(None, ge=0, le=MAX_INT, description="which of its tasks, in the order of /v1/tasks")
    seed: int | None = Field(None, ge=-MAX_INT, le=MAX_INT, description="picks one; the same seed picks the same task")
    run: Name | None = Field(None, description="the run it counts against; default: header X-Run-Id, else `default`")
    n: int = Field(1, ge=1, le=1024, description="size of the group")
    group_id: Name | None = Field(None, description="made up by the server when n > 1 and none is given")
    rollout_index: int | None = Field(None, ge=0, le=1 << 30, description="index of the first episode in its group")
    policy_version: Name | None = None
    limits: EpisodeLimits = EpisodeLimits()

    @model_validator(mode="after")
    def _one_task(self) -> EpisodeRequest:
        if (self.task_id is None) == (self.dataset is None):
            raise ValueError("give either task_id, or dataset with index or seed")
        if self.dataset is not None and (self.index is None) == (self.seed is None):
            raise ValueError("with dataset give either index or seed")
        if self.task_id is not None and (self.index, self.seed, self.split) != (None, None, None):
            raise ValueError("index, seed and split go with dataset, not with task_id")
        return self


class MessageView(ViewModel):
    """One chat message that the episode starts with."""

    role: str
    content: str


class EpisodeView(ViewModel):
    """An episode. `messages` and `tools` (OpenAI function format) come from the task and are there at once."""

    id: str
    run: str
    task: str
    kind: str
    state: EpisodeState
    turn: int = Field(0, description="steps done so far; the next step's `turn`")
    group_id: str | None = None
    rollout_index: int | None = None
    policy_version: str | None = None
    fork_of: str | None = Field(None, description="the episode that it is a fork of")
    messages: list[MessageView] = Field([])
    tools: list[dict[str, Any]] = Field([])
    limits: EpisodeLimits = EpisodeLimits()
    created_at: float
    started_at: float | None = Field(None, description="when the sandbox was ready")
    ended_at: float | None = None
    lease_s: float | None = Field(None, description="how long it lives after a call or a heartbeat")
    lease_expires_at: float | None = None
    suspended_until: float | None = Field(None, description="it takes no steps until it is resumed, at the latest then")
    terminated: bool = False
    truncated: bool = False
    reason: str | None = Field(None, description="why it ended, failed or was cut")
    reward: RewardView | None = None


class EpisodesCreated(ViewModel):
    """The answer to a creation (the group in order of rollout_index) or to a fork."""

    episodes: list[EpisodeView]


class Call(RequestModel):
    """One tool call of the model. `arguments` is an object, or the JSON text of one, as the model wrote it."""

    id: str | None = Field(None, max_length=200)
    name: str = Field(description="whatever the model wrote: a tool that there is not is answered, not refused")
    arguments: str | dict[str, Any] = Field({})


class StepRequest(RequestModel):
    """One turn of the model: its tool calls, run in order until one of them finishes the episode.

    `step_id` is the caller's: sent again with the same body it is answered from the store and not run twice.
    """

    step_id: Name
    calls: list[Call] = Field(max_length=128, description="may be empty: a turn without a tool call")
    turn: int | None = Field(None, ge=0, description="the turn the caller believes this is; another one is refused")
    timeout_s: float | None = Field(None, gt=0, description="seconds for each call")
    wait: float | None = Field(None, ge=0, le=600, description="seconds to wait before 202; null: until it is done")
    policy_version: Name | None = None


class CallResult(ViewModel):
    """What the model is told about one call; `is_error` marks a mistake of the model."""

    id: str | None = None
    name: str
    content: str
    is_error: bool = False
    exit_code: int | None = None
    truncated: bool = False
    timed_out: bool = False
    seconds: float = 0.0
    artifacts: dict[str, str] = Field({}, description="name to digest, e.g. the whole of a cut output")


class StepInfo(ViewModel):
    """Why an episode ended with this step."""

    reason: str | None = None


class StepView(ViewModel):
    """What a step did. The reward comes later, from /reward; it is always null here."""

    step_id: str
    turn: int
    results: list[CallResult]
    reward: None = None
    terminated: bool = False
    truncated: bool = False
    info: StepInfo = StepInfo()


class StepRecord(ViewModel):
    """A step as it was recorded: what was sent and, once it is done, what came back."""

    step_id: str
    turn: int
    calls: list[Call]
    results: list[CallResult] | None = None
    terminated: bool = False
    truncated: bool = False
    info: StepInfo = StepInfo()
    timeout_s: float | None = Field(None, description="what the step asked for")
    policy_version: str | None = None
    started_at: float
    finished_at: float | None = None


class StepPending(ViewModel):
    """202: the step runs on; ask for it with GET …/steps/{step_id}?wait=."""

    step_id: str
    status: Literal["running"] = "running"


class BatchStep(StepRequest):
    """One step of a batch."""

    episode: Id


class BatchRequest(RequestModel):
    """Steps of different episodes, run concurrently (those of one episode in the order given)."""

    steps: list[BatchStep] = Field(min_length=1, max_length=4096)


class ErrorBody(ViewModel):
    """What went wrong, which field, and the fix. `type` is bad_request, not_found, conflict, gone, quota, …"""

    type: str
    message: str
    retryable: bool
    episode: str | None = None


class ErrorView(ViewModel):
    """The one shape of every error."""

    error: ErrorBody


class BatchResult(ViewModel):
    """Exactly one of `step`, `pending` and `error` is there."""

    episode: str
    step: StepView | None = None
    pending: StepPending | None = None
    error: ErrorBody | None = None


class BatchView(ViewModel):
    """Results in the order of the request."""

    results: list[BatchResult]


class ForkRequest(RequestModel):
    """New episodes that go on where a running one stands: same task, turn, steps and used limits, sandboxes copied."""

    n: int = Field(1, ge=1, le=128, description="how many; all or none are made")
    group_id: Name | None = Field(None, description="default: the origin's")
    policy_version: Name | None = Field(None, description="default: the origin's")


class SuspendRequest(RequestModel):
    """Lets an episode rest with its sandbox: it takes no steps, and its time limit stands still."""

    ttl_s: float | None = Field(
        None, gt=0, le=604800, description="seconds until it expires unless it is resumed; null: the server's setting"
    )


class ResumeRequest(RequestModel):
    """Lets a suspended episode go on."""

    policy_version: Name | None = Field(None, description="of the steps from now on; default: as before")


class FinishRequest(RequestModel):
    """Ends an episode from outside and starts its scoring: `abort` gives it up without a score."""

    reason: FinishReason = "model"
    answer: str | None = None


class RewardView(ViewModel):
    """What an episode earned. `value` is null until `done`, and for good when the farm could not tell.

    `error`: the farm failed, see `reason`. `invalid`: cancelled, expired or aborted. Neither is a 0.
    """

    episode: str
    task: str
    run: str
    status: RewardStatus
    value: float | None = None
    parts: dict[str, float] = Field({})
    evidence: dict[str, str] = Field({}, description="name to digest, see /v1/artifacts/{digest}")
    reason: str | None = None
    group_id: str | None = None
    rollout_index: int | None = None
    policy_version: str | None = None
    truncated: bool = False
    scored_at: float | None = None
    seq: int | None = Field(None, description="the cursor of /v1/rewards?after=")


class GroupMember(ViewModel):
    """One episode of a group, and what it earned."""

    episode: str
    task: str
    rollout_index: int | None = None
    state: EpisodeState
    status: RewardStatus = "pending"
    value: float | None = None


class GroupView(ViewModel):
    """The episodes of one prompt together. Only rewards that are `done` count."""

    id: str
    run: str
    members: list[GroupMember] = Field(description="in order of their rollout_index, then of creation")
    done: int = 0
    passes: int = 0
    mean: float | None = None
    std: float | None = Field(None, description="of the population")


class RewardsView(ViewModel):
    """Rewards that became ready after a cursor."""

    items: list[RewardView]
    next: int = Field(description="what to give as `after` next time")


class ArtifactView(ViewModel):
    """One file that an episode kept, see /v1/artifacts/{digest}."""

    name: str
    digest: str


class Event(ViewModel):
    """Something that happened; `id` rises and is what Last-Event-ID resumes after."""

    id: int
    type: str = Field(description=", ".join(get_args(EventType)))  # a newer server may have written others
    run: str
    episode: str | None = None
    at: float
    data: dict[str, Any] = Field({})


class HealthView(ViewModel):
    """The process is up."""

    status: Literal["ok"] = "ok"
    version: str


class ReadyView(ViewModel):
    """Whether episodes can be served, and what is wrong where they cannot."""

    ready: bool
    checks: dict[str, str]


EpisodeView.model_rebuild()
