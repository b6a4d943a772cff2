#include "diffract/io/model_identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <span>
#include <vector>

#include "diffract/io/mapped_file.h"
#include "diffract/io/missing_files.h"
#include "diffract/io/sha256.h"

namespace diffract::io {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kSnapshots = "snapshots", kPrefix = "models--", kBetween = "--";

// "models--ORG--NAME", or "models--NAME" of the hub's oldest models.
std::string repository_of(std::string name) {
  name.erase(0, kPrefix.size());
  if (const size_t between = name.find(kBetween); between != std::string::npos)
    return name.substr(0, between) + '/' + name.substr(between + kBetween.size());
  return name;
}

constexpr size_t kBlock = 4096, kBlocks = 32;  // of a file that is too long to be read as a whole
constexpr size_t kMostOfWeights = kBlock * kBlocks;
constexpr size_t kMostOfText = 64 << 20;  // none is longer that is what its name says

// Adds a file's name, size and content; of one longer than `whole` some blocks, evenly spread from its first
// to its last.
void add_file(std::string& text, const fs::path& file, std::span<const std::byte> bytes, size_t whole) {
  text += fmt::format("{}:{}:", file.filename().string(), bytes.size());
  const auto add = [&](std::span<const std::byte> part) {
    text.append(reinterpret_cast<const char*>(part.data()), part.size());
  };
  if (bytes.size() <= whole) return add(bytes);
  for (size_t i = 0; i < kBlocks; ++i)
    add(bytes.subspan((bytes.size() - kBlock) / (kBlocks - 1) * i, kBlock));
  add(bytes.last(kBlock));
}

std::string hash_of(const std::string& text) {
  constexpr size_t kDigits = 16;
  return sha256_hex(std::as_bytes(std::span(text))).substr(0, kDigits);
}

// Configs, and what tokenizers read.
bool is_text(const fs::path& file) {
  const fs::path name = file.filename();
  return name.extension() == ".json" || name == "merges.txt" || name == "spiece.model";
}

// Those of a folder for which `is_wanted`, sorted.
std::vector<fs::path> files_in(const fs::path& folder, bool (*is_wanted)(const fs::path& file)) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.is_regular_file(ignored) && is_wanted(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

void add_texts(std::string& text, const fs::path& folder) {
  for (const fs::path& file : files_in(folder, is_text))
    add_file(text, file, MappedFile(file).bytes(), kMostOfText);
}

}  // namespace

Json to_json(const ModelIdentity& identity) {
  Json json = {{"name", identity.name}};
  if (!identity.revision.empty()) json["revision"] = identity.revision;
  if (!identity.hash.empty()) json["hash"] = identity.hash;
  return json;
}

ModelIdentity identify_model(const fs::path& model) {
  std::error_code ignored;
  if (fs::is_regular_file(model, ignored)) {
    ModelIdentity above = identify_model(fs::absolute(model, ignored).parent_path());
    const std::string name = model.filename().string();  // a repository may hold several
    if (above.revision.empty()) return {.name = name, .revision = {}, .hash = {}};
    above.name += "/" + name;
    return above;
  }
  fs::path path = fs::absolute(model, ignored).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // "model/"
  const fs::path above = path.parent_path(), repository = above.parent_path().filename();
  if (above.filename() == kSnapshots && repository.string().starts_with(kPrefix))
    return {.name = repository_of(repository.string()), .revision = path.filename().string(), .hash = {}};
  const std::string name = path.filename().string();
  return {.name = name.empty() ? path.string() : name, .revision = {}, .hash = {}};
}

ModelIdentity identify_checkpoint(const ModelFolder& folder, const std::string& variant) {
  ModelIdentity identity = identify_model(folder.origin());
  if (!identity.revision.empty() && !folder.is_single_file()) return identity;
  std::string text;
  std::set<fs::path> seen;  // components of one file
  for (const std::string& component : folder.component_names()) {
    if (!is_run(component)) continue;
    const ComponentElsewhere* given = folder.elsewhere(component);
    const fs::path below = given && !given->folder.empty() ? given->folder : folder.path() / component;
    text += fmt::format("{} {}\n", component, folder.component_class(component));
    add_texts(text, below);
    if (!has_weights(component)) continue;
    const WeightFiles weights = folder.component_weights(component, variant);
    for (const fs::path& file : weights.files)
      if (seen.insert(file).second) add_file(text, file, weights.open(file)->whole_file(), kMostOfWeights);
  }
  identity.hash = hash_of(text);
  return identity;
}

ModelIdentity identify_component(const fs::path& folder) {
  ModelIdentity identity = identify_model(folder);
  if (!identity.revision.empty()) return identity;
  std::string text;
  add_texts(text, folder);
  const auto is_weights = [](const fs::path& file) { return file.extension() == ".safetensors"; };
  for (const fs::path& file : files_in(folder, is_weights))
    add_file(text, file, MappedFile(file).bytes(), kMostOfWeights);
  identity.hash = hash_of(text);
  return identity;
}

ModelIdentity identify_file(const fs::path& file) {
  ModelIdentity identity = identify_model(file);
  if (!identity.revision.empty()) return identity;
  std::string text;
  add_file(text, file, MappedFile(file).bytes(), kMostOfWeights);
  identity.hash = hash_of(text);
  return identity;
}

}  // namespace diffract::io
