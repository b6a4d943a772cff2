#pragma once
#include <gtest/gtest.h>

#include <optional>

#include "diffract/families/diffusion_pipeline.h"
#include "diffract/tensor/device_backend.h"
#include "tests/support/reference_case.h"

namespace diffract::test {

/// A test on the first GPU; skipped where there is none, with the reason.
class Gpu : public ::testing::Test {
 protected:
  void SetUp() override {
    backend_ = tensor::find_backend("cuda");
    if (!backend_) GTEST_SKIP() << "no GPU: " << tensor::why_no_backend("cuda");
  }
  void TearDown() override {
    if (backend_) backend_->allow_tf32(0, false);
    tensor::await_backends();
  }
  static at::TensorOptions on_gpu(at::ScalarType dtype) { return at::TensorOptions(at::kCUDA).dtype(dtype); }

  /// A case's pipeline on the GPU; in `dtype` its weights and arithmetic, or the case's own.
  static families::DiffusionPipeline load_on_gpu(const ReferenceCase& reference,
                                                 std::optional<at::ScalarType> dtype = {}) {
    loading::LoadOptions options = reference.load_options();
    options.device = at::Device(at::kCUDA, 0);
    if (dtype) options.torch_dtype = dtype;
    return reference.load(options);
  }

  tensor::DeviceBackend* backend_ = nullptr;
  c10::InferenceMode no_autograd_;
};

}  // namespace diffract::test
