#include "diffract/tensor/dtype.h"

#include <ATen/cpu/Utils.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "diffract/core/error.h"
#include "diffract/core/lower_case.h"
#include "diffract/tensor/device_backend.h"

namespace diffract::tensor {

at::ScalarType parse_dtype(std::string_view name) {
  struct Spelling {
    std::string_view name;
    at::ScalarType dtype;
  };
  constexpr Spelling kSpellings[] = {
      {"float32", at::kFloat},     {"fp32", at::kFloat},   {"f32", at::kFloat}, {"float", at::kFloat},
      {"float16", at::kHalf},      {"fp16", at::kHalf},    {"f16", at::kHalf},  {"half", at::kHalf},
      {"bfloat16", at::kBFloat16}, {"bf16", at::kBFloat16}};
  std::string plain = lower_case(name);
  if (constexpr std::string_view kModule = "torch."; plain.starts_with(kModule))
    plain.erase(0, kModule.size());
  for (const Spelling& spelling : kSpellings)
    if (plain == spelling.name) return spelling.dtype;
  throw UsageError(
      "dtype \"{}\" is not known; expected float32 (or fp32), float16 (fp16, half) or bfloat16 (bf16)", name);
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

at::Device parse_device(std::string_view name, int local_rank) {
  if (name == "cpu") return at::kCPU;
  const size_t colon = name.find(':');
  const std::string_view kind = name.substr(0, colon);
  if (kind != "cuda" && kind != "sim")
    throw UsageError("device \"{}\" is not known; expected cpu, cuda or cuda:N", name);
  int index = 0;
  if (colon != std::string_view::npos) {
    const char* end = name.data() + name.size();
    const auto [stop, failure] = std::from_chars(name.data() + colon + 1, end, index);
    if (failure != std::errc() || stop != end || index < 0)
      throw UsageError("device \"{}\": expected {} or {}:N with N from 0", name, kind, kind);
  }
  DeviceBackend* backend = find_backend(kind);
  if (!backend)
    throw UsageError("device \"{}\" cannot be used: {}. Or use --device cpu", name, why_no_backend(kind));
  if (colon == std::string_view::npos && backend->device_count() > 0)
    index = local_rank % backend->device_count();
  if (index >= backend->device_count())
    throw UsageError("device \"{}\": there are {} {} devices, numbered from 0", name, backend->device_count(),
                     kind);
  backend->prepare(index);
  return {backend->type(), static_cast<c10::DeviceIndex>(index)};
}

bool cpu_has(const std::string& feature) {
  static const auto capabilities = at::cpu::get_cpu_capabilities();
  const auto found = capabilities.find(feature);
  return found != capabilities.end() && found->second.isBool() && found->second.toBool();
}

namespace {

// False where oneDNN, which computes the products, is held below an instruction set. It then computes float16
// and bfloat16 a hundred times slower, whatever the processor has.
bool onednn_may_use(std::string_view wanted) {
  constexpr std::array<std::string_view, 9> kInOrder = {"SSE41",
                                                        "AVX",
                                                        "AVX2",
                                                        "AVX2_VNNI",
                                                        "AVX2_VNNI_2",
                                                        "AVX512_CORE",
                                                        "AVX512_CORE_VNNI",
                                                        "AVX512_CORE_BF16",
                                                        "AVX512_CORE_FP16"};
  const char* value = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (!value) value = std::getenv("DNNL_MAX_CPU_ISA");
  std::string most = value ? value : "";
  for (char& c : most) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const auto limit = std::find(kInOrder.begin(), kInOrder.end(), most);  // all others are above these
  return limit >= std::find(kInOrder.begin(), kInOrder.end(), wanted);
}

}  // namespace

bool computes_fast(at::ScalarType dtype, at::Device device) {
  if (dtype == at::kFloat) return true;
  if (!device.is_cpu()) return backend_of(device).computes_fast(dtype, device.index());
  if (dtype == at::kBFloat16)
    return onednn_may_use("AVX512_CORE_BF16") && (cpu_has("avx512_bf16") || cpu_has("amx_bf16"));
  if (dtype == at::kHalf)
    return onednn_may_use("AVX512_CORE_FP16") && (cpu_has("avx512_fp16") || cpu_has("amx_fp16"));
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

DtypePolicy DtypePolicy::with_float8(at::Device device) const {
  if (device.is_cpu() || !computes_fast(at::kFloat8_e4m3fn, device))
    throw UsageError(
        "float8: {} has no float8 products; expected an NVIDIA GPU of compute capability 8.9 or later (Ada, "
        "Hopper, Blackwell). Leave --float8 out, or choose the GPU with --device",
        device.str());
  if (arithmetic != at::kBFloat16 || storage != at::kBFloat16)
    throw UsageError("float8: its products are rounded from bfloat16, not from {}. Use --dtype bfloat16",
                     dtype_name(arithmetic != at::kBFloat16 ? arithmetic : storage.value_or(arithmetic)));
  DtypePolicy policy = *this;
  policy.float8 = true;
  return policy;
}

std::string DtypePolicy::describe() const {
  std::string text = fmt::format("weights {}, arithmetic {}", storage ? dtype_name(*storage) : "as stored",
                                 dtype_name(arithmetic));
  if (storage && *storage != arithmetic)
    text += fmt::format(" ({} is {} on this device)", dtype_name(*storage),
                        computes_fast(*storage, at::kCPU) ? "not what was asked for" : "slow");
  if (float8) text += ", large products float8";
  return text;
}

}  // namespace diffract::tensor
