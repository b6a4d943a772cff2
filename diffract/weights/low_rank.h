#pragma once
#include <functional>
#include <string>
#include <vector>

#include "diffract/weights/tensor_source.h"

namespace diffract::weights {

/// What is added to a module's weight: scale * up * down. Source: Hu et al. 2022 (LoRA); with a magnitude,
/// Liu et al. 2024 (DoRA): the rows of the sum have the lengths that it says.
struct LowRank {
  std::string name;      // "FILE: MODULE", in messages
  at::Tensor down;       // [rank, ...], a row's numbers each: a kernel's are flattened
  at::Tensor up;         // [rows, rank]
  at::Tensor magnitude;  // [rows], undefined without
  double scale = 1;
};

/// The additions to a module's weight, in the order in which they are made; null where there are none.
using LowRankLookup = std::function<const std::vector<LowRank>*(const std::string& module)>;

/// `source` with additions to its weights ("MODULE.weight"). It throws CheckpointError naming the first
/// addition that does not fit the weight that a model asks for.
TensorSourcePtr with_low_rank(TensorSourcePtr source, LowRankLookup additions);

}  // namespace diffract::weights
