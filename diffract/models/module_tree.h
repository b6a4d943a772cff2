#pragma once
#include "diffract/core/json.h"
#include "diffract/placement/planner.h"

namespace diffract::models {

/// The modules of the model that a config.json describes, from that file alone: names, sizes (float32) and
/// shapes are what the model's own code asks a checkpoint for, classes and order are diffusers' and
/// transformers' (module_order.h). Throws CheckpointError for a class that diffract does not build and for a
/// bad config.
placement::ModuleTree make_module_tree(const ConfigReader& config);

/// What the planner is told of a model's class: the blocks that stay whole, and the bytes of an element where
/// the model is loaded in another type than it is stored in.
placement::PlanOptions plan_options(const ConfigReader& config, std::optional<int64_t> dtype_bytes = {});

}  // namespace diffract::models
