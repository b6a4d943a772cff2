#pragma once
#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <string_view>

namespace diffract::tensor {

/// "float32", "float16" or "bfloat16", also as "fp32", "fp16", "bf16", "f32", "f16", "float", "half", and as
/// Python has them, "torch.float16", in any case. Throws UsageError otherwise.
at::ScalarType parse_dtype(std::string_view name);
/// torch's name without its prefix: "float16".
std::string dtype_name(at::ScalarType dtype);

/// "cpu", "cuda" or "cuda:1". Without a number it is the device of this rank among the processes of its host:
/// cuda:(local_rank mod GPUs). Loads the backend of an accelerator (device_backend.h) and prepares the
/// device. Throws UsageError for another name, for a device that is not there, and where the backend cannot
/// be loaded.
at::Device parse_device(std::string_view name, int local_rank = 0);

/// What a model's weights are kept in and what its arithmetic is done in; the two are chosen apart because a
/// CPU without native float16 or bfloat16 is about 100 times slower in them than in float32.
struct DtypePolicy {
  std::optional<at::ScalarType> storage;  // unset: as the file has it
  at::ScalarType arithmetic = at::kFloat;
  bool float8 = false;  // large products in float8 (e4m3) on GPUs that have it; never unless asked for
  int64_t smallest_float8 = 1024;  // rows and columns; below, rounding costs more than the product saves

  /// The policy for a requested storage dtype on a device. Without a request the weights stay as they are
  /// stored and the arithmetic is float32, so that the picture is diffusers' default one. With one,
  /// arithmetic is done in that dtype where the device does it fast. `forced` overrides the choice of
  /// arithmetic.
  static DtypePolicy choose(std::optional<at::ScalarType> requested, std::optional<at::ScalarType> forced,
                            at::Device device);
  /// The same with large products in float8. Throws UsageError where the device has none, or the arithmetic
  /// is not bfloat16.
  DtypePolicy with_float8(at::Device device) const;
  /// One line for the log: "weights float16, arithmetic float32 (this CPU has no fast float16)".
  std::string describe() const;
};

/// True when this CPU has an instruction set by torch's name for it, e.g. "avx512_bf16", "amx_fp16".
bool cpu_has(const std::string& feature);

/// True when the device computes matrix products in `dtype` at least about as fast as in float32.
bool computes_fast(at::ScalarType dtype, at::Device device);

}  // namespace diffract::tensor
