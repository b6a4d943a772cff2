#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "diffract/core/json.h"
#include "diffract/weights/low_rank.h"

namespace diffract::weights {

/// A LoRA as its file has it: the additions by the modules that its keys name, be it
/// "unet.mid_block.attentions.0.proj_in" (diffusers, peft) or "lora_unet_mid_block_attentions_0_proj_in"
/// (kohya).
struct LoraFile {
  std::map<std::string, LowRank> modules;  // scale: alpha over rank
  std::string format;                      // "kohya", "peft" or "diffusers"
  size_t left_out = 0;                     // keys that diffusers leaves out, too: kohya's dora_scale

  /// Opens and checks a file: keys that are a LoRA's, a pair of matrices for each module, of one rank.
  /// Tensors are views of the mapped file. Throws CheckpointError naming the file and the key; other kinds
  /// (LoHa, LoKr, changed biases) are refused by name.
  static LoraFile open(const std::filesystem::path& path);
};

/// What `diffract info` says of a LoRA: {"format", "modules", "ranks", ...}; nothing where `path`, a
/// safetensors file, is none.
std::optional<Json> describe_lora(const std::filesystem::path& path);

}  // namespace diffract::weights
