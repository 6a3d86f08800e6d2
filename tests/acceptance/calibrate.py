"""`groundstate calibrate` from outside: a small part of the study, gone on with, and its tables."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from program import PROGRAM, ProgramTest, groundstate

# Some ten cases of the study.
PART = ["calibrate", "simple_gla T=40 H=1 K=8 V=8 dtype=fp32", "--seeds", "1", "--share", "0.01"]


class Calibrate(ProgramTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        end = groundstate(*PART, "-o", "a", "--jobs", "1", cwd=folder.name)
        assert end.returncode == 0, end.stdout + end.stderr
        cls.measured = os.path.join(folder.name, "a")

    def setUp(self):
        super().setUp()
        shutil.copytree(self.measured, self.at("a"))

    def calibrate(self, folder, *arguments, code=0):
        end = groundstate(*PART, "-o", folder, *arguments, cwd=self.folder)
        self.assertEqual(end.returncode, code, end.stdout + end.stderr)
        return end

    def lines(self, *names):
        with open(os.path.join(self.folder, *names)) as file:
            return [json.loads(line) for line in file]

    def test_the_sum_does_not_depend_on_the_number_of_processes(self):
        self.calibrate("three", "--jobs", "3")
        sums = [self.lines(folder, "calibration.jsonl") for folder in ("a", "three")]
        study = sums[0][0]
        self.assertEqual(study["calibration"], "study")
        self.assertGreater(study["tensors"], 100)
        self.assertEqual(study["failed"], 0)

        def without_cases(lines):  # the worst case of several equal ones is the first to be read
            return [{key: value for key, value in line.items() if key != "worst"} for line in lines]

        self.assertEqual(*map(without_cases, sums))

    def test_what_is_there_is_not_measured_again(self):
        before = self.lines("a", "calibration.jsonl")
        self.assertIn("0 of 0 cases", self.calibrate("a").stderr)
        self.assertEqual(self.lines("a", "calibration.jsonl"), before)
        # The last line of a part is cut off, as by a full disk.
        part = os.path.join(self.folder, "a", "part-000.jsonl")
        os.truncate(part, os.path.getsize(part) - 10)
        self.assertIn("1 of 1 cases", self.calibrate("a").stderr)
        self.assertEqual(self.lines("a", "calibration.jsonl")[0], before[0])

    def test_another_program_s_measurements_are_refused(self):
        part = os.path.join(self.folder, "a", "part-000.jsonl")
        with open(part) as file:
            text = file.read()
        with open(part, "w") as file:
            file.write(text.replace('"program":"', '"program":"0'))
        self.assertIn("another program", self.calibrate("a", code=2).stderr)

    def test_an_interrupt_keeps_what_is_measured(self):
        process = subprocess.Popen([PROGRAM, "calibrate", "-o", "b", "--jobs", "2"], cwd=self.folder,
                                   stderr=subprocess.PIPE, text=True)
        parts = [os.path.join(self.folder, "b", f"part-00{i}.jsonl") for i in range(2)]
        while not all(os.path.exists(part) and os.path.getsize(part) > 0 for part in parts):
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 130)
        process.stderr.close()
        for part in parts:
            self.assertTrue(self.lines(part)[0]["implementations"])

    def test_time_that_is_over_begins_no_case(self):
        end = groundstate(*PART, "-o", "b", "--seconds", "1e-9", cwd=self.folder)
        self.assertEqual(end.returncode, 3, end.stderr)

    def test_the_report_and_the_page_have_its_tables(self):
        end = groundstate("report", "a/calibration.jsonl", "-o", "report", cwd=self.folder)
        self.assertEqual(end.returncode, 0, end.stderr)
        with open(os.path.join(self.folder, "report", "index.html")) as file:
            html = file.read()
        self.assertIn("Calibration of the judge", html)
        self.assertIn("false alarms", html)
        page = os.path.join(self.folder, "page.md")
        with open(page, "w") as file:
            file.write("<!-- table studies -->\n<!-- /table -->\n")
        for said in "written anew", "up to date":
            end = groundstate("calibrate", "page", "a/calibration.jsonl", "--page", page, cwd=self.folder)
            self.assertIn(said, end.stdout, end.stderr)
        with open(page) as file:
            self.assertIn("| cpu |", file.read())


if __name__ == "__main__":
    unittest.main()
