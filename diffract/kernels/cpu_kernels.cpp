#include "diffract/kernels/cpu_kernels.h"

#include <ATen/Version.h>

#include <cstdlib>
#include <string>
#include <string_view>

namespace diffract::kernels {
namespace cpu {
namespace avx2 {
void group_norm(const GroupNormWork& work);
}
namespace avx512 {
void group_norm(const GroupNormWork& work);
}
}  // namespace cpu
namespace {

const CpuKernels* find_kernels() {
  const char* wanted = std::getenv("DIFFRACT_KERNELS");
  if (wanted && std::string_view(wanted) == "plain") return nullptr;
  static constexpr CpuKernels kAvx2{.group_norm = cpu::avx2::group_norm};
  static constexpr CpuKernels kAvx512{.group_norm = cpu::avx512::group_norm};
  const std::string found = at::get_cpu_capability();
  return found == "AVX512" ? &kAvx512 : found == "AVX2" ? &kAvx2 : nullptr;
}

}  // namespace

const CpuKernels* cpu_kernels(const at::Tensor& x) {
  if (!x.device().is_cpu()) return nullptr;
  static const CpuKernels* const found = find_kernels();
  return found;
}

}  // namespace diffract::kernels
