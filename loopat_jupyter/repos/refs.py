"""Which branches and tags a repo has, as git prints them: a mirror that has the same needs no fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.repos.git import lines_of

if TYPE_CHECKING:
    from loopat_jupyter.repos.git import Completed

FORMAT = "--format=%(objectname)%09%(refname)"
"""Has `git for-each-ref` print what `git ls-remote` does."""

FOLLOWED = ("refs/heads/", "refs/tags/")
"""What a mirror has of its remote. Other refs may end as these begin, and are told apart when they are read."""


class Refs(NamedTuple):
    """Branches and tags of a repo.

    Attributes:
        head: The default branch, where that is said.
        lines: Each ref with its object, as bytes: somebody named them. None where they are more than was read.
    """

    head: str | None
    lines: frozenset[bytes] | None

    def commit(self, branch: str) -> str | None:
        """Where a branch is.

        Args:
            branch: Its name.
        """
        ending = f"\trefs/heads/{branch}".encode()
        return next((line[: -len(ending)].decode() for line in self.lines or () if line.endswith(ending)), None)


def listed(answer: Completed) -> Refs:
    """The refs in what `git ls-remote --symref` or `git for-each-ref` printed.

    Args:
        answer: The command, ended.
    """
    if answer.cut:
        # The remote's HEAD is the first that it names.
        return Refs(head_branch(answer.text), None)
    followed = tuple(map(str.encode, FOLLOWED))
    lines = (line for line in answer.stdout.split(b"\n") if line.partition(b"\t")[2].startswith(followed))
    # What a tag leads to is listed behind the tag itself; a ref that stands for another one also as that.
    return Refs(
        head_branch(answer.text),
        frozenset(line for line in lines if not line.endswith(b"^{}") and not line.startswith(b"ref: ")),
    )


def head_branch(listing: str) -> str | None:
    """The default branch in what `git ls-remote --symref <remote> HEAD` prints; None where it does not say.

    Args:
        listing: The output.
    """
    for line in lines_of(listing):
        target, _, name = line.partition("\t")
        if name == "HEAD" and target.startswith("ref: refs/heads/"):
            return target.removeprefix("ref: refs/heads/")
    return None
