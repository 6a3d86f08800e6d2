"""Evidence from outside: h5py reads it, `judge` finds what h5py changes in it.

The paths are those of the CPU; what is recorded of a device differs in nothing.
"""

import hashlib
import json
import os
import unittest

import h5py
import numpy as np
from program import ProgramTest, groundstate, without_times

CASE = "simple_gla B=2 T=40 K=8 V=12 gate=medium state=random"
PATHS = ("--path", "recurrent:single", "--path", "chunked:tensorcore-bf16")


def text_of(group, name):
    return group[name][0].decode()


def put_text(group, name, text, seal=True):
    """As `record` writes it, and with its digest unless that is to be wrong."""
    del group[name]
    data = np.array([text.encode()], dtype=f"S{len(text.encode())}")
    group.create_dataset(name, data=data)
    if seal:
        group.attrs["sha256"] = hashlib.sha256(text.encode()).hexdigest()


class Evidence(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bytes = {}

    def recorded(self, case=CASE, *options):
        path = self.at("evidence.h5")
        if (case, options) not in self.bytes:
            self.succeeds("record", case, *PATHS, *options, "-o", path)
            with open(path, "rb") as file:
                self.bytes[case, options] = file.read()
        with open(path, "wb") as file:
            file.write(self.bytes[case, options])
        return path

    def changed(self, change):
        """Evidence after change(file, group of the case)."""
        path = self.recorded()
        with h5py.File(path, "r+") as file:
            (name,) = [key for key in file if key != "origin"]
            change(file, file[name])
        return path

    def judged(self, change, code, *words):
        end = groundstate("judge", self.changed(change))
        self.assertEqual(end.returncode, code, end.stdout + end.stderr)
        for word in words:
            self.assertIn(word, end.stdout)
        self.assertEqual(end.stderr, "")
        return end.stdout

    def refused(self, path, *words):
        """Exit code 2 and one message on standard error that has the words."""
        end = groundstate("judge", path)
        self.assertEqual((end.returncode, end.stdout, end.stderr.count("\n")), (2, "", 1), end.stderr)
        for word in words:
            self.assertIn(word, end.stderr)

    # ---- as it was recorded

    def test_without_contracts_there_are_the_same_outputs(self):
        def records(*options):
            with h5py.File(self.recorded(CASE, *options), "r") as file:
                (name,) = [key for key in file if key != "origin"]
                return [json.loads(line) for line in text_of(file[name], "record").splitlines()]

        whole, bare = records(), records("--no-contracts")
        self.assertTrue(any("equality" in each for each in whole))
        self.assertFalse(any("equality" in each for each in bare))
        outputs = [[each["outputs"] for each in own if "outputs" in each] for own in (whole, bare)]
        self.assertEqual(len(outputs[0]), 2)
        self.assertEqual(*outputs)
        self.assertIn("0 of them failed, 0 STALE; 0 bitwise contracts", self.succeeds("judge", self.at("evidence.h5")))

    def test_cases_side_by_side_are_recorded_like_one_at_a_time(self):
        def content(*options):
            path = self.at("evidence.h5")
            self.succeeds("record", "simple_gla B=2 T=40,3,17 K=8 V=12", *PATHS, *options, "-o", path)
            values = {}

            def add(name, item):
                if name.endswith("/record"):
                    values[name] = without_times(text_of(item.parent, "record"))
                elif isinstance(item, h5py.Dataset) and name != "origin":
                    values[name] = item[...].tobytes()

            with h5py.File(path, "r") as file:
                file.visititems(add)
            return values

        one = content()
        self.assertEqual(sum(name.endswith("/record") for name in one), 3)
        self.assertEqual(content("--jobs", "3"), one)

    def test_evidence_passes_and_is_small(self):
        path = self.recorded()
        out = self.succeeds("judge", path)
        self.assertIn(f"PASSED  {CASE}  [", out)
        self.assertRegex(out, r"evidence.h5: cpu, 20\d\d-\d\d-\d\d.*: 1 cases, 2 results judged, 0 of them failed, "
                              r"0 STALE; \d+ bitwise contracts\n")
        self.assertLess(os.path.getsize(path), 40_000)

    def test_h5py_reads_verdicts_digests_elements_and_sources(self):
        with h5py.File(self.recorded(), "r") as file:
            (name,) = [key for key in file if key != "origin"]
            group = file[name]
            self.assertEqual((file.attrs["evidence"], group.attrs["case"], group.attrs["operator"]),
                             (1, CASE, "simple_gla"))
            records = [json.loads(line) for line in text_of(group, "record").splitlines()]
            results = {record["path"]: record for record in records if "path" in record}
            self.assertEqual(set(results), set(PATHS[1::2]))
            for path, result in results.items():
                self.assertEqual((result["status"], result["device"]), ("PASSED", "cpu"))
                self.assertEqual(result["tensors"]["o"]["clauses"]["A.max"]["passed"], True)
                for tensor, output in result["outputs"].items():
                    kept = group["outputs"][path][tensor]
                    self.assertEqual(hashlib.sha256(kept[...].tobytes()).hexdigest(), output["kept_sha256"])
                    self.assertEqual(len(output["sha256"]), 64)
                    self.assertEqual(len(output["moments"]), 2)  # four pairs, of which two are kept
            self.assertIn("recurrent:single: rerun", [record.get("equality") for record in records])
            origin = json.loads(text_of(file, "origin"))
            files = origin["sources"]["simple_gla chunked"]["files"]
            self.assertIn("-ffp-contract=off", files["reference/simple_gla/chunked.hpp"]["flags"])

    def test_more_elements_make_a_larger_file_that_passes_too(self):
        small, large = self.recorded(), self.recorded(CASE, "--elements", "100000")
        self.succeeds("judge", large)
        with h5py.File(large, "r") as file:
            (name,) = [key for key in file if key != "origin"]
            self.assertEqual(file[name]["outputs/recurrent:single/ht"].shape, (2 * 8 * 12,))
        self.assertGreater(len(self.bytes[CASE, ("--elements", "100000")]), len(self.bytes[CASE, ()]))

    def test_json_has_an_object_a_case(self):
        (line,) = self.succeeds("judge", self.recorded(), "--json").splitlines()
        record = json.loads(line)
        self.assertEqual((record["case"], record["status"], record["problems"]), (CASE, "PASSED", []))
        self.assertEqual([result["status"] for result in record["results"]], ["PASSED", "PASSED"])

    def test_a_report_has_it_beside_other_results(self):
        evidence, record, folder = self.recorded(), self.at("r.jsonl"), self.at("report")
        self.succeeds("run", "decayed_sum T=5", "-o", record)
        self.succeeds("report", record, evidence, "-o", folder)
        with open(os.path.join(folder, "index.html")) as page:
            text = page.read()
        for words in ("<h2>Evidence</h2>", "evidence from cpu, 20", "decayed_sum T=5"):
            self.assertIn(words, text)

    # ---- changed by somebody

    def test_a_changed_element_fails(self):
        def change(file, group):
            group["outputs/recurrent:single/ht"][3] *= 1.0001
        self.judged(change, 1, "FAILED  recurrent:single: ht: its elements are not those that were recorded: SHA-256 was")

    def test_a_changed_verdict_fails(self):
        def change(file, group):
            put_text(group, "record", text_of(group, "record").replace('"value":0.', '"value":0.0', 1), seal=False)
        self.judged(change, 1, "its record is not the one that was written: SHA-256 was")

    def test_a_changed_digest_fails(self):
        def change(file, group):
            group.attrs["sha256"] = "0" * 64
        self.judged(change, 1, "its record is not the one that was written: SHA-256 was 0000")

    def test_a_verdict_that_was_turned_with_its_digest_fails(self):
        def change(file, group):
            records = [json.loads(line) for line in text_of(group, "record").splitlines()]
            clause = records[0]["tensors"]["o"]["clauses"]["A.max"]
            clause["value"] = 2 * clause["limit"]
            put_text(group, "record", "\n".join(map(json.dumps, records)))
        self.judged(change, 1, "o: A.max is recorded as passed, with")

    def test_wrong_elements_with_right_digests_contradict_the_verdict(self):
        def change(file, group):
            kept = group["outputs/recurrent:single/ht"]
            kept[3] += 1
            text = text_of(group, "record")
            records = [json.loads(line) for line in text.splitlines()]
            records[0]["outputs"]["ht"]["kept_sha256"] = hashlib.sha256(kept[...].tobytes()).hexdigest()
            put_text(group, "record", "\n".join(map(json.dumps, records)))
        self.judged(change, 1, "ht: the sample contradicts the recorded PASSED: A.", "first at b=")

    def test_a_broken_contract_fails(self):
        def change(file, group):
            records = [json.loads(line) for line in text_of(group, "record").splitlines()]
            broken = next(record for record in records if "equality" in record)
            broken.update(status="FAILED", violation="o batch=0: 0 against 1")
            put_text(group, "record", "\n".join(map(json.dumps, records)))
        self.judged(change, 1, "was broken: o batch=0: 0 against 1")

    def test_a_changed_origin_fails(self):
        def change(file, group):
            put_text(file, "origin", text_of(file, "origin").replace('"date":"20', '"date":"19'), seal=False)
        self.judged(change, 1, "its origin is not the one that was written")

    # ---- older than the tree

    def older(self, *keys):
        def change(file, group):
            origin = json.loads(text_of(file, "origin"))
            for key in keys:
                origin["sources"][key]["files"]["reference/core/matrix.hpp"]["code"] = "0" * 64
            put_text(file, "origin", json.dumps(origin))
        return change

    def test_a_changed_source_is_stale_and_named_and_no_failure(self):
        out = self.judged(self.older("simple_gla chunked"), 0,
                          "STALE   chunked:tensorcore-bf16: reference/core/matrix.hpp has changed",
                          "2 results judged, 0 of them failed, 1 STALE")
        self.assertNotIn("STALE   recurrent", out)

    def test_the_report_says_stale_and_why(self):
        path, folder = self.changed(self.older("simple_gla chunked")), self.at("report")
        self.assertIn("1 result STALE", self.succeeds("report", path, "-o", folder))
        for name in ("index.html", "summary.md", "results.csv", "junit.xml"):
            with open(os.path.join(folder, name)) as page:
                self.assertIn("reference/core/matrix.hpp has changed", page.read(), name)

    def test_a_path_that_is_gone_is_stale(self):
        def change(file, group):
            put_text(group, "record", text_of(group, "record").replace('"path":"recurrent:single"', '"path":"gpu.gone"'))
        self.judged(change, 0, "STALE   gpu.gone: simple_gla has no path gpu.gone", "1 results judged")

    def test_where_every_path_is_gone_nothing_is_judged(self):
        def change(file, group):
            text = text_of(group, "record").replace('"path":"', '"path":"gone.')
            put_text(group, "record", text)
        self.judged(change, 3, "0 results judged, 0 of them failed, 2 STALE")

    # ---- no evidence at all

    def test_what_is_no_evidence_is_refused(self):
        self.refused(self.at("none.h5"), "none.h5: No such file")
        self.refused("data/golden.h5", "data/golden.h5: not a file of evidence")
        with open(self.at("text.h5"), "w") as file:
            file.write("not HDF5")
        self.refused(self.at("text.h5"), "text.h5: damaged or not a readable HDF5 file")
        path = self.recorded()
        with open(path, "rb+") as file:
            file.truncate(os.path.getsize(path) // 2)
        self.refused(path, "evidence.h5: damaged or not a readable HDF5 file")

    def test_another_version_is_refused(self):
        def change(file, group):
            file.attrs["evidence"] = 2
        self.refused(self.changed(change), "evidence.h5: this program reads evidence of version 1")

    def test_a_case_that_is_none_any_more_is_refused_by_file_and_case(self):
        def other(text):
            def change(file, group):
                group.attrs["case"] = text
            return change
        name = hashlib.sha256(CASE.encode()).hexdigest()[:16]
        self.refused(self.changed(other("simple_gla colour=red")), f"evidence.h5: /{name}: simple_gla has no key 'colour'")
        self.refused(self.changed(other("simple_gla T=41")), f"evidence.h5: /{name}: ", "not what the group says")
        self.refused(self.changed(other("delta_rule T=41")), f"evidence.h5: /{name}: ", "delta_rule")

    def test_a_record_that_makes_no_sense_is_refused(self):
        def remove(what):
            def change(file, group):
                del (file if what == "origin" else group)[what]
            return change

        def text(where, content):
            def change(file, group):
                put_text(file if where == "origin" else group, where, content)
            return change
        self.refused(self.changed(remove("origin")), "evidence.h5: the text origin is missing")
        self.refused(self.changed(remove("record")), ": the text record is missing")
        self.refused(self.changed(text("origin", "[]")), "its origin makes no sense")
        for content in ("{", "[1]", "{}", '{"path": 3}', '{"path":"x","device":"y","status":"GOOD","tensors":{}}'):
            self.refused(self.changed(text("record", content)), "its record makes no sense")
        self.refused(self.changed(text("record", "\n\n")), "its record holds no result")

        def without_elements(file, group):
            del group.attrs["elements"]
        self.refused(self.changed(without_elements), "the attribute elements is missing or no count")

    def test_evidence_without_its_outputs_fails(self):
        def change(file, group):
            del group["outputs/recurrent:single/o"]
        self.judged(change, 1, "recurrent:single: o: there is no list of bf16 elements of it")

    def test_a_report_takes_no_damaged_evidence(self):
        def change(file, group):
            group.attrs["sha256"] = "0" * 64
        end = groundstate("report", self.changed(change), "-o", self.at("report"))
        self.assertEqual((end.returncode, end.stdout), (2, ""))
        self.assertIn("its record is not the one that was written", end.stderr)

    # ---- recording

    def test_recording_needs_a_path_on_a_device_or_one_that_is_named(self):
        end = groundstate("record", "decayed_sum T=5", "-o", self.at("e.h5"))
        self.assertEqual((end.returncode, end.stdout), (2, ""), end.stdout)
        self.assertIn("others are recorded with --path", end.stderr)
        self.assertFalse(os.path.exists(self.at("e.h5")))

    def test_bad_options_are_refused_and_nothing_is_written(self):
        for options, words in ((["--path", "gone"], "has no path gone"), (["--elements", "0"], "from 1 on"),
                               (["--elements", "x"], "from 1 on")):
            end = groundstate("record", CASE, *PATHS, *options, "-o", self.at("e.h5"))
            self.assertEqual((end.returncode, end.stdout), (2, ""), options)
            self.assertIn(words, end.stderr)
            self.assertFalse(os.path.exists(self.at("e.h5")))
        end = groundstate("record", CASE, *PATHS, "-o", self.at("no/folder/e.h5"))
        self.assertEqual((end.returncode, end.stdout), (2, ""))
        self.assertIn("cannot be written", end.stderr)

    def test_what_takes_no_path_is_not_recorded(self):
        end = groundstate("record", "simple_gla T=20000 H=1 K=1 V=1", "--path", "parallel", "-o", self.at("e.h5"))
        self.assertEqual(end.returncode, 3, end.stderr)
        self.assertIn("not written, as there is no result", end.stdout)
        self.assertFalse(os.path.exists(self.at("e.h5")))


if __name__ == "__main__":
    unittest.main()
