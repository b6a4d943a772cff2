#include "diffract/io/weight_files.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "diffract/core/error.h"
#include "diffract/core/log.h"

namespace diffract::io {
namespace fs = std::filesystem;
namespace {

// The names that the libraries give to weight files. Where a single file and an index are there, diffusers
// takes the index and transformers the single file.
struct Stem {
  const char* name;
  bool index_first;
};
constexpr Stem kStems[] = {{"diffusion_pytorch_model", true}, {"model", false}};
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

fs::path single_file(const fs::path& folder, const Stem& stem, const std::string& variant) {
  return folder / fmt::format("{}{}.safetensors", stem.name, dotted(variant));
}

fs::path index_file(const fs::path& folder, const Stem& stem, const std::string& variant) {
  return folder / fmt::format("{}.safetensors.index{}.json", stem.name, dotted(variant));
}

// What there is of one name and variant.
struct Found {
  fs::path single, index;                       // empty where they are not there
  std::map<std::string, std::string> shard_of;  // the index's, where it is read
  std::set<std::string> shards, missing;

  bool any() const { return !single.empty() || !index.empty(); }
  bool is_sharded() const { return !shards.empty() && (single.empty() || missing.empty()); }
};

Found look(const fs::path& folder, const Stem& stem, const std::string& variant) {
  Found found;
  if (fs::path file = single_file(folder, stem, variant); is_there(file)) found.single = std::move(file);
  if (fs::path index = index_file(folder, stem, variant); is_there(index)) found.index = std::move(index);
  if (found.index.empty() || (!found.single.empty() && !stem.index_first)) return found;
  found.shard_of = parse_shard_index(load_json(found.index, kMaxIndexBytes), found.index.string());
  for (const auto& [tensor, shard] : found.shard_of)
    if (found.shards.insert(shard).second && !is_there(folder / shard)) found.missing.insert(shard);
  return found;
}

void warn_of_unread(const fs::path& read, const fs::path& unread, const std::string& why) {
  log::write_once(log::Level::warning, fmt::format("{}: {} is there too and is not read, {}", read.string(),
                                                   unread.filename().string(), why));
}

WeightFiles files_of(const fs::path& folder, Found found) {
  if (!found.is_sharded()) {
    if (!found.index.empty())
      warn_of_unread(found.single, found.index,
                     found.missing.empty()
                         ? "as transformers does not"
                         : fmt::format("as {}, which it names, is missing", *found.missing.begin()));
    return {.files = {found.single}, .description = found.single.string()};
  }
  if (!found.missing.empty())
    throw CheckpointError("{}: no such file; {} names it. Was the model downloaded whole?",
                          (folder / *found.missing.begin()).string(), found.index.filename().string());
  if (!found.single.empty()) warn_of_unread(found.index, found.single, "as diffusers does not");
  WeightFiles files{.files = {}, .description = folder.string(), .shard_of = std::move(found.shard_of)};
  for (const std::string& shard : found.shards) files.files.push_back(folder / shard);
  return files;
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

std::map<std::string, std::string> parse_shard_index(const Json& index, const std::string& source) {
  const ConfigReader reader(index, source);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty())
    throw CheckpointError(
        "{}: \"weight_map\" is missing or empty; expected an object of tensor names and files", source);
  std::map<std::string, std::string> shard_of;
  std::set<std::string> shards;
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (!name.ends_with(".safetensors") || !is_plain(name))
      throw CheckpointError(
          "{}: tensor \"{}\" is in {}; expected a file name of this folder ending in .safetensors", source,
          tensor, excerpt(file));
    shards.insert(name);
    if (shards.size() > kMaxShards) throw CheckpointError("{}: names more than {} files", source, kMaxShards);
    shard_of.emplace(tensor, name);
  }
  return shard_of;
}

bool has_weight_variant(const fs::path& folder, const std::string& variant) {
  check_variant(variant);
  return std::any_of(std::begin(kStems), std::end(kStems), [&](const Stem& stem) {
    return is_there(single_file(folder, stem, variant)) || is_there(index_file(folder, stem, variant));
  });
}

std::vector<std::string> weight_variants(const fs::path& folder) {
  std::set<std::string> variants;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const auto add = [&](const std::string& before, std::string_view behind) {
      if (!name.starts_with(before) || !name.ends_with(behind) ||
          name.size() <= before.size() + behind.size())
        return;
      const std::string variant = name.substr(before.size(), name.size() - before.size() - behind.size());
      const bool is_shard = variant.find("-of-") != std::string::npos;  // "fp16-00001-of-00002"
      if (!is_shard && variant.find('.') == std::string::npos) variants.insert(variant);
    };
    for (const Stem& stem : kStems) {
      add(fmt::format("{}.", stem.name), ".safetensors");
      add(fmt::format("{}.safetensors.index.", stem.name), ".json");
    }
  }
  std::erase_if(variants, [&](const std::string& variant) { return !has_weight_variant(folder, variant); });
  return {variants.begin(), variants.end()};
}

