#pragma once
#include <random>

#include "diffract/placement/pipeline_map.h"

namespace diffract::placement::test {

/// A model of random modules down to four levels, with parameters and buffers beside children, layers without
/// tensors, integer buffers, and up to three groups of tied tensors; class "Block" marks some modules.
ModuleTree random_model(std::mt19937& random);

/// Budgets for `total_bytes`, from far too little to plenty, for up to 8 accelerators with holes between
/// their indices, with or without the CPU. A budget for the disk is enough for everything, or is not there.
MaxMemory random_memory(std::mt19937& random, int64_t total_bytes);

/// What a map must be, whatever it decides: every tensor has exactly one place, blocks are whole, tied
/// tensors together. Fails the running test where it is not.
void expect_sound(const ModuleTree& tree, const DeviceMap& map, const PlanOptions& options);

/// Bytes of weights on each place stay within the budgets.
void expect_within(const ModuleTree& tree, const DeviceMap& map, const PlanOptions& options,
                   const MaxMemory& memory);

}  // namespace diffract::placement::test
