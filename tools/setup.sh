#!/usr/bin/env bash
# Installs what the build needs and this machine lacks: Debian packages, and a Python environment in build/venv.
# Does nothing, quickly, when nothing is missing.
#   tools/setup.sh           for building, testing and the demo
#   tools/setup.sh --bench   also the peers that bench/ compares with
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  g++ cmake ninja-build ccache
  llvm-19-dev liblld-19-dev lld-19 zlib1g-dev libzstd-dev
  libprotobuf-dev protobuf-compiler libsqlite3-dev libxgboost-dev
  libgtest-dev libfmt-dev libspdlog-dev libcli11-dev nlohmann-json3-dev libpng-dev libjpeg-dev
  python3-venv python3-dev
  libopencv-dnn-dev libopencv-imgproc-dev libopencv-imgcodecs-dev
)
requirements=(tools/requirements.txt)
if [[ ${1:-} == --bench ]]; then
  requirements+=(tools/requirements-bench.txt)
elif [[ $# -gt 0 ]]; then
  echo "usage: tools/setup.sh [--bench]" >&2
  exit 2
fi

missing_packages() {
  local installed
  installed=" $(dpkg-query -W -f '${Package}:${db:Status-Status} ' "${packages[@]}" 2>/dev/null || true)"
  for package in "${packages[@]}"; do
    [[ $installed == *" $package:installed "* ]] || echo "$package"
  done
}

install_packages() {
  local missing prefix=()
  mapfile -t missing < <(missing_packages)
  [[ ${#missing[@]} -eq 0 ]] && return
  echo "setup: installing ${missing[*]}" >&2
  if [[ $(id -u) -ne 0 ]]; then
    if ! command -v sudo >/dev/null || { [[ ! -t 0 ]] && ! sudo -n true 2>/dev/null; }; then
      echo "setup: these Debian packages are missing; as root, run:" >&2
      echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
    prefix=(sudo)
  fi
  "${prefix[@]}" apt-get update -q >&2
  "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

# The environment rests on Debian's python3, whatever other python3 stands first in PATH.
make_venv() {
  local venv=build/venv wanted stamp=build/venv/.burnish-requirements site
  if [[ ! -x $venv/bin/python ]] || ! grep -q '^home = /usr/bin$' "$venv/pyvenv.cfg"; then
    rm -rf "$venv"
    mkdir -p build
    /usr/bin/python3 -m venv "$venv"
  fi
  # A stamp line per requirements file, so that --bench stays satisfied after a plain call.
  wanted=$(sha256sum "${requirements[@]}")
  if ! grep -qxF -f <(printf '%s\n' "$wanted") "$stamp" 2>/dev/null ||
    [[ $(grep -cxF -f <(printf '%s\n' "$wanted") "$stamp") -ne ${#requirements[@]} ]]; then
    echo "setup: Python packages into $venv" >&2
    "$venv/bin/python" -m pip install -q --disable-pip-version-check \
      "${requirements[@]/#/--requirement=}" >&2
    printf '%s\n' "$wanted" >"$stamp"
  fi
  # `import burnish` finds the package where the release build puts it.
  site=$(echo "$venv"/lib/python3.*/site-packages)
  [[ -f $site/burnish.pth && $(<"$site/burnish.pth") == "$PWD/build/release/python" ]] ||
    echo "$PWD/build/release/python" >"$site/burnish.pth"
}

install_packages
make_venv
