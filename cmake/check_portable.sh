#!/usr/bin/env bash
# Checks that a binary needs no shared library beyond the C library, libm and libgomp; prints its size.
set -euo pipefail

binary=$1
libraries=$(ldd "$binary" | awk '{print $1}')
others=$(grep -Ev '^(linux-vdso|libc|libm|libgomp|libpthread|libdl|librt)\.so|ld-linux' <<<"$libraries" || true)
if [ -n "$others" ]; then
  echo "$binary needs more than libc, libm and libgomp:" $others >&2
  exit 1
fi
glibc=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
echo "$binary: $(stat -c %s "$binary") bytes, needs" $(grep -v -e vdso -e ld-linux <<<"$libraries") "($glibc)"
