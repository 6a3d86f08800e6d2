"""The drivers that measure other libraries (harness/python/), as far as they need neither a device nor the libraries:
what they ask the program for, what they write to its files, and the rows that `report` reads.

The library is a kernel in NumPy under the name that the driver imports; torch is never touched, because tensors stay
arrays and no time is taken.
"""
import contextlib
import io
import json
import os
import re
import sys
import types
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import program
import simple_gla

sys.path.insert(0, os.path.abspath("harness/python"))
sys.modules.setdefault("torch", types.ModuleType("torch"))
import fla_rows
import groundstate
import mamba_rows
import peer

SECONDS = [1e-3, 2e-3, 3e-3]


def chunk_simple_gla(q, k, v, g, g_gamma, initial_state, output_final_state, fault=1):
    return simple_gla.forward(q, k, v, g=g, g_gamma=g_gamma, h0=initial_state * fault, form=simple_gla.chunked)


class PeerRows(program.ProgramTest):
    def rows(self, *cases, library=chunk_simple_gla, **replaced):
        """The exit code, the rows of fla_rows.py and what it printed."""
        names = ("fla", "fla.ops", "fla.ops.simple_gla")
        fla = {name: types.ModuleType(name) for name in names}
        fla[names[-1]].chunk_simple_gla = library
        fakes = {"read": program.load, "in_order": contextlib.nullcontext,
                 "device_name": lambda: "a device", "seconds_of": lambda work: SECONDS, **replaced}
        options = types.SimpleNamespace(cases=cases, output=self.at("rows.jsonl"), groundstate=program.PROGRAM)
        with mock.patch.dict(sys.modules, fla), mock.patch.multiple(peer, **fakes), \
                mock.patch.object(groundstate, "write", program.store), \
                mock.patch.object(fla_rows, "forget_tuning"), \
                contextlib.redirect_stdout(io.StringIO()) as text, contextlib.redirect_stderr(text):
            code = peer.measure(options, "a library 1.0", fla_rows.kernel_of, "triton 3.0")
        return code, [json.loads(line) for line in Path(options.output).read_text().splitlines()], text.getvalue()

    def test_a_row_has_a_verdict_a_time_and_a_place_beside_ours(self):
        case = "simple_gla T=100 gate=slow state=random"
        code, (row,), text = self.rows(case, "simple_gla dtype=fp32", "decayed_sum")
        self.assertEqual(code, 0, text)
        self.assertEqual((row["status"], row["library"], row["median"], row["quartiles"]),
                         ("PASSED", "a library 1.0", 2e-3, [1.5e-3, 2.5e-3]))
        self.assertEqual(text.count("UNSUPPORTED"), 2)
        ours = [{key: value for key, value in row.items() if key != "library"} | {"path": path, "median": median,
                 "quartiles": [median, median]} for path, median in (("gpu.auto", 1e-3), ("gpu.fused", 4e-3))]
        record, folder = self.at("all.jsonl"), self.at("report")
        Path(record).write_text("".join(json.dumps(each) + "\n" for each in [*ours, row]))
        self.succeeds("report", record, "-o", folder)
        summary = Path(folder, "summary.md").read_text()
        self.assertIn("2.00 a library 1.0", summary)
        self.assertIn("0.50 a library 1.0", summary)

    def test_a_run_that_is_cut_off_shows_how_far_it_came(self):
        case = "simple_gla T=100 gate=slow state=random"
        _, _, text = self.rows(case)
        self.assertEqual(re.findall(f"^(.*) in \\d+\\.\\d s: {case}$", text, re.M),
                         ["generated", "compiled and run", "timed", "judged"])

    def test_of_a_large_case_a_sample_is_judged(self):
        def library(q, *x, **y):
            """Right in the pairs of the sample, and nowhere else."""
            o, ht = chunk_simple_gla(q, *x, **y)
            outside = np.setdiff1d(np.arange(q.shape[2]), sample)
            o[:, :, outside] = ht[:, outside] = np.nan
            return o, ht

        sample = []
        case = "simple_gla T=256 H=400 K=128 V=128 state=random"
        for status in "FAILED", "PASSED":
            _, (row,), text = self.rows(case, library=library)
            self.assertEqual(row["status"], status, text)
            self.assertIn("of 400 (sequence, head) pairs the 8 (0, 0) ", row["note"])
            sample = [int(head) for head in re.findall(r"\(0, (\d+)\)", row["note"])][:8]

    def test_a_kernel_that_is_wrong_keeps_its_row(self):
        wrong = lambda *x, **y: chunk_simple_gla(*x, **y, fault=2)
        code, (row,), _ = self.rows("simple_gla T=100 gate=slow state=random", library=wrong)
        self.assertEqual((code, row["status"], row["median"]), (0, "FAILED", 2e-3))
        self.assertRegex(row["note"], "^triton 3.0; .*o: first at ")

    def test_a_case_that_breaks_is_told_about_and_leaves_the_others(self):
        def breaks(q, *x, **y):
            if q.shape[1] == 64:
                raise RuntimeError("no such kernel")
            return chunk_simple_gla(q, *x, **y)

        code, rows, text = self.rows("simple_gla T=64,65 state=random", library=breaks)
        self.assertEqual((code, [row["case"] for row in rows]), (1, ["simple_gla T=65 state=random"]))
        self.assertIn("RuntimeError: no such kernel", text)

    def test_mamba_is_imported_without_its_compiled_extensions(self):
        package = Path(self.at("mamba_ssm"))
        package.joinpath("ops", "triton").mkdir(parents=True)
        package.joinpath("__init__.py").write_text("import selective_scan_cuda\n")
        package.joinpath("ops", "triton", "selective_state_update.py").write_text(
            "def selective_state_update():\n    return 'found'\n")
        with mock.patch.object(sys, "path", [self.folder, *sys.path]), mock.patch.dict(sys.modules):
            self.assertEqual(mamba_rows.selective_state_update()(), "found")

    def test_mamba_takes_the_states_that_it_can_hold(self):
        taken = {}
        for line in self.succeeds("list", "@data/selective_state_update_bench.cases", "--json").splitlines():
            described = json.loads(self.succeeds("show", json.loads(line)["case"], "--json"))
            try:
                taken[described["case"]] = mamba_rows.kernel_of(described).recipe
            except peer.Unsupported as reason:
                self.assertRegex(str(reason), "no (state_dtype=(int16|int8|fp8)|rounding=stochastic)$")
        self.assertEqual(list(taken.values()), 7 * ["single"])


if __name__ == "__main__":
    unittest.main()
