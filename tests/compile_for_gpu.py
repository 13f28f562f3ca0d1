"""Compile the Triton kernels of OMP and OLS for an H100, with no GPU at hand; `test_kernels_cuda.py` runs it."""

from itertools import product

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from pursuit.kernels.cuda import pursuit_run as run

TYPES = {torch.float32: "fp32", torch.float64: "fp64"}
WHOLE = {"SUPPORT": "*i64", "STEPS": "*i64", "ATOMS": "*i64", "BUDGET": "*i64", "COUNT": "*i32", "CODE": "*i32"}
ALIGNED = ("width", "w_step")  # multiples of 16


def compiled(kernel, dtype, warps, **constants):
    """The kernel as the launcher compiles it for arrays of this dtype."""
    names = kernel.arg_names
    signature = {}
    for name in names:
        if name in constants:
            signature[name] = "constexpr"
        elif name.isupper():
            signature[name] = WHOLE.get(name, f"*{TYPES[dtype]}")
        else:
            signature[name] = "fp32" if name == "floor" else "i32"
    places = {(i,): constants[name] for i, name in enumerate(names) if name in constants}
    aligned = {
        (i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name][0] == "*" or name in ALIGNED
    }
    source = ASTSource(kernel, signature, places, aligned)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})


plan = run.PLAN
for dtype in TYPES:
    eps = torch.finfo(dtype).eps
    for n, k in ((1, 1), (1000, 32), (2048, 64), (run.WIDEST, 256)):
        N, K = run._block(n), run._block(k)
        for ols, planes in product((False, True), (1, 2)):
            warps = run._warps(N * planes, plan.columns_per_warp)
            constants = {"EPS": eps, "LEAST": eps ** (1 / 3), "OLS": ols, "PLANES": planes, "N": N, "K": K}
            made = compiled(run.pursue, dtype, warps, **constants)
            print("pursue", dtype, planes, N, K, ols, len(made.asm["cubin"]), "bytes")
    for m, k in ((1, 1), (5000, 64)):
        M, K = min(run._block(m), plan.tile), run._block(k)
        one = {"m": 1} if m == 1 else {}  # the launcher takes a 1 for a constant
        for planes in (1, 2):
            warps = run._warps(M * planes, plan.measurements_per_warp)
            made = compiled(run.refit, dtype, warps, EPS=eps, PLANES=planes, M=M, K=K, **one)
            print("refit", dtype, planes, M, K, len(made.asm["cubin"]), "bytes")
