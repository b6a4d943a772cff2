#include "diffract/io/weight_files.h"

#include <set>

#include "diffract/core/error.h"

namespace diffract::io {
namespace fs = std::filesystem;
namespace {

constexpr const char* kStems[] = {"diffusion_pytorch_model", "model"};  // diffusers', transformers'
constexpr size_t kMaxShards = 10'000;
constexpr uint64_t kMaxIndexBytes = 256 << 20;

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored);
}

// Part of a file's name: it must not lead to another folder.
bool is_plain(const std::string& name) {
  return name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

std::string dotted(const std::string& variant) { return variant.empty() ? "" : "." + variant; }

fs::path single_file(const fs::path& folder, const char* stem, const std::string& variant) {
  return folder / fmt::format("{}{}.safetensors", stem, dotted(variant));
}

fs::path index_file(const fs::path& folder, const char* stem, const std::string& variant) {
  return folder / fmt::format("{}.safetensors.index{}.json", stem, dotted(variant));
}

WeightFiles sharded(const fs::path& folder, const fs::path& index) {
  WeightFiles found{.files = {}, .description = folder.string()};
  for (const std::string& shard : parse_shard_index(load_json(index, kMaxIndexBytes), index.string())) {
    if (!is_there(folder / shard))
      throw CheckpointError("{}: no such file; {} names it. Was the model downloaded whole?",
                            (folder / shard).string(), index.filename().string());
    found.files.push_back(folder / shard);
  }
  return found;
}

void check_variant(const std::string& variant) {
  if (!is_plain(variant)) throw UsageError("variant \"{}\": expected a word such as fp16", variant);
}

bool has_pickle(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto extension = entry.path().extension();
    if (extension == ".bin" || extension == ".ckpt" || extension == ".pt") return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> parse_shard_index(const Json& index, const std::string& source) {
  const ConfigReader reader(index, source);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty())
    throw CheckpointError(
        "{}: \"weight_map\" is missing or empty; expected an object of tensor names and files", source);
  std::set<std::string> shards;
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (!name.ends_with(".safetensors") || !is_plain(name))
      throw CheckpointError(
          "{}: tensor \"{}\" is in {}; expected a file name of this folder ending in .safetensors", source,
          tensor, excerpt(file));
    shards.insert(name);
    if (shards.size() > kMaxShards) throw CheckpointError("{}: names more than {} files", source, kMaxShards);
  }
  return {shards.begin(), shards.end()};
}

bool has_weight_variant(const fs::path& folder, const std::string& variant) {
  check_variant(variant);
  for (const char* stem : kStems)
    if (is_there(single_file(folder, stem, variant)) || is_there(index_file(folder, stem, variant)))
      return true;
  return false;
}

std::vector<std::string> missing_weight_files(const fs::path& folder, const std::string& variant) {
  if (!variant.empty() && !has_weight_variant(folder, variant)) return missing_weight_files(folder, "");
  for (const char* stem : kStems) {
    if (is_there(single_file(folder, stem, variant))) return {};
    const fs::path index = index_file(folder, stem, variant);
    if (!is_there(index)) continue;
    auto shards = parse_shard_index(load_json(index, kMaxIndexBytes), index.string());
    std::erase_if(shards, [&](const std::string& shard) { return is_there(folder / shard); });
    return shards;
  }
  if (has_pickle(folder)) return {};
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    for (const char* stem : kStems)  // "model-00001-of-00002.safetensors", but nothing that lists the shards
      if (entry.path().filename().string().starts_with(fmt::format("{}-0", stem)))
        return {index_file(folder, stem, variant).filename().string()};
  // transformers' models are the text encoders.
  const bool is_text_encoder = folder.filename().string().starts_with("text_encoder");
  return {single_file(folder, kStems[is_text_encoder ? 1 : 0], variant).filename().string()};
}

WeightFiles find_weight_files(const fs::path& folder, const std::string& variant) {
  check_variant(variant);
  for (const char* stem : kStems) {
    if (const auto file = single_file(folder, stem, variant); is_there(file))
      return {.files = {file}, .description = file.string()};
    if (const auto index = index_file(folder, stem, variant); is_there(index)) return sharded(folder, index);
  }
  if (has_pickle(folder))
    throw CheckpointError(
        "{}: has pickled weights only, which can run code when they are read; diffract reads "
        "safetensors. Save the model again with safe_serialization=True",
        folder.string());
  throw CheckpointError(
      "{}: has no weights; expected diffusion_pytorch_model{}.safetensors or model{}.safetensors",
      folder.string(), dotted(variant), dotted(variant));
}

}  // namespace diffract::io
