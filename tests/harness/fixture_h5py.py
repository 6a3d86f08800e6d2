"""The view of h5py on fixture files, for fixture_test.cpp.

  fixture_h5py.py check FILE   reads what the test wrote and asserts on it
  fixture_h5py.py write DIR    writes one file for each way in which h5py can store a tensor

Exit code 77 when h5py is missing.
"""

import os
import sys

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(missing)
    sys.exit(77)


def check(path):
    with h5py.File(path, "r") as f:
        assert f.attrs["case"] == "simple_gla T=3 K=2", f.attrs["case"]
        assert f.attrs["schema"] == 1
        assert f.attrs["operator"] == "simple_gla"
        inputs = f["inputs"]
        dtypes = {"a": "<f8", "b": "<f4", "c": "<u2", "d": "<f2", "e": "<i8", "f": "<i4"}
        for name, dtype in dtypes.items():
            data = inputs[name]
            assert data.dtype == np.dtype(dtype), (name, data.dtype)
            assert data.chunks is None and data.compression is None
            assert data.shape == (2, 3), data.shape
            assert [d.label for d in data.dims] == ["key", "time"]
        assert inputs["c"].attrs["dtype"] == "bfloat16"
        assert "dtype" not in inputs["b"].attrs
        # Element (time t, key k) is 10 t + k, stored [key, time].
        expected = [[10.0 * t + k for t in range(3)] for k in range(2)]
        for name in "abdef":
            assert (inputs[name][...] == expected).all(), name
        as_float = (inputs["c"][...].astype(np.uint32) << 16).view(np.float32)
        assert (as_float == expected).all()
        assert f["scale"]["s"][()] == 2.5
        assert f["outputs"].attrs["recipe"] == "single"


