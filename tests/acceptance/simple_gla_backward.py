"""simple_gla, backward, in plain NumPy, by somebody who has never seen this project. Tensors as in simple_gla.py.

    S as there;  dS before the last token is dht;  token by token from the last to the first
      dS <- dS + scale q[t] do[t]^T
      dq[t] = scale S[t] do[t],  dk[t] = dS v[t],  dv[t] = dS^T k[t],  dg[t] = exp(g[t] + g_gamma) <dS, S[t-1]>
      dS <- exp(g[t] + g_gamma) dS
    dh0 = dS in the end;  dg_gamma is the sum of dg over all tokens of all sequences

  recurrent   as written above, every operation in the type of the arguments
  chunked     two passes over chunks as on matrix units: dv and the gradients of the states at the ends of the
              chunks, one chunk after the other, then dq, dk and dg, each chunk on its own; bf16 operands, fp32 sums
"""

import dataclasses

import numpy as np
from simple_gla import bf16, exp, places, widened

FORGETS = {np.dtype(np.float32): -104.0, np.dtype(np.float64): -745.2}  # exp is 0 from here on


def recurrent(q, k, v, gate, S, do, dS, scale):
    """One sequence: q, k [T, HV, K], v, do [T, HV, V], gate [T, HV], S, dS [HV, K, V]."""
    dq, dk, dv, dg = (np.empty_like(x) for x in (q, k, v, gate))
    decay, states = exp(gate, S.dtype)[:, :, None, None], [S]
    for t in range(len(v)):
        states.append(decay[t] * states[t] + k[t][:, :, None] * v[t][:, None, :])
    for t in reversed(range(len(v))):
        dS = dS + (scale * q[t])[:, :, None] * do[t][:, None, :]
        dq[t] = scale * np.sum(states[t + 1] * do[t][:, None, :], axis=2)
        dk[t] = np.sum(dS * v[t][:, None, :], axis=2)
        dv[t] = np.sum(dS * k[t][:, :, None], axis=1)
        dS = decay[t] * dS
        dg[t] = np.sum(dS * states[t], axis=(1, 2))
    return dq, dk, dv, dg, dS


@dataclasses.dataclass
class Chunk:
    """Heads first. G is the sum of the gates from the beginning of the chunk."""
    number: int
    rows: slice
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    do: np.ndarray
    decay: np.ndarray  # exp(G_i - G_j), 0 for i < j
    from_begin: np.ndarray  # exp(G_i)
    to_end: np.ndarray  # exp(G_last - G_j)
    whole: np.ndarray  # exp(G_last)
    scale: np.floating
    operand: object  # rounds


def swapped(x):
    return x.swapaxes(-1, -2)


def chunks(q, k, v, gate, do, scale, size, operand):
    for number, begin in enumerate(range(0, len(v), size)):
        rows = slice(begin, begin + size)
        G = np.cumsum(gate[rows], axis=0).T[:, :, None]
        last, behind = G[:, -1:], np.tri(G.shape[1], dtype=bool)
        decay = np.where(behind, G - swapped(G), -np.inf)
        yield Chunk(number, rows, *(x[rows].swapaxes(0, 1) for x in (q, k, v, do)),
                    *(exp(x, v.dtype) for x in (decay, G, last - G, last)), scale, operand)


def state_pass(c, dS):
    """dv of a chunk and dS before it, from dS behind it."""
    scores = c.operand(c.q @ swapped(c.k) * c.decay * c.scale)
    dv = swapped(scores) @ c.do + c.operand(c.k * c.to_end) @ c.operand(dS)
    return dv, c.whole * dS + swapped(c.operand(c.q * (c.scale * c.from_begin))) @ c.do


def token_pass(c, S, dS):
    """dq, dk and the terms of dg of a chunk, from S before it and dS behind it."""
    scores = c.operand(c.do @ swapped(c.v) * c.decay * c.scale)
    dq = scores @ c.k + c.scale * c.from_begin * (c.do @ swapped(c.operand(S)))
    dk_later = c.to_end * (c.v @ swapped(c.operand(dS)))
    dk = swapped(scores) @ c.q + dk_later
    rest = c.whole[:, 0, 0] * np.sum(S * dS, axis=(1, 2)) + np.sum(c.k * dk_later, axis=(1, 2))
    return dq, dk, np.sum(c.q * dq - c.k * dk, axis=2), rest


def later(x):
    """x[t] + x[t + 1] + ..."""
    return np.cumsum(x[::-1], axis=0)[::-1]


def chunked(q, k, v, gate, S, do, dS, scale, size=64, operand=bf16, dg_form="chunk", zeroed=True,
            state_pass=state_pass, token_pass=token_pass):
    """The same; q, k, v and do are taken to be operands already."""
    dq, dk, dv, dg = (np.empty_like(x) for x in (q, k, v, gate))
    floor, dht = FORGETS[gate.dtype], dS
    parts, states, gradients = list(chunks(q, k, v, np.maximum(gate, floor), do, scale, size, operand)), [], []
    for c in parts:
        states.append(S)
        S = c.whole * S + swapped(c.k) @ operand(c.v * c.to_end)
    for c in reversed(parts):
        gradients.insert(0, dS)
        rows, dS = state_pass(c, dS)
        dv[c.rows] = rows.swapaxes(0, 1)
    for c in parts:
        rows, dk_rows, terms, rest = token_pass(c, states[c.number], gradients[c.number])
        dq[c.rows], dk[c.rows], dg[c.rows] = rows.swapaxes(0, 1), dk_rows.swapaxes(0, 1), terms.T
        if dg_form == "chunk":
            dg[c.rows] = later(dg[c.rows]) + rest
    if dg_form == "global":
        dg = later(dg) + np.sum(S * dht, axis=(1, 2))
    return dq, dk, dv, np.where(zeroed & (gate <= floor), 0, dg), dS


def backward(q, k, v, do, g=None, g_gamma=None, h0=None, dht=None, cu_seqlens=None, scale=None, reverse=False,
             form=recurrent):
    """The gradients of what is given, by name."""
    B, T, H, K = q.shape
    scale = K**-0.5 if scale is None else scale
    sequences = places(B, T, cu_seqlens, reverse)
    q, k, v, gate, S = widened(q, k, v, g, g_gamma, h0, sequences)
    do, dS = do.astype(v.dtype), np.zeros_like(S) if dht is None else dht.astype(v.dtype)
    dq, dk, dv, dg, dh0 = (np.zeros_like(x) for x in (q, k, v, gate, S))
    for n, at in enumerate(sequences):
        dq[at], dk[at], dv[at], dg[at], dh0[n] = form(q[at], k[at], v[at], gate[at], S[n], do[at], dS[n],
                                                      v.dtype.type(scale))
    dq, dk = (x.reshape(B, T, H, v.shape[2] // H, K).sum(axis=3) for x in (dq, dk))
    gradients = {"dq": dq, "dk": dk, "dv": dv}
    if g is not None:
        gradients["dg"] = dg
    if g_gamma is not None:
        gradients["dg_gamma"] = np.sum(dg, axis=(0, 1))
    if h0 is not None:
        gradients["dh0"] = dh0
    return gradients
