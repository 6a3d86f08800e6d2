"""Times and judges the Triton selective_state_update of an installed mamba_ssm on our inputs (peer.py says how).

    python3 harness/python/mamba_rows.py 'selective_state_update B=128 pool=128 H=48 state_dtype=bf16' -o mamba.jsonl

The kernel takes one token of every lane, and states of fp32, bf16 and fp16, rounded to nearest. It computes in fp32:
the recipe is single, the form recurrent.

Needs a CUDA device, torch, h5py, einops, mamba_ssm (its Python files are enough), and the program by --groundstate,
GROUNDSTATE or PATH.
"""
import importlib.util
import sys
import types

import peer

# The values of a case line that the kernel can do; other keys are free. It reads the strides of dt_bias and D whether
# there are any or not.
ACCEPTED = {
    "T": ("1",), "lengths": ("",), "dtype": ("bf16", "fp16", "fp32"), "state_dtype": ("", "fp32", "bf16", "fp16"),
    "rounding": ("nearest",), "D": ("head", "channel"), "dt_bias": ("random",), "pad_slot_id": ("",), "dst": ("none",),
    "accepted": ("none",), "intermediate": ("none",), "update": ("yes",), "duplicates": ("refuse",),
}


def selective_state_update():
    """The function, by a stand-in for the package: mamba_ssm/__init__.py needs compiled extensions, the Triton files
    beside it do not."""
    name = "mamba_ssm"
    if name not in sys.modules:
        found = importlib.util.find_spec(name)  # of a top-level package: runs nothing of it
        if found is None:
            sys.exit(f"not installed: {name}")
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = found.submodule_search_locations
    return importlib.import_module(name + ".ops.triton.selective_state_update").selective_state_update


def start(x, softplus):
    """Extents of 1 become strides of 0, by which the kernel knows that a head has one decay."""
    kernel = selective_state_update()
    lanes, _, heads, value = x["x"].shape
    token = {name: x[name][:, 0] for name in ("x", "dt", "B", "C", "z") if name in x}
    state = x["state"]

    def work():
        out = kernel(
            state, token["x"], token["dt"].expand(lanes, heads, value), x["A"].expand(state.shape[1:]),
            token["B"], token["C"], D=x["D"].expand(heads, value), z=token.get("z"),
            dt_bias=x["dt_bias"].expand(heads, value), dt_softplus=softplus,
            state_batch_indices=x["state_batch_indices"][:, 0] if "state_batch_indices" in x else None)
        return {"out": out[:, None], "state": state}

    return work


def kernel_of(described):
    keys = described["keys"]
    if described["case"].split()[0] != "selective_state_update":
        raise peer.Unsupported("only selective_state_update")
    for key, accepted in ACCEPTED.items():
        if keys[key] not in accepted:
            raise peer.Unsupported(f"the kernel has no {key}={keys[key]}")
    return peer.Kernel("recurrent", "single", lambda x: start(x, keys["softplus"] == "yes"))


def main():
    options = peer.parser_of(__doc__).parse_args()
    return peer.measure(options, peer.library_of("mamba_ssm"), kernel_of, peer.library_of("triton"))


if __name__ == "__main__":
    sys.exit(main())