def write(folder):
    def new(name):
        return h5py.File(os.path.join(folder, name + ".h5"), "w")

    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 4
    with new("plain") as f:
        f.attrs["case"] = "simple_gla T=3"
        f.attrs["operator"] = np.bytes_("simple_gla")
        f.attrs["schema"] = np.int32(1)
        f.attrs["tags"] = ["kept", "out"]
        f["inputs/q"] = x
        f["inputs/q"].dims[1].label = "time"
        f["inputs/h"] = x.astype(np.float16)
        f["inputs/s"] = 0.5
        f["inputs/z"] = np.zeros((0, 4))
        b = f.create_dataset("inputs/b", data=(x.view(np.uint32) >> 16).astype(np.uint16))
        b.attrs["dtype"] = "bfloat16"
        f["outputs/o"] = x.astype(np.float64)
        f["outputs"].attrs["recipe"] = "single"
        f["outputs/mine/o"] = x
        f["outputs/mine"].attrs["form"] = "chunked"
    with new("layouts") as f:
        i = f.create_group("inputs")
        i.create_dataset("gzip", data=x, chunks=(1, 2, 3), compression="gzip", shuffle=True)
        i.create_dataset("checksum", data=x, chunks=(2, 3, 4), fletcher32=True)
        i["big"] = x.astype(">f4")
        i["big_half"] = x.astype(">f2")
        i["big_int"] = np.arange(6).astype(">i4")
        mark = i.create_dataset("big_bfloat", data=(x.view(np.uint32) >> 16).astype(">u2"))
        mark.attrs["dtype"] = "bfloat16"
        i["u8"] = np.array([0, 255], np.uint8)
        i["i8"] = np.array([-128, 127], np.int8)
        i["i16"] = np.array([-5, 5], np.int16)
        i["u32"] = np.array([0, 2**32 - 1], np.uint32)
        i["u64"] = np.array([0, 2**63 - 1], np.uint64)
        i.create_dataset("unwritten", shape=(2, 2), dtype="f8", fillvalue=np.nan)
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((2, 3, 4))
        d = h5py.h5d.create(i.id, b"compact", h5py.h5t.IEEE_F32LE, space, compact)
        d.write(h5py.h5s.ALL, h5py.h5s.ALL, x)
        f["type"] = np.dtype("f4")  # removed again: a dataset keeps its committed type
        i.create_dataset("committed", data=x, dtype=f["type"])
        del f["type"]
    with new("unaligned") as f:
        f["inputs/a"] = np.zeros(3, np.int8)
        f["inputs/b"] = x
        f["inputs/c"] = f["inputs/b"]
        assert f["inputs/b"].id.get_offset() % 4 != 0
    with h5py.File(os.path.join(folder, "block.h5"), "w", userblock_size=512) as f:
        f["inputs/q"] = x
    with h5py.File(os.path.join(folder, "latest.h5"), "w", libver="latest") as f:
        f["inputs/q"] = x
        f.attrs["case"] = "simple_gla"
    with new("cases") as f:
        for name in ["0123", "4567"]:
            f[name + "/inputs/q"] = x
            f[name].attrs["case"] = "simple_gla seed=" + name
    new("nothing").close()

    # Each of these is refused; the name of the file names the reason.
    with new("soft") as f:
        f["inputs/q"] = x
        f["inputs/k"] = h5py.SoftLink("/inputs/q")
    with new("external_link") as f:
        f["inputs/k"] = h5py.ExternalLink("plain.h5", "/inputs/q")
    with new("external_storage") as f:
        f.create_dataset("inputs/k", (4,), "f4", external=[("elsewhere.bin", 0, 16)])
    with new("virtual") as f:
        layout = h5py.VirtualLayout((2, 3, 4), "f4")
        layout[...] = h5py.VirtualSource("plain.h5", "inputs/q", (2, 3, 4))
        f.create_virtual_dataset("inputs/k", layout)
    with new("cycle") as f:
        f["inputs/q"] = x
        f["inputs/again"] = f["/"]
    with new("named_type") as f:
        f["inputs/q"] = np.dtype("f4")
    with new("unmarked") as f:
        f["inputs/q"] = np.zeros(3, np.uint16)
    with new("complex") as f:
        f["inputs/q"] = np.zeros(3, np.complex64)
    with new("text") as f:
        f["inputs/q"] = "words"
    with new("bool") as f:
        f["inputs/q"] = np.zeros(3, bool)
    with new("float8") as f:
        f["inputs/q"] = np.zeros(3, np.uint8)
        f["inputs/q"].attrs["dtype"] = "float8_e5m2"
    with new("long_double") as f:
        f["inputs/q"] = np.zeros(3, np.longdouble)
    with new("null") as f:
        f["inputs/q"] = h5py.Empty("f4")
    with new("too_large_integer") as f:
        f["inputs/q"] = np.array([2**63], np.uint64)
    with new("misspelt") as f:
        f["input/q"] = x
    with new("stray") as f:
        f["o"] = x
    with new("nested") as f:
        f["inputs/q/deep"] = x
    with new("mixed") as f:
        f["inputs/q"] = x
        f["0123/inputs/q"] = x
    with new("schema") as f:
        f["inputs/q"] = x
        f.attrs["schema"] = 2
    with new("case_list") as f:
        f["inputs/q"] = x
        f.attrs["case"] = ["a", "b"]
    with new("user_twice") as f:
        f["outputs/o"] = x
        f["outputs/user/o"] = x
    with new("huge") as f:
        f.create_dataset("inputs/q", (2**31, 2**31), "f4", chunks=(64, 64))
    with new("overflow") as f:
        f.create_dataset("inputs/q", (2**40, 2**40), "f4", chunks=(64, 64))
    with new("empty_of_many") as f:
        f.create_dataset("inputs/q", (0, 2**40, 2**40), "f4")
    with new("control") as f:
        f["inputs/q\x1b[2J"] = x
    with new("control_of_one_byte") as f:
        f["inputs/q\x9b2J"] = x
    with new("mark_of_two_lines") as f:
        f["inputs/q"] = np.zeros(3, np.uint16)
        f["inputs/q"].attrs["dtype"] = "bfloat16\n\x1b[2J"
    with new("unknown_filter") as f:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((2,))
        properties.set_filter(40000, h5py.h5z.FLAG_OPTIONAL, ())
        h5py.h5d.create(f.id, b"q", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), properties)
    with new("many") as f:
        for index in range(10001):
            f.create_group("inputs/%d" % index)
    with new("deep") as f:
        f["/".join("g" * 20)] = x


{"check": check, "write": write}[sys.argv[1]](sys.argv[2])
