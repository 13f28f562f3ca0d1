"""Vectors of numbers as a type of Numba, for loops that LLVM does not vectorise well enough by itself.

A vector is as wide as a register of AVX-512 where the processor has it, else half as wide; LLVM splits it into what the
processor has, so the code is right on all of them. `load` and `store` take flat arrays; no bounds are
checked.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, register_model

WIDE = llvmlite.binding.get_host_cpu_features().get("avx512f", False)
BYTES = 64 if WIDE else 32
TILE = 4  # vectors that are worked on at a time: so many independent sums that none waits for the addition before it
PANEL = 4 if WIDE else 2  # vectors by rows of a product that fit into the registers
ROWS = 6
INT = ir.IntType(32)
intrinsic: Any = extending.intrinsic


def lanes(dtype: Any) -> int:
    """How many numbers a vector has."""
    return BYTES // np.dtype(dtype).itemsize


class Vector(types.Type):
    """A vector of `of`, a real type of Numba."""

    def __init__(self, of: Any):
        self.of, self.lanes = of, 8 * BYTES // of.bitwidth
        super().__init__(f"Vector({of} x {self.lanes})")


VECTORS = {of: Vector(of) for of in (types.float32, types.float64)}


def llvm(v: Vector) -> Any:
    return ir.VectorType(ir.FloatType() if v.of is types.float32 else ir.DoubleType(), v.lanes)


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, v: Vector):
        super().__init__(manager, v, llvm(v))


def spread(builder: Any, x: Any, v: Vector) -> Any:
    """The LLVM vector with `x` everywhere."""
    none = ir.Constant(llvm(v), ir.Undefined)
    first = builder.insert_element(none, x, ir.Constant(INT, 0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(INT, v.lanes), [0] * v.lanes))


def multiply_add(builder: Any, v: Vector, x: Any, y: Any, z: Any) -> Any:
    V = llvm(v)
    name = f"llvm.fma.v{v.lanes}f{v.of.bitwidth}"
    return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(V, [V] * 3), name), [x, y, z])


def place(context: Any, builder: Any, array: Any, value: Any, at: Any) -> Any:
    """The LLVM pointer to the number at this place of a flat array."""
    return builder.gep(context.make_array(array)(context, builder, value).data, [at])


def vector_at(builder: Any, v: Vector, pointer: Any, number: int) -> Any:
    return builder.gep(builder.bitcast(pointer, llvm(v).as_pointer()), [ir.Constant(ir.IntType(64), number)])


def get(builder: Any, v: Vector, pointer: Any, number: int = 0) -> Any:
    x = builder.load(vector_at(builder, v, pointer, number))
    x.align = v.of.bitwidth // 8
    return x


def put(builder: Any, v: Vector, x: Any, pointer: Any, number: int = 0) -> None:
    builder.store(x, vector_at(builder, v, pointer, number)).align = v.of.bitwidth // 8


@intrinsic(prefer_literal=True)
def load(typing: Any, a: Any, at: Any, number: Any) -> Any:
    """The vector with this number, a literal, from `at` on."""
    v = VECTORS[a.dtype]

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return get(builder, v, place(context, builder, a, *args[:2]), number.literal_value)

    return v(a, types.intp, number), code


@intrinsic(prefer_literal=True)
def store(typing: Any, a: Any, at: Any, number: Any, x: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        put(builder, x, args[3], place(context, builder, a, *args[:2]), number.literal_value)
        return context.get_dummy_value()

    return types.void(a, types.intp, number, x), code


@intrinsic
def splat(typing: Any, x: Any) -> Any:
    """`x` in every place."""
    v = VECTORS[x]
    return v(x), lambda context, builder, signature, args: spread(builder, args[0], v)


@intrinsic
def fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """`x y + z`."""
    return x(x, x, x), lambda context, builder, signature, args: multiply_add(builder, x, *args)


@intrinsic
def times(typing: Any, x: Any, y: Any) -> Any:
    return x(x, x), lambda context, builder, signature, args: builder.fmul(*args)


@intrinsic
def over(typing: Any, x: Any, y: Any) -> Any:
    return x(x, x), lambda context, builder, signature, args: builder.fdiv(*args)


@intrinsic
def where_greater(typing: Any, x: Any, y: Any, a: Any, b: Any) -> Any:
    """`a` where `x > y`, else `b`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])

    return x(x, x, x, x), code


def _panel(rows: int) -> Any:
    """An intrinsic that adds to `out` the product of `rows` rows of `v` and `PANEL` vectors of columns of `a`."""

    @intrinsic
    def panel(typing: Any, a: Any, at: Any, step: Any, v: Any, row: Any, jump: Any, count: Any, out: Any, to: Any,
              leap: Any) -> Any:  # fmt: skip
        kind, long = VECTORS[a.dtype], types.intp

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a_, at_, step_, v_, row_, jump_, count_, out_, to_, leap_ = args
            first, values = place(context, builder, a, a_, at_), place(context, builder, v, v_, row_)
            target = place(context, builder, out, out_, to_)
            index = lambda number: ir.Constant(at_.type, number)  # noqa: E731
            places = [
                [builder.gep(target, [builder.add(builder.mul(leap_, index(r)), index(u * kind.lanes))])
                 for u in range(PANEL)]
                for r in range(rows)
            ]  # fmt: skip
            sums = [[cgutils.alloca_once(builder, llvm(kind)) for _ in range(PANEL)] for _ in range(rows)]
            for r in range(rows):
                for u in range(PANEL):
                    builder.store(get(builder, kind, places[r][u]), sums[r][u])
            with cgutils.for_range(builder, count_, intp=at_.type) as loop:
                here = builder.gep(first, [builder.mul(loop.index, step_)])
                columns = [get(builder, kind, builder.gep(here, [index(u * kind.lanes)])) for u in range(PANEL)]
                for r in range(rows):
                    where = builder.add(builder.mul(jump_, index(r)), loop.index)
                    x = spread(builder, builder.load(builder.gep(values, [where])), kind)
                    for u in range(PANEL):
                        so_far = builder.load(sums[r][u])
                        builder.store(multiply_add(builder, kind, x, columns[u], so_far), sums[r][u])
            for r in range(rows):
                for u in range(PANEL):
                    put(builder, kind, builder.load(sums[r][u]), places[r][u])
            return context.get_dummy_value()

        return types.void(a, long, long, v, long, long, long, out, long, long), code

    return panel


panel_of_few, panel_of_rows = _panel(2), _panel(ROWS)
