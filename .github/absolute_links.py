"""Make the links and images of README.md absolute, and add the project's addresses, for PyPI.

    GITHUB_REPOSITORY=owner/name GITHUB_REF_NAME=v1.0 python .github/absolute_links.py

The release workflow runs it in its own checkout before the build. In the repository the links stay
relative: there they work on every fork and branch, and no address is written twice.
"""

import os
import re
import sys
from pathlib import Path

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_CODE = re.compile(r"(^```.*?^```$)", re.M | re.S)


def absolute(text: str, repository: str, ref: str, root: Path) -> str:
    """Markdown with absolute links and images, blocks of code left as they are.

    Args:
        text: The page, which lies in ``root``.
        repository: Owner and name on GitHub.
        ref: Tag or branch.
        root: Folder of the repository.

    Raises:
        ValueError: a link leads to no file.
    """
    site = f"https://github.com/{repository}/blob/{ref}"
    raw = f"https://raw.githubusercontent.com/{repository}/{ref}"

    def replace(match: re.Match[str]) -> str:
        is_image, label, target = match.groups()
        label = _LINK.sub(replace, label)  # an image may be a link
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            return f"{is_image}[{label}]({target})"
        if not (root / target.partition("#")[0]).exists():
            raise ValueError(f"README.md links to {target}, which does not exist")
        return f"{is_image}[{label}]({raw if is_image else site}/{target})"

    parts = _CODE.split(text)
    parts[::2] = [_LINK.sub(replace, part) for part in parts[::2]]
    return "".join(parts)


def with_addresses(project: str, repository: str, ref: str) -> str:
    """``pyproject.toml`` with the addresses of the project.

    Raises:
        ValueError: it has addresses.
    """
    if "[project.urls]" in project:
        raise ValueError("pyproject.toml has addresses of the project")
    home = f"https://github.com/{repository}"
    addresses = {
        "Homepage": home,
        "Documentation": f"{home}/blob/{ref}/docs/index.md",
        "Changelog": f"{home}/blob/{ref}/CHANGELOG.md",
        "Issues": f"{home}/issues",
    }
    lines = "".join(f'{name} = "{address}"\n' for name, address in addresses.items())
    return f"{project.rstrip()}\n\n[project.urls]\n{lines}"


def main(root: Path) -> None:
    """Rewrite both files."""
    repository, ref = os.environ["GITHUB_REPOSITORY"], os.environ["GITHUB_REF_NAME"]
    page, project = root / "README.md", root / "pyproject.toml"
    try:
        texts = {
            page: absolute(page.read_text(), repository, ref, root),
            project: with_addresses(project.read_text(), repository, ref),
        }
    except ValueError as error:
        sys.exit(str(error))
    for path, text in texts.items():
        path.write_text(text)


if __name__ == "__main__":
    main(Path.cwd())
