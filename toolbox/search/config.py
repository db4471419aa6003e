"""What search is told: which retriever a corpus is served by, and the model behind the dense ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

if TYPE_CHECKING:  # settings are read by commands that ask nobody
    from envfarm.toolbox.search.embeddings import Embeddings

RetrieverKind = Literal["tantivy", "fts", "dense", "hybrid"]
KINDS: tuple[RetrieverKind, ...] = get_args(RetrieverKind)


class EmbeddingsConfig(BaseModel):
    """The settings of the model that turns texts into vectors. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(
        None, pattern=r"^https?://", description="OpenAI-compatible endpoint up to `/v1`; `dense` and `hybrid` need one"
    )
    model: str | None = Field(None, description="its name there, which an index keeps")
    key: SecretStr | None = Field(None, description="bearer token that it wants")
    dimensions: int | None = Field(None, ge=1, description="numbers of a vector to ask for; none: as the model has it")
    document: str = Field("", description="what is put before a document, `passage: ` for e5")
    query: str = Field("", description="what is put before a query, `query: ` for e5")
    characters: int = Field(8000, ge=100, description="of a title and its text; what comes after is not embedded")
    batch: int = Field(32, ge=1, le=2048, description="texts of one call")
    concurrency: int = Field(4, ge=1, description="calls at the same time")
    rate: float | None = Field(None, gt=0, description="calls a second; none: as many as come")
    timeout: float = Field(60.0, gt=0, description="for one attempt of a call")
    deadline: float = Field(300.0, gt=0, description="for a call with all its attempts")
    attempts: int = Field(5, ge=1, description="how often a call is tried")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.url is not None and not self.model:
            raise ValueError("a url without a model: set embeddings.model too")
        return self

    def open(self) -> Embeddings:
        """The model. To be closed. Raises CorpusError: none is set."""
        from envfarm.toolbox.endpoint import Limits
        from envfarm.toolbox.search.embeddings import Embeddings
        from envfarm.toolbox.search.errors import CorpusError

        if self.url is None or self.model is None:
            raise CorpusError("embeddings.url: not set; name the endpoint that embeds, or another `search_index`")
        key = None if self.key is None else self.key.get_secret_value()
        return Embeddings(self.url, self.model, key, limits=Limits.of(self), dimensions=self.dimensions)


NO_EMBEDDINGS = EmbeddingsConfig()
