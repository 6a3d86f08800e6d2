"""The README and docs/ say what the program does.

README.md: every `groundstate` line of a sh block and every python block is run, in order, in one empty folder;
each must exit with 0; `bench` with the fewest repetitions, each of which empties all caches. `make` and `cmake` lines
are left to whoever runs this. The steps of the workflow are run with a kernel of our own; the support matrix is the
program's. The table of timings has a row for each case of
data/bench.cases and each path that `make bench` times; the times are those of the machine that it names.
--update-timings makes it from the record of `make bench`.

docs/*.md: the commands of each console block ("$ ...") are run, in order, in one empty folder, and
print what stands below them: the same words, and numbers within 1 %, since another libm may move a last digit. A
python block is run too, or saved where it begins with "# NAME.py: ...". With --update the outputs are written, and
of the README the support matrix and the timings of data/timings_*.jsonl.
"""
import datetime
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import simple_gla
from program import groundstate

PROGRAM = os.path.abspath(os.environ["GROUNDSTATE"])
README = Path("README.md").read_text()
PAGES = [Path("docs/reading_a_verdict.md"), Path("docs/indices_padding_duplicates.md")]
TIMINGS = re.compile(r"(?<=<!-- timings -->\n).*?(?=<!-- /timings -->)", re.S)
RECORD = Path("reports/bench/timings.jsonl")
GPU_TIMINGS = re.compile(r"(?<=<!-- gpu-timings -->\n).*?(?=<!-- /gpu-timings -->)", re.S)
GPU_RECORDS = sorted(Path("data").glob("timings_*.jsonl"))  # one of a device
SUPPORT = re.compile(r"(?<=<!-- support -->\n).*?(?=<!-- /support -->)", re.S)

NUMBER = re.compile(r"(?<![\w.])([+-]?(?:0x[\da-f.]+p[+-]\d+|\d+(?:\.\d+)?(?:e[+-]?\d+)?))(?!\w)")
DURATION = re.compile(r" +\d+\.\d+ s$", re.M)


class Folder:
    """An empty folder in which the program is `groundstate` and this Python is `python3`."""

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.tools, self.path = (Path(self.temporary.name, name) for name in ("tools", "work"))
        for folder in self.tools, self.path:
            folder.mkdir()
        (self.tools / "groundstate").symlink_to(PROGRAM)
        self.tool("python3", f'exec "{sys.executable}" "$@"')
        return self

    def __exit__(self, *_):
        self.temporary.cleanup()

    def tool(self, name, script):
        (self.tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.tools / name).chmod(0o755)

    def run(self, command, **variables):
        path = f"{self.tools}:{os.environ['PATH']}"
        return subprocess.run(["bash", "-ec", command], cwd=self.path, capture_output=True, text=True,
                              env=dict(os.environ, PATH=path, NO_COLOR="1", **variables))

    def python(self, text):
        """Empty, or what went wrong."""
        name = re.match(r"# (\w+\.py): ", text)
        if name:
            (self.path / name[1]).write_text(text)
            return ""
        done = subprocess.run([sys.executable, "-c", text], cwd=self.path, capture_output=True, text=True)
        return done.stderr if done.returncode else ""


def commands(block):
    """Pairs of a command and the output below it."""
    return [(command, output) for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)]


def blocks(text, languages):
    return re.findall(rf"^```({languages})\n(.*?)^```$", text, re.S | re.M)


def printed(folder, block):
    """The commands of a console block with what they print now."""
    result, code = [], 0
    for command, _ in commands(block):
        if command == "echo $?":
            output = f"{code}\n"
        else:
            done = folder.run(command)
            code, output = done.returncode, done.stdout + done.stderr
        result.append((command, re.sub(r" +$", "", output, flags=re.M)))
    return result


def numbers_agree(a, b):
    x, y = (float.fromhex(each) if "x" in each else float(each) for each in (a, b))
    return math.isclose(x, y, rel_tol=0.01)


def same_output(a, b):
    a, b = (NUMBER.split(re.sub(r" +", " ", DURATION.sub(" # s", each))) for each in (a, b))
    return a[::2] == b[::2] and all(map(numbers_agree, a[1::2], b[1::2]))


