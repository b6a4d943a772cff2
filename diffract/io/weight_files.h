#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/io/open_files.h"
#include "diffract/io/safetensors.h"
#include "diffract/io/stored_weight.h"

namespace diffract::io {

/// The safetensors files that hold a component's weights.
struct WeightFiles {
  std::vector<std::filesystem::path> files;  // one, or the shards
  std::string description;  // names the component in messages: its folder, or the single file
  std::map<std::string, std::string> shard_of = {};  // by tensor, as the index has it; empty without one
  std::shared_ptr<OpenFiles> opened = {};  // shared with others who read them; null: opened for one reader
  NamedParts parts = {};  // what the component's tensors are of the files'; empty: these, by their names

  std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& file) const {
    return opened ? opened->open(file) : SafetensorsFile::open(file);
  }
};

/// All tensors of a component by their names. One that stands in two files is that of the file which the
/// index names. Throws CheckpointError for damaged files, for two of a name between which no index decides,
/// and for parts that do not fit.
std::unordered_map<std::string, StoredWeight> open_weight_files(const WeightFiles& files);

/// The weight files of a component's folder: `diffusion_pytorch_model` or `model`, `[.variant].safetensors`,
/// in one file or in shards listed by an index. Where there are both, diffusers' models are read by the index
/// and transformers' from the single file, as those libraries do; an index whose shards are not all there is
/// then passed over. A warning names what is left unread. Throws CheckpointError when there are none (saying
/// so when there are only pickles, which diffract does not read, or other variants), when the index is
/// damaged, or when a shard is missing.
WeightFiles find_weight_files(const std::filesystem::path& folder, const std::string& variant);
/// True when the folder has weight files of the variant.
bool has_weight_variant(const std::filesystem::path& folder, const std::string& variant);
/// The variants of which the folder has weight files, e.g. "fp16"; sorted.
std::vector<std::string> weight_variants(const std::filesystem::path& folder);

/// What find_weight_files would not find, by file names: the shards that are not there, or the file that a
/// folder without weights should have. Nothing where the folder has pickles only. A component without the
/// variant is asked for its plain files.
std::vector<std::string> missing_weight_files(const std::filesystem::path& folder,
                                              const std::string& variant);

/// The file of each tensor, as an index names them. `source` names the index in messages. Throws
/// CheckpointError for anything but plain file names ending in .safetensors.
std::map<std::string, std::string> parse_shard_index(const Json& index, const std::string& source);

}  // namespace diffract::io
