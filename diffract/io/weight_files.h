#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/io/open_files.h"

namespace diffract::io {

/// The safetensors files that hold a component's weights.
struct WeightFiles {
  std::vector<std::filesystem::path> files;  // one, or the shards
  std::string description;                 // names the component in messages: its folder, or the single file
  std::shared_ptr<OpenFiles> opened = {};  // shared with others who read them; null: opened for one reader

  std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& file) const {
    return opened ? opened->open(file) : SafetensorsFile::open(file);
  }
};

/// The weight files of a component's folder: `diffusion_pytorch_model` or `model`, `[.variant].safetensors`,
/// in one file or in shards listed by an index. Throws CheckpointError when there are none (saying so when
/// there are only pickles, which diffract does not read), when the index is damaged, or when a shard is
/// missing.
WeightFiles find_weight_files(const std::filesystem::path& folder, const std::string& variant);
/// True when the folder has weight files of the variant.
bool has_weight_variant(const std::filesystem::path& folder, const std::string& variant);

/// What find_weight_files would not find, by file names: the shards that are not there, or the file that a
/// folder without weights should have. Nothing where the folder has pickles only. A component without the
/// variant is asked for its plain files.
std::vector<std::string> missing_weight_files(const std::filesystem::path& folder,
                                              const std::string& variant);

/// The shards that an index names, sorted, each once. `source` names the index in messages. Throws
/// CheckpointError for anything but plain file names ending in .safetensors.
std::vector<std::string> parse_shard_index(const Json& index, const std::string& source);

}  // namespace diffract::io
