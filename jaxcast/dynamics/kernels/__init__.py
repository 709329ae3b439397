"""Many states at once on a GPU or TPU: their whole time loop is one kernel.

XLA makes a kernel for each component of each step, and each of them reads all states from memory
and computes the step anew. Here a block of states stays in registers for all steps. The step is
that of the plain program, taken number by number (`components`), so it can be that of any system
whose vector field is made of operations on numbers. What cannot raises NotImplementedError, or
fails to lower; then the plain program runs (`by_platform`).
"""
