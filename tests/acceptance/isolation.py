"""A case that crashes, hangs or is interrupted costs its own results and no others, and --resume goes on where a run
ended: the file is then what an uninterrupted run would have written.
"""

import json
import os
import re
import resource
import signal
import subprocess
import time
import unittest

from program import PROGRAM, ProgramTest, groundstate, without_times

# One path takes milliseconds, the other seconds.
SLOW = ["simple_gla T=16000 H=1 K=16 V=16 dtype=fp32", "--path", "recurrent", "--path", "parallel", "--no-contracts"]
MANY = ["simple_gla T=1:12 H=1 K=8 V=8", "--path", "recurrent", "--path", "chunked:single"]


def children(process):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process:
                found.append((int(entry), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")))
    return found


class IsolationTest(ProgramTest):
    def content(self, name):
        with open(self.at(name), "rb") as file:
            return file.read()

    def put(self, name, content):
        with open(self.at(name), "wb") as file:
            file.write(content)

    def run_here(self, *arguments, **options):
        return groundstate("run", *arguments, cwd=self.folder, **options)

    def started(self, *arguments, **options):
        program = subprocess.Popen([PROGRAM, "run", *arguments], cwd=self.folder, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, **options)
        self.addCleanup(lambda: program.poll() is None and program.communicate())
        self.addCleanup(program.kill)
        return program

    def until(self, program, ready):
        end = time.monotonic() + 120
        while not (value := ready()):
            self.assertIsNone(program.poll(), "over too early")
            self.assertLess(time.monotonic(), end)
            time.sleep(0.005)
        return value

    def busy_child(self, program):
        """The process that computes, once it is past all that is fast."""
        def find():
            return [child for child, seconds in children(program.pid) if seconds > 0.4]
        return self.until(program, find)[0]


    def expect_gone(self, process):
        end = time.monotonic() + 20
        while os.path.exists(f"/proc/{process}") and time.monotonic() < end:
            time.sleep(0.01)
        self.assertFalse(os.path.exists(f"/proc/{process}"))


class Crashes(IsolationTest):
    def test_a_child_that_is_killed_fails_the_path_that_it_was_at(self):
        for number, words in (signal.SIGSEGV, "SIGSEGV (segmentation fault)"), (signal.SIGKILL, "SIGKILL (killed"):
            program = self.started(*SLOW, "-o", "a.jsonl")
            os.kill(self.busy_child(program), number)
            output, errors = program.communicate(timeout=120)
            self.assertEqual((program.returncode, errors), (1, ""), output)
            first, second = without_times(self.content("a.jsonl").decode())
            self.assertEqual((first["path"], first["status"]), ("recurrent", "PASSED"), output)
            self.assertEqual((second["path"], second["status"]), ("parallel", "FAILED"), output)
            self.assertIn(f"crashed: {words}", second["note"])
            self.assertIn("in path parallel while running", second["note"])
            self.assertIn(second["note"], output)
            self.assertIn(second["reproducer"], output)
            self.assertIn("1 passed, 1 failed", output)

    def test_the_next_case_is_run(self):
        program = self.started(SLOW[0], "simple_gla T=5 H=1", "--path", "parallel", "--no-contracts", "--json")
        os.kill(self.busy_child(program), signal.SIGBUS)
        records = without_times(program.communicate(timeout=120)[0])
        self.assertEqual([record["status"] for record in records], ["FAILED", "PASSED"])

    def test_a_time_out_fails_the_path_that_it_was_at(self):
        begin = time.monotonic()
        end = self.run_here(SLOW[0], "simple_gla T=5 H=1", "--path", "parallel", "--no-contracts", "--timeout", "0.5",
                            "--json")
        self.assertLess(time.monotonic() - begin, 20)
        self.assertEqual((end.returncode, end.stderr), (1, ""), end.stdout)
        slow, fast = without_times(end.stdout)
        self.assertEqual((slow["status"], slow["note"]),
                         ("FAILED", "timed out after 0.5 s in path parallel while running"))
        self.assertEqual(fast["status"], "PASSED")

    def test_a_killed_program_leaves_no_process_and_a_file_to_resume(self):
        program = self.started(MANY[0], *SLOW[0:1], *MANY[1:], "--path", "parallel", "-o", "a.jsonl")
        child = self.busy_child(program)
        program.kill()
        program.communicate()
        self.expect_gone(child)
        self.assertGreater(len(without_times(self.content("a.jsonl").decode())), 12 * 3)

    def test_results_do_not_depend_on_isolation_or_threads(self):
        arguments = ["simple_gla T=65 dtype=bf16 gate=mixed state=random", "--json"]
        plain = without_times(self.succeeds("run", *arguments, "--no-isolation"))
        for options in [], ["--threads", "1"], ["--threads", "3"]:
            self.assertEqual(without_times(self.succeeds("run", *arguments, *options)), plain)

    def test_usage(self):
        for options, *words in [
            (["--timeout", "0"], "--timeout", "0.001", "1e6"),
            (["--timeout", "-1"], "--timeout", "0.001", "1e6"),
            (["--timeout", "1e9"], "--timeout", "0.001", "1e6"),
            (["--timeout", "soon"], "--timeout", "soon", "0.001", "1e6"),
            (["--timeout", "1", "--no-isolation"], "--timeout", "--no-isolation"),
            (["--timeout", "1", "--save", "a.h5"], "--timeout", "--save"),
            (["--jobs", "0"], "--jobs", "1", "1024"),
            (["--jobs", "2", "--no-isolation"], "--jobs", "--no-isolation"),
            (["--jobs", "2", "--save", "a.h5"], "--jobs", "--save"),
            (["--resume"], "--resume", "-o"),
            (["--resume", "-o", "-"], "--resume", "-o"),
            (["--resume", "-o", "a.jsonl", "--save", "a.h5"], "--resume", "--save"),
        ]:
            end = self.run_here("simple_gla T=5", *options)
            self.assertEqual((end.returncode, end.stdout, len(end.stderr.splitlines())), (2, "", 1), end.stderr)
            for word in words:
                self.assertIn(word, end.stderr)
            self.assertEqual(os.listdir(self.folder), [])


class SideBySide(IsolationTest):
    def test_output_and_file_are_those_of_one_at_a_time(self):
        one = self.run_here(*MANY, "-o", "one.jsonl")
        for jobs in "2", "5", "100":
            end = self.run_here(*MANY, "-o", "a.jsonl", "--jobs", jobs)
            self.assertEqual((end.returncode, end.stdout, end.stderr), (0, one.stdout, ""))
            self.assertEqual(without_times(self.content("a.jsonl").decode()),
                             without_times(self.content("one.jsonl").decode()))

    def test_a_crash_costs_one_result(self):
        program = self.started("simple_gla T=5 H=1", SLOW[0], "simple_gla T=6 H=1", "--path", "parallel",
                               "--no-contracts", "--json", "--jobs", "2")
        os.kill(self.busy_case(program)[1], signal.SIGBUS)
        records = without_times(program.communicate(timeout=120)[0])
        self.assertEqual([record["status"] for record in records], ["PASSED", "FAILED", "PASSED"])
        self.assertIn("crashed: SIGBUS", records[1]["note"])

    def test_a_killed_worker_is_an_error_that_names_the_case(self):
        program = self.started("simple_gla T=5 H=1", SLOW[0], "--path", "parallel", "--no-contracts", "-o", "a.jsonl",
                               "--jobs", "2")
        os.kill(self.busy_case(program)[0], signal.SIGKILL)
        errors = program.communicate(timeout=120)[1]
        self.assertEqual((program.returncode, len(errors.splitlines())), (4, 1), errors)
        for word in "simple_gla", "T=16000", "SIGKILL":
            self.assertIn(word, errors)
        self.assertEqual([record["status"] for record in without_times(self.content("a.jsonl").decode())], ["PASSED"])

    def test_an_interrupt_leaves_no_process_and_a_file_to_resume(self):
        for send in os.kill, os.killpg:  # as `kill` does, and Ctrl-C on a terminal
            program = self.started(*MANY[:1], SLOW[0], *MANY[1:], "--path", "parallel", "-o", "a.jsonl", "--jobs", "2",
                                   start_new_session=True)
            case = self.busy_case(program)[1]
            send(program.pid, signal.SIGINT)
            errors = program.communicate(timeout=120)[1]
            self.assertEqual((program.returncode, len(errors.splitlines())), (130, 1), errors)
            self.expect_gone(case)
            self.assertGreater(len(without_times(self.content("a.jsonl").decode())), 12 * 3)

    def busy_case(self, program):
        """A worker and its child, which computes, once it is past all that is fast."""
        def find():
            return [(worker, case) for worker, _ in children(program.pid) for case, seconds in children(worker)
                    if seconds > 0.4]
        return self.until(program, find)[0]


class Resume(IsolationTest):
    def setUp(self):
        super().setUp()
        end = self.run_here(*MANY, "-o", "whole.jsonl")
        self.assertEqual((end.returncode, end.stderr), (0, ""))
        self.whole = self.content("whole.jsonl")
        self.tally = end.stdout.splitlines()[-1]

    def resumed(self, name="a.jsonl", *more):
        """How many cases were there already; the file and the tally are those of the uninterrupted run."""
        end = self.run_here(*MANY, "-o", name, "--resume", *more)
        self.assertEqual((end.returncode, end.stderr), (0, ""), end.stdout)
        self.assertEqual(without_times(self.content(name).decode()), without_times(self.whole.decode()))
        self.assertEqual(end.stdout.splitlines()[-1], self.tally)
        return int(re.search(r"(\d+) of 12 cases were in a.jsonl already", end.stdout).group(1))

    def refused(self, *arguments, words):
        before = self.content("a.jsonl")
        end = self.run_here(*(arguments or MANY), "-o", "a.jsonl", "--resume")
        self.assertEqual((end.returncode, end.stdout, len(end.stderr.splitlines())), (2, "", 1), end.stderr)
        for word in "a.jsonl", *words:
            self.assertIn(word, end.stderr)
        self.assertLess(len(end.stderr), 500)
        self.assertEqual(self.content("a.jsonl"), before)
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.jsonl", "whole.jsonl"])

    def ends_of_cases(self):
        ends, at, left = [], 0, 0
        for line in self.whole.splitlines(keepends=True):
            left = (left or json.loads(line)["records"]) - 1
            at += len(line)
            if left == 0:
                ends.append(at)
        self.assertEqual((len(ends), ends[-1]), (12, len(self.whole)))
        return ends

    def test_a_file_that_is_cut_anywhere(self):
        ends = self.ends_of_cases()
        cuts = {0, 1, 9, 500, len(self.whole) - 1, len(self.whole)}
        for end in ends[3], ends[10]:
            cuts |= {end - 1, end, end + 1}
        for cut in sorted(cuts):
            self.put("a.jsonl", self.whole[:cut])
            self.assertEqual(self.resumed(), sum(end <= cut for end in ends), cut)

    def test_a_finished_file_is_left_as_it_is(self):
        self.put("a.jsonl", self.whole)
        self.assertEqual(self.resumed(), 12)
        self.assertEqual(self.content("a.jsonl"), self.whole)

    def test_no_file_is_a_run_from_the_start(self):
        self.assertEqual(self.resumed(), 0)

    def test_a_damaged_last_line(self):
        ends = self.ends_of_cases()
        for damage in b"\0" * 4096, b"\xff\xfe\n", b'{"case":1}\n', b'{"case":"simple_gla', b"garbage\n":
            self.put("a.jsonl", self.whole[:ends[4]] + damage)
            self.assertEqual(self.resumed(), 5, damage)

    def test_without_resume_the_file_is_replaced(self):
        self.put("a.jsonl", b"something else\n")
        self.assertEqual(self.run_here(*MANY, "-o", "a.jsonl").returncode, 0)
        self.assertEqual(without_times(self.content("a.jsonl").decode()), without_times(self.whole.decode()))

    def test_other_content_is_refused_and_left(self):
        lines = self.whole.splitlines(keepends=True)
        for content, *words in [
            (b"my thesis", "line 1", "no result"),
            (b"my thesis\n", "line 1", "no result"),
            (b'{"answer": 42}\n', "line 1", "no result"),
            (b"[" * 100000, "line 1", "no result"),
            (b"\0" * 100, "line 1", "no result"),
            (lines[0] + b"x\n" + b"".join(lines[1:]), "line 2", "no result"),
            (b"".join(lines[1:]), "line"),
            (lines[0] + b"".join(lines[2:]), "line"),
            (self.whole + lines[0], "once more"),
            (self.whole.replace(b'"build":"', b'"build":"z', 1), "line 1", "another program", "build"),
            (self.whole.replace(b'"request":"', b'"request":"z', 1), "line 1", "other options"),
            (self.whole.replace(b'"records":', b'"records":-', 1), "line 1", "no result"),
        ]:
            self.put("a.jsonl", content)
            self.refused(words=words)
        os.remove(self.at("a.jsonl"))
        os.mkdir(self.at("folder.jsonl"))
        end = self.run_here(*MANY, "-o", "folder.jsonl", "--resume")
        self.assertEqual((end.returncode, len(end.stderr.splitlines())), (2, 1), end.stderr)

    def test_another_run_is_refused(self):
        self.put("a.jsonl", self.whole)
        self.refused(*MANY[:3], words=["line 1", "other options, paths"])
        self.refused(*MANY, "--no-contracts", words=["line 1", "other options, paths"])
        self.refused(*MANY, "--pairs", "1", words=["line 1", "other options, paths"])
        self.refused("simple_gla T=1:11 H=1 K=8 V=8", *MANY[1:], words=["T=12", "does not have"])
        # These change no result.
        self.assertEqual(self.resumed("a.jsonl", "--threads", "1", "--timeout", "100"), 12)
        self.assertEqual(self.resumed("a.jsonl", "--no-isolation"), 12)

    def test_cases_that_were_added_come_where_they_belong(self):
        self.put("a.jsonl", self.whole)
        more = ["simple_gla T=0:14 H=1 K=8 V=8", *MANY[1:]]
        end = self.run_here(*more, "-o", "a.jsonl", "--resume")
        self.assertEqual((end.returncode, end.stderr), (0, ""))
        self.assertIn("12 of 15 cases were in a.jsonl already", end.stdout)
        fresh = self.succeeds("run", *more, "--json")
        self.assertEqual(without_times(self.content("a.jsonl").decode()), without_times(fresh))
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.jsonl", "whole.jsonl"])

    def test_json_has_the_records_of_the_file(self):
        self.put("a.jsonl", self.whole[:self.ends_of_cases()[6]])
        end = self.run_here(*MANY, "-o", "a.jsonl", "--resume", "--json")
        self.assertEqual((end.returncode, end.stderr), (0, ""))
        self.assertEqual(end.stdout.encode(), self.content("a.jsonl"))

    def test_an_interrupt_and_a_resume(self):
        arguments = [MANY[0], "simple_gla T=8000 H=1 K=32 V=32", *MANY[1:], "-o", "a.jsonl"]
        program = self.started(*arguments)
        lines = self.whole.count(b"\n")
        self.until(program, lambda: os.path.exists(self.at("a.jsonl")) and self.content("a.jsonl").count(b"\n") == lines)
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=60)
        self.assertEqual((program.returncode, errors.splitlines()),
                         (130, ["groundstate: interrupted; what was finished is kept"]))
        kept = self.content("a.jsonl")
        self.assertEqual(without_times(kept.decode()), without_times(self.whole.decode()))
        end = self.run_here(*arguments, "--resume")
        self.assertEqual((end.returncode, end.stderr), (0, ""))
        self.assertIn("12 of 13 cases were in a.jsonl already", end.stdout)
        self.assertTrue(self.content("a.jsonl").startswith(kept))
        self.assertEqual(without_times(self.content("a.jsonl").decode()),
                         without_times(self.succeeds("run", *arguments[:-2], "--json")))

    def test_a_full_disk_and_a_resume(self):
        for share in 3, 2:
            size = len(self.whole) // share
            end = self.run_here(*MANY, "-o", "a.jsonl",
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
            self.assertEqual((end.returncode, len(end.stderr.splitlines())), (4, 1), end.stderr)
            kept = self.content("a.jsonl")
            self.assertGreater(len(kept), size - 5000)
            self.assertTrue(kept.endswith(b"\n"))
            without_times(kept.decode())
            self.assertGreater(self.resumed(), 0)

    def test_failures_count_in_the_tally_and_the_exit_code(self):
        self.put("raised.cases", b"simple_gla T=5 | a case\n    | raise recurrent/A.max x2 until 2999-01-01: why\n")
        arguments = ["@raised.cases", "--path", "recurrent", "-o", "a.jsonl"]
        first = self.run_here(*arguments)
        before = self.content("a.jsonl")
        second = self.run_here(*arguments, "--resume")
        self.assertEqual((first.returncode, second.returncode), (1, 1), first.stdout)
        self.assertIn("1 raised limits expired or not needed", first.stdout)
        self.assertEqual(first.stdout.splitlines()[-1], second.stdout.splitlines()[-1])
        self.assertEqual(self.content("a.jsonl"), before)
        self.put("raised.cases", b"simple_gla T=5 | a case\n")
        end = self.run_here(*arguments, "--resume")
        self.assertEqual(end.returncode, 2)
        self.assertIn("raised limits", end.stderr)


if __name__ == "__main__":
    unittest.main()
