#pragma once
#include <gtest/gtest.h>

#include "diffract/tensor/device_backend.h"

namespace diffract::test {

/// A test on the first GPU; skipped where there is none, with the reason.
class Gpu : public ::testing::Test {
 protected:
  void SetUp() override {
    backend_ = tensor::find_backend("cuda");
    if (!backend_) GTEST_SKIP() << "no GPU: " << tensor::why_no_backend("cuda");
  }
  static at::TensorOptions on_gpu(at::ScalarType dtype) { return at::TensorOptions(at::kCUDA).dtype(dtype); }

  tensor::DeviceBackend* backend_ = nullptr;
  c10::InferenceMode no_autograd_;
};

}  // namespace diffract::test