std::vector<std::string> missing_weight_files(const fs::path& folder, const std::string& variant) {
  if (!variant.empty() && !has_weight_variant(folder, variant)) return missing_weight_files(folder, "");
  for (const Stem& stem : kStems) {
    const Found found = look(folder, stem, variant);
    if (!found.single.empty()) return {};
    if (found.any()) return {found.missing.begin(), found.missing.end()};
  }
  if (has_pickle(folder)) return {};
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    for (const Stem& stem : kStems)  // "model-00001-of-00002.safetensors", but nothing that lists the shards
      if (entry.path().filename().string().starts_with(fmt::format("{}-0", stem.name)))
        return {index_file(folder, stem, variant).filename().string()};
  // transformers' models are the text encoders.
  const bool is_text_encoder = folder.filename().string().starts_with("text_encoder");
  return {single_file(folder, kStems[is_text_encoder ? 1 : 0], variant).filename().string()};
}

WeightFiles find_weight_files(const fs::path& folder, const std::string& variant) {
  check_variant(variant);
  for (const Stem& stem : kStems)
    if (Found found = look(folder, stem, variant); found.any()) return files_of(folder, std::move(found));
  const auto others = weight_variants(folder);
  const std::string expected = fmt::format(
      "{0}: has no weights; expected diffusion_pytorch_model{1}.safetensors or model{1}.safetensors",
      folder.string(), dotted(variant));
  if (!others.empty())
    throw CheckpointError("{}. There are files of the variant {}: --variant {}", expected,
                          fmt::join(others, ", "), others.front());
  if (has_pickle(folder))
    throw CheckpointError(
        "{}: has pickled weights only, which can run code when they are read; diffract reads "
        "safetensors. Save the model again with safe_serialization=True",
        folder.string());
  throw CheckpointError("{}", expected);
}

namespace {

// The component's tensors in one of the file's.
std::vector<NamedPart> parts_in(const TensorInfo& info, const WeightFiles& files) {
  if (!files.parts) return {{.name = info.name}};
  return files.parts(info.name);
}

}  // namespace

std::unordered_map<std::string, StoredWeight> open_weight_files(const WeightFiles& files) {
  std::unordered_map<std::string, StoredWeight> tensors;
  std::map<std::string, fs::path> twice;  // and one of the files
  const auto is_named = [&](const std::string& tensor, const fs::path& file) {
    const auto named = files.shard_of.find(tensor);
    return named != files.shard_of.end() && named->second == file.filename();
  };
  for (const auto& path : files.files) {
    const auto file = files.open(path);
    for (const TensorInfo& info : file->tensors())
      for (NamedPart& named : parts_in(info, files)) {
        const StoredWeight weight{file, &info, named.part};
        weight.check();
        const auto [existing, added] = tensors.emplace(named.name, weight);
        if (added) continue;
        if (is_named(named.name, path)) existing->second = weight;
        twice.emplace(std::move(named.name), path);
      }
  }
  for (const auto& [name, path] : twice)
    if (const auto& kept = tensors.at(name).file->path(); !is_named(name, kept))
      throw CheckpointError("{}: tensor \"{}\" stands in {} too", path.string(), name, kept.string());
  return tensors;
}

}  // namespace diffract::io
