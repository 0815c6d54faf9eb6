"""`lakehouse ci`: what a pull request's pipeline runs. Each command may be run again, and beside another one."""

from __future__ import annotations

import getpass
import json
import re
import shutil
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.cli.console import SafeConsole, err, fail, out
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import PROJECT_ROOT, load_settings
from lakehouse_assets.cli import GraphCommands

app = GraphCommands()
ci_app = GraphCommands(no_args_is_help=True, help="Pull requests: check, preview, deploy on merge, clean up.")
app.add_typer(ci_app, name="ci")

Number = Annotated[int, typer.Option("--pr", help="The pull request's number.", min=1)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
WORKFLOWS = Path(__file__).parent / "workflows"


class Platform(StrEnum):
    """Who runs the pipelines."""

    GITHUB = "github"
    GITLAB = "gitlab"
    FORGEJO = "forgejo"


PATHS = {
    Platform.GITHUB: ".github/workflows/lakehouse.yml",
    Platform.GITLAB: ".gitlab-ci.yml",
    Platform.FORGEJO: ".forgejo/workflows/lakehouse.yml",
}
PINNED = {
    Platform.GITHUB: {
        "RUNNER": "ubuntu-24.04",
        "CHECKOUT": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
        "CACHE": "actions/cache@27d5ce7f107fe9357f9df03efb73ab90386fccae # v5.0.5",
    },
    # Older ones: they ask its runners for Node 20.
    Platform.FORGEJO: {
        "RUNNER": "docker",
        "CHECKOUT": "https://code.forgejo.org/actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2",
        "CACHE": "https://code.forgejo.org/actions/cache@0057852bfaa89a56745cba8c7296529d2fc39830 # v4.3.0",
    },
}
AGE = {"h": "hours", "d": "days", "w": "weeks"}


@ci_app.command()
def check(as_json: AsJson = False) -> None:
    """Lint models and pages, plan over a throw-away lake, hold raw columns to what was loaded; run unit tests."""
    from lakehouse_assets.defs.releases import pages
    from lakehouse_assets.defs.transformation import external_models
    from lakehouse_assets.models import throw_away
    from lakehouse_assets.sqlmesh_integration.deploy import UnitTest, lint, refused, run_unit_tests
    from lakehouse_assets.sqlmesh_integration.reasons import ModelsError

    settings = load_settings()
    tests: tuple[UnitTest, ...] = ()
    try:
        in_step = external_models.out_of_step(external_models.learned())
        found = [*lint(throw_away()), *in_step, *pages.faults()]
        tests = run_unit_tests(throw_away())
        found += refused(throw_away())
    except ModelsError as error:
        found = [str(error)]
    finally:
        shutil.rmtree(settings.throw_away_dir, ignore_errors=True)
    failed = [test for test in tests if not test.passed]
    if as_json:
        print(json.dumps({"ok": not found and not failed, "rules": found, "unit_tests": [*map(asdict, tests)]}))
    for line in found:
        err.print(line, highlight=False, markup=False, soft_wrap=True)
    for test in failed:
        err.print(f"unit test {test.name} of {test.model}:\n{test.message}", highlight=False, markup=False)
    if found or failed:
        raise typer.Exit(1)
    if not as_json:
        out.print(f"The models keep the rules; {len(tests)} unit tests passed.", highlight=False)


@ci_app.command()
def preview(
    number: Number,
    file: Annotated[Path | None, typer.Option("--out", help="Write the Markdown here, for the comment.")] = None,
    sample: Annotated[int, typer.Option(help="Show up to so many rows of each difference.", min=0)] = 5,
    as_json: AsJson = False,
) -> None:
    """Compute what the checked-out models change in pr_<number>, audit it, compare it with prod. Exit code 1 if red."""
    lake = Lake(load_settings())
    from lakehouse_assets.defs.environments import pull_request_display as display
    from lakehouse_assets.defs.environments import pull_requests

    found = pull_requests.preview(lake, number, sample=sample, run=_who("preview"), report=_say)
    text = display.as_markdown(found)
    if file:
        file.write_text(text)
    if as_json:
        print(display.as_json(found))
    elif file:
        out.print(f"{display.headline(found)}: {file} tells of it.", highlight=False, soft_wrap=True)
    else:
        print(text)
    if found.problem:
        fail(found.problem)


@ci_app.command()
def deploy(number: Number, as_json: AsJson = False) -> None:
    """Give prod what pr_<number> has computed, release it, drop pr_<number>. Refused unless it is as previewed."""
    lake = Lake(load_settings())
    from lakehouse_assets.defs.environments import pull_requests
    from lakehouse_assets.defs.releases.publish_by_hand import publish_waiting
    from lakehouse_assets.sqlmesh_integration.reasons import ModelsError

    try:
        moved = pull_requests.merge(lake, number, run=_who(f"merge of {number}"), report=_say)
    except ModelsError as error:
        if as_json:
            print(json.dumps({"ok": False, "deployed": False, "reason": str(error)}))
        raise
    told: SafeConsole = err if as_json else out
    has = f"pr_{number}'s models; nothing was recomputed" if moved else "the checked-out models already"
    told.print(f"prod has {has}.", highlight=False)
    publish_waiting(lake, pull_requests.TARGET, told)
    if moved or pull_requests.is_merged(lake, number):
        pull_requests.drop(lake, number, run=_who("drop"), report=_say)
    if as_json:
        print(json.dumps({"ok": True, "deployed": moved, "reason": ""}))


@ci_app.command()
def clean(
    number: Annotated[int | None, typer.Option("--pr", help="This one, that was closed.", min=1)] = None,
    older_than: Annotated[str, typer.Option(help="All last previewed before: 36h, 14d, 2w. Without --pr.")] = "14d",
    as_json: AsJson = False,
) -> None:
    """Drop the environments of pull requests that are closed, or forgotten."""
    age = re.fullmatch(r"([0-9]{1,4})([hdw])", older_than)
    if age is None:
        fail(f"--older-than {older_than} is no age: 36h, 14d and 2w are.", 2)
    lake = Lake(load_settings())
    from lakehouse_assets.defs.environments import pull_requests

    limit = timedelta(**{AGE[age[2]]: int(age[1])})
    numbers = [number] if number else pull_requests.forgotten(lake, limit)
    dropped = [n for n in numbers if pull_requests.drop(lake, n, run=_who("drop"), report=_say)]
    names = [f"pr_{n}" for n in dropped]
    if as_json:
        print(json.dumps({"ok": True, "dropped": names}))
    else:
        out.print(f"Dropped: {', '.join(names)}." if names else "Nothing to drop.", highlight=False)


@ci_app.command()
def comment(
    number: Number,
    file: Annotated[Path, typer.Argument(help="What `preview --out` has written.", dir_okay=False, exists=True)],
    token: Annotated[str, typer.Option(envvar="CI_COMMENT_TOKEN", help="May write comments. Never on a command line.")],
    github_api: Annotated[str, typer.Option(envvar="GITHUB_API_URL", hidden=True)] = "",
    github_repository: Annotated[str, typer.Option(envvar="GITHUB_REPOSITORY", hidden=True)] = "",
    gitlab_api: Annotated[str, typer.Option(envvar="CI_API_V4_URL", hidden=True)] = "",
    gitlab_project: Annotated[str, typer.Option(envvar="CI_PROJECT_ID", hidden=True)] = "",
) -> None:
    """Write the preview as the pull request's comment, over the one of before. For jobs of GitHub, GitLab, Forgejo."""
    from lakehouse_assets.defs.environments.pull_request_comment import github, gitlab

    if gitlab_api and gitlab_project:
        platform = gitlab(gitlab_api, gitlab_project, number, token)
    elif github_api and github_repository:
        platform = github(github_api, github_repository, number, token)
    else:
        fail("No platform: GITHUB_API_URL and GITHUB_REPOSITORY, or CI_API_V4_URL and CI_PROJECT_ID, say where.", 2)
    out.print(f"The comment is {platform.put(file.read_text())}.")


@ci_app.command()
def init(
    platform: Annotated[Platform, typer.Argument(help="Whose pipelines.")],
    force: Annotated[bool, typer.Option("--force", help="Over a file that is there.")] = False,
) -> None:
    """Write the workflow that runs these commands on pull requests."""
    path = PROJECT_ROOT / PATHS[platform]
    if path.exists() and not force:
        fail(f"{PATHS[platform]} is there already: --force writes over it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(workflow(platform))
    out.print(
        f"Wrote {PATHS[platform]}. docs/pull-requests.md says which secrets it wants.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def workflow(platform: Platform) -> str:
    """The text of a platform's workflow."""
    if platform is Platform.GITLAB:
        return (WORKFLOWS / "gitlab.yml").read_text()
    text = (WORKFLOWS / "actions.yml").read_text()
    for part in ("install", "lake"):
        lines = (WORKFLOWS / f"actions-{part}.yml").read_text().splitlines()
        text = text.replace(f"@{part.upper()}@", "\n      ".join(lines))
    for name, value in {"PLATFORM": platform.value, **PINNED[platform]}.items():
        text = text.replace(f"@{name}@", value)
    return text


def _say(text: str) -> None:
    err.print(text, highlight=False, markup=False, soft_wrap=True)


def _who(act: str) -> str:
    return f"{act} by {getpass.getuser()}"
