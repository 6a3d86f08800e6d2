"""simple_gla, forward, in plain NumPy: what somebody might write who has never seen this project.

    S <- exp(g[t] + g_gamma) S + k[t] v[t]^T,    o[t] = scale S^T q[t],    ht = S after the last token

q, k [B, T, H, K]; v, o [B, T, HV, V]; g [B, T, HV]; g_gamma [HV]; h0, ht [N, HV, K, V], with one of N = B
sequences in each batch element, or packed one behind the other (B = 1) between the entries of cu_seqlens.
Value head j uses the query and key of head j // (HV // H).

  recurrent   token by token, every operation in the type of the arguments
  chunked     chunk by chunk as on matrix units: bf16 operands, fp32 sums
"""

import numpy as np


def bf16(x):
    """x rounded to bf16, ties to even, as fp32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return np.where(np.isnan(x), np.float32(np.nan), rounded.view(np.float32))


def exp(x, dtype):
    """By way of long double: the last bits of np.exp depend on the machine, and where a gate is the same at every
    token their errors add up."""
    return np.exp(x.astype(np.longdouble)).astype(dtype)


def recurrent(q, k, v, gate, S):
    """One sequence: q, k [T, HV, K], v [T, HV, V], gate [T, HV], S [HV, K, V]."""
    o = np.empty_like(v)
    for t in range(len(v)):
        S = exp(gate[t], S.dtype)[:, None, None] * S + k[t][:, :, None] * v[t][:, None, :]
        o[t] = np.sum(q[t][:, :, None] * S, axis=1)
    return o, S


def chunked(q, k, v, gate, S, chunk=64, operand=bf16):
    """The same; q, k and v are taken to be operands already."""
    o = np.empty_like(v)
    for begin in range(0, len(v), chunk):
        rows = slice(begin, begin + chunk)
        Q, K, V = (x[rows].swapaxes(0, 1) for x in (q, k, v))
        G = np.cumsum(gate[rows], axis=0).T[:, :, None]
        last, behind = G[:, -1:], np.tri(G.shape[1], dtype=bool)
        decay = exp(np.where(behind, G - G.swapaxes(1, 2), -np.inf), S.dtype)
        scores = Q @ K.swapaxes(1, 2) * decay
        o[rows] = (exp(G, S.dtype) * (Q @ operand(S)) + operand(scores) @ V).swapaxes(0, 1)
        S = exp(last, S.dtype) * S + K.swapaxes(1, 2) @ operand(V * exp(last - G, S.dtype))
    return o, S


def places(batch, time, cu_seqlens=None, reverse=False):
    """Of each sequence its batch element and its tokens, in the order of processing."""
    spans = [(b, 0, time) for b in range(batch)]
    if cu_seqlens is not None:
        spans = [(0, begin, end) for begin, end in zip(cu_seqlens, cu_seqlens[1:])]
    return [(b, np.arange(begin, end)[::-1 if reverse else 1]) for b, begin, end in spans]


def widened(q, k, v, g, g_gamma, h0, sequences):
    """fp64 where q is fp64 and fp32 otherwise: q and k of each value head, v, the sum of the gates, h0 or zeros."""
    real = np.float64 if q.dtype == np.float64 else np.float32
    (B, T, H, K), (HV, V) = q.shape, v.shape[2:]
    gate = np.zeros((B, T, HV), real)
    gate = gate if g is None else gate + g.astype(real)
    gate = gate if g_gamma is None else gate + g_gamma.astype(real)
    state = np.zeros((len(sequences), HV, K, V), real) if h0 is None else h0.astype(real)
    q, k = (np.repeat(x, HV // H, axis=2).astype(real) for x in (q, k))
    return q, k, v.astype(real), gate, state


def forward(q, k, v, g=None, g_gamma=None, h0=None, cu_seqlens=None, scale=None, reverse=False, form=recurrent):
    """o and ht."""
    scale = q.shape[3]**-0.5 if scale is None else scale
    sequences = places(*q.shape[:2], cu_seqlens, reverse)
    q, k, v, gate, state = widened(q, k, v, g, g_gamma, h0, sequences)
    o, ht = np.zeros_like(v), np.empty_like(state)
    for n, at in enumerate(sequences):
        rows, ht[n] = form(q[at], k[at], v[at], gate[at], state[n])
        o[at] = v.dtype.type(scale) * rows
    return o, ht
