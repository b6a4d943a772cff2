#include "diffract/tensor/dtype.h"

#include <ATen/cpu/Utils.h>

#include <charconv>

#include "diffract/core/error.h"

namespace diffract::tensor {

at::ScalarType parse_dtype(std::string_view name) {
  if (name == "float32" || name == "fp32") return at::kFloat;
  if (name == "float16" || name == "fp16") return at::kHalf;
  if (name == "bfloat16" || name == "bf16") return at::kBFloat16;
  throw UsageError("dtype \"{}\" is not known; expected float32, float16 or bfloat16", name);
}

std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kDouble:
      return "float64";
    default:
      return c10::toString(dtype);
  }
}

at::Device parse_device(std::string_view name) {
  if (name == "cpu") return at::kCPU;
  int index = 0;
  const bool plain_cuda = name == "cuda";
  const bool numbered_cuda =
      name.starts_with("cuda:") && name.size() > 5 &&
      std::from_chars(name.data() + 5, name.data() + name.size(), index).ptr == name.data() + name.size();
  if (plain_cuda || (numbered_cuda && index >= 0))
    throw UsageError("device \"{}\": this build of diffract has no CUDA; use --device cpu", name);
  throw UsageError("device \"{}\" is not known; expected cpu, cuda or cuda:N", name);
}

bool cpu_has(const std::string& feature) {
  static const auto capabilities = at::cpu::get_cpu_capabilities();
  const auto found = capabilities.find(feature);
  return found != capabilities.end() && found->second.isBool() && found->second.toBool();
}

bool computes_fast(at::ScalarType dtype, at::Device device) {
  if (dtype == at::kFloat || !device.is_cpu()) return true;
  if (dtype == at::kBFloat16) return cpu_has("avx512_bf16") || cpu_has("amx_bf16");
  if (dtype == at::kHalf) return cpu_has("avx512_fp16") || cpu_has("amx_fp16");
  return false;
}

DtypePolicy DtypePolicy::choose(std::optional<at::ScalarType> requested, std::optional<at::ScalarType> forced,
                                at::Device device) {
  DtypePolicy policy{.storage = requested};
  if (forced)
    policy.arithmetic = *forced;
  else if (requested && computes_fast(*requested, device))
    policy.arithmetic = *requested;
  return policy;
}

std::string DtypePolicy::describe() const {
  std::string text = fmt::format("weights {}, arithmetic {}", storage ? dtype_name(*storage) : "as stored",
                                 dtype_name(arithmetic));
  if (storage && *storage != arithmetic)
    text += fmt::format(" ({} is {} on this device)", dtype_name(*storage),
                        computes_fast(*storage, at::kCPU) ? "not what was asked for" : "slow");
  return text;
}

}  // namespace diffract::tensor
