"""What the judge is told: the model that gives opinions, how hard it may be asked, and what that may cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

if TYPE_CHECKING:  # settings are read by commands that ask nobody
    from envfarm.envs.judge.judge import ModelJudge
    from envfarm.toolbox.chat import ChatModel


class JudgeConfig(BaseModel):
    """The settings of the model behind the judge; without a `url` there is none. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(
        None, pattern=r"^https?://", description="OpenAI-compatible endpoint up to `/v1`; none: nothing is judged"
    )
    model: str | None = Field(None, description="its name there")
    key: SecretStr | None = Field(None, description="bearer token that it wants")
    votes: int = Field(3, ge=1, le=15, description="how often each question is asked; the median counts")
    concurrency: int = Field(8, ge=1, description="calls at the same time")
    rate: float | None = Field(None, gt=0, description="calls a second; none: as many as come")
    timeout: float = Field(120.0, gt=0, description="for one attempt of a call")
    deadline: float = Field(600.0, gt=0, description="for a call with all its attempts")
    attempts: int = Field(5, ge=1, description="how often a call is tried")
    max_calls: int | None = Field(None, ge=0, description="calls until the server's next start; none: no limit")
    max_tokens: int | None = Field(None, ge=0, description="tokens until the server's next start; none: no limit")
    cache: bool = Field(True, description="whether verdicts are kept in `data`, and equal questions not asked again")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.url is not None and self.model is None:
            raise ValueError("a url without a model: set judge.model too")
        return self

    def chat(self) -> ChatModel:
        """The model of a judge that is set. To be closed."""
        from envfarm.toolbox.chat import ChatModel
        from envfarm.toolbox.endpoint import Limits

        key = None if self.key is None else self.key.get_secret_value()
        return ChatModel(self.url or "", self.model or "", key, limits=Limits.of(self))

    def open(self, data: Path) -> ModelJudge | None:
        """The judge, None where none is set; `data` is the farm's folder. To be closed."""
        from envfarm.envs.judge.budget import Budget
        from envfarm.envs.judge.cache import Cache
        from envfarm.envs.judge.judge import ModelJudge

        if self.url is None:
            return None
        cache = Cache(data / "verdicts") if self.cache else None
        return ModelJudge(self.chat(), votes=self.votes, cache=cache, budget=Budget(self.max_calls, self.max_tokens))
