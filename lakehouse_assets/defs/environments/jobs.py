"""Environments from the web UI: a job for each command, its result as Markdown on the op's output."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from lakehouse.releases import approval
from lakehouse.releases.log import ReleaseError
from lakehouse.settings import load_settings
from lakehouse.writing.environments import EnvironmentNameError
from lakehouse.writing.locks import LockTimeoutError
from lakehouse_assets.defs.releases.cutting import author_of
from lakehouse_assets.defs.releases.publish_by_hand import publish_elsewhere
from lakehouse_assets.resources import LakeResource


class CreateConfig(dg.Config):
    """What the job `env_create` is told."""

    name: str
    source: str = "prod"
    """The environment whose deployed models the new one shows."""


class DropConfig(dg.Config):
    """What the job `env_drop` is told."""

    name: str
    even_prod_or_qa: bool = False
    """Drop one that everybody uses."""


class PromoteConfig(dg.Config):
    """What the job `promote` is told."""

    source: str = "qa"
    target: str = "prod"
    apply: bool = False
    """False shows what would change, and changes nothing."""


class PlanConfig(dg.Config):
    """What the job `plan` is told."""

    environment: str = ""
    """Empty: the one that this code location shows."""


class ApproveConfig(dg.Config):
    """What the job `release_approve` is told."""

    by: str
    """Your name: the web UI knows nobody's. Nobody approves what they made themselves."""
    environment: str = "prod"
    release: int = 0
    """0: the newest that waits."""


class DiffConfig(dg.Config):
    """What the job `diff` is told."""

    left: str = "prod"
    right: str
    model: str = ""
    """One model as schema.table; empty: every one that has a table of its own."""
    sample: int = 10
    """Rows of each difference that are shown."""


@contextmanager
def refusals() -> Iterator[None]:
    """What is refused fails the run with its sentence, and is not tried again."""
    from lakehouse_assets.sqlmesh_integration.deploy import DeployError

    try:
        yield
    except (DeployError, EnvironmentNameError, LockTimeoutError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error


@dg.op
def create_environment(context: dg.OpExecutionContext, config: CreateConfig, lake: LakeResource) -> None:
    """Make an environment from what another one has deployed. Computes nothing."""
    from lakehouse_assets.defs.environments import lifecycle as environments

    with refusals():
        summary = environments.create(
            lake.lake, config.name, source=config.source, run=_run(context), report=context.log.info
        )
    said = f"`{config.name}` shows what `{config.source}` has deployed. Nothing was computed."
    context.add_output_metadata({"environment": dg.MetadataValue.md(f"{said}\n\n{summary.markdown()}")})


@dg.op
def drop_environment(context: dg.OpExecutionContext, config: DropConfig, lake: LakeResource) -> None:
    """Delete an environment: its views, its state and the tables that nobody else uses."""
    from lakehouse_assets.defs.environments import lifecycle as environments

    with refusals():
        dropped = environments.drop(
            lake.lake,
            config.name,
            even_if_it_stays=config.even_prod_or_qa,
            run=_run(context),
            report=context.log.info,
        )
    said = f"`{config.name}` is dropped, with {dropped} tables and views that nobody else used."
    context.add_output_metadata({"dropped": dg.MetadataValue.md(said)})


@dg.op
def promote_models(context: dg.OpExecutionContext, config: PromoteConfig, lake: LakeResource) -> None:
    """Show what one environment would get of what another has computed; with `apply`, give it. Recomputes nothing."""
    from lakehouse_assets.defs.environments import lifecycle as environments

    with refusals():
        promotion = environments.look(config.source, config.target)
        for line in promotion.summary.lines():
            context.log.info(line)
        plan = dg.MetadataValue.md(promotion.summary.markdown())
        context.add_output_metadata({"promotion": plan, "applied": config.apply})
        if config.apply:
            environments.promote(
                lake.lake,
                config.source,
                config.target,
                run=_run(context),
                author=author_of(context.run.tags),
                report=context.log.info,
            )
            publish_elsewhere(lake.lake, config.target, context.log.info)
        else:
            environments.check(lake.lake, promotion)
            context.log.info("Nothing was changed: launch this job with apply: true to promote.")


@dg.op
def plan_models(context: dg.OpExecutionContext, config: PlanConfig) -> None:
    """Show what deploying the checked-out models to an environment would change. Changes nothing."""
    from lakehouse_assets.defs.environments import deploying

    with refusals():
        summary = deploying.plan(config.environment or load_settings().environment)
    for line in summary.lines():
        context.log.info(line)
    context.add_output_metadata({"plan": dg.MetadataValue.md(summary.markdown())})


@dg.op
def diff_environments(context: dg.OpExecutionContext, config: DiffConfig, lake: LakeResource) -> None:
    """Compare two environments: columns, rows by the model's grain, matches by column. Changes nothing."""
    from lakehouse_assets.defs.environments import diff_display, diffing

    with refusals():
        found = diffing.diff(lake.lake, config.left, config.right, config.model, sample=config.sample)
    context.add_output_metadata({"difference": dg.MetadataValue.md(diff_display.as_markdown(found))})


def environment_jobs() -> list[dg.JobDefinition]:
    """One job of one op each: env_create, env_drop, promote, plan, diff, release_approve."""
    ops = {
        "env_create": create_environment,
        "env_drop": drop_environment,
        "promote": promote_models,
        "plan": plan_models,
        "diff": diff_environments,
        "release_approve": approve_release,
    }
    return [
        dg.GraphDefinition(name=name, node_defs=[op], description=op.description).to_job(
            executor_def=dg.in_process_executor
        )
        for name, op in ops.items()
    ]


@dg.op
def approve_release(context: dg.OpExecutionContext, config: ApproveConfig, lake: LakeResource) -> None:
    """Let readers have a release that waits for a second person, with those that wait before it."""
    if not config.by.strip():
        raise dg.Failure("Say who you are in `by`: it stands in the log of releases.", allow_retries=False)
    try:
        release = approval.approve(lake.lake, config.environment, config.release or None, by=config.by.strip())
    except ReleaseError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    said = f"Readers of {config.environment} may have release {release.number}; approved by {config.by}."
    context.add_output_metadata({"release": dg.MetadataValue.md(said)})


def _run(context: dg.OpExecutionContext) -> str:
    return f"run {context.run_id[:8]}"
