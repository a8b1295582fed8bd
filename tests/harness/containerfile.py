"""Carry out the lines of a Containerfile in a clean root, without a container engine."""

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from dockerfile_parse import DockerfileParser

from harness.roots import CleanRoot


class Image:
    """The outcome of a Containerfile's steps: a root, and how its program is started."""

    def __init__(self, root: CleanRoot):
        self.root = root
        self.base = ""
        self.user = ""
        self.entrypoint: list[str] = []
        self.arguments: list[str] = []

    def build(self, containerfile: Path, context: Path, arguments: Mapping[str, str]) -> None:
        """Carry out every step, in the root that stands for its base; a step that is not known fails."""
        text = io.BytesIO(containerfile.read_bytes())
        parser = DockerfileParser(fileobj=text, build_args=dict(arguments), env_replace=True)
        for step in parser.structure:
            value = step["value"]
            for name, given in arguments.items():
                value = value.replace(f"${{{name}}}", given)
            self._do(step["instruction"], value, context)

    def command(self, *arguments: str) -> list[str]:
        """Return what starts the program as process 1, with other arguments than its own when some are given."""
        return self.root.command([*self.entrypoint, *(arguments or self.arguments)], user=self.user)

    def _do(self, instruction: str, value: str, context: Path) -> None:
        match instruction:
            case "FROM":
                self.base = value
            case "RUN":
                self.root.run(value, has_network=True)
            case "COPY":
                pattern, destination = value.split()
                self._copy(context, pattern, destination)
            case "USER":
                self.user = value
            case "ENTRYPOINT":
                self.entrypoint = json.loads(value)
            case "CMD":
                self.arguments = json.loads(value)
            case "COMMENT" | "ARG" | "EXPOSE" | "STOPSIGNAL" | "WORKDIR":
                pass
            case _:
                raise AssertionError(f"{instruction}: not known here")

    def _copy(self, context: Path, pattern: str, destination: str) -> None:
        found = sorted(context.glob(pattern.rstrip("/")))
        assert found, f"COPY {pattern}: nothing"
        for source in found:
            if source.is_dir():
                self.root.put(source, destination)
            else:
                self.root.put(source, f"{destination.rstrip('/')}/{source.name}")


def context_of(folder: Path, root: Path, dist: Path) -> Path:
    """Return a folder with what the engine would be given: the sources, and what was built elsewhere as `dist`."""
    folder.mkdir()
    shutil.copytree(root / "packaging", folder / "packaging")
    shutil.copytree(dist, folder / "dist")
    return folder
