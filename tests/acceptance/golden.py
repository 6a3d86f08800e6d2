"""The committed goldens hold what the header of harness/golden/golden.hpp says, read by h5py alone."""

import hashlib
import unittest

import h5py
import numpy as np
from program import ProgramTest, load

GOLDEN = "data/golden.h5"


def row_major(dataset, values, axes):
    """Its elements in the declared order of the axes, whatever the storage."""
    stored = list(dataset.attrs.get("DIMENSION_LABELS", []))
    return values.transpose([stored.index(axis) for axis in axes])


def sample(n):
    m = min(n, 64)
    part = [(n * i // m, n * (i + 1) // m) for i in range(m)]
    drawn = [begin + i * 2654435761 % 2**32 % (end - begin) for i, (begin, end) in enumerate(part)]
    return drawn[:-1] + [n - 1] if m else []


class Golden(ProgramTest):
    def test_digests_samples_and_units(self):
        file, seen = self.at("case.h5"), 0
        with h5py.File(GOLDEN) as golden:
            self.assertEqual((golden.attrs["golden"], golden.attrs["schema"]), (1, 1))
            self.assertRegex(golden.attrs["libm"], r"^glibc 2\.\d+$")
            for case in golden.values():
                self.succeeds("generate", case.attrs["case"], "--with-oracle", "-o", file)
                with h5py.File(file) as whole:
                    for group in ("inputs", "oracle"):
                        self.assertEqual(set(case[group]), set(whole[group]))
                        for name, own in case[group].items():
                            self.check(own, whole[group][name])
                            seen += 1
                    for name in case["oracle"]:
                        self.check_units(case, whole, name)
        self.assertGreater(seen, 50)

    def check(self, own, dataset):
        shape = dict(word.split("=") for word in own.attrs["shape"].split())
        stored = row_major(dataset, dataset[...], shape)
        self.assertEqual(stored.shape, tuple(int(extent) for extent in shape.values()))
        self.assertEqual(hashlib.sha256(stored.tobytes()).hexdigest(), own.attrs["sha256"], own.name)
        values = row_major(dataset, load(dataset), shape).astype(np.float64).ravel()
        np.testing.assert_array_equal(own[...], values[sample(values.size)], own.name)

    def check_units(self, case, whole, name):
        oracle = case["oracle"][name]
        axes = [word.split("=")[0] for word in oracle.attrs["shape"].split()]
        squares = np.zeros(oracle.size)
        for field in ("input", "carry", "gate"):
            dataset = whole["scale"][f"{name}.{field}"]
            values = row_major(dataset, dataset[...], axes).astype(np.float64).ravel()
            squares += values[sample(values.size)] ** 2
        units = 2.0**-53 * (np.abs(oracle[...]) + np.sqrt(squares))
        np.testing.assert_allclose(case["scale"][name][...], units, rtol=1e-6, atol=1e-300)


if __name__ == "__main__":
    unittest.main()