class Readme(unittest.TestCase):
    def test_every_command_of_the_tour_runs(self):
        tour = blocks(README, "sh|python")
        self.assertGreater(len(tour), 4)
        with Folder() as folder:
            for language, text in tour:
                if language == "python":
                    self.assertEqual(folder.python(text), "")
                    continue
                for line in text.splitlines():
                    if line.startswith("groundstate "):
                        done = folder.run(line.replace(" bench ", " bench --budget 1e-6 "))
                        self.assertEqual(done.returncode, 0, f"{line}\n{done.stdout}{done.stderr}")

    def test_support_matrix_is_what_the_program_prints(self):
        self.assertEqual(SUPPORT.search(README).group(), support())

    def test_gpu_timings_are_those_of_the_record(self):
        self.assertEqual(GPU_TIMINGS.search(README).group(), gpu_timings())

    def test_timings_are_of_the_cases_and_paths_that_make_bench_times(self):
        rows = re.findall(r"^\| `(.*?)` \| `(.*?)` \|", TIMINGS.search(README).group(), re.M)
        command = re.search(r"groundstate (bench .*?)-o", Path("Makefile").read_text().replace("\\\n", ""), re.S).group(1)
        listed = groundstate("list", "@data/bench.cases", "--json").stdout.splitlines()
        self.assertEqual(rows, [(json.loads(line)["case"], path) for line in listed
                                for path in re.findall(r"--path (\S+)", command)])
        # The paths are looked at, and too much to be timed.
        self.assertEqual(groundstate(*command.split(), "--max-cost", "1").returncode, 3)


KERNEL = f"""
import sys
sys.path.insert(0, {os.path.dirname(simple_gla.__file__)!r})
import h5py
import numpy as np
import simple_gla

with h5py.File(sys.argv[1], "r+") as file:
    for case in file.values():
        x = {{name: data[...] for name, data in case["inputs"].items()}}
        x.update({{name: (x[name].astype(np.uint32) << 16).view(np.float32) for name in "qkv"}})
        if "fault" in sys.argv:
            x["g"][...] = 0
        o, ht = simple_gla.forward(**x, form=simple_gla.chunked)
        case["outputs/o"][...] = simple_gla.bf16(o).view(np.uint32) >> 16
        case["outputs/ht"][...] = ht
"""


class Workflow(unittest.TestCase):
    """The steps in the README, on a runner whose curl brings the program."""

    def setUp(self):
        (_, steps), = blocks(README, "yaml")
        self.assertLessEqual(len(steps.splitlines()), 10)
        self.script = textwrap.dedent(re.search(r"- run: \|\n((?:    .*\n)+)", steps).group(1))
        self.address = re.search(r"GROUNDSTATE: (\S+)", steps).group(1)
        self.uploaded = re.search(r"path: ([\w.]+)", steps).group(1)

    def end(self, script):
        with Folder() as folder:
            folder.tool("curl", f'test "$1 $2 $3" = "-fsSL {self.address} -o" && cp {PROGRAM} "$4"')
            (folder.path / "my_kernel.py").write_text(KERNEL)
            done = folder.run(script, GROUNDSTATE=self.address)
            results = (folder.path / self.uploaded).read_text().splitlines()
            return done, [json.loads(line)["status"] for line in results]

    def test_a_kernel_that_is_right_passes(self):
        done, results = self.end(self.script)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(results, 4 * ["PASSED"])

    def test_a_kernel_that_is_wrong_fails_the_step_and_leaves_its_results(self):
        done, results = self.end(self.script.replace("my_kernel.py cases.h5", "my_kernel.py cases.h5 fault"))
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual(results, 4 * ["FAILED"])


class Pages(unittest.TestCase):
    maxDiff = None

    def test_every_output_is_what_the_program_prints(self):
        for page in PAGES:
            seen = 0
            with Folder() as folder:
                for language, text in blocks(page.read_text(), "python|console"):
                    if language == "python":
                        self.assertEqual(folder.python(text), "")
                        continue
                    for (command, given), (_, now) in zip(commands(text), printed(folder, text)):
                        seen += 1
                        if not same_output(given, now):
                            self.assertEqual(given, now, f"{command}\nIf it is to be so: readme.py --update")
            self.assertGreater(seen, 5, page)

    def test_a_number_may_move_a_little_and_a_word_may_not(self):
        line = "  A.median  0.3536 / 1.7  [38e0da3c76fd49e1] t=64..299  got 0x1.a0137cp+2 (6.50119)  0.010 s\n"
        self.assertTrue(same_output(line, line.replace("0.3536", "0.354").replace("0.010 s", "1.200 s")))
        for old, new in (("0.3536", "0.36"), ("1.7", "1.8"), ("38e0", "38e1"), ("64..", "65.."), ("got", "not"),
                         ("p+2", "p+1")):
            self.assertFalse(same_output(line, line.replace(old, new)), new)


