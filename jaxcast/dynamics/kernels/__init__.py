"""Many states at once on a GPU or TPU: their whole time loop is one kernel.

XLA alone launches kernels for each step, which read all states from memory and write them again.
Here a block of states stays in registers (on a TPU in vector memory) for all steps. The step is
that of the plain program, taken number by number (`components`), so it can be that of any system
whose vector field is made of operations on numbers. Other ones raise NotImplementedError, or fail
to lower; then the plain program runs (`by_platform`).
"""
