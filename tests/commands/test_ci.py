"""`lakehouse ci init` and `comment`: a workflow that the platform takes, and one comment whatever happens."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lakehouse_assets.cli import ci
from lakehouse_assets.defs.environments.diffing import EnvironmentDifference
from lakehouse_assets.defs.environments.pull_request_display import LONGEST, as_markdown
from lakehouse_assets.defs.environments.pull_requests import Computed, Preview


@pytest.mark.parametrize("platform", list(ci.Platform))
def test_a_workflow_is_pinned_has_least_rights_and_is_never_written_over(
    platform: ci.Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ci, "PROJECT_ROOT", tmp_path)
    assert CliRunner().invoke(ci.app, ["ci", "init", platform]).exit_code == 0
    path = tmp_path / ci.PATHS[platform]
    text = path.read_text()
    assert "@" not in re.sub(r"[\w/.:-]+@[0-9a-f]{40} # v[\d.]+", "", text), "a placeholder, or an action by its tag"
    found = yaml.safe_load(text)
    jobs = found["jobs"] if "jobs" in found else {name: found[name] for name in found["stages"]}
    assert set(jobs) == {"check", "preview", "deploy", "clean"}
    if "jobs" in found:
        assert found["permissions"] == {}
        rights = {name: job["permissions"] for name, job in jobs.items()}
        assert rights.pop("preview") == {"contents": "read", "pull-requests": "write"}
        assert all(given == {"contents": "read"} for given in rights.values())
        assert "secrets." not in json.dumps(jobs["check"])
    for command in re.findall(r"lakehouse ci (\w+)", text.replace("ci init", "")):
        assert CliRunner().invoke(ci.app, ["ci", command, "--help"]).exit_code == 0

    path.write_text("mine")
    assert CliRunner().invoke(ci.app, ["ci", "init", platform]).exit_code == 1
    assert path.read_text() == "mine"
    assert CliRunner().invoke(ci.app, ["ci", "init", platform, "--force"]).exit_code == 0
    assert path.read_text() == text


@pytest.fixture
def forge() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A platform's API of comments, pages of a hundred; its address, and the comments."""
    comments: list[dict[str, Any]] = [{"id": n, "body": "Looks good"} for n in range(120)]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = int(re.findall(r"page=(\d+)$", self.path)[0])
            self._answer(comments[100 * (page - 1) : 100 * page])

        def do_POST(self) -> None:
            comments.append({"id": len(comments), **self._body()})
            self._answer(comments[-1])

        def do_PATCH(self) -> None:
            comment = comments[int(self.path.rpartition("/")[2])]
            comment |= self._body()
            self._answer(comment)

        do_PUT = do_PATCH

        def _body(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, value: Any) -> None:
            well = self.headers["Authorization"] == "Bearer good"
            self.send_response(200 if well else 403)
            self.end_headers()
            self.wfile.write(json.dumps(value if well else {"message": "no"}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", comments
        server.shutdown()


@pytest.mark.parametrize(
    "where",
    [("GITHUB_API_URL", "GITHUB_REPOSITORY", "a/b"), ("CI_API_V4_URL", "CI_PROJECT_ID", "5")],
    ids=["github", "gitlab"],
)
def test_a_pull_request_has_one_comment_that_is_replaced(
    forge: tuple[str, list[dict[str, Any]]], where: tuple[str, str, str], tmp_path: Path
) -> None:
    address, comments = forge
    file = tmp_path / "p.md"
    api, project, value = where

    def say(text: str, token: str = "good") -> tuple[int, str]:
        file.write_text(f"<!-- lakehouse ci preview pr_7 -->\n\n{text}")
        variables = {"GITHUB_API_URL": "", "CI_API_V4_URL": "", api: address, project: value, "CI_COMMENT_TOKEN": token}
        result = CliRunner().invoke(ci.app, ["ci", "comment", "--pr", "7", str(file)], env=variables)
        return result.exit_code, result.output

    assert say("one") == (0, "The comment is new.\n")
    assert say("two") == (0, "The comment is updated.\n")
    assert [c["body"] for c in comments[120:]] == ["<!-- lakehouse ci preview pr_7 -->\n\ntwo"]
    code, said = say("three", "s3cret")
    assert code == 1 and "403" in said and "s3cret" not in said


def test_a_comment_is_never_longer_than_a_platform_takes_and_data_is_only_text() -> None:
    text = as_markdown(Preview("pr_7", "```\n@everyone <img src=x>\n\n" * 10_000))
    assert len(text) < LONGEST + 200
    assert text.count("```") % 2 == 0
    inside = text.split("```text\n")[1].split("```")[0]
    assert "@everyone" in inside and "@everyone" not in text.replace(inside, "")
    assert "No model differs" in as_markdown(
        Preview("pr_7", difference=EnvironmentDifference("prod", "pr_7", 1, (), ()))
    )


def test_a_preview_that_never_computed_says_what_there_is_to_compute() -> None:
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 12, 31, tzinfo=UTC)
    tables = (
        Computed("marts.days", start, end, 365, 1000, 3_000_000, 5400.0),
        Computed("marts.new", start, end, 0, None, None, None),
    )
    text = as_markdown(Preview("pr_7", "A unit test failed.", to_compute=tables))
    assert "| `marts.days` | 2024-01-01 | 2024-12-31 | 365 | 1,000 | 3,000,000 | 1.5 h |" in text
    assert "| `marts.new` | 2024-01-01 | 2024-12-31 | as a whole | — | — | — |" in text
    assert "| **in all** |  |  |  | 1,000 | 3,000,000 | 1.5 h |" in text