def support():
    with Folder() as folder:
        return folder.run(f"cd {os.getcwd()} && groundstate support").stdout


def update():
    for path in PAGES:
        page = path.read_text()
        with Folder() as folder:
            for language, text in blocks(page, "python|console"):
                if language == "python":
                    folder.python(text)
                    continue
                new = "".join(f"$ {command}\n{output}" for command, output in printed(folder, text))
                page = page.replace(f"```console\n{text}```", f"```console\n{new}```", 1)
        path.write_text(page)
    text = SUPPORT.sub(lambda _: support(), README)
    Path("README.md").write_text(GPU_TIMINGS.sub(lambda _: gpu_timings(), text))


def in_unit(seconds):
    """Times of one row in the unit that fits the first."""
    unit, factor = next((unit, factor) for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6))
                        if seconds[0] * factor >= 1 or unit == "us")
    return unit, [f"{factor * each:.3g}" for each in seconds]


def gpu_timings():
    return "\n".join(map(timings_of, GPU_RECORDS))


def timings_of(record):
    """A row a timing of ours, with those of other libraries for the same case beside it."""
    records = [json.loads(line) for line in record.read_text().splitlines()]
    own = [each for each in records if "library" not in each and "median" in each]
    others = {each["case"]: each for each in records if "library" in each and "median" in each}
    day = own[0]["date"]
    text = (f"Made by the commands of `make bench-gpu` on {own[0]['device']}, driver {own[0]['driver']}, {day}; "
            f"launching nothing takes {1e6 * own[0]['overhead']:.1f} us.\n\n"
            "| case | path | median [quartiles] | GB/s | of the ceiling | another library |\n|---|---|---|---|---|---|\n")
    for each in own:
        unit, (median, first, third) = in_unit([each["median"], *each["quartiles"]])
        other = others.get(each["case"])
        beside = "-"
        if other:
            others_unit, (time,) = in_unit([other["median"]])
            beside = (f"{other['library']} {other['path'].split(':')[0]} {time} {others_unit}, "
                      f"{other['median'] / each['median']:.2g} times; {other['status']}")
        text += (f"| `{each['case']}` | `{each['path']}` | {median} [{first}, {third}] {unit} "
                 f"| {1e-9 * each['bytes'] / each['median']:.0f} "
                 f"| {each['percent']:.0f} % of {each['ceiling']['of']} | {beside} |\n")
    return text


def update_timings():
    records = [json.loads(line) for line in RECORD.read_text().splitlines()]
    peaks = {each["ceiling"]["of"]: 1e-9 * each["flops"] / each["ceiling"]["seconds"] for each in records
             if each["ceiling"]["of"] != "copy"}
    unit, (waking,) = in_unit([records[0]["overhead"]])
    text = (f"Made by `make bench` on {records[0]['device']}, {datetime.date.today()}: "
            + ", ".join(f"{of} {peak:.3g} GFLOP/s" for of, peak in sorted(peaks.items()))
            + f"; waking the threads {waking} {unit}.\n\n"
            + "| case | path | median [quartiles] | GFLOP/s | GB/s | of the ceiling |\n|---|---|---|---|---|---|\n")
    for each in records:
        unit, (median, first, third) = in_unit([each["median"], *each["quartiles"]])
        text += (f"| `{each['case']}` | `{each['path']}` | {median} [{first}, {third}] {unit} "
                 f"| {1e-9 * each['flops'] / each['median']:.3g} | {1e-9 * each['bytes'] / each['median']:.3g} "
                 f"| {each['percent']:.0f} % of {each['ceiling']['of']} |\n")
    Path("README.md").write_text(TIMINGS.sub(lambda _: text, README))


if __name__ == "__main__":
    if "--update" in sys.argv:
        update()
    elif "--update-timings" in sys.argv:
        update_timings()
    else:
        unittest.main()
