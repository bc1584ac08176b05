"""The README and the manual: what they show runs, and the commands they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from redis_memory import Settings
from tests.scripts import run_script

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SHOWING_CODE = [
    page for page in sorted((ROOT / "docs").glob("*.md")) if "```python" in page.read_text("utf-8")
]
COMMAND = re.compile(r"\bmake ([a-z][a-z-]*)")


def code_of(markdown: str, language: str) -> str:
    """All blocks of one language as one text, each line under the number it has on the page."""
    lines, inside = [], False
    for line in markdown.splitlines():
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        if fence:
            inside = not inside and line == f"```{language}"
    return "\n".join(lines)


@pytest.mark.parametrize("page", [README, *SHOWING_CODE], ids=lambda page: page.name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    """Whoever pastes its blocks one after the other into one program sees them all succeed."""
    source = code_of(page.read_text("utf-8"), "python")
    assert "import" in source
    script = tmp_path / f"{page.stem}.py"
    script.write_text(source, "utf-8")
    outcome = run_script(script, data_home=tmp_path, limit_s=30)
    assert outcome.returncode == 0, outcome.stderr


def test_the_table_of_settings_is_complete() -> None:
    """Each field of `Settings` has its row, with its default and its variable."""
    text = README.read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|", text, re.MULTILINE)
    told = {name: (default.strip("`"), variables) for name, default, variables in rows}
    for name, field in Settings.model_fields.items():
        default, variables = told[name]
        assert default == ("none" if field.default is None else str(field.default)), name
        assert variables == "-" or f"`REDIS_MEMORY_{name.upper()}`" in variables, name


def test_the_commands_of_the_readme_exist() -> None:
    """Every `make` command that the README shows in code is a target of the Makefile."""
    text = README.read_text("utf-8")
    code = [
        *re.findall(r"`([^`\n]+)`", text),
        *re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL),
    ]
    named = {target for part in code for target in COMMAND.findall(part)}
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
