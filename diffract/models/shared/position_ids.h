#pragma once
#include "diffract/placement/module_tree.h"

namespace diffract::models {

/// The numbers of a CLIP model's positions, which no checkpoint holds and transformers counts.
inline void add_position_ids(placement::Module& module, int64_t positions) {
  for (placement::Module& child : module.children) {
    if (child.name == "text_model" || child.name == "vision_model") add_position_ids(child, positions);
    if (child.name == "embeddings")
      child.tensors.push_back({.name = "position_ids",
                               .elements = positions,
                               .bytes = positions * static_cast<int64_t>(sizeof(int64_t)),
                               .is_floating = false,
                               .is_buffer = true});
  }
}

}  // namespace diffract::models
