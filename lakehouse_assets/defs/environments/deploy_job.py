"""Deploying from the web UI: a job that shows the plan, and applies it when told to; unit tests as asset checks."""

import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from lakehouse.settings import load_settings
from lakehouse_assets.defs.environments.jobs import refusals
from lakehouse_assets.defs.releases.cutting import author_of
from lakehouse_assets.models import PROJECT_DIR, Translator, project
from lakehouse_assets.resources import LakeResource
from lakehouse_assets.sqlmesh_integration.manifest import Manifest

UNIT_TESTS = "unit_tests"


class DeployConfig(dg.Config):
    """What the job `deploy` is told."""

    environment: str = ""
    """Empty: the one that this code location shows."""
    apply: bool = False
    """False shows the plan and changes nothing."""
    backfill: bool = True
    """Compute what is missing before readers see the new models; without it the next run catches up."""


@dg.op
def deploy_models(context: dg.OpExecutionContext, config: DeployConfig, lake: LakeResource) -> None:
    """Show what the checked-out models would change in an environment; with `apply`, change it."""
    from lakehouse_assets.defs.environments import deploying
    from lakehouse_assets.defs.releases import pages
    from lakehouse_assets.sqlmesh_integration.deploy import UnitTestsFailedError

    environment = config.environment or load_settings().environment
    with refusals():
        plan = deploying.plan(environment)
    for line in [*plan.lines(), *pages.changes(lake.lake, environment)]:
        context.log.info(line)
    context.add_output_metadata({"plan": dg.MetadataValue.md(plan.markdown()), "applied": config.apply})
    if not config.apply:
        context.log.info("Nothing was changed: launch this job with apply: true to deploy.")
        return
    run = f"run {context.run_id[:8]}"
    try:
        with refusals():
            done = deploying.deploy(
                lake.lake, environment, backfill=config.backfill, run=run,
                author=author_of(context.run.tags), report=context.log.info,
            )  # fmt: skip
    except dg.Failure as failure:
        if isinstance(failure.__cause__, UnitTestsFailedError):
            report_tests(context.instance, failure.__cause__.tests)
        raise
    report_tests(context.instance, done.tests)


@dg.job(executor_def=dg.in_process_executor, description=deploy_models.description)
def deploy() -> None:
    """One op: the plan, then the deploy."""
    deploy_models()


def unit_test_checks(manifest: Manifest) -> list[dg.AssetChecksDefinition]:
    """A check `unit_tests` on every model that has SQLMesh unit tests."""
    keys = _tested_keys(manifest)
    if not keys:
        return []
    specs = [
        dg.AssetCheckSpec(UNIT_TESTS, asset=key, description=f"The SQLMesh unit tests of {name} pass.")
        for name, key in keys.items()
    ]

    @dg.multi_asset_check(name="sqlmesh_unit_tests", specs=specs, can_subset=True)
    def run_tests(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from lakehouse_assets.sqlmesh_integration.deploy import run_unit_tests

        results = _results(run_unit_tests(project()), keys)
        wanted = {key.asset_key for key in context.selected_asset_check_keys}
        yield from (result for result in results if result.asset_key in wanted)

    return [run_tests]


def _tested_keys(manifest: Manifest) -> dict[str, dg.AssetKey]:
    """The models that a file of the project's tests/ names, by `schema.table`."""
    texts = [path.read_text() for path in sorted(Path(PROJECT_DIR / "tests").glob("test_*.y*ml"))]
    named = {name for text in texts for name in re.findall(r"^\s+model:\s*[\"']?([\w.]+)", text, re.M)}
    environment, translator = load_settings().environment, Translator()
    return {
        model.name: translator.asset_key(model.ref, environment) for model in manifest.models if model.name in named
    }


def _results(tests: tuple, keys: dict[str, dg.AssetKey]) -> list[dg.AssetCheckResult]:
    by_model: dict[str, list] = {name: [] for name in keys}
    for test in tests:
        by_model.setdefault(test.model, []).append(test)
    return [
        dg.AssetCheckResult(
            asset_key=keys[name],
            check_name=UNIT_TESTS,
            passed=all(test.passed for test in found),
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={
                test.name: "passed" if test.passed else dg.MetadataValue.md(f"```\n{test.message}\n```")
                for test in found
            },
        )
        for name, found in by_model.items()
        if name in keys and found
    ]


def report_tests(instance: dg.DagsterInstance, tests: tuple) -> None:
    """The results of a deploy's unit tests, as the models' checks."""
    for result in _results(tests, _tested_keys(project().manifest())):
        assert result.asset_key is not None
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=result.asset_key,
                check_name=UNIT_TESTS,
                passed=result.passed,
                severity=result.severity,
                metadata=dict(result.metadata or {}),
            )
        )
