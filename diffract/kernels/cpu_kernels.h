#pragma once
#include <ATen/ATen.h>

#include "diffract/kernels/cpu/group_norm.h"

namespace diffract::kernels {

/// The kernels for CPUs, one entry an op of this folder; each is for one piece of its work, which the op's
/// file deals to threads. Each source in cpu/ is compiled for each kind of processor. Each is within a bound
/// of its plain form in float64, relative to the largest value (tests/kernels/cpu_kernels_test.cpp): 1e-5 for
/// group_norm.
struct CpuKernels {
  void (*group_norm)(const cpu::GroupNormWork&);
};

/// Those for the processor that libtorch found, or that ATEN_CPU_CAPABILITY names; null where the plain form
/// is to be used: for tensors that are not on a CPU, other processors, and with DIFFRACT_KERNELS=plain.
const CpuKernels* cpu_kernels(const at::Tensor& x);

}  // namespace diffract::kernels
