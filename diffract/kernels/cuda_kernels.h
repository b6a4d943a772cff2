#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "diffract/kernels/attention.h"
#include "diffract/kernels/gated_gelu.h"
#include "diffract/kernels/group_norm.h"
#include "diffract/kernels/linear.h"
#include "diffract/kernels/linear_float8.h"
#include "diffract/kernels/norm_rotary.h"
#include "diffract/kernels/residual_norm.h"
#include "diffract/kernels/step_graph.h"

namespace diffract::kernels {

/// The kernels that libdiffract_cuda has, one entry an op of this folder. Each is within a bound of its plain
/// form in float64 on the same numbers, relative to the largest value (tests/gpu/kernels_test.cpp). With r =
/// 2e-6 in float32, 1e-3 in float16 and 8e-3 in bfloat16 (two roundings of the type) that is
///   r   gated_residual, gated_gelu, bias_residual
///   2r  norm_rotary, linear, linear_each
///   4r  group_norm, residual_norm
///   1e-6  guide (float32 only)
///   3e-2  linear_float8, beside a plain form that rounds to float8 alike
/// A graph gives the bits that its work gives.
struct CudaKernels {
  Tensor (*group_norm)(const Tensor&, const GroupNorm&, const Tensor& addend);
  ResidualNormResult (*residual_norm)(const Tensor&, const Tensor&, const Tensor&, const ResidualNorm&);
  Tensor (*gated_residual)(const Tensor&, const Tensor&, const Tensor& gate);
  QueryKey (*norm_rotary)(const QueryKey&, const QueryKey& weight, double eps, const Tensor& rope);
  Tensor (*gated_gelu)(const Tensor&, GatedGelu);
  Tensor (*linear)(const Tensor&, const Tensor& weight, const Tensor& bias, const LinearEnd&);
  std::vector<Tensor> (*linear_each)(const Tensor&, const std::vector<LinearLayer>&);
  Rows (*round_rows)(const Tensor& x, const Tensor& hidden);  // one of them may be undefined
  Tensor (*linear_float8)(const Rows&, const Float8Matrix&, const Tensor& bias, const LinearEnd&);
  Tensor (*attention)(const Tensor& query, const Tensor& key, const Tensor& value, const Scores&,
                      const Tensor& out);
  void (*expect_attention)(int device, at::ScalarType, int64_t head_width);
  Tensor (*bias_residual)(const Tensor&, const Tensor& bias, const Tensor& residual);
  Tensor (*guide)(const Tensor&, double scale);
  /// Runs `work`, choosing the fastest algorithm for each product that was not measured before.
  void (*measure)(const std::function<void()>& work);
  std::unique_ptr<RecordedGraph> (*record)(const Tensor& on_its_device, const std::function<void()>& work);
};

/// What the backend of NVIDIA's GPUs is besides a tensor::DeviceBackend.
class CudaKernelsProvider {
 public:
  virtual ~CudaKernelsProvider() = default;
  virtual const CudaKernels& kernels() const = 0;
  /// Names and values for a report: the GPU, its driver and libraries, rates that are measured now.
  virtual std::vector<std::pair<std::string, std::string>> describe(int device) const = 0;
};

/// The kernels for a tensor on a GPU; null where the plain form is to be used: on a CPU, without the library,
/// and with DIFFRACT_KERNELS=plain.
const CudaKernels* cuda_kernels(at::Device device);
inline const CudaKernels* cuda_kernels(const Tensor& x) { return cuda_kernels(x.device()); }

}  // namespace diffract::kernels
