"""What the project says of its own version, in three places."""

from __future__ import annotations

import importlib.metadata
import itertools
import re
import tomllib
from datetime import date
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).parents[1]
HEADING = re.compile(r"^## \[(?P<name>[^]]+)\](?: - (?P<date>.+))?$", re.MULTILINE)


def declared_version() -> str:
    """The version that pyproject.toml declares."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project: dict[str, str] = tomllib.load(file)["project"]
    return project["version"]


def headings() -> list[tuple[str, str | None]]:
    """Name and date of every heading of the changelog, in the order of the file."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return [(match["name"], match["date"]) for match in HEADING.finditer(text)]


def test_the_installed_package_has_the_version_that_is_declared() -> None:
    """What a user's `pip show` says is what pyproject.toml says."""
    assert importlib.metadata.version("redis_memory") == declared_version()


def test_the_changelog_opens_with_what_is_not_released_yet() -> None:
    """A change always finds the heading that it belongs under."""
    assert headings()[0] == ("Unreleased", None)


def test_the_newest_release_in_the_changelog_is_the_declared_version() -> None:
    """A version is raised together with its changelog entry, and never without."""
    released = [name for name, _ in headings()[1:]]
    assert not released or released[0] == declared_version()


def test_releases_stand_in_the_changelog_newest_first_each_with_its_day() -> None:
    """Versions and days both descend, and each day is an ISO date."""
    releases = [(Version(name), date.fromisoformat(day or "")) for name, day in headings()[1:]]
    for newer, older in itertools.pairwise(releases):
        assert newer[0] > older[0]
        assert newer[1] >= older[1]
