"""Times and judges the chunk kernels of an installed flash-linear-attention on our inputs (peer.py says how).

    python3 harness/python/fla_rows.py 'simple_gla T=8192 H=96 K=128 V=128 state=random' -o fla.jsonl

For simple_gla and simple_gla.backward in bf16 and fp16. The recipe is fla-chunk-bf16 or -fp16.

Needs a CUDA device, torch, h5py, fla-core (with einops), and the program by --groundstate, GROUNDSTATE or PATH. The
backward refuses some Triton versions on Hopper; --no-guard takes that check out and says so in the row.
"""
import gc
import os
import sys

# Before the import of fla: what was tuned on one case would be taken from disk for others.
os.environ["FLA_CACHE_RESULTS"] = "0"

import peer


def forget_tuning():
    """Triton tells cases apart by fewer keys than matter; each is to have the configuration that is best for it."""
    import triton

    for each in gc.get_objects():
        if issubclass(type(each), triton.runtime.Autotuner):
            each.cache.clear()


def forward(x, **options):
    from fla.ops.simple_gla import chunk_simple_gla

    def work():
        o, ht = chunk_simple_gla(
            x["q"], x["k"], x["v"], g=x.get("g"), g_gamma=x.get("g_gamma"),
            initial_state=x.get("h0"), output_final_state=True, **options)
        return {"o": o, "ht": ht}

    return work


def backward(x, **options):
    """The gradients alone: the forward is done once, before."""
    import torch

    names = [name for name in ("q", "k", "v", "g", "h0") if name in x]
    leaves = [x[name].requires_grad_() for name in names]
    results = forward(x, **options)()
    with_gradient = [name for name in results if "d" + name in x]
    outputs, gradients = [results[name] for name in with_gradient], [x["d" + name] for name in with_gradient]

    def work():
        found = torch.autograd.grad(outputs, leaves, gradients, retain_graph=True)
        return {"d" + name: gradient for name, gradient in zip(names, found)}

    return work


STARTS = {"simple_gla": forward, "simple_gla.backward": backward}


def kernel_of(described):
    keys, operator = described["keys"], described["case"].split()[0]
    if operator not in STARTS:
        raise peer.Unsupported("only simple_gla and simple_gla.backward")
    if keys["dtype"] not in ("bf16", "fp16"):
        raise peer.Unsupported("no recipe describes the kernels in this dtype")
    if keys["reverse"] == "yes" or keys["lengths"] or keys["HV"]:
        raise peer.Unsupported("no time backward, packed sequences (they cannot be captured) or shared heads")
    if keys["gate_inputs"] == "both" or (keys["gate_inputs"] == "gamma" and operator != "simple_gla"):
        raise peer.Unsupported("one gate at a time, and no gradient of g_gamma")
    options = {"scale": float(keys["scale"])} if keys["scale"] else {}
    if keys["state_layout"] == "vk":
        options["state_v_first"] = True

    def start(x):
        forget_tuning()
        return STARTS[operator](x, **options)

    return peer.Kernel("chunked", "fla-chunk-" + keys["dtype"], start)


def main():
    parser = peer.parser_of(__doc__)
    parser.add_argument("--no-guard", action="store_true", help="without fla's check of the Triton version")
    options = parser.parse_args()
    notes = [peer.library_of("triton")]
    if options.no_guard:
        import fla.ops.common.chunk_o as chunk_o

        chunk_o.IS_NVIDIA_HOPPER = False
        notes.append("its guard off")
    return peer.measure(options, peer.library_of("flash-linear-attention", "fla-core"), kernel_of, *notes)


if __name__ == "__main__":
    sys.exit(main())
