"""Wrong usage and bad input end with exit code 2 and one line that names the thing and what is accepted, and nothing
is written; what the machine fails at ends with 4, nothing judged with 3, Ctrl-C with 130, and files stay valid.
"""

import hashlib
import json
import os
import resource
import signal
import subprocess
import time
import unittest

import h5py
import numpy as np
from program import PROGRAM, ProgramTest, groundstate

FIELDS = {"schema", "case", "id", "operator", "path", "recipe", "form", "device", "status", "seconds", "tensors",
          "reproducer", "environment"}
STATUSES = {"PASSED", "MARGINAL", "FAILED", "MISTRUSTED", "UNAVAILABLE", "UNSUPPORTED"}


def records_of(text):
    """JSON Lines: every line parses, the last one ends, and a result has its fields."""
    assert text == "" or text.endswith("\n"), text[-200:]
    records = [json.loads(line) for line in text.splitlines()]
    for record in records:
        assert record["schema"] == 1 and record["status"] in STATUSES, record
        assert {"equality", "raised_limit_problem"} & set(record) or FIELDS <= set(record), FIELDS - set(record)
        for tensor in record.get("tensors", {}).values():
            assert {"status", "clauses"} <= set(tensor), tensor
            for clause in tensor["clauses"].values():
                assert not clause["applicable"] or {"value", "limit", "passed"} <= set(clause), clause
            if tensor["status"] == "FAILED" and "where" in tensor:
                assert {"first_bad", "got", "expected"} <= set(tensor), tensor
    return records


class EndTest(ProgramTest):
    def contents(self):
        """Every file below the folder, hidden ones too, with a digest of its bytes."""
        found = {}
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.join(folder, name)] = hashlib.sha256(file.read()).hexdigest()
        return found

    def ends(self, code, arguments, words, **options):
        """With this code and one line on standard error that has the words; no file has changed."""
        before = self.contents()
        end = groundstate(*arguments, cwd=self.folder, **options)
        shown = f"{arguments}\n{end.stdout}{end.stderr}"
        self.assertEqual(end.returncode, code, shown)
        self.assertEqual(len(end.stderr.splitlines()), 1, shown)
        self.assertTrue(end.stderr.startswith("groundstate: "), shown)
        self.assertLess(len(end.stderr), 1000, shown)
        for word in words:
            self.assertIn(word, end.stderr, shown)
        for word in "std::", "exception", "basic_string", "terminate", "json.":
            self.assertNotIn(word, end.stderr, shown)
        self.assertEqual(self.contents(), before, shown)
        return end

    def refused(self, *arguments, words):
        self.assertEqual(self.ends(2, arguments, words).stdout, "")


