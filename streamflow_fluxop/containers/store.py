"""How an engine gets an image: scripts for `/bin/sh` at the place where jobs run, and what they say.

Credentials, mirrors and trust are the engine's own: nothing of ours logs in anywhere.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from streamflow_fluxop.containers.engines import Engine
from streamflow_fluxop.containers.image import Image

_TOOLS = r"""
set -e
fetch() {  # a file or URL, to a file
  case $1 in
    http://* | https://* | ftp://*)
      if command -v curl >/dev/null; then curl -fsSL -o "$2" "$1"
      elif command -v wget >/dev/null; then wget -qO "$2" "$1"
      else python3 -c 'import sys, urllib.request as u; u.urlretrieve(*sys.argv[1:])' "$1" "$2"; fi ;;
    *) ln -sf "$1" "$2"; test -r "$1" || { echo "$1 can not be read" >&2; exit 1; } ;;
  esac
}
unpack() {  # a root file system, to a directory
  mkdir -p "$2"
  tar -C "$2" --no-same-owner --exclude='./dev/*' --exclude='dev/*' -xf "$1"
  chmod -R u+rwX "$2"
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"""
_MARK = "fluxop-image "
_DOCKER_DIGEST = "{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}"


@dataclass(frozen=True)
class Got:
    """An image that is there.

    Args:
        digest: as the engine says it, such as `sha256:…`; empty where it says none.
        fetched: whether it had to be got.
    """

    digest: str
    fetched: bool


class NoImage(Exception):
    """The image can't be got; the text says why, as the engine does."""


def script(engine: Engine, image: Image) -> str:
    """What makes an image be there, if it is not, and says what it is: read with `read`."""
    there, get, digest = _oci(engine, image) if not engine.has_files else _files(engine, image)
    said = f'printf \'%s%s %s\\n\' {shlex.quote(_MARK)} "$fetched" "$({digest})"'
    # what follows `||` or `if` is not ended by its first failure, whatever `set -e` says
    return f"{_TOOLS}\nif {there} >/dev/null 2>&1; then fetched=0; else fetched=1\n{{ {get}\n}} >&2\nfi\n{said}\n"


def is_there(engine: Engine, image: Image) -> str:
    """What ends with 0 where an image is there."""
    return (_oci(engine, image) if not engine.has_files else _files(engine, image))[0] + " >/dev/null 2>&1"


def read(exit_code: int, text: str) -> Got:
    """What `script` has printed.

    Raises:
        NoImage: it failed.
    """
    for line in reversed(text.splitlines()):
        if exit_code == 0 and line.startswith(_MARK):
            fetched, _, digest = line.removeprefix(_MARK).partition(" ")
            return Got(digest.strip(), fetched == "1")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("Trying to pull")]
    raise NoImage("; ".join(_plain(line) for line in lines[-2:]) or f"exit code {exit_code}")


def _plain(line: str) -> str:
    return re.sub(r"^(?:Error: |time=\S+ level=\w+ msg=)", "", line.strip())


def _oci(engine: Engine, image: Image) -> tuple[str, str, str]:
    """Podman and docker: whether it is there, how to get it, its digest."""
    tool, name = engine.name, shlex.quote(image.name)
    tag = f'test "$got" = {name} || {tool} tag "$got" {name}'
    if image.file is not None:
        text = shlex.quote(image.file)
        get = f'printf %s {text} >"$work/Dockerfile"; {tool} build --tag={name} "$work"'
    elif image.load is not None:
        get = (
            f'fetch {shlex.quote(image.load)} "$work/image"; said=$({tool} load --input "$work/image"); '
            f'got=$(printf "%s\\n" "$said" | sed -n "s/^Loaded image[^:]*: *//p" | head -n 1); {tag}'
        )
    elif image.import_ is not None:
        get = f'fetch {shlex.quote(image.import_)} "$work/image"; {tool} import "$(readlink -f "$work/image")" {name}'
    elif image.pull is not None:
        get = f'got={shlex.quote(image.pull)}; {tool} pull --quiet "$got"; {tag}'
    else:
        get = f"echo there is no image {name} here, and nothing says where to get it; exit 1"
    shown = "{{.Digest}}" if tool == "podman" else _DOCKER_DIGEST
    digest = f"{tool} image inspect --format {shlex.quote(shown)} {name}"
    return f"{tool} image inspect {name}", get, digest


def _files(engine: Engine, image: Image) -> tuple[str, str, str]:
    """apptainer, singularity and charliecloud: a file or directory, whole or not there at all."""
    place = shlex.quote(engine.image_at(image.name))
    folder = shlex.quote(engine.images)
    make = _directory(image) if engine.name == "charliecloud" else _sif(engine, image)
    keep = f'if test -e {place}; then rm -rf "$part"; else mv "$part" {place}; fi'  # another run may have been faster
    get = f"mkdir -p {folder}; part={place}.$$; {make}; {keep}"
    digest = "true" if engine.name == "charliecloud" else f"sha256sum {place} | sed 's/ .*//; s/^/sha256:/'"
    return f"test -e {place}", get, digest


def _sif(engine: Engine, image: Image) -> str:
    tool = engine.name
    if image.load is not None:
        build = f'{tool} build "$part" "docker-archive://$(readlink -f "$work/image")"'
        return f'fetch {shlex.quote(image.load)} "$work/image"; {build}'
    if image.import_ is not None:
        source = shlex.quote(image.import_)
        return f'fetch {source} "$work/image"; unpack "$work/image" "$work/root"; {tool} build "$part" "$work/root"'
    if image.file is not None:
        return (
            f'printf %s {shlex.quote(image.file)} >"$work/Dockerfile"; '
            'if command -v buildah >/dev/null; then tool="buildah"; else tool="podman"; fi; '
            "command -v $tool >/dev/null || { echo a dockerFile needs buildah or podman to be built; exit 1; }; "
            '$tool build --tag=localhost/fluxop-build "$work"; '
            '$tool push localhost/fluxop-build "docker-archive:$work/image"; '
            f'{tool} build "$part" "docker-archive://$work/image"'
        )
    source = image.pull or image.image_id or ""
    return f'{tool} pull --force "$part" {shlex.quote(source if "://" in source else f"docker://{source}")}'


def _directory(image: Image) -> str:
    if image.import_ is not None:
        return f'fetch {shlex.quote(image.import_)} "$work/image"; unpack "$work/image" "$part"'
    if image.load is not None:
        return (
            f'fetch {shlex.quote(image.load)} "$work/image"; '
            'mkdir "$work/layers"; tar -C "$work/layers" -xf "$work/image"; '
            f'python3 -c {shlex.quote(_LAYERS)} "$work/layers" | while read -r layer; do '
            'unpack "$work/layers/$layer" "$part"; done'
        )
    if image.file is not None:
        return (
            f'printf %s {shlex.quote(image.file)} >"$work/Dockerfile"; '
            'ch-image build --force --tag=fluxop-build "$work"; ch-convert fluxop-build "$part"'
        )
    source = shlex.quote(image.pull or image.image_id or "")
    return f'ch-image pull {source}; ch-convert -i ch-image -o dir {source} "$part"'


_LAYERS = "import json,sys;print(*json.load(open(sys.argv[1]+'/manifest.json'))[0]['Layers'],sep='\\n')"
