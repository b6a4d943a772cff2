#pragma once
#include <string>
#include <vector>

#include "diffract/placement/planner.h"

namespace diffract::placement::test {

/// A module whose tensors are float32 parameters of so many bytes each.
inline Module leaf(const std::string& name, const std::vector<int64_t>& bytes,
                   const std::string& class_name = "Linear") {
  Module module{.name = name, .class_name = class_name};
  for (size_t i = 0; i < bytes.size(); ++i)
    module.tensors.push_back({.name = "p" + std::to_string(i), .elements = bytes[i] / 4, .bytes = bytes[i]});
  return module;
}

inline TensorSize buffer(const std::string& name, int64_t bytes) {
  return {.name = name, .elements = bytes / 4, .bytes = bytes, .is_buffer = true};
}

/// ModelForTest of accelerate's own tests: linear1 64 bytes, batchnorm 72 (40 of them buffers), linear2 100.
inline Module model_for_test(const std::string& name = "") {
  Module batchnorm = leaf("batchnorm", {16, 16}, "BatchNorm1d");
  batchnorm.tensors.push_back(buffer("running_mean", 16));
  batchnorm.tensors.push_back(buffer("running_var", 16));
  batchnorm.tensors.push_back(
      {.name = "num_batches_tracked", .elements = 1, .bytes = 8, .is_floating = false, .is_buffer = true});
  return {.name = name,
          .class_name = "ModelForTest",
          .children = {leaf("linear1", {48, 16}), std::move(batchnorm), leaf("linear2", {80, 20})}};
}

}  // namespace diffract::placement::test