class Usage(EndTest):
    def test_verbs_and_flags(self):
        for arguments, *words in [
            ([], "verb", "compare", "generate", "run"),
            (["frobnicate"], "frobnicate", "compare"),
            (["compair", "x.h5"], "compair", "did you mean 'compare'?"),
            (["list", "--nope"], "--nope"),
            (["run"], "case", "required"),
            (["compare"], "file", "required"),
            (["generate", "simple_gla T=8"], "--output", "required"),
            (["generate", "simple_gla T=8", "-o", "a.h5", "--as", "bf16"], "--as", "bf16", "fp32"),
            (["run", "simple_gla T=8", "--threads", "0"], "--threads", "0", "1", "1024"),
            (["run", "simple_gla T=8", "--threads", "many"], "--threads", "many"),
            (["run", "simple_gla T=8", "--pairs", "0"], "--pairs", "0", "all, auto, a number from 1 on"),
            (["run", "simple_gla T=8", "--pairs", "some"], "--pairs", "some", "all, auto, a number from 1 on"),
            (["compare", "a.h5", "--pairs", "-1"], "--pairs", "-1", "all, auto, a number from 1 on"),
            (["compare", "a.h5", "--checks", "--sample-only"], "--checks", "--sample-only"),
            (["run", "simple_gla T=8", "--max-cost", "-1"], "--max-cost", "-1", "a number above 0"),
            (["run", "simple_gla T=8", "--max-cost", "nan"], "--max-cost", "nan", "a number above 0"),
            (["run", "simple_gla T=8", "--max-cost", "1e"], "--max-cost", "1e", "a number above 0"),
            (["run", "simple_gla T=8", "--max-memory", "0"], "--max-memory", "0", "a number above 0"),
            (["bench"], "case", "required"),
            (["bench", "simple_gla T=8", "--repetitions", "29"], "--repetitions", "29", "a number from 30 to 1000000"),
            (["bench", "simple_gla T=8", "--repetitions", "many"], "--repetitions", "many"),
            (["bench", "simple_gla T=8", "--budget", "0"], "--budget", "0", "a number above 0"),
            (["bench", "simple_gla T=8", "-o", ""], "--output", "empty"),
            (["bench", "simple_gla T=8", "--path", "chunkd"], "chunkd", "did you mean 'chunked'?"),
            (["bench", "simple_gla T=8", "simple_gla T=-8", "-o", "a.jsonl"], "T=-8"),
            (["calibrate"], "-o", "folder"),
            (["calibrate", "-o", "a", "--share", "2"], "--share", "2", "0", "1"),
            (["calibrate", "-o", "a", "--seeds", "0"], "--seeds", "0", "1", "1000"),
            (["calibrate", "simple_gla T=-8", "-o", "a"], "T=-8"),
            (["calibrate", "page"], "file", "required"),
            (["calibrate", "page", "a.jsonl"], "a.jsonl", "cannot be read"),
            (["run", "simple_gla T=8", "-o", ""], "--output", "empty"),
            (["run", "simple_gla T=8", "--save", ""], "--save", "empty"),
            (["generate", "simple_gla T=8", "-o", ""], "--output", "empty"),
            (["compare", ""], "file", "empty"),
        ]:
            self.refused(*arguments, words=words)

    def test_case_lines(self):
        for line, *words in [
            ("", "empty"),
            (" ", "empty"),
            ("simple_glaa", "simple_glaa", "did you mean 'simple_gla'?"),
            ("simple_gla T", "'T' is not key=value"),
            ("simple_gla T=", "T=", "an integer in [0, "),
            ("simple_gla =3", "no key ''"),
            ("simple_gla T=-1", "T=-1", "an integer in [0, "),
            ("simple_gla T=1.5", "T=1.5", "an integer"),
            ("simple_gla T=0x10", "T=0x10", "an integer"),
            ("simple_gla B=0", "B=0", "an integer in [1, "),
            ("simple_gla T=99999999999999999999", "T=99999999999999999999", "an integer"),
            ("simple_gla T=3 T=4", "T is given twice"),
            ("simple_gla TT=3", "TT", "did you mean 'T'?"),
            ("simple_gla chunk=64", "chunk is a path key", "--path"),
            ("simple_gla gate=slwo", "gate=slwo", "open|", "did you mean 'slow'?"),
            ("simple_gla gamma=fast", "gamma=fast", "retnet|lightning|alibi or a finite number"),
            ("simple_gla scale=nan", "scale=nan", "a finite number"),
            ("simple_gla dtype=fp8", "dtype=fp8", "fp64|fp32|bf16|fp16"),
            ("simple_gla H=2 HV=3", "HV=3", "a multiple of H"),
            ("simple_gla lengths=3++4", "lengths=3++4", "joined by '+'"),
            ("simple_gla lengths=3+4 T=8", "T=8", "whose sum is 7"),
            ("simple_gla lengths=3+4 B=2", "B=2", "B=1"),
            ("simple_gla T=5:1", "T=5:1", "backwards"),
            ("simple_gla T=1:9:0", "T=1:9:0", "step"),
            ("simple_gla T=1:9:3", "T=1:9:3", "do not reach"),
            ("simple_gla T=0:10000000", "T=0:10000000", "a sweep of more than"),
            ("simple_gla T/H=3/4/5", "T/H=3/4/5", "2 values"),
            ("simple_gla T=1099511627776 K=1099511627776", "overflow", "at most"),
            ("simple_gla T=1099511627776", "GiB", "this machine has"),
            ("simple_gla lengths=1099511627776+1099511627776", "GiB", "this machine has"),
        ]:
            for verb in ["list"], ["show"], ["run", "-o", "a.jsonl"], ["generate", "-o", "a.h5"]:
                self.refused(*verb, line, words=words)
        self.refused("show", "simple_gla T=3,4", words=["one case", "2"])
        # All lines are checked before the first one runs.
        self.refused("run", "simple_gla T=8", "simple_gla T=-8", "-o", "a.jsonl", words=["T=-8"])

    def test_paths_and_recipes(self):
        for path, *words in [
            ("", "no name of a path"),
            ("chunkd", "chunkd", "did you mean 'chunked'?", "accepted: recurrent"),
            ("chunked[chunk=0]", "chunk=0", "an integer in [1, "),
            ("chunked[chunk=64", "chunked[chunk=64", "']'"),
            ("chunked[chunky=64]", "chunky", "did you mean 'chunk'?"),
            ("recurrent[chunk=3]", "recurrent takes no key chunk"),
            ("chunked:half", "half", "accepted: exact single"),
        ]:
            self.refused("run", "simple_gla T=8", "-o", "a.jsonl", "--path", path, words=words)

    def test_case_files(self):
        self.refused("run", "@missing.cases", words=["missing.cases", "No such file"])
        self.refused("run", "@.", words=["directory"])
        self.refused("run", "@", words=["'@'", "file"])
        for text, *words in [
            ("simple_gla T=8\n", "a.cases:1", "<case line> | <reason>"),
            ("simple_gla T=8 | why\n\nsimple_gla T=x | why\n", "a.cases:3", "T=x", "an integer"),
            ("simple_gla T=8 | why\nsimple_gla HV=3 | why\n", "a.cases:2", "HV=3", "a multiple of H"),
            ("@a.cases\n", "includes itself"),
            ("| more\n", "a.cases:1", "continues the entry above"),
            ("\0\1", "a.cases:1", "not text: byte 0x00"),
            ("simple_gla T=8 | why | raise nothing\n", "a.cases:1", "raise <path>/<clause>"),
        ]:
            with open(self.at("a.cases"), "w") as file:
                file.write(text)
            self.refused("run", "@a.cases", "-o", "a.jsonl", words=words)

    def test_outputs_that_cannot_be_written(self):
        os.mkdir(self.at("folder"))
        with open(self.at("file"), "w") as file:
            file.write("kept")
        one = "simple_gla T=8 H=1 K=8 V=8"
        for arguments, *words in [
            (["generate", one, "-o", "missing/a.h5"], "missing/a.h5", "No such file or directory"),
            (["generate", one, "-o", "folder"], "folder", "not a file"),
            (["generate", one, "-o", "file/a.h5"], "file/a.h5", "Not a directory"),
            (["generate", one, "-o", "/proc/a.h5"], "/proc/a.h5"),
            (["run", one, "--save", "missing/a.h5", "-o", "a.jsonl"], "missing/a.h5", "No such file or directory"),
            (["run", one, "--save", "folder", "-o", "a.jsonl"], "folder", "not a file"),
            (["run", one, "-o", "folder"], "folder", "directory"),
            (["run", one, "-o", "folder", "--save", "a.h5"], "folder", "directory"),
            (["run", one, "-o", "file/a.jsonl"], "file/a.jsonl", "Not a directory"),
            (["run", one, "-o", "/proc/a.jsonl"], "/proc/a.jsonl"),
        ]:
            self.refused(*arguments, words=words)
        if os.geteuid() != 0:
            os.chmod(self.at("folder"), 0o555)
            self.refused("generate", one, "-o", "folder/a.h5", words=["folder/a.h5", "Permission denied"])
            self.refused("run", one, "-o", "folder/a.jsonl", words=["folder/a.jsonl", "Permission denied"])
        self.succeeds("run", one, "--path", "recurrent", "-o", self.at("new/er/a.jsonl"))
        with open(self.at("new/er/a.jsonl")) as file:
            self.assertEqual(records_of(file.read())[0]["path"], "recurrent")


