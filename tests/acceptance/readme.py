"""The README says what the program does: its commands run, and its support matrix is the program's.

Every `groundstate` line of a sh block and every python block is run, in order, in one empty folder; each
must exit with 0. `make` lines are left to whoever runs this.
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = os.path.abspath(os.environ["GROUNDSTATE"])
README = Path("README.md").read_text()


def groundstate(arguments, folder):
    environment = dict(os.environ, PATH=os.path.dirname(PROGRAM) + ":" + os.environ["PATH"])
    return subprocess.run(arguments, shell=True, cwd=folder, env=environment, capture_output=True, text=True)


class Readme(unittest.TestCase):
    def test_every_command_of_the_tour_runs(self):
        blocks = re.findall(r"```(sh|python)\n(.*?)```", README, re.S)
        self.assertGreater(len(blocks), 4)
        with tempfile.TemporaryDirectory() as folder:
            for language, text in blocks:
                if language == "python":
                    done = subprocess.run([sys.executable, "-c", text], cwd=folder, capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    continue
                for line in text.splitlines():
                    if line.startswith("groundstate "):
                        done = groundstate(line, folder)
                        self.assertEqual(done.returncode, 0, f"{line}\n{done.stdout}{done.stderr}")

    def test_support_matrix_is_what_the_program_prints(self):
        table = re.search(r"<!-- support -->\n(.*?)<!-- /support -->", README, re.S).group(1)
        self.assertEqual(table, groundstate("groundstate support", None).stdout)


if __name__ == "__main__":
    unittest.main()
