"""One comment of a pull request's preview, written once and replaced from then on: GitHub, Forgejo, GitLab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests

from lakehouse.errors import LakehouseError

PAGE = 100
SECONDS = 30


class CommentError(LakehouseError):
    """The platform did not take it; the message holds its answer, never the token."""


@dataclass(frozen=True)
class Platform:
    """Where the comments of a pull request are listed and made, where one of them is edited, and how."""

    comments: str
    comment: str
    """With `{id}`."""
    edit: str
    """The method."""
    token: str

    def put(self, text: str) -> str:
        """Write the comment, over the one that begins with the same line. Says which: updated, new.

        Raises:
            CommentError: the platform refused, or can't be reached.
        """
        marker = text.partition("\n")[0]
        known = next((one["id"] for one in self._all() if str(one.get("body") or "").startswith(marker)), None)
        if known is not None:
            self._ask(self.edit, self.comment.format(id=known), json={"body": text})
            return "updated"
        self._ask("POST", self.comments, json={"body": text})
        return "new"

    def _all(self) -> Iterator[dict[str, Any]]:
        seen: set[int] = set()
        page = 1
        while True:
            found = self._ask("GET", self.comments, params={"per_page": PAGE, "page": page})
            fresh = [one for one in found if one["id"] not in seen]
            yield from fresh
            if len(found) < PAGE or not fresh:  # Forgejo gives all of them, whatever the page
                return
            seen |= {one["id"] for one in fresh}
            page += 1

    def _ask(self, method: str, url: str, **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            answer = requests.request(method, url, headers=headers, timeout=SECONDS, **given)
        except requests.RequestException as error:
            raise CommentError(f"{url} can't be reached: {type(error).__name__}.") from error
        if not answer.ok:
            said = " ".join(answer.text.split())[:200]
            raise CommentError(f"{method} {url} was answered with {answer.status_code}: {said}")
        return answer.json()


def github(api: str, repository: str, number: int, token: str) -> Platform:
    """GitHub's, and Forgejo's, which has the same. `repository` is owner/name."""
    issues = f"{api.rstrip('/')}/repos/{repository}/issues"
    return Platform(f"{issues}/{number}/comments", f"{issues}/comments/{{id}}", "PATCH", token)


def gitlab(api: str, project: str, number: int, token: str) -> Platform:
    """GitLab's notes of a merge request. `project` is its number."""
    notes = f"{api.rstrip('/')}/projects/{project}/merge_requests/{number}/notes"
    return Platform(notes, f"{notes}/{{id}}", "PUT", token)
