"""Groups: how the rollouts of one prompt stand together, and the end of those whose outcome no longer matters."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Sequence

from envfarm.orchestrator.errors import StoreError
from envfarm.orchestrator.farm.core import Core
from envfarm.orchestrator.farm.endings import verdict
from envfarm.orchestrator.farm.episodes import Episode
from envfarm.orchestrator.schemas.episodes import GroupMember, GroupView, StopGroup
from envfarm.orchestrator.store import queries
from envfarm.toolbox.errors import Conflict, NotFound, TaskError

log = logging.getLogger(__name__)


class Groups:
    """Looks at groups as a whole."""

    def __init__(self, core: Core) -> None:
        self.core = core

    async def view(self, run: str, group: str) -> GroupView:
        """A group with its members' rewards. Raises NotFound, StoreError."""
        members = await queries.group(self.core.store, run, group)
        if not members:
            raise NotFound(f"no group {group!r} in run {run!r}")
        values = [one.value for one in members if one.value is not None]
        mark = self._mark(members[0].task)
        return GroupView(
            id=group,
            run=run,
            members=members,
            done=len(values),
            passes=sum(value >= mark for value in values),
            mean=statistics.fmean(values) if values else None,
            std=statistics.pstdev(values) if values else None,
        )

    async def settle(self, episode: Episode) -> None:
        """After a reward: end the live mates of an episode that asked for it, once their group is decided.

        Those that are being scored already come to their reward.
        """
        rule, group = episode.limits.stop_group, episode.group_id
        if rule is None or group is None:
            return
        mates = [one for one in self.core.live.values() if (one.run, one.group_id) == (episode.run, group)]
        if not mates:
            return
        try:
            await self._stop(mates, rule, await queries.group(self.core.store, episode.run, group))
        except StoreError as error:  # the next reward of the group tries again
            log.error("%s: its group is not stopped: %s", episode.id, error)

    async def _stop(self, mates: Sequence[Episode], rule: StopGroup, members: Sequence[GroupMember]) -> None:
        mark = mates[0].play.task.config.envfarm.full_mark
        passed = [one.value >= mark for one in members if one.value is not None]
        if not decided(rule, passed):
            return
        for mate in mates:
            if mate.state != "scoring":
                await self._end(mate, f"its group was decided ({rule}) by {sum(passed)} of {len(passed)} that passed")

    async def _end(self, mate: Episode, why: str) -> None:
        try:
            await self.core.end(mate, "cancelled", verdict(mate, "invalid", reason=why))
        except Conflict:
            log.info("%s: ended otherwise while its group was stopped", mate.id)

    def _mark(self, task: str) -> float:
        try:
            return self.core.registry.get(task).config.envfarm.full_mark
        except (NotFound, TaskError):
            return 1.0


def decided(rule: StopGroup, passed: Sequence[bool]) -> bool:
    """Whether what a trainer wants of a group is known: one that passed, or one that did and one that did not."""
    return any(passed) and (rule == "pass" or not all(passed))