class Files(EndTest):
    case = "simple_gla T=40 K=8 V=12 state=random dtype=fp32"

    def setUp(self):
        super().setUp()
        with open(self.generated(self.case, name="good.h5"), "rb") as file:
            self.good = file.read()

    def bad(self, name="bad.h5"):
        """A good file that is to be spoilt."""
        with open(self.at(name), "wb") as file:
            file.write(self.good)
        return h5py.File(self.at(name), "r+")

    def refused_file(self, *options, words):
        with open(self.at("old.jsonl"), "w") as file:
            file.write("earlier results\n")
        self.refused("compare", "bad.h5", *options, "-o", "old.jsonl", words=["bad.h5", *words])

    def test_files_that_are_none(self):
        self.refused("compare", "missing.h5", words=["missing.h5", "No such file"])
        self.refused("compare", ".", words=["not a file"])
        self.refused("compare", "/dev/null", words=["/dev/null", "not a file"])
        foreign = [b"", b"text\n", b"\x89PNG\r\n\x1a\n" + bytes(100), b"\x89HDF\r\n\x1a\n", b"PK\x03\x04" + bytes(2000)]
        truncated = [self.good[:size] for size in (4, 8, 50, 96, 500, 1000, 2048, len(self.good) // 2)]
        for content in foreign + truncated + [self.good[:-1]]:
            with open(self.at("bad.h5"), "wb") as file:
                file.write(content)
            self.refused_file(words=["damaged or not a readable HDF5 file"])

    def test_flipped_bits(self):
        """A damaged file is refused, or only a value has changed; nothing crashes or hangs."""
        random = np.random.default_rng(1)
        for place in random.integers(0, 4096, 60):
            content = bytearray(self.good)
            content[place] ^= 1 << int(random.integers(8))
            with open(self.at("bad.h5"), "wb") as file:
                file.write(content)
            end = groundstate("compare", "bad.h5", cwd=self.folder)
            self.assertIn(end.returncode, (1, 2, 3), end.stderr)
            if end.returncode == 2:
                self.assertEqual((end.stdout, len(end.stderr.splitlines())), ("", 1), end.stderr)

    def test_structure(self):
        def replaced(name, **with_):
            with self.bad() as file:
                del file[name]
                file.create_dataset(name, **with_)

        with self.bad() as file:
            file["inputs/Q"] = np.zeros(3)
        self.refused_file(words=["/inputs/Q", "no such tensor", "did you mean 'q'?", "accepted: q k v g g_gamma h0"])
        with self.bad() as file:
            file["outputs/out"] = np.zeros(3)
        self.refused_file(words=["/outputs/out", "no such tensor", "accepted: o ht"])
        with self.bad() as file:
            file["outputs/mine/out"] = np.zeros(3)
        self.refused_file(words=["/outputs/mine/out", "no such tensor", "accepted: o ht"])
        with self.bad() as file:
            file["output/o"] = np.zeros(3)
        self.refused_file(words=["/output", "unknown group", "nearest: outputs"])
        with self.bad() as file:
            file["o"] = np.zeros(3)
        self.refused_file(words=["/o", "outputs"])
        with self.bad() as file:
            del file["inputs/k"]
        self.refused_file(words=["inputs/k is missing", "simple_gla needs it"])
        with self.bad() as file:
            del file["inputs/h0"]
        self.refused_file(words=["inputs/h0 is missing", "state=random"])
        with self.bad() as file:
            del file["inputs/k"]
            file["inputs/k"] = h5py.SoftLink("/inputs/q")
        self.refused_file(words=["/inputs/k", "soft links are refused"])
        with self.bad() as file:
            file.attrs["schema"] = 2
        self.refused_file(words=["schema 2", "schema 1"])
        replaced("inputs/q", data="words")
        self.refused_file(words=["/inputs/q", "text", "accepted are IEEE"])

    def test_case_attribute(self):
        with self.bad() as file:
            del file.attrs["case"]
        self.refused_file(words=["no attribute `case`", "--case 'simple_gla'"])
        self.refused_file("--case", "simple_gla T=39 state=random", words=["T=39", "T=40", "inputs/q"])
        self.refused_file("--case", "nothing", words=["nothing", "simple_gla"])
        self.refused_file("--case", "decayed_sum", words=["decayed_sum", "simple_gla"])
        with self.bad() as file:
            file.attrs["case"] = "simple_gla T=x"
        self.refused_file(words=["T=x", "an integer"])
        with self.bad() as file:
            file.attrs["case"] = "decayed_sum"
        self.refused_file(words=["decayed_sum", "simple_gla"])
        with self.bad() as file:
            file.attrs["case"] = 7
        self.refused_file(words=["attribute case", "text"])
        with self.bad() as file:
            file.attrs["case"] = self.case.replace("T=40", "T=41")
        self.refused_file(words=["T=41", "T=40", "inputs/q"])
        with self.bad() as file:
            file.attrs["case"] = self.case.replace("fp32", "bf16")
        self.refused_file(words=["dtype=bf16", "dtype=fp32"])
        with self.bad() as file:
            file.attrs["case"] = "simple_gla T=1000000000000"
            del file["inputs"]
        self.refused_file(words=["GiB", "this machine has"])
        with self.bad():
            pass
        self.refused_file("--case", "simple_gla T=7", words=["T=40", "T=7"])

    def test_shapes_and_types(self):
        def given(name, change, words):
            with self.bad() as file:
                values = change(file[name][...])
                del file[name]
                file[name] = values
            self.refused_file(words=[name, *words])

        given("inputs/k", lambda x: x[:, :-1], ["1 x 39 x 2 x 8", "[batch, time, head, key] = 1 x 40 x 2 x 8"])
        given("inputs/k", lambda x: x.swapaxes(1, 2), ["transposed", "expected [batch, time, head, key]"])
        given("inputs/g", lambda x: x[..., None], ["4 dimensions", "[batch, time, value_head]"])
        given("inputs/h0", lambda x: np.concatenate([x, x]), ["2 x 2 x 8 x 12", "1 x 2 x 8 x 12"])
        given("inputs/h0", lambda x: x.swapaxes(2, 3), ["transposed", "[sequence, value_head, key, value]"])
        given("inputs/v", lambda x: x.astype(np.float64), ["fp64", "fp32"])
        given("inputs/q", lambda x: x.astype(np.float64), ["fp64", "fp32"])
        given("inputs/v", lambda x: x.astype(np.float32).view(np.int32), ["int32", "fp32"])
        given("inputs/v", lambda x: x.astype(np.uint16), ["uint16", 'dtype="bfloat16"'])
        given("inputs/v", lambda x: x.astype(np.complex64), ["compound", "accepted are IEEE"])
        given("inputs/v", lambda x: x > 0, ["enumeration", "accepted are IEEE"])
        given("outputs/o", lambda x: x[:, :, :, :-1], ["1 x 40 x 2 x 11", "1 x 40 x 2 x 12"])
        given("outputs/o", lambda x: x.swapaxes(1, 2), ["transposed", "[batch, time, value_head, value]"])
        given("outputs/ht", lambda x: x.swapaxes(2, 3), ["transposed", "[sequence, value_head, key, value]"])
        given("outputs/o", lambda x: np.zeros(x.shape, np.uint16), ["uint16", 'dtype="bfloat16"'])
        given("outputs/o", lambda x: np.zeros(x.shape, np.int64), ["int64", "fp32"])

    def test_marks(self):
        with open(self.generated("simple_gla T=40 K=8 V=8", "--as", "fp32", name="marked.h5"), "rb") as file:
            self.good = file.read()
        with self.bad() as file:
            file["inputs/k"][0, 3, 1, 2] += 2e-6
        self.refused_file(words=["/inputs/k", "marked as bf16", "1 elements"])
        with self.bad() as file:
            file["inputs/k"].attrs["dtype"] = "float"
        self.refused_file(words=["/inputs/k", "bfloat16", "float16"])

    def test_packed_sequences(self):
        line = "simple_gla lengths=10+30 K=8 V=12 state=random dtype=fp32"
        with open(self.generated(line, name="packed.h5"), "rb") as file:
            self.good = file.read()

        def given(offsets, words):
            for keep_case in True, False:
                with self.bad() as file:
                    del file["inputs/cu_seqlens"]
                    file["inputs/cu_seqlens"] = np.asarray(offsets)
                    if not keep_case:
                        del file.attrs["case"]
                self.refused_file(*([] if keep_case else ["--case", "simple_gla"]), words=words)

        given([0, 30, 20, 40], ["cu_seqlens", "20 after 30"])
        given([0, 10, 39], ["cu_seqlens"])
        given([0, 10, 41], ["cu_seqlens"])
        given([1, 10, 40], ["cu_seqlens"])
        given([-1, 10, 40], ["cu_seqlens"])
        given([0], ["cu_seqlens", "two"])
        given([], ["cu_seqlens", "two"])
        given([0.0, 10.0, 40.0], ["cu_seqlens"])
        given([[0, 10, 40]], ["cu_seqlens", "2 dimensions", "[offset]"])
        with self.bad() as file:
            del file.attrs["case"], file["inputs/cu_seqlens"]
            file["inputs/cu_seqlens"] = np.array([0, 5, 10, 40])
        self.refused_file("--case", "simple_gla", words=["/inputs/h0", "2 x 2 x 8 x 12", "3 x 2 x 8 x 12"])
        with self.bad() as file:
            del file["inputs/cu_seqlens"]
        self.refused_file(words=["inputs/cu_seqlens is missing"])
        with self.bad() as file:
            del file["inputs/cu_seqlens"]
            file["inputs/cu_seqlens"] = np.array([0, 20, 40])
        self.refused_file(words=["lengths", "10+30", "20+20", "cu_seqlens"])

    def test_a_long_case_line_is_cut_in_messages(self):
        line = f"simple_gla lengths={'+'.join(1000 * '1')} H=1 K=1 V=1 state=random"
        with h5py.File(self.generated(line, name="bad.h5"), "r+") as file:
            k = file["inputs/k"][...]
            del file["inputs/k"]
        self.refused_file(words=["inputs/k is missing"])
        with h5py.File(self.at("bad.h5"), "r+") as file:
            file["inputs/k"] = np.zeros(k.shape, np.float32)
        self.refused_file(words=["/inputs/k", "fp32", "the case", "...", "has bf16 here"])
        self.refused("compare", "bad.h5", "--case", "simple_gla lengths=1", words=["the file says case", "..."])
        with h5py.File(self.at("bad.h5"), "r+") as file:
            del file.attrs["case"]
        self.refused_file("--case", line.replace("=1+", "=2+"), words=["lengths=1+1+1", "..."])
        self.refused("list", line + " T=3", words=["T=3", "whose sum is 1000"])
        self.refused("list", line + " B=1000000000", words=["B=1000000000"])
        self.refused("list", line.replace("K=1", "K=1000000000"), words=["lengths=1+1+1", "GiB"])

    def test_options_of_compare(self):
        with self.bad():
            pass
        self.refused("compare", "bad.h5", "--only", "ho", words=["--only ho", "accepted: o ht"])
        self.refused("compare", "bad.h5", "--recipe", "half", words=["half", "tensorcore-bf16"])
        self.refused("compare", "bad.h5", "--form", "chunkd", words=["chunkd", "did you mean 'chunked'?"])
        self.refused("compare", "bad.h5", "--bitwise", words=["--bitwise", "--against"])
        self.refused("compare", "bad.h5", "--against", "nothing", words=["nothing", "accepted: recurrent"])
        self.refused("compare", "bad.h5", "--against", "missing.h5", words=["missing.h5", "No such file"])
        self.generated("simple_gla T=3,4 K=8 V=8 H=1", name="two.h5")
        self.refused("compare", "bad.h5", "--against", "two.h5", words=["two.h5", "no case"])
        with self.bad() as file:
            file["outputs"].attrs["recipe"] = "half"
        self.refused_file(words=["half", "tensorcore-bf16"])
        with self.bad() as file:
            file["outputs"].attrs["recipe"] = "two\nlines" + 1000 * "!"
        self.refused_file(words=[r"recipe 'two\x0alines!!", "tensorcore-bf16"])
        with self.bad() as file:
            file["outputs"].attrs["form"] = "chunkd"
        self.refused_file(words=["chunkd", "did you mean 'chunked'?"])
        for form in 2000 * "x", 2000 * "x" + "[chunk=3]", "chunked:" + 2000 * "x":
            with self.bad() as file:
                file["outputs"].attrs["form"] = form
            self.refused_file(words=["xxx..."])

    def test_all_cases_of_a_file_are_checked_before_the_first_is_judged(self):
        path = self.generated("simple_gla T=3,4 K=8 V=8 H=1", name="bad.h5")
        with h5py.File(path, "r+") as file:
            last = sorted(file)[-1]
            del file[last]["outputs/o"]
            file[last]["outputs/o"] = np.zeros(5)
        self.refused_file(words=["/outputs/o"])

    def test_inputs_outside_their_domain(self):
        with self.bad() as file:
            file["inputs/v"][0, 7, 1, 3] = np.inf
            file["inputs/v"][0, 9, 1, 3] = np.nan
        self.refused_file("--strict", words=["inputs/v", "2 elements", "batch=0 time=7 value_head=1 value=3", "finite"])
        end = groundstate("compare", "bad.h5", cwd=self.folder)
        self.assertEqual(end.returncode, 1, end.stdout)
        self.assertEqual(len(end.stderr.splitlines()), 1, end.stderr)
        self.assertIn("warning: ", end.stderr)
        self.assertIn("inputs/v has 2 elements", end.stderr)

    def test_a_warning_does_not_precede_an_error(self):
        with h5py.File(self.generated("simple_gla T=3,4 K=8 V=8 dtype=fp32", name="bad.h5"), "r+") as file:
            first, last = file.values()
            first["inputs/v"][...] = np.nan
            del last["inputs/k"]
        self.refused_file(words=["inputs/k is missing"])


class Resources(EndTest):
    """The disk, the pipe, the interrupt."""

    big = "simple_gla T=2000 H=2 dtype=fp32 gate=slow"

    def limited(self, size):
        return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}

    def test_a_full_disk(self):
        for size in 0, 100, 5000, 1 << 20:
            self.ends(4, ["generate", self.big, "-o", "a.h5"], ["a.h5", "File too large"], **self.limited(size))
            self.ends(4, ["run", self.big, "--path", "recurrent", "--no-contracts", "--save", "a.h5"], ["a.h5"],
                      **self.limited(size))
        self.ends(4, ["run", "simple_gla T=8", "-o", "/dev/full"], ["/dev/full", "No space left on device"])

    def test_a_full_disk_leaves_whole_records(self):
        end = groundstate("run", "simple_gla T=1:20 H=1 K=8 V=8", "-o", "a.jsonl", cwd=self.folder,
                          **self.limited(30000))
        self.assertEqual(end.returncode, 4, end.stderr)
        self.assertIn("a.jsonl: writing failed: File too large", end.stderr)
        with open(self.at("a.jsonl")) as file:
            self.assertGreater(len(records_of(file.read())), 3)

    def test_a_full_standard_output(self):
        self.generated("simple_gla T=8 dtype=fp32", name="a.h5")
        for arguments in [["list"], ["show", "simple_gla"], ["support"], ["run", "simple_gla T=8"],
                          ["run", "simple_gla T=8", "--json"], ["compare", "a.h5"], ["compare", "a.h5", "--json"],
                          ["list", "simple_gla T=1:5000"], ["generate", "simple_gla T=8", "-o", "b.h5"], ["--help"]]:
            with open("/dev/full", "w") as full:
                end = subprocess.run([PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
                                     cwd=self.folder)
            self.assertEqual((end.returncode, len(end.stderr.splitlines())), (4, 1), f"{arguments} {end.stderr}")
            self.assertIn("No space left on device", end.stderr)

    def test_a_closed_pipe(self):
        for arguments in ["list"], ["list", "simple_gla T=1:20000"], ["run", "simple_gla T=1:50 H=1 K=8 V=8"], [
                "run", "simple_gla T=1:50 H=1 K=8 V=8", "--json"]:
            program = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            program.stdout.read(1)
            program.stdout.close()
            errors = program.stderr.read()
            program.stderr.close()
            self.assertIn(program.wait(60), (0, 4), arguments)
            self.assertEqual(errors, b"", arguments)

    def test_nothing_judged(self):
        with h5py.File(self.generated(self.big, name="a.h5"), "r+") as file:
            del file["outputs"]
        end = groundstate("compare", "a.h5", "-o", "a.jsonl", cwd=self.folder)
        self.assertEqual((end.returncode, end.stderr), (3, ""), end.stdout)
        self.assertIn("0 passed", end.stdout)
        self.assertIn("not given: o", end.stdout)
        end = groundstate("run", "simple_gla T=100", "--max-cost", "1000", "--json", cwd=self.folder)
        self.assertEqual((end.returncode, end.stderr), (3, ""))
        records = records_of(end.stdout)
        self.assertEqual({record["status"] for record in records}, {"UNSUPPORTED"})
        self.assertTrue(all("--max-cost" in record["note"] for record in records))
        end = groundstate("run", "simple_gla T=100", "--max-memory", "1e-6", "--json", cwd=self.folder)
        self.assertEqual({record["status"] for record in records_of(end.stdout)}, {"UNSUPPORTED"})
        self.assertEqual(end.returncode, 3)

    def test_records(self):
        records = records_of(self.succeeds("run", "simple_gla T=65", "--json"))
        self.assertEqual({record["status"] for record in records} - {"UNAVAILABLE"}, {"PASSED"})
        self.assertTrue(any("equality" in record for record in records))
        self.generated("simple_gla T=65", name="a.h5")
        failed = records_of(groundstate("compare", "a.h5", "--json", cwd=self.folder).stdout)
        self.assertEqual([record["status"] for record in failed], ["FAILED"])

    def test_a_named_path_without_its_device(self):
        arguments = ["run", "simple_gla T=8 K=4 V=4", "--path", "gpu.recurrent", "--path", "recurrent", "--json"]
        if self.statuses(groundstate(*arguments))["gpu.recurrent"] != "UNAVAILABLE":
            self.skipTest("there is a device")
        end = self.ends(4, arguments, ["needs a device"])
        self.assertEqual(self.statuses(end), {"gpu.recurrent": "UNAVAILABLE", "recurrent": "PASSED"})
        self.assertEqual(groundstate("run", "simple_gla T=8 K=4 V=4").returncode, 0)

    def statuses(self, end):
        return {record["path"]: record["status"] for record in records_of(end.stdout) if "path" in record}

    def interrupted(self, arguments, ready):
        program = subprocess.Popen([PROGRAM, *arguments], cwd=self.folder, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60
        while not ready() and program.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        self.assertIsNone(program.poll(), f"{arguments} was over before it could be interrupted")
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=60)
        self.assertEqual(program.returncode, 130, errors)
        self.assertEqual(errors.splitlines(), ["groundstate: interrupted; what was finished is kept"])

    def test_an_interrupt_leaves_valid_files(self):
        record = self.at("a.jsonl")
        self.interrupted(["run", "simple_gla T=1:2000", "-o", "a.jsonl"],
                         lambda: os.path.exists(record) and os.path.getsize(record) > 0)
        with open(record) as file:
            self.assertGreater(len(records_of(file.read())), 10)

    def test_an_interrupt_leaves_no_half_file(self):
        self.interrupted(["generate", "simple_gla T=4096 seed=1:2000", "-o", "a.h5"], lambda: os.listdir(self.folder))
        self.assertEqual(os.listdir(self.folder), [])
        self.interrupted(["run", "simple_gla T=100:2000", "--save", "a.h5"], lambda: os.listdir(self.folder))
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    unittest.main()
