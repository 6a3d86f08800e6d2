#!/usr/bin/env bash
# Installs the Debian packages that the build needs and that are missing, as root or through sudo;
# with the argument `fuzz`, those of the fuzz targets too. Says so before it does; where it may not,
# it says which packages are needed and fails.
set -euo pipefail

packages=(
  cmake g++ make ninja-build
  libeigen3-dev libhdf5-dev libcli11-dev libfmt-dev libmd-dev nlohmann-json3-dev
  libgtest-dev
  libkainjow-mustache-dev gnuplot-nox
  python3-h5py python3-numpy
)

if [ "${1-}" = fuzz ]; then
  packages+=(clang libclang-rt-dev libomp-dev)  # libFuzzer and the sanitizers are in the second
fi

if ! command -v dpkg-query apt-get >/dev/null; then
  echo "Not a Debian system. Install the equivalents of these packages, then use the CMake presets:" >&2
  echo "  ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=absent
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
  as_root=(env)
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then
  as_root=(sudo env)
else
  echo "These packages are missing, and installing them needs root:" >&2
  echo "  apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "Installing the missing packages: ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
