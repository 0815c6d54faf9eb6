"""Tables and views that somebody dropped behind SQLMesh's back: what of them a run computes and makes again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import dagster as dg

from lakehouse_assets.sqlmesh_integration import event_log
from lakehouse_assets.sqlmesh_integration.decision import Work, whole_or_merged
from lakehouse_assets.sqlmesh_integration.deployed import Deployment
from lakehouse_assets.sqlmesh_integration.engine import Interval
from lakehouse_assets.sqlmesh_integration.request import Request


@dataclass
class Lost:
    """By `schema.table`. SQLMesh would make an empty table in its place, and count as computed what was in it."""

    tables: dict[str, list[Interval]] = field(default_factory=dict)
    """What was computed of each, which the state holds as missing from here on."""
    why: dict[str, str] = field(default_factory=dict)
    """What is wrong with each of them: gone, emptied, without a column."""
    refused: dict[str, str] = field(default_factory=dict)
    """Those that this run can't compute again, and why; the state is left as it is."""
    views: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, deployment: Deployment, request: Request, instance: dg.DagsterInstance) -> Lost:
        """What is lost among the deployment's models. Writes to the state what is not there any more.

        A table that is there, and not as its model's last event told it, is dropped.
        """
        absent = deployment.absent()
        found = cls(views={deployment.names[fqn] for fqn in absent.views})
        gone = {deployment.names[fqn]: "is gone" for fqn in absent.tables}
        told = event_log.told_of_tables(instance, request.all_keys)
        changed = deployment.changed({name: of for name, of in told.items() if name not in gone})
        for name, what in {**gone, **changed}.items():
            computed = list(deployment.computed(deployment.snapshots[name]))
            if computed and (reason := _refusal(name, what, deployment, request)):
                found.refused[name] = reason
            elif computed:
                deployment.restart(name)
                if name in changed:
                    deployment.drop(name)
                found.tables[name], found.why[name] = computed, what
        return found

    def sentences(self, deployment: Deployment) -> Iterator[str]:
        for name in sorted(self.tables):
            table, what = deployment.table(name), self.why[name]
            yield f"{name}: its table {table} {what}. What was computed of it counts as missing now."
        for name in sorted(self.views - set(self.tables) - set(self.refused)):
            yield f"{name}: its view is gone, or shows another table than {deployment.table(name)}. It is made again."

    def showable(self, deployment: Deployment, computed: Collection[str] = ()) -> set[str]:
        """The lost views that can be made now: nothing below them is gone, or it is `computed` again."""
        gone = {*self.tables, *self.refused} - set(computed)
        return {name for name in self.views if not (deployment.ancestors(name) | {name}) & gone}

    def take_along(self, work: Work, request: Request, deployment: Deployment) -> None:
        """Compute what was lost, whole, where it was chosen or what is computed reads it."""
        read = {name: deployment.ancestors(name) for name in work.intervals}
        for name in sorted(self.tables):
            if name in request.keys or name in work.intervals or any(name in found for found in read.values()):
                due = deployment.due([name]).get(name, []) if deployment.snapshots[name].is_seed else []
                intervals = [*work.intervals.get(name, []), *self.tables[name], *due]
                work.intervals[name] = whole_or_merged(name, intervals, deployment)
                work.left.pop(name, None)
        for name in [*work.intervals, *(name for name in request.keys if name in self.refused)]:
            gone = sorted((deployment.ancestors(name) | {name}) & set(self.refused))
            if gone:
                work.intervals.pop(name, None)
                own = self.refused.get(name)
                work.leave(name, "refused", own or f"it reads {gone[0]}: {self.refused[gone[0]]}")


def _refusal(name: str, what: str, deployment: Deployment, request: Request) -> str:
    """Why this run does not compute a lost table again; empty when it does."""
    snapshot, owner = deployment.snapshots[name], deployment.owner(name)
    gone = f"the table {deployment.table(name)} {what}"
    if owner != deployment.environment.name:
        return f"{gone}, and belongs to {owner}, which has to compute it again: catch up there"
    if snapshot.disable_restatement and not (request.mode == "recompute" and name in request.keys):
        return (
            f"{gone}, and the model keeps history that can't be computed again: restore the table, or begin anew "
            "with the option `mode: recompute`"
        )
    return ""
