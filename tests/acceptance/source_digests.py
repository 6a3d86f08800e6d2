"""What makes evidence STALE: the digests of cmake/source_digests.cmake, on a small tree of its own.

Comments, blank lines and line breaks are no change of the code; a statement, a constant, a directive or a
flag is.
"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

SCRIPT = os.path.abspath("cmake/source_digests.cmake")
KERNEL = """\
// A kernel.
#pragma once
#include "gpu/core/a.hpp"  // what for
#include <cstdio>
#define TWICE(x) ((x) + \\
                  (x))
/* A comment
   of two lines; with a [list] and a "string */
__global__ void f(float* x) {
  x[threadIdx.x] = TWICE(1.5f);
  printf("%g; // in a string\\n", x[0]);
}
"""
ENTRY = re.compile(r'\{"([^"]*)",\s*"([0-9a-f]{64})",\s*"([0-9a-f]{64})",\s*"([^"]*)",\s*\{([^}]*)\}\}')


class SourceDigests(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.table = self.root / "table.cpp"

    def entry(self, text, flags="-O3"):
        """Code, bytes, flags and includes of gpu/core/a.cu with this text."""
        for name in ("gpu/core", "reference/core"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "gpu/core/a.cu").write_text(text)
        (self.root / "reference/core/b.hpp").write_text("int b;\n")
        (self.root / "flags.cmake").write_text(f"set(flags_cuda {flags})\nset(flags_gpu/core/a.cu --fmad=false)\n")
        subprocess.run(["cmake", "-D", f"root={self.root}", "-D", "preprocessor=g++", "-D",
                        f"flags={self.root}/flags.cmake", "-D", f"output={self.table}", "-P", SCRIPT], check=True)
        entries = {name: rest for name, *rest in ENTRY.findall(self.table.read_text())}
        self.assertEqual(set(entries), {"gpu/core/a.cu", "reference/core/b.hpp"})
        return entries["gpu/core/a.cu"]

    def changed(self, old, new):
        self.assertIn(old, KERNEL)
        before, after = self.entry(KERNEL), self.entry(KERNEL.replace(old, new))
        self.assertNotEqual(before[1], after[1], "the bytes have changed")
        return before[0] != after[0]

    def test_an_entry_has_digests_flags_and_the_files_of_the_tree_that_are_included(self):
        _, _, flags, includes = self.entry(KERNEL)
        self.assertEqual((flags, includes.strip()), ("-O3 --fmad=false", '"gpu/core/a.hpp",'))

    def test_comments_and_line_breaks_are_no_change_of_the_code(self):
        for old, new in (("A kernel.", "Another."), ("  // what for", ""), ("of two lines", "of\n\n three"),
                         ("__global__ void", "// more\n\n__global__\n    void"), ("  printf", "\tprintf"),
                         ("// A kernel.\n", "")):
            self.assertFalse(self.changed(old, new), old)

    def test_everything_else_is(self):
        for old, new in (("1.5f", "1.25f"), ("%g", "%f"), ("(x) +", "(x) -"), ("cstdio", "cmath"),
                         ("// in a string", "// within a string"), ("x[0]", "x[1]"), ("a.hpp", "b.hpp"),
                         ("#pragma once\n", "")):
            self.assertTrue(self.changed(old, new), old)

    def test_the_table_is_left_alone_where_nothing_changes(self):
        self.entry(KERNEL)
        os.utime(self.table, (1, 1))
        self.entry(KERNEL)
        self.assertEqual(self.table.stat().st_mtime, 1)
        self.entry(KERNEL, flags="-O2")
        self.assertNotEqual(self.table.stat().st_mtime, 1)


if __name__ == "__main__":
    unittest.main()
